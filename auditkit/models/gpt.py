"""A GPT-style decoder that foretells the next token.

Source: Radford et al. (2019), "Language Models are Unsupervised Multitask Learners" (GPT-2), section 2.3:
layer norm before each sublayer and after the last block, residual layers scaled down by depth, GELU. The
output layer has weights of its own: with those of the embedding in two places the gradient of an example
would have to be put together from both. There is no dropout on the attention weights.
"""

import math

import torch
from pydantic import model_validator
from torch import nn

from auditkit.models.architecture import ArchitectureKind, Dropout, LanguageParameters, Units
from auditkit.models.attention import Block, BlockForm, check_heads
from auditkit.models.positions import LearnedPositions
from auditkit.models.token_rows import normal_initial_values, token_vectors


class GptParameters(LanguageParameters):
    """Token and position embeddings, decoder blocks, tokens; the feed-forward layer is four times as wide."""

    width: Units = 128
    layers: Units = 4
    heads: Units = 4
    dropout: Dropout = 0.1

    @model_validator(mode="after")
    def _width_fits_heads(self) -> "GptParameters":
        check_heads(self.width, self.heads)
        return self


class Decoder(nn.Module):
    """Token ids ``(n, length)`` to logits of the token after each, ``(n, length, vocabulary_size)``."""

    def __init__(self, parameters: GptParameters) -> None:
        super().__init__()
        width, vocabulary_size = parameters.width, int(parameters.vocabulary_size or 0)
        self.token_embedding = nn.Embedding(vocabulary_size, width, padding_idx=0)
        self.positions = LearnedPositions(int(parameters.length or 0), width)
        self.embedding_dropout = nn.Dropout(parameters.dropout)
        form = BlockForm(
            width=width,
            heads=parameters.heads,
            feed_forward=4 * width,
            dropout=parameters.dropout,
            normalisation="pre",
            causal=True,
        )
        blocks = [Block(form) for _ in range(parameters.layers)]
        self.blocks = nn.ModuleList(blocks)
        self.final_norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, vocabulary_size, bias=False)
        normal_initial_values(self)
        with torch.no_grad():
            for block in blocks:
                block.attention.projection.weight.div_(math.sqrt(2 * parameters.layers))
                block.contraction.weight.div_(math.sqrt(2 * parameters.layers))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of every position.

        Raises:
            DataError: A row is longer than there are positions.
        """
        vectors = token_vectors(self.token_embedding, tokens) + self.positions(tokens)
        states = self.embedding_dropout(vectors)
        for block in self.blocks:
            states = block(states)
        logits: torch.Tensor = self.output(self.final_norm(states))
        return logits


GPT = ArchitectureKind(GptParameters, Decoder, takes="tokens", task="language-modelling")
