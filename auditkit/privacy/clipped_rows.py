"""Sums of rows, each clipped to a norm: with noise, their mean under differential privacy."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from auditkit.privacy.clipping import ROUNDING_SLACK


class ClippedRows:
    """The counterpart of :class:`ClippedGradients` for a mean: one row, or the rows of a unit, count for C.

    Args:
        mean: Shape ``(d,)``; the place of the mean, and the only "parameter".
        max_norm: The norm C that no unit's contribution exceeds.
        rows_per_unit: As of :class:`ClippedGradients`.
    """

    def __init__(self, mean: Tensor, max_norm: float, rows_per_unit: int = 1) -> None:
        self.parameters = [nn.Parameter(mean, requires_grad=False)]
        self.rows_per_unit = rows_per_unit
        self._max_norm = max_norm

    def add_clipped_sum(
        self,
        total: Sequence[Tensor],
        inputs: Tensor,
        targets: Tensor,
        row_weights: Tensor | None = None,
        *,
        factor: float = 1.0,
        before: Callable[[], object] = lambda: None,
    ) -> None:
        """Add ``factor`` times the clipped sum of ``inputs`` to ``total`` in place; targets do not matter.

        A unit that is not finite contributes zero.
        """
        units = self._units(inputs, row_weights)
        norms = units.norm(dim=1, keepdim=True)
        bound = self._max_norm * (1 - ROUNDING_SLACK)
        clipped = units * (bound / norms.clamp(min=bound))
        clipped = torch.where(torch.isfinite(norms), clipped, torch.zeros_like(clipped))
        before()
        total[0].add_(clipped.sum(dim=0), alpha=factor)

    def _units(self, inputs: Tensor, row_weights: Tensor | None) -> Tensor:
        rows = inputs.reshape(-1, self.rows_per_unit, self.parameters[0].numel())
        if row_weights is None:
            return rows.mean(dim=1)
        return (rows * row_weights.view(-1, self.rows_per_unit, 1)).sum(dim=1)
