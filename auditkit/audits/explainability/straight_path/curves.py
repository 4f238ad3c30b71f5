"""Sums over smooth paths along rational functions, with a point at a time where it tells most.

The scores at the points are by-products, and the slopes of the score must sum to their differences. So of the
slopes of the units only that part is left to the rational function which does not follow the score: where one
bend of the score is all that happens, shares hardly shift from unit to unit, and that part is small. The
score of the input is kept out of this: that the units sum to the change, beyond the last point on the way,
still tells whether all is well.

How far the units are off is judged by what passing through the last points changed, and by how far slopes and
scores disagree segment by segment.
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
    through_all,
    weights_through,
)
from auditkit.audits.explainability.straight_path.shares import Shares

FIRST: Final = (0.0, 0.1, 0.22, 0.4, 0.65, 0.93)
"""Places of the first points: scores bend early more often than late, as a baseline is far from any row. What
is found at the baseline itself serves all rows of a kind, so that the first point costs little."""

STAGES: Final = (6, 7, 8, 9, 10, 13, 16, 20, 25, 31)
"""Numbers of points with which functions are made. At first each point tells much about the next; later few
paths are left, and taking some points costs little. What 31 do not settle is not smooth, and pieces of it are
cheaper."""

MOST_TESTS: Final = 2
"""Most points that the denominator is made for; of functions for one and for two the one is taken whose
sums are nearest to what they must be."""

FINEST: Final = 1e-5
"""Tolerance. For finer ones the rounding of so few slopes counts, which more points average out."""

ERROR: Final = 1.3
"""Of a row, as a multiple of what is seen: of the residuals, carried over from the score to the units, and of
what passing through the last points changed, as squares."""

ROUNDING: Final = 1e-9
"""Of sums of slopes, relative to the largest slope: what the last point changed by less, it left alone."""

TRUSTED: Final = 30.0
"""Gaps that a row may have between its outermost points before what follows the score is set right. Slopes
that are off by more are not known well enough to tell how shares shift, or are no slopes of that score."""


@dataclass(frozen=True, slots=True)
class _Fit:
    """A rational function for each path, and what it sums to.

    Attributes:
        between: The segments between the points.
        weights: Barycentric, shape ``(r, n)``.
        counts: How much each point counts in the sum over each segment, shape ``(r, s, n)``.
        residuals: Of the score over each segment, shape ``(r, s)``.
        moved: What they differ by from those of the function before the last points, or of the one through
            the fewest where there was none, shape ``(r, s, n)``.
        shares: How the slope of the score is shared among the units.
    """

    between: Between
    weights: Tensor
    counts: Tensor
    residuals: Tensor
    moved: Tensor
    shares: Shares

    def take(self, kept: Tensor) -> "_Fit":
        """Of the paths ``kept``, by number."""
        return _Fit(
            self.between.take(kept),
            self.weights.index_select(0, kept),
            self.counts.index_select(0, kept),
            self.residuals.index_select(0, kept),
            self.moved.index_select(0, kept),
            self.shares.take(kept),
        )

    @property
    def inner_residual(self) -> Tensor:
        """Of the score between the outermost points, shape ``(r, 1)``."""
        return self.residuals[:, :-1].sum(dim=1, keepdim=True)


@dataclass(frozen=True, slots=True)
class _Walk:
    """Paths that are not done.

    Attributes:
        samples: So far.
        end: Score at the input, shape ``(r, 1)``.
        before: Weights of the functions without the last point, shape ``(r, n)``; ``None`` at first.
    """

    samples: Samples
    end: Tensor
    before: Tensor | None

    def take(self, kept: Tensor) -> "_Walk":
        """The paths ``kept``, by number."""
        before = None if self.before is None else self.before.index_select(0, kept)
        return _Walk(self.samples.take(kept), self.end.index_select(0, kept), before)

    @property
    def where_finite(self) -> "_Walk":
        """Without the paths where something is not."""
        is_finite = self.samples.finite
        return self if bool(is_finite.all()) else self.take(is_finite.nonzero().squeeze(1))


def sums_along_curves(path: StraightPath, rows: Tensor, goal: Goal, slopes: Tensor) -> Sums:
    """Of the gradients over whole paths; the error is infinite where nothing was found.

    Args:
        path: Of all rows.
        rows: The paths that are meant, shape ``(r,)``.
        goal: When each of them is done; it allows for at least the first points.
        slopes: At the baseline, unit by unit, shape ``(r, m)``.
    """
    with torch.inference_mode():  # what is done here to few numbers costs calls above all
        return _sums(path, rows, goal, slopes)


def _sums(path: StraightPath, rows: Tensor, goal: Goal, slopes: Tensor) -> Sums:
    n = len(rows)
    values = torch.zeros(slopes.shape, dtype=torch.float64)
    error = torch.full((n,), torch.inf, dtype=torch.float64)
    evaluations = torch.full((n,), len(FIRST))
    walk = _started(path, rows, goal, slopes)
    while len(walk.samples.row):
        samples, fit = walk.samples, _best(walk)
        sums = (fit.counts.sum(dim=1, keepdim=True) @ samples.slopes.double()).squeeze(1)
        sums = sums - fit.inner_residual * fit.shares.values
        is_found = sums.isfinite().all(dim=1)
        values[samples.row[is_found]] = sums[is_found]
        is_trusted = fit.inner_residual.squeeze(1).abs() <= TRUSTED * goal.gap[samples.row]
        error[samples.row] = _errors(walk, fit).where(is_found & is_trusted, torch.inf)
        evaluations[samples.row] = samples.n
        affordable = [n for n in STAGES if samples.n < n <= goal.max_evaluations]
        if not affordable:
            break
        is_open = ~Sums(values, error, evaluations).settle(goal)[samples.row]
        still = is_open.nonzero().squeeze(1)
        walk = _continued(path, rows, walk.take(still), fit.take(still), affordable[0] - samples.n)
    return Sums(values, error, evaluations)


def _started(path: StraightPath, rows: Tensor, goal: Goal, slopes: Tensor) -> _Walk:
    places = torch.tensor(FIRST, dtype=torch.float64).repeat(len(rows), 1)
    n_more = len(FIRST) - 1
    scores, more = path.evaluate(rows.repeat_interleave(n_more), places[:, 1:].flatten())
    samples = Samples.of(
        torch.arange(len(rows)),
        places,
        torch.cat([goal.start.unsqueeze(1), scores.view(-1, n_more)], dim=1),
        torch.cat([slopes.unsqueeze(1), more.view(len(rows), n_more, -1)], dim=1),
    )
    return _Walk(samples, (goal.start + goal.change).unsqueeze(1), None).where_finite


def _best(walk: _Walk) -> _Fit:
    """Of the functions through most of the points, the one whose slopes of the score sum up best."""
    samples = walk.samples
    between = Between.of(samples, walk.end)
    some = weights_through(samples, min(MOST_TESTS, samples.n // 2))
    all_points = through_all(samples, some)
    residuals = between.residuals(all_points, samples.totals)
    chosen = residuals.abs().sum(dim=2).nan_to_num(nan=torch.inf).argmin(dim=1)
    each = torch.arange(len(chosen))
    weights = all_points[each, chosen]
    # through the fewest, as few units leave one test to be met by any function: that would move nothing
    before = some[:, -1] if walk.before is None else walk.before
    counts, of_before = between.counts(torch.stack([weights, before], dim=1)).unbind(dim=1)
    return _Fit(
        between=between,
        weights=weights,
        counts=counts,
        residuals=residuals[each, chosen],
        moved=counts - of_before,
        shares=Shares.of(samples, counts.sum(dim=1)),
    )


def _errors(walk: _Walk, fit: _Fit) -> Tensor:
    """How far the sums are likely off, as the length of a vector, shape ``(r,)``.

    Residuals of the score times how much longer the vectors of units are that the last points changed than
    their sums; and all that the last points changed.
    """
    samples, tiny = walk.samples, torch.finfo(torch.float64).tiny
    least = (ROUNDING * samples.totals.abs().amax(dim=1)).square().clamp(min=tiny)
    inner = fit.moved[:, :-1].sum(dim=1, keepdim=True)
    squares = _squared_lengths(samples, fit, torch.cat([inner, fit.moved], dim=1))
    of_segments, residuals = squares[:, 1:], fit.residuals.square()
    of_score = (fit.moved @ samples.totals.unsqueeze(2)).squeeze(2).square()
    carried = torch.zeros(len(residuals), dtype=torch.float64)
    for part in (slice(0, -1), [-1]):
        longer = of_segments[:, part].sum(dim=1) / torch.maximum(of_score[:, part].sum(dim=1), least)
        carried = carried + longer * residuals[:, part].sum(dim=1)
    changed = squares[:, 0] + squares[:, -1]
    return (ERROR * (carried + changed).sqrt()).nan_to_num(nan=torch.inf)


def _squared_lengths(samples: Samples, fit: _Fit, counts: Tensor) -> Tensor:
    """Of the vectors in which each point counts as much: ``(r, s, n)`` to ``(r, s)``.

    Between the outermost points only of what does not follow the score.
    """
    lengths = samples.squared_lengths(counts)
    apart = lengths[:, :-1] - fit.shares.following(samples, counts[:, :-1])
    return torch.cat([apart.clamp(min=0), lengths[:, -1:]], dim=1)


def _continued(path: StraightPath, rows: Tensor, walk: _Walk, fit: _Fit, n_more: int) -> _Walk:
    """With ``n_more`` points, in the middle of the segments where they are likely to change the sum most."""
    samples = walk.samples
    if not len(samples.row):
        return walk
    middles = fit.between.middles
    near = nearness(middles, samples.places)
    before = straight(samples, middles) if walk.before is None else counts_at(near, walk.before)
    moved = _squared_lengths(samples, fit, counts_at(near, fit.weights) - before).sqrt() * fit.between.widths
    told = torch.maximum(moved.nan_to_num(nan=torch.inf), fit.residuals.abs().nan_to_num(nan=torch.inf))
    places = middles.gather(1, told.topk(n_more, dim=1).indices)
    scores, slopes = path.evaluate(rows[samples.row].repeat_interleave(n_more), places.flatten())
    more = samples.followed_by(places, scores.view_as(places), slopes.view(*places.shape, -1))
    return _Walk(more, walk.end, functional.pad(fit.weights, (0, n_more))).where_finite
