"""Rows of token ids: their vectors, where they end, and which positions count."""

import torch
from torch import nn

from auditkit.data.tokenizers import PADDING


def token_vectors(embedding: nn.Embedding, tokens: torch.Tensor) -> torch.Tensor:
    """Vectors of token ids ``(n, length)``, shape ``(n, length, width)``; zero at padding.

    torch keeps the vector of padding at zero by dropping its gradient. Multiplying by zero lets every way of
    taking gradients, per-example ones included, see the same.
    """
    vectors: torch.Tensor = embedding(tokens) * (tokens != PADDING).unsqueeze(2)
    return vectors


def visible_positions(tokens: torch.Tensor) -> torch.Tensor:
    """Which positions are not padding, shape ``(n, length)``; the first always counts.

    A row without any token would otherwise have nothing to look at, and a softmax over nothing is NaN.
    """
    first = torch.arange(tokens.shape[1], device=tokens.device) == 0
    return (tokens != PADDING) | first


def last_positions(tokens: torch.Tensor) -> torch.Tensor:
    """Index of the last token of each row, shape ``(n,)``; 0 for a row without any."""
    return (tokens != PADDING).sum(dim=1).clamp(min=1) - 1


def mean_over(states: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    """Mean of states ``(n, length, width)`` over the visible positions, shape ``(n, width)``."""
    share = visible / visible.sum(dim=1, keepdim=True)
    return (states * share.unsqueeze(2)).sum(dim=1)


def normal_initial_values(module: nn.Module, deviation: float = 0.02) -> None:
    """Weights of linear and embedding layers from a normal distribution, biases and padding zero.

    Source: Devlin et al. (2019), arXiv:1810.04805; Radford et al. (2019), section 2.3.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Embedding):
            nn.init.normal_(layer.weight, std=deviation)
        if isinstance(layer, nn.Linear) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
        if isinstance(layer, nn.Embedding) and layer.padding_idx is not None:
            with torch.no_grad():
                layer.weight[layer.padding_idx].zero_()
