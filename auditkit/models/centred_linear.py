"""A linear layer on rows that are moved to a centre and scaled to length 1."""

import torch
from torch import nn
from torch.nn import functional


class CentredLinear(nn.Linear):
    """``weight (row - centre) / |row - centre| + bias_input * bias``.

    What all rows have in common says nothing about their classes, but takes up length, and with it the share
    of a clipped gradient that does. So does the bias: beside rows of length 1, an input of 1 takes half of a
    gradient's square, one of a tenth a hundredth.

    The centre is not trained: it is 0 until somebody measures it, and part of the state.
    """

    centre: torch.Tensor

    def __init__(self, in_features: int, out_features: int, *, bias_input: float = 1.0) -> None:
        super().__init__(in_features, out_features)
        self.bias_input = bias_input
        self.register_buffer("centre", torch.zeros(in_features))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Logits, shape ``(n, out_features)``."""
        moved = functional.normalize(rows - self.centre) / self.bias_input
        logits: torch.Tensor = self.bias_input * super().forward(moved)
        return logits
