"""Intervals of the largest gap between groups that hold although the two groups were picked for it.

The groups furthest apart are found on the same data, so an interval made for a pair chosen in advance would
exclude zero far too often (and the percentile bootstrap of max - min practically always). Here every pair
gets an interval at a critical value under which *all* pairs hold together with the stated confidence, and the
largest gap exceeds the largest of their lower ends. The pairs get Newcombe's interval for the difference and
its counterpart for the ratio, so that both always agree on whether there is a gap.

From above no pair is picked: the largest gap can exceed the upper ends of all pairs only if it exceeds that
of the one pair that is truly furthest apart. Hence the largest of the upper ends at the stated confidence
itself bounds it as surely as that of a single pair. Both ends together fail no more often than stated, for
where the upper end can fail at all, the lower fails in one direction only (``benchmarks/coverage.py``). With
three groups or more that end rests on exact intervals of the rates: score intervals of small groups that lie
far apart end too early on that side (30 against 30 rows at 0.1 and 0.9: 7 % of samples instead of 2.5 %).

The critical value is that of the studentised range for infinitely many degrees of freedom, divided by the
square root of 2 (Tukey; conservative for unequal group sizes: Hayter 1984, Annals of Statistics 12:61-75). It
is a little sharper than Bonferroni's and exact in the limit for equal groups.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, studentized_range

from auditkit.errors import DataError
from auditkit.records import Interval
from auditkit.statistics.comparisons import difference_bounds, ratio_bounds
from auditkit.statistics.intervals import Bounds, FloatArray, clopper_pearson_bounds, wilson_bounds

IntArray = npt.NDArray[np.int64]

MOST_WITH_ALL_PAIRS = 200
"""Up to so many groups all pairs are looked at: 20,000 of them."""


@dataclass(frozen=True, slots=True)
class Disparity:
    """The gap between the two groups furthest apart.

    Attributes:
        value: Difference or ratio of their rates.
        interval: Holds for the groups that are truly furthest apart, whichever they are.
        lowest: Index of the group with the lowest rate; the first of equals.
        highest: Index of the group with the highest rate; never the same as ``lowest``.
        clearest: Indices (lower, higher) of the pair whose own interval shows the largest gap. Groups of a
            few rows are often furthest apart by accident; this is the pair to name.
    """

    value: float
    interval: Interval
    lowest: int
    highest: int
    clearest: tuple[int, int]


def largest_difference(
    successes: npt.ArrayLike, n: npt.ArrayLike, *, confidence: float = 0.95
) -> Disparity | None:
    """Highest minus lowest of the rates ``successes / n`` of independent groups.

    Args:
        successes: Numerators, shape ``(n_groups,)``; fractional where rows are weighted.
        n: Denominators (effective ones where rows are weighted), positive.
        confidence: That the interval holds, whichever groups are furthest apart.

    Returns:
        A difference in ``[0, 1]``, or ``None`` with fewer than two groups.

    Raises:
        DataError: A denominator is not positive or a numerator exceeds it.
    """
    x, size = _checked(successes, n)
    if len(x) < 2:
        return None
    joint = wilson_bounds(x, size, confidence=pair_confidence(len(x), confidence))
    each = _each_bounds(x, size, confidence)
    return largest_gap(x / size, joint, each, confidence=confidence, method="simultaneous-newcombe")


def largest_gap(
    values: npt.ArrayLike, joint: Bounds, each: Bounds, *, confidence: float, method: str
) -> Disparity | None:
    """Highest minus lowest of any figures of independent groups.

    Args:
        values: One figure per group, shape ``(n_groups,)``.
        joint: Their intervals at ``pair_confidence(n_groups, confidence)``, from which those of the pairs
            follow (see :func:`~auditkit.statistics.comparisons.difference_bounds`); for the lower end.
        each: Their intervals at ``confidence``; for the upper end.
        confidence: That the interval holds, whichever groups are furthest apart.
        method: Its name in the record.

    Returns:
        A difference that is not negative, or ``None`` with fewer than two groups.
    """
    figures = np.asarray(values, dtype=np.float64)
    if len(figures) < 2:
        return None
    first, second = _pairs_that_matter(figures, joint, each)
    (low, high), (least, most) = (
        difference_bounds(
            figures[first], (lows[first], highs[first]), figures[second], (lows[second], highs[second])
        )
        for lows, highs in (joint, each)
    )
    lowest, highest = _extremes(figures)
    first_higher = low >= -high
    clearest = int(np.maximum(low, -high).argmax())
    pair = (int(second[clearest]), int(first[clearest]))
    return Disparity(
        value=float(figures[highest] - figures[lowest]),
        interval=Interval(
            low=max(0.0, float(np.maximum(low, -high).max())),
            high=float(np.maximum(most, -least).max()),
            confidence=confidence,
            method=method,
        ),
        lowest=lowest,
        highest=highest,
        clearest=pair if first_higher[clearest] else pair[::-1],
    )


def smallest_ratio(
    successes: npt.ArrayLike, n: npt.ArrayLike, *, confidence: float = 0.95
) -> Disparity | None:
    """Lowest divided by highest of the rates ``successes / n`` of independent groups.

    Args:
        successes: Numerators, shape ``(n_groups,)``; fractional where rows are weighted.
        n: Denominators (effective ones where rows are weighted), positive.
        confidence: That the interval holds, whichever groups are furthest apart.

    Returns:
        A ratio in ``[0, 1]``, or ``None`` with fewer than two groups or where every rate is 0.

    Raises:
        DataError: A denominator is not positive or a numerator exceeds it.
    """
    x, size = _checked(successes, n)
    rates = x / size
    if len(x) < 2 or not rates.any():
        return None
    joint = wilson_bounds(x, size, confidence=pair_confidence(len(x), confidence))
    each = _each_bounds(x, size, confidence)
    first, second = _pairs_that_matter(rates, joint, each)
    # one direction of each pair is enough, the other is its reciprocal; 0 / 0 pairs say nothing
    swap = rates[first] > rates[second]
    top, bottom = np.where(swap, first, second), np.where(swap, second, first)
    top, bottom = top[rates[top] > 0], bottom[rates[top] > 0]
    (_, high), (low, most) = (
        ratio_bounds(rates[bottom], (lows[bottom], highs[bottom]), rates[top], (lows[top], highs[top]))
        for lows, highs in (joint, each)
    )
    lowest, highest = _extremes(rates)
    return Disparity(
        value=float(rates[lowest] / rates[highest]),
        interval=Interval(
            low=float(np.minimum(low, 1 / most).min()),
            high=min(1.0, float(high.min())),
            confidence=confidence,
            method="simultaneous-score-ratio",
        ),
        lowest=lowest,
        highest=highest,
        clearest=(int(bottom[high.argmin()]), int(top[high.argmin()])),
    )


@lru_cache(maxsize=256)
def pair_confidence(n_groups: int, confidence: float = 0.95) -> float:
    """Confidence at which each pair is taken so that all pairs hold together with ``confidence``.

    Raises:
        DataError: Fewer than two groups.

    >>> round(pair_confidence(2), 6)
    0.95
    """
    if n_groups < 2:
        raise DataError(f"pairs of groups: got {n_groups} groups, expected at least 2")
    critical = float(studentized_range.ppf(confidence, n_groups, np.inf)) / np.sqrt(2)
    return float(2 * norm.cdf(critical) - 1)


def _checked(successes: npt.ArrayLike, n: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, size = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    # weighted rates times effective sizes may exceed the size by a rounding error
    slack = 1e-9 * np.maximum(size, 1)
    if x.shape != size.shape or x.ndim != 1 or not ((size > 0) & (x >= 0) & (x <= size + slack)).all():
        raise DataError(
            f"groups: got {x.tolist()} of {size.tolist()}, expected 0 <= successes <= n and n > 0 for each; "
            "leave groups without a denominator out and name them"
        )
    return np.minimum(x, size), size


def _each_bounds(x: FloatArray, size: FloatArray, confidence: float) -> Bounds:
    """Intervals of the rates for the end away from no gap; two groups get Newcombe's interval unchanged."""
    bounds = wilson_bounds if len(x) == 2 else clopper_pearson_bounds
    return bounds(x, size, confidence=confidence)


def _pairs_that_matter(values: FloatArray, joint: Bounds, each: Bounds) -> tuple[IntArray, IntArray]:
    """Indices of the groups of every pair that could decide an end; all pairs unless there are very many.

    An end rises with the higher figure, falls with the lower one and depends on one reach of each. A group
    is left out where two others are at least as good in both respects (one of them may be its partner).
    """
    if len(values) <= MOST_WITH_ALL_PAIRS:
        return np.triu_indices(len(values), 1)
    fronts = [
        _two_fronts(values, joint[0] - values),
        _two_fronts(-values, values - joint[1]),
        _two_fronts(values, each[1] - values),
        _two_fronts(-values, values - each[0]),
    ]
    groups = np.unique(np.concatenate(fronts))
    first, second = np.triu_indices(len(groups), 1)
    return groups[first], groups[second]


def _two_fronts(first: FloatArray, second: FloatArray) -> IntArray:
    """Indices at which no other is larger in both, and those of which this holds once they are gone."""
    order = np.lexsort((-second, -first))
    found = []
    for _ in range(2):
        best = np.maximum.accumulate(second[order])
        on_front = np.concatenate([[True], second[order][1:] > best[:-1]])
        found.append(order[on_front])
        order = order[~on_front]
        if not len(order):
            break
    return np.concatenate(found)


def _extremes(rates: FloatArray) -> tuple[int, int]:
    """Lowest and highest, two different groups also when all rates are equal."""
    lowest = int(rates.argmin())
    others = np.where(np.arange(len(rates)) == lowest, -np.inf, rates)
    return lowest, int(others.argmax())
