"""A module whose front is never trained: rows pass it once, however long what stands behind it is trained."""

import torch
from torch import nn

_ROWS_AT_ONCE = 128


class FrozenFront(nn.Module):
    """``output(front(rows))``, where only ``output`` has something to learn.

    Private training profits most: what is frozen costs no privacy, and the gradients of a few weights are
    clipped far less. The front stays in evaluation mode and keeps no gradients of its parameters.
    """

    def __init__(self, front: nn.Module, output: nn.Module) -> None:
        super().__init__()
        self.front = front.requires_grad_(requires_grad=False).eval()
        self.output = output

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """What is made of the features of ``rows``."""
        answer: torch.Tensor = self.output(self.front(rows))
        return answer

    def train(self, mode: bool = True) -> "FrozenFront":
        """Training mode for what is trained alone."""
        super().train(mode)
        self.front.eval()
        return self


def features_of(front: nn.Module, rows: torch.Tensor) -> torch.Tensor:
    """Features of all rows, computed in small batches and without gradients, on the device of ``rows``."""
    with torch.no_grad():
        return torch.cat([front(rows[start : start + _ROWS_AT_ONCE]) for start in _starts(len(rows))])


def _starts(n_rows: int) -> range:
    return range(0, max(n_rows, 1), _ROWS_AT_ONCE)
