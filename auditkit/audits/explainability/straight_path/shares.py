"""How the slope of a score is shared among its units, and what of their slopes does not follow it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from auditkit.audits.explainability.straight_path.rational import Samples
from auditkit.data.dataset import FloatArray


@dataclass(frozen=True, slots=True)
class Shares:
    """For each path the multiple of the slope of the score that is nearest to the slopes of all units.

    Attributes:
        counts: How much the slopes at each point count in it, shape ``(r, n)``.
        along: Products of it with the slopes at each point, shape ``(r, n)``.
        square: Of its length, shape ``(r, 1)``.
    """

    counts: FloatArray
    along: FloatArray
    square: FloatArray

    @classmethod
    def of(cls, samples: Samples, counts: FloatArray) -> Self:
        """Least squares over the points, each of which counts as much, ``(r, n)``, as in the sum."""
        parts = np.maximum(counts, 0) * samples.totals
        size = np.maximum(np.vecdot(parts, samples.totals), np.finfo(np.float64).tiny)
        parts /= size[:, None]
        along = np.matvec(samples.products, parts)
        return cls(parts, along, np.vecdot(parts, along)[:, None])

    def following(self, samples: Samples, counts: FloatArray) -> FloatArray:
        """Part of squared lengths that is due to the slope of the score, as it is shared.

        Args:
            samples: What the shares are of.
            counts: How much each point counts in the vectors, shape ``(r, q, n)``.

        Returns:
            Shape ``(r, q)``.
        """
        sums = np.matvec(counts, samples.totals)
        along = np.matvec(counts, self.along)
        return np.asarray(sums * (2 * along - sums * self.square))
