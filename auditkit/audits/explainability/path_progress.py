"""How far the sums over paths have come, and which segments are still to be halved."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.path_segments import Halves, Segments

FINEST: Final = 2.0**-22
"""Narrower segments are not halved: single precision hardly tells their points apart."""

SAFE: Final = 0.9
"""Part of the tolerance that is aimed for: the length of the vector that it is relative to still moves."""

MOVED: Final = 0.2
FINE: Final = 64
PATIENCE: Final = 2
"""A row is given up when so many doublings of its gradients, from so many on, move its sum by less than that
part of its gap: then the sum has converged, to something else than the change, as under simulated integers.
With fewer gradients a bend of the path may lie between them unseen."""


@dataclass(frozen=True, slots=True)
class Goal:
    """When the rows are done.

    Attributes:
        change: What the units of each row must sum to, shape ``(r,)``.
        gap: How far off they may be, shape ``(r,)``.
        tolerance: How far off their vector may be, relative to its length.
        least_length: Shorter vectors are measured by this length, shape ``(r,)``.
        max_evaluations: Most points per row.
    """

    change: Tensor
    gap: Tensor
    tolerance: float
    least_length: Tensor
    max_evaluations: int

    def error(self, sums: Tensor) -> Tensor:
        """How far off each vector of ``sums``, shape ``(r, m)``, may be, shape ``(r,)``."""
        return self.tolerance * torch.maximum(sums.norm(dim=1), self.least_length)


class Progress:
    """Of the rows of a goal. What is done is added up and let go, so that only open segments are kept.

    Attributes:
        sums: Of the segments that are done, unit by unit, shape ``(r, m)``.
        error: How far ``sums`` are likely off, as the length of a vector, shape ``(r,)``.
        evaluations: Points so far, shape ``(r,)``.
    """

    def __init__(self, goal: Goal, n_units: int, evaluations: int) -> None:
        n = len(goal.change)
        self.goal = goal
        self.sums = torch.zeros(n, n_units, dtype=torch.float64)
        self.evaluations = torch.full((n,), evaluations)
        self._squared_error = torch.zeros(n, dtype=torch.float64)
        self._spent = torch.zeros(n, dtype=torch.float64)
        self._doubled_at = torch.full((n,), FINE)
        self._sum_then = torch.full((n,), torch.inf, dtype=torch.float64)
        self._unmoved = torch.zeros(n, dtype=torch.int64)

    @property
    def error(self) -> Tensor:
        """Errors of segments are taken as independent, so that their squares add up."""
        return self._squared_error.sqrt()

    def settle(self, halves: Halves) -> Segments:
        """Adds up what needs no more care and returns the rest, to be halved.

        Done first are the segments with the smallest errors, as long as they leave half of the tolerance to
        the others. Which rows share a call changes nothing.
        """
        row = halves.segments.row
        now = self.sums + self._per_row(halves.sums, row)
        shares = self._shares(halves, now)
        total = self._per_row(shares, row)
        left = (1 - self._spent).clamp(min=0)
        gap = (self.goal.change - now.sum(dim=1)).abs()
        finished = ((total <= left) & (gap <= self.goal.gap)) | self._given_up(now.sum(dim=1), gap)
        before, larger = _among_row(shares, row)
        small = before + shares <= torch.minimum(left, total)[row] / 2
        out_of_reach = larger >= ((self.goal.max_evaluations - self.evaluations) // 2)[row]
        closed = finished[row] | small | out_of_reach | (halves.segments.width <= FINEST)
        self._add(halves, shares, closed)
        open_segments = halves.segments.take(~closed)
        self.evaluations = self.evaluations + 2 * torch.bincount(open_segments.row, minlength=len(left))
        return open_segments

    def _shares(self, halves: Halves, now: Tensor) -> Tensor:
        """Part of the tolerance of its row that the error of each segment uses up, shape ``(s,)``."""
        row = halves.segments.row
        of_vector = _ratio(halves.errors, SAFE * self.goal.error(now)[row])
        of_sum = _ratio(halves.residuals, self.goal.gap[row])
        return torch.maximum(of_vector, of_sum).square()

    def _given_up(self, sums: Tensor, gap: Tensor) -> Tensor:
        doubled = self.evaluations >= 2 * self._doubled_at
        self._sum_then = torch.where(self.evaluations <= FINE, sums, self._sum_then)
        is_still = (sums - self._sum_then).abs() < MOVED * gap
        self._unmoved = torch.where(doubled, torch.where(is_still, self._unmoved + 1, 0), self._unmoved)
        self._sum_then = torch.where(doubled, sums, self._sum_then)
        self._doubled_at = torch.where(doubled, self.evaluations, self._doubled_at)
        return (self._unmoved >= PATIENCE) & (gap > self.goal.gap)

    def _add(self, halves: Halves, shares: Tensor, closed: Tensor) -> None:
        row = halves.segments.row[closed]
        self.sums = self.sums + self._per_row(halves.sums[closed], row)
        self._squared_error = self._squared_error + self._per_row(halves.errors[closed].square(), row)
        self._spent = self._spent + self._per_row(shares[closed], row)

    def _per_row(self, values: Tensor, row: Tensor) -> Tensor:
        summed = torch.zeros(len(self.goal.change), *values.shape[1:], dtype=torch.float64)
        return summed.index_add_(0, row, values)


def _ratio(errors: Tensor, allowed: Tensor) -> Tensor:
    """Zero where there is no error, whatever is allowed."""
    return torch.where(errors > 0, errors / allowed, 0.0)


def _among_row(shares: Tensor, row: Tensor) -> tuple[Tensor, Tensor]:
    """For each segment the sum of all smaller shares of its row, and the number of larger ones."""
    # more than the whole tolerance is never small; left as large as it is, it would round the others away
    order = torch.from_numpy(np.lexsort((shares.numpy(), row.numpy())))
    ordered, of_row = shares[order].clamp(max=2.0), row[order]
    first = torch.searchsorted(of_row, of_row)
    running = torch.cat([torch.zeros(1, dtype=torch.float64), ordered.cumsum(0)])
    before, larger = torch.empty_like(shares), torch.empty_like(row)
    before[order] = running[:-1] - running[first]
    larger[order] = torch.searchsorted(of_row, of_row, right=True) - 1 - torch.arange(len(row))
    return before, larger
