"""How far the sums over paths have come, and which pieces are still to be divided."""

from dataclasses import dataclass
from typing import Final, Generic

import torch
from torch import Tensor

from auditkit.audits.explainability.straight_path.division import ByRow, OpenPieces, Plan
from auditkit.audits.explainability.straight_path.parts import P, Parts

FINEST: Final = 2.0**-22
"""Narrower pieces are not divided: single precision hardly tells their points apart."""

SAFE: Final = 0.85
"""Part of the tolerance that is aimed for. Errors of pieces add up as if they were independent, which holds
on average, and the length of the vector that the tolerance is relative to still moves."""

NEGLIGIBLE: Final = 0.05
"""Part of the tolerance that pieces may use up and still be let go of before their row is done."""

MOVED: Final = 0.5
FINE: Final = 64
PATIENCE: Final = 2
"""A row is given up when so many doublings of its gradients, from so many on, move its sum by less than that
part of its gap: then the sum has converged, to something else than the change, as under simulated integers.
With fewer gradients a bend of the path may lie between them unseen."""

IN_VAIN: Final = 3
"""A row is given up, too, when its errors seemed small so many times and it never added up: what bends there
is not seen where derivatives are averaged."""


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
        evaluations: Points of each row so far, shape ``(r,)``.
        plan: How open pieces are divided.
        most_in_doubt: Most points of a row whose errors seemed small and that did not add up; those it has
            are doubled at most at once.
    """

    def __init__(
        self, goal: Goal, n_units: int, evaluations: Tensor, plan: Plan, *, most_in_doubt: int
    ) -> None:
        n = len(goal.change)
        self.goal = goal
        self._plan = plan
        self._most_in_doubt = most_in_doubt
        self._sums = torch.zeros(n, n_units, dtype=torch.float64)
        self._evaluations = evaluations
        self._squared_error = torch.zeros(n, dtype=torch.float64)
        self._spent = torch.zeros(n, dtype=torch.float64)
        self._missed = torch.zeros(n, dtype=torch.float64)
        self._waiting: Parts[P] | None = None
        self._doubled_at = torch.full((n,), FINE + 1)
        self._sum_then = torch.full((n,), torch.inf, dtype=torch.float64)
        self._unmoved = torch.zeros(n, dtype=torch.int64)
        self._in_vain = torch.zeros(n, dtype=torch.int64)

    @property
    def so_far(self) -> Sums:
        """Of the pieces that are done. Their errors are taken as independent, so that squares add up."""
        return Sums(self._sums, self._squared_error.sqrt(), self._evaluations)

    def settle(self, parts: Parts[P]) -> tuple[P, Tensor]:
        """Which pieces to divide next, and how many times as many points each is to get.

        The others wait, because a row is done only when it adds up, too. What hardly counts is added up and
        let go. Which rows share a call changes nothing.
        """
        parts = parts if self._waiting is None else self._waiting.followed_by(parts)
        row, residuals = parts.pieces.row, _ratio(parts.residuals, self.goal.gap[parts.pieces.row])
        now = self._sums + self._per_row(parts.sums, row)
        shares = self._shares(parts, now)
        total, left = self._per_row(shares, row), (1 - self._spent).clamp(min=0)
        gap = (self.goal.change - now.sum(dim=1)).abs()
        small = total <= left
        finished = (small & (gap <= self.goal.gap)) | self._given_up(now.sum(dim=1), gap, small)
        times = self._plan(
            OpenPieces(
                row=row,
                shares=shares,
                points=parts.pieces.points,
                room=torch.where(
                    finished, torch.inf, torch.where(small, total * self._must_shrink(gap), left)
                ),
                affordable=self._affordable(small),
            )
        )
        times = torch.where(parts.pieces.width > FINEST, times, 0)
        divided = times > 0
        ranked = ByRow.of(row, shares)
        negligible = (self._spent[row] + ranked.before(shares) + shares <= NEGLIGIBLE) & (
            self._missed[row] + ranked.before(residuals) + residuals <= NEGLIGIBLE
        )
        goes_on = torch.bincount(row[divided], minlength=len(left)) > 0
        closed = ~goes_on[row] | (negligible & ~divided)
        self._add(parts, shares, residuals, closed)
        self._waiting = parts.take(~closed & ~divided)
        self._evaluations = self._evaluations.index_add(0, row, times * parts.pieces.points)
        return parts.pieces.take(divided), times[divided]

    def _affordable(self, small: Tensor) -> Tensor:
        """Points that each row may still get, shape ``(r,)``."""
        in_doubt = (2 * self._evaluations).clamp(max=self._most_in_doubt)
        doubted = small | (self._in_vain > 0)
        return torch.where(doubted, in_doubt, self.goal.max_evaluations) - self._evaluations

    def _must_shrink(self, gap: Tensor) -> Tensor:
        """To which part the squares of errors must become smaller for rows to add up that do not."""
        return (self.goal.gap / gap).square()

    def _shares(self, parts: Parts[P], now: Tensor) -> Tensor:
        """Part of the tolerance of its row that the error of each piece uses up, shape ``(s,)``."""
        row = parts.pieces.row
        of_vector = _ratio(parts.errors, SAFE * self.goal.error(now)[row])
        of_sum = _ratio(parts.residuals, SAFE * self.goal.gap[row])
        return torch.maximum(of_vector, of_sum).square()

    def _given_up(self, sums: Tensor, gap: Tensor, small: Tensor) -> Tensor:
        doubled = self._evaluations >= 2 * self._doubled_at - 1  # both ends of a path are counted once
        self._sum_then = torch.where(self._evaluations <= FINE + 1, sums, self._sum_then)
        is_still = (sums - self._sum_then).abs() < MOVED * gap
        self._unmoved = torch.where(doubled, torch.where(is_still, self._unmoved + 1, 0), self._unmoved)
        self._sum_then = torch.where(doubled, sums, self._sum_then)
        self._doubled_at = torch.where(doubled, self._evaluations, self._doubled_at)
        self._in_vain = self._in_vain + (small & (gap > self.goal.gap))
        in_vain = (self._unmoved >= PATIENCE) | (self._in_vain >= IN_VAIN)
        return in_vain & (gap > self.goal.gap)

    def _add(self, parts: Parts[P], shares: Tensor, residuals: Tensor, closed: Tensor) -> None:
        row = parts.pieces.row[closed]
        self._sums = self._sums + self._per_row(parts.sums[closed], row)
        self._squared_error = self._squared_error + self._per_row(parts.errors[closed].square(), row)
        self._spent = self._spent + self._per_row(shares[closed], row)
        self._missed = self._missed + self._per_row(residuals[closed], row)

    def _per_row(self, values: Tensor, row: Tensor) -> Tensor:
        summed = torch.zeros(len(self.goal.change), *values.shape[1:], dtype=torch.float64)
        return summed.index_add_(0, row, values)


def _ratio(errors: Tensor, allowed: Tensor) -> Tensor:
    """Zero where there is no error, whatever is allowed."""
    return torch.where(errors > 0, errors / allowed, 0.0)
