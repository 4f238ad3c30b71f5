"""The documents' Transformer: an encoder stack that foretells the next token.

Source: Vaswani et al. (2017), arXiv:1706.03762, sections 3.1 to 3.5. Two faults of the documents' code are
mended. Its positional encoding had other frequencies than the formula of section 3.5, which stands here.
And an encoder that sees the whole row reads the token it is to foretell; here attention is causal.
"""

import math

import torch
from pydantic import model_validator
from torch import nn

from auditkit.models.architecture import ArchitectureKind, Dropout, LanguageParameters, Units
from auditkit.models.attention import Block, BlockForm, Normalisation, check_heads
from auditkit.models.positions import SinusoidalPositions
from auditkit.models.token_rows import token_vectors


class TransformerLmParameters(LanguageParameters):
    """Scaled embeddings plus sinusoids, causal encoder blocks, tokens.

    The depth and the dropout are the documents'. ``feed_forward`` is by default four times ``width``.
    """

    width: Units = 128
    layers: Units = 6
    heads: Units = 4
    feed_forward: Units | None = None
    dropout: Dropout = 0.5
    normalisation: Normalisation = "post"

    @model_validator(mode="after")
    def _width_fits_heads(self) -> "TransformerLmParameters":
        check_heads(self.width, self.heads)
        return self


class TransformerLanguageModel(nn.Module):
    """Token ids ``(n, length)`` to logits of the token after each, ``(n, length, vocabulary_size)``."""

    def __init__(self, parameters: TransformerLmParameters) -> None:
        super().__init__()
        width, vocabulary_size = parameters.width, int(parameters.vocabulary_size or 0)
        self.scale = math.sqrt(width)
        self.token_embedding = nn.Embedding(vocabulary_size, width, padding_idx=0)
        self.positions = SinusoidalPositions(width)
        self.embedding_dropout = nn.Dropout(parameters.dropout)
        form = BlockForm(
            width=width,
            heads=parameters.heads,
            feed_forward=parameters.feed_forward or 4 * width,
            dropout=parameters.dropout,
            normalisation=parameters.normalisation,
            causal=True,
            activation=nn.ReLU,
        )
        self.blocks = nn.ModuleList(Block(form) for _ in range(parameters.layers))
        self.final_norm = nn.LayerNorm(width) if parameters.normalisation == "pre" else nn.Identity()
        self.output = nn.Linear(width, vocabulary_size)
        nn.init.normal_(self.token_embedding.weight, std=width**-0.5)
        with torch.no_grad():
            self.token_embedding.weight[0].zero_()

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of every position."""
        vectors = token_vectors(self.token_embedding, tokens) * self.scale
        states = self.embedding_dropout(vectors + self.positions(tokens))
        for block in self.blocks:
            states = block(states)
        logits: torch.Tensor = self.output(self.final_norm(states))
        return logits


TRANSFORMER_LM = ArchitectureKind(
    TransformerLmParameters, TransformerLanguageModel, takes="tokens", task="language-modelling"
)
