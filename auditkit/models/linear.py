"""A linear classifier on rows scaled to length 1: what a private training of a table does best with.

The gradient of a row is then no longer than its error, so that clipping changes little, and noise on the
weights moves every row's logits alike. Source: Tramèr and Boneh (2021), arXiv:2011.11660, section 2.
"""

import torch
from torch import nn
from torch.nn import functional

from auditkit.models.architecture import ArchitectureKind, VectorParameters
from auditkit.models.frozen_front import FrozenFront


class LinearParameters(VectorParameters):
    """Nothing but the sizes."""


class UnitLength(nn.Module):
    """Rows of any shape laid out flat and scaled to Euclidean length 1; rows of zeros stay."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Shape ``(n, numbers per row)``."""
        flat: torch.Tensor = functional.normalize(rows.flatten(1).float())
        return flat


def _build(parameters: LinearParameters) -> nn.Module:
    return FrozenFront(
        UnitLength(), nn.Linear(int(parameters.n_inputs or 0), int(parameters.n_classes or 0))
    )


LINEAR = ArchitectureKind(LinearParameters, _build)
