"""A module whose front is never trained: rows pass it once, however long what stands behind it is trained."""

import torch
from torch import nn

_ROWS_AT_ONCE = 64


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
        answer: torch.Tensor = self.output(self._front_of(rows))
        return answer

    def features(self, rows: torch.Tensor) -> torch.Tensor:
        """What ``output`` is trained on: of all rows, in small batches and without gradients."""
        if not len(rows):
            return self._front_of(rows)
        with torch.no_grad():
            return torch.cat([self._front_of(part) for part in torch.split(rows, _ROWS_AT_ONCE)])

    def _front_of(self, rows: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.front(rows)
        return features

    def train(self, mode: bool = True) -> "FrozenFront":
        """Training mode for what is trained alone."""
        super().train(mode)
        self.front.eval()
        return self
