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
from functools import partial
from typing import Final

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.straight_path.points import StraightPath
from auditkit.audits.explainability.straight_path.progress import Goal, Sums
from auditkit.audits.explainability.straight_path.rational import (
    Between,
    Samples,
    counts_at,
    nearness,
    straight_at_middles,
    through_all,
    weights_through,
)
from auditkit.audits.explainability.straight_path.shares import Shares
from auditkit.data.dataset import BoolArray, FloatArray, IntArray

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

ALIKE: Final = 1e-6
"""Of the rises of the score: functions whose sums are off by amounts that differ less do alike, and the one
with fewest tests is taken. Rounding would choose else, and what meets all tests because units are few enough
is not seen to move by them."""

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


_TINY: Final = np.finfo(np.float64).tiny

_any_numbers = partial(np.errstate, all="ignore")
"""Where numbers that are not finite are expected, and seen to by what follows."""


@dataclass(frozen=True, slots=True)
class _Walk:
    """Paths that are not done.

    Attributes:
        samples: So far.
        end: Score at the input, shape ``(r, 1)``.
        before: Weights of the functions without the last points, shape ``(r, n)``; ``None`` at first.
    """

    samples: Samples
    end: FloatArray
    before: FloatArray | None

    def take(self, kept: IntArray) -> "_Walk":
        """The paths ``kept``, by number."""
        before = None if self.before is None else self.before.take(kept, axis=0)
        return _Walk(self.samples.take(kept), self.end.take(kept, axis=0), before)

    @property
    def where_finite(self) -> "_Walk":
        """Without the paths where something is not."""
        is_finite = self.samples.finite
        return self if is_finite.all() else self.take(np.flatnonzero(is_finite))


@dataclass(frozen=True, slots=True)
class _Fit:
    """A rational function for each path, and what it sums to.

    Attributes:
        between: The segments between the points.
        weights: Barycentric, shape ``(r, n)``.
        counts: How much each point counts in the sum over the path, shape ``(r, n)``.
        residuals: Of the score over each segment, shape ``(r, s)``.
        moved: What counts over each segment differ by from those of the function before the last points, or
            of the one through the fewest where there was none, shape ``(r, s, n)``.
        shares: How the slope of the score is shared among the units.
    """

    between: Between
    weights: FloatArray
    counts: FloatArray
    residuals: FloatArray
    moved: FloatArray
    shares: Shares

    @property
    def inner_residual(self) -> FloatArray:
        """Of the score between the outermost points, shape ``(r,)``."""
        return np.asarray(self.residuals[:, :-1].sum(axis=1))


def sums_along_curves(path: StraightPath, rows: Tensor, goal: Goal, slopes: Tensor) -> Sums:
    """Of the gradients over whole paths; the error is infinite where nothing was found.

    The numbers between gradients are few, so that what is done to them costs calls above all, of which those
    of numpy are the shortest.

    Args:
        path: Of all rows.
        rows: The paths that are meant, shape ``(r,)``.
        goal: When each of them is done; it allows for at least the first points.
        slopes: At the baseline, unit by unit, shape ``(r, m)``.
    """
    values = np.zeros(slopes.shape)
    errors = np.full(len(rows), np.inf)
    evaluations = np.full(len(rows), len(FIRST))
    walk = _started(path, rows, goal, slopes)
    while len(walk.samples.row):
        row, n, fit = walk.samples.row, walk.samples.n, _best(walk)
        sums = _sums(walk.samples, fit)
        is_found = np.isfinite(sums).all(axis=1)
        is_trusted = is_found & (np.abs(fit.inner_residual) <= TRUSTED * goal.gap.numpy()[row])
        values[row[is_found]] = sums[is_found]
        errors[row] = np.where(is_trusted, _errors(walk, fit), np.inf)
        evaluations[row] = n
        more = next((stage - n for stage in STAGES if n < stage <= goal.max_evaluations), 0)
        still = np.flatnonzero(~are_settled(goal, row, values[row], errors[row]))
        if not (more and len(still)):
            break
        places = _next_places(walk, fit, more).take(still, axis=0)
        walk = _continued(path, rows, walk.take(still), fit.weights.take(still, axis=0), places)
    return Sums(torch.from_numpy(values), torch.from_numpy(errors), torch.from_numpy(evaluations))


def are_settled(goal: Goal, row: IntArray, sums: FloatArray, errors: FloatArray) -> BoolArray:
    """Paths that are done, shape ``(r,)``, as :meth:`Sums.settle` has it.

    Args:
        goal: Of all paths.
        row: The paths that are meant, shape ``(r,)``.
        sums: Of them, unit by unit, shape ``(r, m)``.
        errors: How far off, as the length of a vector, shape ``(r,)``.
    """
    gaps = np.abs(sums.sum(axis=1) - goal.change.numpy()[row])
    lengths = np.maximum(np.sqrt(np.vecdot(sums, sums)), goal.least_length.numpy()[row])
    return np.asarray((gaps <= goal.gap.numpy()[row]) & (errors <= goal.tolerance * lengths))


def _started(path: StraightPath, rows: Tensor, goal: Goal, slopes: Tensor) -> _Walk:
    places = np.tile(FIRST, (len(rows), 1))
    scores, more = _evaluated(path, rows, places[:, 1:])
    start, end = goal.start.unsqueeze(1), (goal.start + goal.change).unsqueeze(1)
    with _any_numbers():
        samples = Samples.of(
            np.arange(len(rows)),
            places,
            np.concatenate([start.numpy(), scores], axis=1),
            np.concatenate([slopes.double().unsqueeze(1).numpy(), more], axis=1),
        )
        return _Walk(samples, end.numpy(), None).where_finite


def _continued(
    path: StraightPath, rows: Tensor, walk: _Walk, weights: FloatArray, places: FloatArray
) -> _Walk:
    """With more points at ``places``, shape ``(r, k)``; functions so far have ``weights``, ``(r, n)``."""
    scores, slopes = _evaluated(path, rows[torch.from_numpy(walk.samples.row)], places)
    before = np.concatenate([weights, np.zeros_like(places)], axis=1)
    with _any_numbers():
        samples = walk.samples.followed_by(places, scores, slopes)
        return _Walk(samples, walk.end, before).where_finite


def _evaluated(path: StraightPath, rows: Tensor, places: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Scores, shape ``(r, k)``, and slopes, ``(r, k, m)``, at ``places``, ``(r, k)``."""
    at = torch.from_numpy(places)
    scores, slopes = path.evaluate(rows.repeat_interleave(at.shape[1]), at.flatten())
    return scores.view_as(at).numpy(), slopes.double().view(*at.shape, -1).numpy()


@_any_numbers()
def _best(walk: _Walk) -> _Fit:
    """Of the functions through most of the points, the one whose slopes of the score sum up best."""
    samples, near = walk.samples, walk.samples.nearness
    between = Between.of(samples, walk.end)
    some = weights_through(samples, near, min(MOST_TESTS, samples.n // 2))
    all_points = through_all(near, some)
    # through the fewest, as few units leave one test to be met by any function: that would move nothing
    before = some[:, -1] if walk.before is None else walk.before
    counts = between.counts(np.concatenate([all_points, before[:, None]], axis=1))
    residuals = np.matvec(counts[:, :-1], samples.totals[:, None]) - between.rises[:, None]
    off = np.abs(residuals).sum(axis=2)
    alike = ALIKE * np.abs(between.rises).sum(axis=1, keepdims=True) * np.arange(off.shape[1])
    chosen = np.where(np.isnan(off), np.inf, off + alike).argmin(axis=1)
    each = np.arange(len(chosen))
    of_segments = counts[each, chosen]
    of_path = of_segments.sum(axis=1)
    return _Fit(
        between=between,
        weights=all_points[each, chosen],
        counts=of_path,
        residuals=residuals[each, chosen],
        moved=of_segments - counts[:, -1],
        shares=Shares.of(samples, of_path),
    )


@_any_numbers()
def _sums(samples: Samples, fit: _Fit) -> FloatArray:
    """Over whole paths, unit by unit, shape ``(r, m)``, with what is shared set right by the score."""
    counts = fit.counts - fit.inner_residual[:, None] * fit.shares.counts
    return np.asarray(np.vecmat(counts, samples.slopes))


@_any_numbers()
def _errors(walk: _Walk, fit: _Fit) -> FloatArray:
    """How far the sums are likely off, as the length of a vector, shape ``(r,)``.

    Residuals of the score times how much longer the vectors of units are that the last points changed than
    their sums; and all that the last points changed.
    """
    samples = walk.samples
    least = np.maximum(np.square(ROUNDING * np.abs(samples.totals).max(axis=1)), _TINY)
    inner = fit.moved[:, :-1].sum(axis=1, keepdims=True)
    squares = _squared_lengths(samples, fit, np.concatenate([inner, fit.moved], axis=1))
    of_segments = _inner_and_last(squares[:, 1:])
    of_score = _inner_and_last(np.square(np.matvec(fit.moved, samples.totals)))
    longer = of_segments / np.maximum(of_score, least[:, None])
    carried = np.vecdot(longer, _inner_and_last(np.square(fit.residuals)))
    changed = squares[:, 0] + squares[:, -1]
    errors = ERROR * np.sqrt(carried + changed)
    return np.where(np.isnan(errors), np.inf, errors)


def _inner_and_last(of_segments: FloatArray) -> FloatArray:
    """Sums over all segments but the last, and the last, shape ``(r, 2)``."""
    return np.add.reduceat(of_segments, (0, of_segments.shape[1] - 1), axis=1)


def _squared_lengths(samples: Samples, fit: _Fit, counts: FloatArray) -> FloatArray:
    """Of the vectors in which each point counts as much: ``(r, s, n)`` to ``(r, s)``.

    Between the outermost points only of what does not follow the score.
    """
    lengths = samples.squared_lengths(counts)
    apart = lengths[:, :-1] - fit.shares.following(samples, counts[:, :-1])
    lengths[:, :-1] = np.maximum(apart, 0)
    return lengths


@_any_numbers()
def _next_places(walk: _Walk, fit: _Fit, n_more: int) -> FloatArray:
    """The middles of the segments where more points are likely to change the sum most, ``(r, n_more)``."""
    samples, between = walk.samples, fit.between
    middles = between.middles
    near = nearness(middles, samples.places)
    before = straight_at_middles(samples, between) if walk.before is None else counts_at(near, walk.before)
    lengths = _squared_lengths(samples, fit, counts_at(near, fit.weights) - before)
    told = np.maximum(np.sqrt(lengths) * between.widths, np.abs(fit.residuals))
    best = np.where(np.isnan(told), -np.inf, -told).argsort(axis=1, kind="stable")[:, :n_more]
    return middles[np.arange(len(middles))[:, None], best]
