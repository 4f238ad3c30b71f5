"""Layers whose weights are given: for subjects whose answers are known in advance."""

import torch
from torch import nn


def linear_layer(weight: torch.Tensor, bias: torch.Tensor | None = None) -> nn.Linear:
    """A layer with these parameters, made without a draw from the global generators.

    Args:
        weight: Shape ``(outputs, inputs)``.
        bias: Shape ``(outputs,)``, or ``None`` for a layer without.
    """
    outputs, inputs = weight.shape
    layer: nn.Linear = nn.Linear(inputs, outputs, bias=bias is not None, device="meta").to_empty(device="cpu")
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None:
            layer.bias.copy_(bias)
    return layer


def lookup_layer(vectors: torch.Tensor) -> nn.Embedding:
    """A layer that gives row ``i`` of ``vectors`` for the id ``i``; nothing is drawn."""
    n, width = vectors.shape
    return nn.Embedding(n, width, _weight=vectors.clone())


class BagOfWords(nn.Module):
    """Adds up one row of numbers per token, whatever their order.

    Attributes:
        rows: Logits that each id contributes, shape ``(vocabulary, k)``; zero for padding.
    """

    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.rows = lookup_layer(rows)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits, shape ``(n, k)``, of ids ``(n, length)``."""
        summed: torch.Tensor = self.rows(inputs).sum(dim=1)
        return summed
