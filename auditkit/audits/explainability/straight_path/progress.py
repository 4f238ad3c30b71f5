"""How far the sums over paths have come, and which pieces are still to be halved."""

from dataclasses import dataclass
from typing import Final, Generic

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.straight_path.halves import Halves, P

FINEST: Final = 2.0**-22
"""Narrower pieces are not halved: single precision hardly tells their points apart."""

SAFE: Final = 0.85
"""Part of the tolerance that is aimed for. Errors of pieces add up as if they were independent, which holds
on average, and the length of the vector that the tolerance is relative to still moves."""

NEGLIGIBLE: Final = 0.05
"""Part of the tolerance that pieces may use up and still be let go of before their row is done."""

KEPT: Final = 0.7
"""Part of what is left of the tolerance that pieces which are not halved next may use up."""

MOVED: Final = 0.5
FINE: Final = 64
PATIENCE: Final = 2
"""A row is given up when so many doublings of its gradients, from so many on, move its sum by less than that
part of its gap: then the sum has converged, to something else than the change, as under simulated integers.
With fewer gradients a bend of the path may lie between them unseen."""


@dataclass(frozen=True, slots=True)
class Goal:
    """When the rows are done.

    Attributes:
        start: Score of the baseline, shape ``(r,)``.
        change: What the units of each row must sum to, shape ``(r,)``.
        gap: How far off they may be, shape ``(r,)``.
        tolerance: How far off their vector may be, relative to its length.
        least_length: Shorter vectors are measured by this length, shape ``(r,)``.
        max_evaluations: Most points per row.
    """

    start: Tensor
    change: Tensor
    gap: Tensor
    tolerance: float
    least_length: Tensor
    max_evaluations: int

    def error(self, sums: Tensor) -> Tensor:
        """How far off each vector of ``sums``, shape ``(r, m)``, may be, shape ``(r,)``."""
        return self.tolerance * torch.maximum(sums.norm(dim=1), self.least_length)

    def take(self, kept: Tensor, max_evaluations: int) -> "Goal":
        """Of the rows where ``kept``, shape ``(r,)``, is true, with another limit."""
        return Goal(
            self.start[kept],
            self.change[kept],
            self.gap[kept],
            self.tolerance,
            self.least_length[kept],
            max_evaluations,
        )


@dataclass(frozen=True, slots=True)
class Sums:
    """Over the whole paths of some rows.

    Attributes:
        values: Unit by unit, shape ``(r, m)``.
        error: How far they are likely off, as the length of a vector, shape ``(r,)``.
        evaluations: Points, shape ``(r,)``.
    """

    values: Tensor
    error: Tensor
    evaluations: Tensor

    def add_up(self, goal: Goal) -> Tensor:
        """Rows that are as close to their change as they must be, shape ``(r,)``."""
        return (self.values.sum(dim=1) - goal.change).abs() <= goal.gap

    def settle(self, goal: Goal) -> Tensor:
        """Rows that add up and whose vectors are likely as close as they must be, shape ``(r,)``."""
        return self.add_up(goal) & (self.error <= goal.error(self.values))

    def instead(self, rows: Tensor, others: "Sums") -> "Sums":
        """With ``others`` where ``rows``, shape ``(r,)``, is true; points of both were taken."""
        return Sums(
            self.values.index_put((rows,), others.values),
            self.error.index_put((rows,), others.error),
            self.evaluations.index_put((rows,), others.evaluations, accumulate=True),
        )


class Progress(Generic[P]):
    """Of the rows of a goal. What is done is added up and let go, so that only open pieces are kept.

    Args:
        goal: When rows are done.
        n_units: The number m of units.
        evaluations: Points of each row so far.
        per_halving: Points that halving a piece takes.
    """

    def __init__(self, goal: Goal, n_units: int, evaluations: int, per_halving: int) -> None:
        n = len(goal.change)
        self.goal = goal
        self._per_halving = per_halving
        self._sums = torch.zeros(n, n_units, dtype=torch.float64)
        self._evaluations = torch.full((n,), evaluations)
        self._squared_error = torch.zeros(n, dtype=torch.float64)
        self._spent = torch.zeros(n, dtype=torch.float64)
        self._missed = torch.zeros(n, dtype=torch.float64)
        self._waiting: Halves[P] | None = None
        self._doubled_at = torch.full((n,), FINE + 1)
        self._sum_then = torch.full((n,), torch.inf, dtype=torch.float64)
        self._unmoved = torch.zeros(n, dtype=torch.int64)

    @property
    def so_far(self) -> Sums:
        """Of the pieces that are done. Their errors are taken as independent, so that squares add up."""
        return Sums(self._sums, self._squared_error.sqrt(), self._evaluations)

    def settle(self, halves: Halves[P]) -> P:
        """Which pieces to halve next: the largest errors, until the others use up most of what is left.

        The others wait, because a row is done only when it adds up, too. What hardly counts is added up and
        let go. Which rows share a call changes nothing.
        """
        halves = halves if self._waiting is None else self._waiting.followed_by(halves)
        row, residuals = halves.pieces.row, _ratio(halves.residuals, self.goal.gap[halves.pieces.row])
        now = self._sums + self._per_row(halves.sums, row)
        shares = self._shares(halves, now)
        total, left = self._per_row(shares, row), (1 - self._spent).clamp(min=0)
        gap = (self.goal.change - now.sum(dim=1)).abs()
        finished = ((total <= left) & (gap <= self.goal.gap)) | self._given_up(now.sum(dim=1), gap)
        before, missed, larger = _among_row(shares, residuals, row)
        affordable = (self.goal.max_evaluations - self._evaluations) // self._per_halving
        to_halve = (
            (before + shares > KEPT * torch.minimum(left, total)[row])
            & (larger < affordable[row])
            & (halves.pieces.width > FINEST)
            & ~finished[row]
        )
        n_to_halve = torch.bincount(row[to_halve], minlength=len(left))
        negligible = (self._spent[row] + before + shares <= NEGLIGIBLE) & (
            self._missed[row] + missed <= NEGLIGIBLE
        )
        closed = (n_to_halve == 0)[row] | (negligible & ~to_halve)
        self._add(halves, shares, residuals, closed)
        self._waiting = halves.take(~closed & ~to_halve)
        self._evaluations = self._evaluations + self._per_halving * n_to_halve
        return halves.pieces.take(to_halve)

    def _shares(self, halves: Halves[P], now: Tensor) -> Tensor:
        """Part of the tolerance of its row that the error of each piece uses up, shape ``(s,)``."""
        row = halves.pieces.row
        of_vector = _ratio(halves.errors, SAFE * self.goal.error(now)[row])
        of_sum = _ratio(halves.residuals, SAFE * self.goal.gap[row])
        return torch.maximum(of_vector, of_sum).square()

    def _given_up(self, sums: Tensor, gap: Tensor) -> Tensor:
        doubled = self._evaluations >= 2 * self._doubled_at - 1  # both ends of a path are counted once
        self._sum_then = torch.where(self._evaluations <= FINE + 1, sums, self._sum_then)
        is_still = (sums - self._sum_then).abs() < MOVED * gap
        self._unmoved = torch.where(doubled, torch.where(is_still, self._unmoved + 1, 0), self._unmoved)
        self._sum_then = torch.where(doubled, sums, self._sum_then)
        self._doubled_at = torch.where(doubled, self._evaluations, self._doubled_at)
        return (self._unmoved >= PATIENCE) & (gap > self.goal.gap)

    def _add(self, halves: Halves[P], shares: Tensor, residuals: Tensor, closed: Tensor) -> None:
        row = halves.pieces.row[closed]
        self._sums = self._sums + self._per_row(halves.sums[closed], row)
        self._squared_error = self._squared_error + self._per_row(halves.errors[closed].square(), row)
        self._spent = self._spent + self._per_row(shares[closed], row)
        self._missed = self._missed + self._per_row(residuals[closed], row)

    def _per_row(self, values: Tensor, row: Tensor) -> Tensor:
        summed = torch.zeros(len(self.goal.change), *values.shape[1:], dtype=torch.float64)
        return summed.index_add_(0, row, values)


def _ratio(errors: Tensor, allowed: Tensor) -> Tensor:
    """Zero where there is no error, whatever is allowed."""
    return torch.where(errors > 0, errors / allowed, 0.0)


def _among_row(shares: Tensor, residuals: Tensor, row: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each piece, among those of its row, three things.

    The sum of the smaller shares; the sum of the residuals of the same segments and its own; the number of
    larger shares.
    """
    order = torch.from_numpy(np.lexsort((shares.numpy(), row.numpy())))
    of_row = row[order]
    first, after = torch.searchsorted(of_row, of_row), torch.searchsorted(of_row, of_row, right=True)
    before, missed, larger = torch.empty_like(shares), torch.empty_like(shares), torch.empty_like(row)
    before[order] = _running(shares[order])[:-1] - _running(shares[order])[first]
    missed[order] = _running(residuals[order])[1:] - _running(residuals[order])[first]
    larger[order] = after - 1 - torch.arange(len(row))
    return before, missed, larger


def _running(values: Tensor) -> Tensor:
    """Sums so far, from zero on.

    More than twice the tolerance counts as twice: larger numbers would round the small ones of other rows
    away.
    """
    return torch.cat([torch.zeros(1, dtype=torch.float64), values.clamp(max=2.0).cumsum(0)])
