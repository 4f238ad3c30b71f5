"""Sums over smooth paths along rational functions, with a point at a time where it tells most.

What tells whether they are right costs nothing: the scores at the points are by-products, and the slopes of
the score must sum to their differences, segment by segment. How far the units are off where the score is off
by so much is taken from what the last point changed.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from auditkit.audits.explainability.straight_path.points import StraightPath
from auditkit.audits.explainability.straight_path.progress import Goal, Sums
from auditkit.audits.explainability.straight_path.rational import (
    Between,
    Samples,
    counts_at,
    nearness,
    straight,
    weights_through,
)

FIRST: Final = (0.03, 0.14, 0.3, 0.6, 0.93)
"""Places of the first points: scores bend early more often than late, as a baseline is far from any row."""

ONE_BY_ONE: Final = 5, 14
"""Numbers of points between which one is taken at a time; with more few paths are left, and taking two costs
little."""

MOST: Final = 24
"""Points of a path. If so many do not suffice it is not smooth, and pieces of it are cheaper."""

MOST_TESTS: Final = 3
"""Most points that the denominator is made for; of functions for one, two and so on the one is taken whose
sums are nearest to what they must be."""

FINEST: Final = 1e-5
"""Tolerance. For finer ones the rounding of so few slopes counts, which more points average out."""

ERROR: Final = 1.25
"""Of a row, as a multiple of what is seen: of the residuals, carried over from the score to the units, and of
what the last point changed, as squares. On transformers and recurrent networks the error of nine rows in ten
is below 1.1 times that."""


@dataclass(frozen=True, slots=True)
class _Fit:
    """A rational function for each path, and what it sums to.

    Attributes:
        between: The segments between the points.
        weights: Barycentric, shape ``(r, n)``.
        counts: How much each point counts in the sum over each segment, shape ``(r, s, n)``.
        residuals: Of the score over each segment, shape ``(r, s)``.
    """

    between: Between
    weights: Tensor
    counts: Tensor
    residuals: Tensor

    def take(self, kept: Tensor) -> "_Fit":
        """Of the paths where ``kept``, shape ``(r,)``, is true."""
        return _Fit(self.between.take(kept), self.weights[kept], self.counts[kept], self.residuals[kept])


@dataclass(frozen=True, slots=True)
class _Walk:
    """Paths that are not done.

    Attributes:
        samples: So far.
        ends: Score at baseline and input, shape ``(r, 2)``.
        before: Weights of the functions without the last point, shape ``(r, n)``; ``None`` at first.
    """

    samples: Samples
    ends: Tensor
    before: Tensor | None

    def take(self, kept: Tensor) -> "_Walk":
        """Those where ``kept``, shape ``(r,)``, is true."""
        before = None if self.before is None else self.before[kept]
        return _Walk(self.samples.take(kept), self.ends[kept], before)


def sums_along_curves(path: StraightPath, rows: Tensor, goal: Goal, n_units: int) -> Sums:
    """Of the gradients over whole paths; the error is infinite where nothing was found.

    Args:
        path: Of all rows.
        rows: The paths that are meant, shape ``(r,)``.
        goal: When each of them is done; it allows for at least the first points.
        n_units: The number m of units.
    """
    n = len(rows)
    values = torch.zeros(n, n_units, dtype=torch.float64)
    error = torch.full((n,), torch.inf, dtype=torch.float64)
    evaluations = torch.full((n,), len(FIRST))
    walk = _started(path, rows, torch.stack([goal.start, goal.start + goal.change], dim=1))
    walk = walk.take(walk.samples.finite)
    while len(walk.samples.row):
        samples, fit = walk.samples, _best(walk)
        sums = (fit.counts.sum(dim=1, keepdim=True) @ samples.slopes.double()).squeeze(1)
        is_found = sums.isfinite().all(dim=1)
        values[samples.row[is_found]] = sums[is_found]
        error[samples.row] = _errors(walk, fit).where(is_found, torch.inf)
        evaluations[samples.row] = samples.n
        if samples.n >= min(MOST, goal.max_evaluations):
            break
        is_open = ~Sums(values, error, evaluations).settle(goal)[samples.row]
        walk = _continued(path, rows, walk.take(is_open), fit.take(is_open))
    return Sums(values, error, evaluations)


def _started(path: StraightPath, rows: Tensor, ends: Tensor) -> _Walk:
    places = torch.tensor(FIRST, dtype=torch.float64).repeat(len(rows), 1)
    scores, slopes = path.evaluate(rows.repeat_interleave(len(FIRST)), places.flatten())
    samples = Samples.of(
        torch.arange(len(rows)), places, scores.view_as(places), slopes.view(*places.shape, -1)
    )
    return _Walk(samples, ends, None)


def _best(walk: _Walk) -> _Fit:
    """Of the functions through most of the points, the one whose slopes of the score sum up best."""
    samples = walk.samples
    between = Between.of(samples, walk.ends)
    weights = weights_through(samples, min(MOST_TESTS, samples.n // 2))
    counts = between.counts(weights)
    residuals = (counts @ samples.totals[:, None, :, None]).squeeze(3) - between.rises.unsqueeze(1)
    chosen = residuals.abs().sum(dim=2).nan_to_num(nan=torch.inf).argmin(dim=1)
    each = torch.arange(len(chosen))
    return _Fit(between, weights[each, chosen], counts[each, chosen], residuals[each, chosen])


def _errors(walk: _Walk, fit: _Fit) -> Tensor:
    """How far the sums are likely off, as the length of a vector, shape ``(r,)``; at first not known.

    Residuals of the score times how much longer the vectors of units are that the last point changed than
    their sums; and all that it changed.
    """
    samples = walk.samples
    if walk.before is None:
        return torch.full((len(samples.row),), torch.inf, dtype=torch.float64)
    moved = fit.counts - fit.between.counts(walk.before.unsqueeze(1)).squeeze(1)
    of_score = (moved @ samples.totals.unsqueeze(2)).square().sum(dim=(1, 2))
    longer = samples.squared_lengths(moved).sum(dim=1) / of_score.clamp(min=torch.finfo(torch.float64).tiny)
    carried = longer * fit.residuals.square().sum(dim=1)
    changed = samples.squared_lengths(moved.sum(dim=1, keepdim=True)).squeeze(1)
    return (ERROR * (carried + changed).sqrt()).nan_to_num(nan=torch.inf)


def _continued(path: StraightPath, rows: Tensor, walk: _Walk, fit: _Fit) -> _Walk:
    """With more points, in the middle of the segments where they are likely to change the sum most."""
    samples = walk.samples
    if not len(samples.row):
        return walk
    n_more = 1 if samples.n in range(*ONE_BY_ONE) else 2
    middles = fit.between.middles
    near = nearness(middles, samples.places)
    before = straight(samples, middles) if walk.before is None else counts_at(near, walk.before)
    moved = samples.squared_lengths(counts_at(near, fit.weights) - before).sqrt() * fit.between.widths
    told = torch.maximum(moved.nan_to_num(nan=torch.inf), fit.residuals.abs().nan_to_num(nan=torch.inf))
    places = middles.gather(1, told.topk(n_more, dim=1).indices)
    scores, slopes = path.evaluate(rows[samples.row].repeat_interleave(n_more), places.flatten())
    more = samples.followed_by(places, scores.view_as(places), slopes.view(*places.shape, -1))
    walk = _Walk(more, walk.ends, functional.pad(fit.weights, (0, n_more)))
    return walk.take(more.finite)
