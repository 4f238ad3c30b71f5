"""A BERT-style encoder that reads a whole text at once and classifies it.

Source: Devlin et al. (2019), arXiv:1810.04805, section 3. Left out: segment embeddings (a row is one text),
dropout on the attention weights, and pretraining; it learns from the labels alone.
"""

from typing import Literal

import torch
from pydantic import model_validator
from torch import nn

from auditkit.models.architecture import ArchitectureKind, Dropout, TextParameters, Units
from auditkit.models.attention import Block, BlockForm, Normalisation, check_heads
from auditkit.models.positions import LearnedPositions
from auditkit.models.token_rows import (
    mean_over,
    normal_initial_values,
    token_vectors,
    visible_positions,
)

Pooling = Literal["mean", "first"]


class BertParameters(TextParameters):
    """Token and position embeddings, encoder blocks, one vector per row, classes.

    ``pooling`` takes the mean over the tokens, or the vector of the first, as the original does with a token
    of its own that stands before the text; ours is the first word. ``feed_forward`` is by default four times
    ``width``.
    """

    width: Units = 128
    layers: Units = 2
    heads: Units = 4
    feed_forward: Units | None = None
    dropout: Dropout = 0.1
    normalisation: Normalisation = "post"
    pooling: Pooling = "mean"

    @model_validator(mode="after")
    def _width_fits_heads(self) -> "BertParameters":
        check_heads(self.width, self.heads)
        return self


class EncoderClassifier(nn.Module):
    """Token ids ``(n, length)`` to logits ``(n, n_classes)``; padding is neither looked at nor pooled."""

    def __init__(self, parameters: BertParameters) -> None:
        super().__init__()
        width, post = parameters.width, parameters.normalisation == "post"
        self.pooling = parameters.pooling
        self.token_embedding = nn.Embedding(int(parameters.vocabulary_size or 0), width, padding_idx=0)
        self.positions = LearnedPositions(int(parameters.length or 0), width)
        self.embedding_norm = nn.LayerNorm(width) if post else nn.Identity()
        self.embedding_dropout = nn.Dropout(parameters.dropout)
        form = BlockForm(
            width=width,
            heads=parameters.heads,
            feed_forward=parameters.feed_forward or 4 * width,
            dropout=parameters.dropout,
            normalisation=parameters.normalisation,
            causal=False,
        )
        self.blocks = nn.ModuleList(Block(form) for _ in range(parameters.layers))
        self.final_norm = nn.Identity() if post else nn.LayerNorm(width)
        self.dropout = nn.Dropout(parameters.dropout)
        self.output = nn.Linear(width, int(parameters.n_classes or 0))
        normal_initial_values(self)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of each row."""
        visible = visible_positions(tokens)
        vectors = token_vectors(self.token_embedding, tokens) + self.positions(tokens)
        states = self.embedding_dropout(self.embedding_norm(vectors))
        for block in self.blocks:
            states = block(states, visible)
        states = self.final_norm(states)
        pooled = mean_over(states, visible) if self.pooling == "mean" else states[:, 0]
        logits: torch.Tensor = self.output(self.dropout(pooled))
        return logits


BERT = ArchitectureKind(BertParameters, EncoderClassifier, takes="tokens")
