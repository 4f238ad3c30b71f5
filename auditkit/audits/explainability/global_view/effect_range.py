"""How far a curve that was estimated at several points truly moves, from its lowest to its highest point.

The points furthest apart are picked on the same rows, so the interval of their difference alone would exclude
0 far too often. Here all pairs of points get intervals that hold together.
"""

import numpy as np
from scipy.stats import norm, t

from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Interval
from auditkit.statistics.clustered import sums_by_unit

ROUNDING = 1e-6
"""Share of the size of a curve that single precision may move it by: less is not told from 0."""

N_DRAWS = 1000
"""Of the largest error; its 95 % point is then known to about 1 %."""


def curve_bounds(
    curve: FloatArray, influence: FloatArray, *, persons: IntArray | None, confidence: float
) -> tuple[FloatArray, FloatArray] | None:
    """Pointwise intervals of a curve; ``None`` where fewer than two rows or persons are there.

    Args:
        curve: Its values, shape ``(n_points,)``.
        influence: What each row adds to the error of each point, with mean 0, shape ``(n, n_points)``; the
            error is their sum over ``n``.
        persons: Which rows belong to one person, shape ``(n,)``, or ``None``.
        confidence: Of each interval.
    """
    sums = _sums(influence, persons)
    if len(sums) < 2:
        return None
    spread = np.sqrt((sums**2).sum(axis=0) * len(sums) / (len(sums) - 1))
    reach = float(t.ppf((1 + confidence) / 2, len(sums) - 1)) * spread
    return curve - reach, curve + reach


def curve_range(
    curve: FloatArray,
    influence: FloatArray,
    *,
    persons: IntArray | None,
    confidence: float,
    rng: np.random.Generator,
) -> tuple[float, Interval | None]:
    """Highest minus lowest point of a curve, with an interval that holds although both were picked.

    All differences of two points get intervals at one critical value of the largest standardised error,
    drawn by giving every row (person) a random sign and size.

    Args:
        curve: As in :func:`curve_bounds`.
        influence: As in :func:`curve_bounds`.
        persons: As in :func:`curve_bounds`.
        confidence: Of the interval.
        rng: Draws the multipliers.

    Source:
        Chernozhukov, Chetverikov and Kato (2013), Annals of Statistics 41:2786-2819: multipliers for maxima.
    """
    value = float(curve.max() - curve.min())
    sums = _sums(influence, persons)
    n = len(sums)
    if n < 2:
        return value, None
    first, second = np.triu_indices(len(curve), k=1)
    covariance = sums.T @ sums * n / (n - 1)
    own = np.diag(covariance)
    squared = own[first] + own[second] - 2 * covariance[first, second]
    # differences of the same numbers leave rounding instead of 0
    spread = np.sqrt(np.where(squared > 1e-12 * (own[first] + own[second]), squared, 0.0))
    errors = rng.standard_normal((N_DRAWS, n)) @ sums
    moved = np.abs(errors[:, first] - errors[:, second])
    with np.errstate(divide="ignore", invalid="ignore"):
        largest = np.where(spread > 0, moved / spread, 0.0).max(axis=1, initial=0.0)
    # the draws know the spread of every difference, the rows only estimate it: as far out on Student's tail
    tail = min(float(norm.sf(np.quantile(largest, confidence))), (1 - confidence) / 2)
    reach = float(t.isf(tail, n - 1)) * spread
    distance = np.abs(curve[first] - curve[second])
    is_rounding = value <= ROUNDING * float(np.abs(curve).max())
    low = 0.0 if is_rounding else float(np.maximum(distance - reach, 0.0).max(initial=0.0))
    high = float((distance + reach).max(initial=0.0))
    interval = Interval(
        low=min(low, value), high=max(high, value), confidence=confidence, method="simultaneous-multiplier"
    )
    return value, interval


def _sums(influence: FloatArray, persons: IntArray | None) -> FloatArray:
    """Errors of the points by row or person, shape ``(n_units, n_points)``."""
    share = influence / len(influence)
    if persons is None:
        return share
    return np.column_stack([sums_by_unit(column, persons) for column in share.T])
