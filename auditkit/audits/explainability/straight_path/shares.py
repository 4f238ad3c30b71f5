"""How the slope of a score is shared among its units, and what of their slopes does not follow it."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from auditkit.audits.explainability.straight_path.rational import Samples


@dataclass(frozen=True, slots=True)
class Shares:
    """For each path the multiple of the slope of the score that is nearest to the slopes of all units.

    Attributes:
        values: Of each unit, shape ``(r, m)``; they sum to one where the slope of the score is not zero.
        along: Products of them with the slopes at each point, shape ``(r, n)``.
        square: Of their length, shape ``(r, 1)``.
    """

    values: Tensor
    along: Tensor
    square: Tensor

    @classmethod
    def of(cls, samples: Samples, counts: Tensor) -> Self:
        """Least squares over the points, each of which counts as much, ``(r, n)``, as in the sum."""
        parts = counts.clamp(min=0) * samples.totals
        size = (parts * samples.totals).sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        parts = parts / size
        along = (samples.products @ parts.unsqueeze(2)).squeeze(2)
        values = (parts.unsqueeze(1) @ samples.slopes.double()).squeeze(1)
        return cls(values, along, (parts * along).sum(dim=1, keepdim=True))

    def following(self, samples: Samples, counts: Tensor) -> Tensor:
        """Part of squared lengths that is due to the slope of the score, as it is shared.

        Args:
            samples: What the shares are of.
            counts: How much each point counts in the vectors, shape ``(r, q, n)``.

        Returns:
            Shape ``(r, q)``.
        """
        sums, along = (counts @ torch.stack([samples.totals, self.along], dim=2)).unbind(dim=2)
        return sums * (2 * along - sums * self.square)

    def take(self, kept: Tensor) -> "Shares":
        """Of the paths ``kept``, by number."""
        return Shares(
            self.values.index_select(0, kept),
            self.along.index_select(0, kept),
            self.square.index_select(0, kept),
        )
