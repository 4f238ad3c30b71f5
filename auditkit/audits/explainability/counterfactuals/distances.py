"""How far values lie from one another: in deviations of each number, and 1 for another level."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from auditkit.audits.explainability.counterfactuals.features import FeatureTable, is_other
from auditkit.data.dataset import FloatArray, IntArray

Norm = Literal["L1", "L2"]

_ENTRIES = 2_000_000
"""Numbers held at once: 16 MB."""


@dataclass(frozen=True, slots=True)
class Distance:
    """A norm over the features of a table.

    Attributes:
        deviations: What counts as 1, shape ``(f,)``.
        numbers: Indices of the numbers; any change of another feature counts as 1.
        norm: L1 adds the features up, L2 takes the root of the sum of squares.
    """

    deviations: FloatArray
    numbers: IntArray
    norm: Norm

    @classmethod
    def of(cls, table: FeatureTable, norm: Norm) -> "Distance":
        """The distance between rows of a table."""
        return cls(table.deviations, table.is_number, norm)

    def by_feature(self, values: FloatArray, own: FloatArray) -> FloatArray:
        """Share of each feature, shape of ``values - own``; a value and a missing one are 1 apart."""
        found = is_other(values, own).astype(np.float64)
        gaps = np.abs(values - own)[..., self.numbers] / self.deviations[self.numbers]
        found[..., self.numbers] = np.where(np.isnan(gaps), found[..., self.numbers], gaps)
        return found

    def total(self, values: FloatArray, own: FloatArray) -> FloatArray:
        """Distance, the last axis summed up."""
        parts = self.by_feature(values, own)
        return np.asarray(parts.sum(axis=-1) if self.norm == "L1" else np.sqrt((parts**2).sum(axis=-1)))

    def to_nearest(self, values: FloatArray, others: FloatArray, own: IntArray, k: int) -> FloatArray:
        """Mean distance to the ``k`` nearest of ``others``, shape ``(n,)``.

        Args:
            values: Shape ``(n, f)``.
            others: Shape ``(m, f)`` with ``m > k``.
            own: Of each row the place among ``others`` that is not counted, or -1; shape ``(n,)``.
            k: How many.
        """
        step = max(1, _ENTRIES // max(1, others.size))
        parts = []
        for start in range(0, len(values), step):
            block = self.total(values[start : start + step, None], others[None])
            skipped = own[start : start + step]
            rows = np.flatnonzero(skipped >= 0)
            block[rows, skipped[rows]] = np.inf
            parts.append(np.partition(block, k - 1, axis=1)[:, :k].mean(axis=1))
        return np.concatenate(parts) if parts else np.zeros(0)
