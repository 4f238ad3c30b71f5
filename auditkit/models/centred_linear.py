"""A linear layer on rows that are moved to a centre and scaled to length 1."""

import torch
from torch import nn
from torch.nn import functional


class CentredLinear(nn.Linear):
    """``weight (row - centre) / |row - centre| + bias``.

    What all rows have in common says nothing about their classes, but takes up length, and with it the share
    of a clipped gradient that does. The centre is not trained: it is 0 until somebody measures it, and part
    of the state.
    """

    centre: torch.Tensor

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features)
        self.register_buffer("centre", torch.zeros(in_features))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Logits, shape ``(n, out_features)``."""
        moved: torch.Tensor = functional.normalize(rows - self.centre)
        return super().forward(moved)
