"""How pieces of paths are divided, so that what they are off becomes as small as it must be."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

KEPT: Final = 0.7
"""Part of the room that pieces which are not halved next may use up."""

AIMED_AT: Final = 0.9
"""Part of the room that is to be used up after a division: what it brings is known roughly beforehand."""

MOST_TIMES: Final = 8
"""As many points at once: where errors are that come of few kinks, coarser pieces do not tell. Points of
pieces that are divided again are lost, so that fewer at once take more in the end."""

ORDER: Final = 1.3
"""With so many times as many points a stretch is off by this power of it less, in the mean square: kinks of
different layers fall into the same part of it more seldom, and count less there.

On nine networks trained on MNIST and digits, errors are then 0.75 to 1.1 times what is stated, in the root
of the mean square over rows, at a tolerance of 1e-3 as at 1e-2. Many small kinks alone make the power 1.45;
it is smaller where few large ones lie together, which is not seen before stretches are short."""

_MOST_SHARE: Final = 1e12


@dataclass(frozen=True, slots=True)
class OpenPieces:
    """Pieces of the paths of several rows that are not done yet.

    Attributes:
        row: Which path each is on, shape ``(s,)``.
        shares: Of the square of the tolerance of its row that its error uses up, shape ``(s,)``.
        points: That are taken for each time as many as it has, shape ``(s,)``.
        room: What those of a row may use up, shape ``(r,)``; infinite where nothing more is asked.
        affordable: Points that each row may still get, shape ``(r,)``.
    """

    row: Tensor
    shares: Tensor
    points: Tensor
    room: Tensor
    affordable: Tensor


Plan = Callable[[OpenPieces], Tensor]
"""How many times as many points each piece is to get, shape ``(s,)``; zero where it is left as it is."""


@dataclass(frozen=True, slots=True)
class ByRow:
    """The order of pieces by a number, among those of their row.

    Attributes:
        row: Which each is in, shape ``(s,)``.
        order: Pieces row by row, rising, shape ``(s,)``.
        first: Where in the order the row of each begins, shape ``(s,)``.
        after: Where it ends.
    """

    row: Tensor
    order: Tensor
    first: Tensor
    after: Tensor

    @staticmethod
    def of(row: Tensor, numbers: Tensor) -> "ByRow":
        """Both of shape ``(s,)``."""
        order = torch.from_numpy(np.lexsort((numbers.numpy(), row.numpy())))
        of_row = row[order]
        first, after = torch.searchsorted(of_row, of_row), torch.searchsorted(of_row, of_row, right=True)
        return ByRow(row, order, first, after)

    def before(self, values: Tensor) -> Tensor:
        """For each piece the sum over those of its row before it, shape ``(s,)``.

        What is more than two counts as two: larger numbers would round the small ones of other rows away.
        """
        running = torch.cat([values.new_zeros(1), values[self.order].clamp(max=2.0).cumsum(0)])
        return self._back(running[:-1] - running[self.first])

    def from_on(self, values: Tensor) -> Tensor:
        """For each piece the sum over those of its row from itself on, shape ``(s,)``."""
        running = torch.cat([values.new_zeros(1), values[self.order].cumsum(0)])
        return self._back(running[self.after] - running[:-1])

    def last_of_least(self, values: Tensor) -> Tensor:
        """For each piece that of its row with the least value, of equal ones the last, shape ``(s,)``."""
        keys = (self.n_larger().numpy(), values.numpy(), self.row.numpy())
        by_value = torch.from_numpy(np.lexsort(keys))
        return self._back(by_value[self.first])

    def n_larger(self) -> Tensor:
        """Pieces of its row behind each, shape ``(s,)``."""
        return self._back(self.after - 1 - torch.arange(len(self.order)))

    def _back(self, in_order: Tensor) -> Tensor:
        return torch.empty_like(in_order).index_copy_(0, self.order, in_order)


def left_after(times: Tensor) -> Tensor:
    """Part of the error of a stretch that is left with so many times as many points, same shape."""
    return times.double() ** -ORDER


def halve_the_largest(pieces: OpenPieces) -> Tensor:
    """The largest errors are halved, until the others use up most of the room."""
    ranked = ByRow.of(pieces.row, pieces.shares)
    too_much = ranked.before(pieces.shares) + pieces.shares > KEPT * pieces.room[pieces.row]
    affordable = 2 * (ranked.n_larger() + 1) * pieces.points <= pieces.affordable[pieces.row]
    return torch.where(too_much & affordable, 2, 0)


def divide_at_least_cost(pieces: OpenPieces) -> Tensor:
    """As few points as keep the room, by what is to be expected; pieces that hardly count are left.

    Those that are divided get so many points each that one more would bring the same everywhere. Which they
    are is tried: the one with the largest share for its points, the two largest, and so on.
    """
    row, points, affordable = pieces.row, pieces.points.double(), pieces.affordable[pieces.row]
    shares = pieces.shares.clamp(max=_MOST_SHARE)
    ranked = ByRow.of(row, shares / points)
    room = AIMED_AT * pieces.room[row] - ranked.before(shares)
    weights = (shares / points) ** (1 / (2 * ORDER + 1))
    together = ranked.from_on(points * weights)
    scale = torch.where(room > 0, (together / room) ** (0.5 / ORDER), torch.inf)
    cost = torch.where(room > 0, torch.maximum(scale * together, 2 * ranked.from_on(points)), torch.inf)
    chosen = ranked.last_of_least(cost)
    scale = torch.minimum(scale, scale * affordable / cost)[chosen]
    times = (scale * weights + 0.5).floor().clamp(2, MOST_TIMES).to(torch.int64)
    divided = (ranked.n_larger() <= ranked.n_larger()[chosen]) & pieces.room[row].isfinite() & (shares > 0)
    times = torch.where(divided, times, 0)
    return torch.where(ranked.from_on(times * pieces.points) <= affordable, times, 0)
