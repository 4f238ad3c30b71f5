"""How far predictions among several classes differ between groups, with intervals that hold at equality.

The plain distance between two samples is never below 0 and exceeds the true one on average, most where the
truth is 0. None of the intervals here therefore takes percentiles of distances; they bound the error of the
samples instead.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.stats import chi2, ncx2

from auditkit.statistics.counts import FloatArray
from auditkit.statistics.intervals import Bounds, critical_value

MOST_PAIRED = 60
"""Up to so many groups the noise of every pair is drawn; beyond, that of each group: conservative."""


@dataclass(frozen=True, slots=True)
class LargestDistance:
    """The largest total variation distance between the class shares of two groups.

    Attributes:
        value: Of the two groups furthest apart, ``1/2 sum |p - q|`` in ``[0, 1]``.
        low: Lower end of its interval.
        high: Upper end.
        pair: The two groups.
        by_chance: What two samples of these sizes would show on average if their shares did not differ.
    """

    value: float
    low: float
    high: float
    pair: tuple[int, int]
    by_chance: float


def largest_total_variation(
    shares: FloatArray, n: FloatArray, *, confidence: float, n_draws: int, rng: np.random.Generator
) -> LargestDistance | None:
    """Largest total variation distance between groups.

    By the triangle inequality the distance of two samples is off by no more than the distance that their
    errors make. The size of errors is drawn from the multinomial law around the shares found, with half a row
    added to every class; one critical value, in units of ``sqrt(1/n_a + 1/n_b)``, serves all pairs.

    Args:
        shares: Share of every class in every group, shape ``(n_groups, k)``.
        n: Rows per group; effective numbers where they are weighted or of the same persons, positive.
        confidence: That the interval holds, all pairs taken together.
        n_draws: Number of samples drawn.
        rng: Source of randomness.

    Returns:
        ``None`` with fewer than two groups.
    """
    if len(shares) < 2:
        return None
    errors = _errors(shares, n, n_draws, rng)
    critical = float(np.quantile(_largest_error(errors, n), confidence))
    best = LargestDistance(-1.0, 0.0, 0.0, (0, 1), 0.0)
    low = high = 0.0
    for first in range(len(shares) - 1):
        distance = np.abs(shares[first + 1 :] - shares[first]).sum(axis=1) / 2
        reach = critical * np.sqrt(1 / n[first] + 1 / n[first + 1 :])
        low, high = max(low, float((distance - reach).max())), max(high, float((distance + reach).max()))
        second = int(distance.argmax())
        if distance[second] > best.value:
            best = LargestDistance(float(distance[second]), 0.0, 0.0, (first, first + 1 + second), 0.0)
    a, b = best.pair
    by_chance = float(np.abs(errors[:, a] - errors[:, b]).sum(axis=1).mean() / 2)
    return LargestDistance(best.value, low, min(1.0, high), best.pair, by_chance)


def cramers_v(table: FloatArray) -> float | None:
    """Bias-corrected strength of association of a table of (effective) counts, in ``[0, 1]``.

    Returns:
        ``None`` where fewer than two rows or columns are occupied, or there are too few counts.

    Source:
        Bergsma (2013), Journal of the Korean Statistical Society 42:323-328.

    >>> round(cramers_v(np.array([[10.0, 0.0], [0.0, 10.0]])), 9)
    1.0
    """
    occupied = _occupied(table)
    statistic, df, scale = _chi_square(occupied)
    if df < 1 or scale <= 0:
        return None
    return float(min(1.0, np.sqrt(max(0.0, (statistic - df * _per_row(occupied))) / scale)))


def cramers_v_bounds(table: FloatArray, *, confidence: float) -> tuple[float, float]:
    """Interval of :func:`cramers_v`: the noncentralities that the chi-square statistic does not exclude.

    Raises:
        ValueError: The association is undefined.

    Source:
        Smithson (2003), Confidence Intervals, chapter 4.
    """
    statistic, df, scale = _chi_square(_occupied(table))
    value = cramers_v(table)
    if value is None:
        raise ValueError("the association of a table with one row or column is undefined")
    tail = (1 - confidence) / 2
    ends = (_noncentrality(statistic, df, level) for level in (1 - tail, tail))
    low, high = (min(1.0, float(np.sqrt(end / scale))) for end in ends)
    return min(low, value), max(high, value)


def macro_f1(counts: FloatArray) -> FloatArray:
    """Mean F1 of the classes that occur among labels or predictions of each group; NaN without rows.

    Args:
        counts: Weights per (group, label, prediction), shape ``(n_groups, k, k)``.
    """
    hits, margin = _hits_and_margins(counts)
    occurs = margin > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        each = np.where(occurs, 2 * hits / margin, 0.0)
        return np.asarray(each.sum(axis=1) / occurs.sum(axis=1), dtype=np.float64)


def macro_f1_influence(counts: FloatArray) -> FloatArray:
    """Derivative of :func:`macro_f1` by every cell, shape ``(n_groups, k, k)``; 0 without rows."""
    hits, margin = _hits_and_margins(counts)
    occurs = margin > 0
    n_classes = np.maximum(occurs.sum(axis=1), 1)[:, None]
    safe = np.where(occurs, margin, 1.0)
    gain, loss = 2 / safe / n_classes * occurs, 2 * hits / safe**2 / n_classes * occurs
    influence = -(loss[:, :, None] + loss[:, None, :])
    diagonal = np.arange(counts.shape[1])
    influence[:, diagonal, diagonal] += gain
    return np.asarray(influence, dtype=np.float64)


def macro_f1_bounds(counts: FloatArray, confidence: float) -> Bounds:
    """Intervals of :func:`macro_f1` from effective counts: the delta method on the scale of logits.

    One row per class that occurs is spread over all its predictions, so that a few rows never look certain.
    """
    value = macro_f1(counts)
    occurs = _hits_and_margins(counts)[1] > 0
    cells = occurs[:, :, None] & occurs[:, None, :]
    added = cells / np.maximum(occurs.sum(axis=1), 1)[:, None, None]
    padded = counts + added
    centre = macro_f1(padded)
    variance = (padded * macro_f1_influence(padded) ** 2).sum(axis=(1, 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        logit = np.log(centre / (1 - centre))
        reach = critical_value(confidence) * np.sqrt(variance) / (centre * (1 - centre))
        low, high = 1 / (1 + np.exp(reach - logit)), 1 / (1 + np.exp(-reach - logit))
    # one class alone is always right, and that is all that can be said
    low, high = np.nan_to_num(low, nan=0.0), np.nan_to_num(high, nan=1.0)
    return np.minimum(low, value), np.maximum(high, value)


def _hits_and_margins(counts: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Right rows of each class, and its labels plus its predictions, shape ``(n_groups, k)`` each."""
    return np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2) + counts.sum(axis=1)


def _errors(shares: FloatArray, n: FloatArray, n_draws: int, rng: np.random.Generator) -> FloatArray:
    """Errors of class shares, shape ``(n_draws, n_groups, k)``."""
    k = shares.shape[1]
    errors = np.empty((n_draws, *shares.shape))
    # drawn in an order that does not depend on the names of the groups
    for group in np.lexsort((*shares.T, n)):
        rows = max(1, round(float(n[group])))
        smooth = (shares[group] * n[group] + 0.5) / (n[group] + 0.5 * k)
        smooth /= smooth.sum()
        errors[:, group] = rng.multinomial(rows, smooth, size=n_draws) / rows - smooth
    return errors


def _largest_error(errors: FloatArray, n: FloatArray) -> FloatArray:
    """In every draw the largest distance that errors make between two groups, in units of the reach."""
    if len(n) > MOST_PAIRED:
        own = np.abs(errors).sum(axis=2) / 2 * np.sqrt(n)
        # 1 / sqrt(a) + 1 / sqrt(b) never exceeds sqrt(2) times sqrt(1 / a + 1 / b)
        return np.asarray(np.sqrt(2) * own.max(axis=1))
    largest = np.zeros(len(errors))
    for first in range(len(n) - 1):
        apart = np.abs(errors[:, first + 1 :] - errors[:, [first]]).sum(axis=2) / 2
        largest = np.maximum(largest, (apart / np.sqrt(1 / n[first] + 1 / n[first + 1 :])).max(axis=1))
    return largest


def _occupied(table: FloatArray) -> FloatArray:
    rows, columns = table.sum(axis=1) > 0, table.sum(axis=0) > 0
    return np.asarray(table[rows][:, columns], dtype=np.float64)


def _per_row(table: FloatArray) -> float:
    """Turns degrees of freedom into the expected statistic of independent rows and columns."""
    total = float(table.sum())
    return total / (total - 1) if total > 1 else 1.0


def _chi_square(table: FloatArray) -> tuple[float, int, float]:
    """Pearson's statistic, its degrees of freedom, and the statistic of a perfect association."""
    rows, columns = table.shape
    total = float(table.sum())
    df = (rows - 1) * (columns - 1)
    if df < 1 or total <= 1:
        return 0.0, 0, 0.0
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
    statistic = float(((table - expected) ** 2 / expected).sum())
    smaller = min(r - (r - 1) ** 2 / (total - 1) for r in (rows, columns))
    return statistic, df, total * (smaller - 1)


def _noncentrality(statistic: float, df: int, level: float) -> float:
    """The noncentrality at which the statistic is the quantile ``level``; 0 where none is that small."""
    if chi2.cdf(statistic, df) <= level:
        return 0.0
    top = statistic + 50.0
    while ncx2.cdf(statistic, df, top) > level:
        top *= 2
    return float(brentq(lambda shift: ncx2.cdf(statistic, df, max(shift, 1e-12)) - level, 0.0, top))
