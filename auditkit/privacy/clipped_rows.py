"""Sums of rows, each clipped to a norm: with noise, their mean under differential privacy."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from auditkit.privacy.clipping import ROUNDING_SLACK

_UNITS_AT_ONCE = 1024
"""What is made of a row can be far longer than the row."""


def _as_they_are(rows: Tensor) -> Tensor:
    return rows


class ClippedRows:
    """The counterpart of :class:`ClippedGradients` for a mean: one row, or the rows of a unit, count for C.

    Args:
        mean: Shape ``(d,)``; the place of the mean, and the only "parameter".
        max_norm: The norm C that no unit's contribution exceeds.
        rows_per_unit: As of :class:`ClippedGradients`.
        vectors: Makes of rows what is summed, shape ``(n, d)``; of each row by itself.
    """

    def __init__(
        self,
        mean: Tensor,
        max_norm: float,
        rows_per_unit: int = 1,
        *,
        vectors: Callable[[Tensor], Tensor] = _as_they_are,
    ) -> None:
        self.parameters = [nn.Parameter(mean, requires_grad=False)]
        self.rows_per_unit = rows_per_unit
        self._max_norm = max_norm
        self._vectors = vectors

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
        bound = self._max_norm * (1 - ROUNDING_SLACK)
        before()
        at_once = _UNITS_AT_ONCE * self.rows_per_unit
        for start in range(0, len(inputs), at_once):
            part = slice(start, start + at_once)
            units = self._units(inputs[part], None if row_weights is None else row_weights[part])
            norms = units.norm(dim=1, keepdim=True)
            clipped = units * (bound / norms.clamp(min=bound))
            clipped = torch.where(torch.isfinite(norms), clipped, torch.zeros_like(clipped))
            total[0].add_(clipped.sum(dim=0), alpha=factor)

    def _units(self, inputs: Tensor, row_weights: Tensor | None) -> Tensor:
        rows = self._vectors(inputs).reshape(-1, self.rows_per_unit, self.parameters[0].numel())
        if row_weights is None:
            return rows.mean(dim=1)
        return (rows * row_weights.view(-1, self.rows_per_unit, 1)).sum(dim=1)
