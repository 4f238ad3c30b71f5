"""Intervals of differences and ratios of two independent samples.

Counts may be fractional, as in :mod:`auditkit.statistics.intervals`. Functions named ``*_bounds`` work on
arrays and return ``(low, high)``, NaN where the comparison is undefined.
"""

import numpy as np
import numpy.typing as npt

from auditkit.records import Interval
from auditkit.statistics.intervals import Bounds, as_interval, check_counts, critical_value, wilson_bounds


def newcombe_bounds(
    successes_1: npt.ArrayLike,
    n_1: npt.ArrayLike,
    successes_2: npt.ArrayLike,
    n_2: npt.ArrayLike,
    *,
    confidence: float = 0.95,
) -> Bounds:
    """Intervals of ``rate_1 - rate_2`` of independent samples: the hybrid score method, elementwise.

    Source:
        Newcombe (1998), Statistics in Medicine 17:873-890, method 10.
    """
    x1, size1 = np.asarray(successes_1, dtype=np.float64), np.asarray(n_1, dtype=np.float64)
    x2, size2 = np.asarray(successes_2, dtype=np.float64), np.asarray(n_2, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate_1, rate_2 = x1 / size1, x2 / size2
    return difference_bounds(
        rate_1,
        wilson_bounds(x1, size1, confidence=confidence),
        rate_2,
        wilson_bounds(x2, size2, confidence=confidence),
    )


def newcombe_difference(
    successes_1: float, n_1: float, successes_2: float, n_2: float, *, confidence: float = 0.95
) -> Interval:
    """Interval of one difference ``rate_1 - rate_2``, see :func:`newcombe_bounds`.

    Raises:
        DataError: A denominator is not positive or a count lies outside ``[0, n]``.

    >>> round(newcombe_difference(805, 1795, 349, 1488).low, 4)
    0.1821
    """
    check_counts(successes_1, n_1)
    check_counts(successes_2, n_2)
    bounds = newcombe_bounds(successes_1, n_1, successes_2, n_2, confidence=confidence)
    return as_interval(bounds, confidence, "newcombe")


def difference_bounds(
    value_1: npt.ArrayLike, bounds_1: Bounds, value_2: npt.ArrayLike, bounds_2: Bounds
) -> Bounds:
    """Intervals of ``value_1 - value_2`` from the intervals of two independent figures.

    The variance towards each end is recovered from the matching ends of the two intervals.

    Source:
        Zou and Donner (2008), Statistics in Medicine 27:1693-1702.
    """
    v1, v2 = np.asarray(value_1, dtype=np.float64), np.asarray(value_2, dtype=np.float64)
    low = v1 - v2 - np.hypot(v1 - bounds_1[0], bounds_2[1] - v2)
    high = v1 - v2 + np.hypot(bounds_1[1] - v1, v2 - bounds_2[0])
    return low, high


def ratio_bounds(
    value_1: npt.ArrayLike, bounds_1: Bounds, value_2: npt.ArrayLike, bounds_2: Bounds
) -> Bounds:
    """Intervals of ``value_1 / value_2`` from the intervals of two independent figures that are not negative.

    With the same bounds it excludes 1 exactly when :func:`difference_bounds` excludes 0, and a first figure
    of 0 needs no correction. Both ends are NaN where ``value_2`` is 0.

    Source:
        Donner and Zou (2012), Statistical Methods in Medical Research 21:347-359.
    """
    v1, v2 = np.asarray(value_1, dtype=np.float64), np.asarray(value_2, dtype=np.float64)
    product = v1 * v2
    top_low, top_high = (bound * (2 * v1 - bound) for bound in bounds_1)
    base_low, base_high = (bound * (2 * v2 - bound) for bound in bounds_2)
    with np.errstate(divide="ignore", invalid="ignore"):
        # the textbook form divides two differences that both vanish when the upper bound is twice the value
        low = top_low / (product + np.sqrt(np.maximum(product**2 - top_low * base_high, 0)))
        high = (product + np.sqrt(np.maximum(product**2 - top_high * base_low, 0))) / base_low
    defined = v2 > 0
    return np.where(defined, np.where(v1 == 0, 0.0, low), np.nan), np.where(defined, high, np.nan)


def katz_bounds(
    successes_1: npt.ArrayLike,
    n_1: npt.ArrayLike,
    successes_2: npt.ArrayLike,
    n_2: npt.ArrayLike,
    *,
    confidence: float = 0.95,
) -> Bounds:
    """Intervals of ``rate_1 / rate_2`` of independent samples on the log scale, elementwise.

    A rate of 0 or 1 has no standard error on that scale. Where one occurs, both samples get half a success
    and half a failure for the interval (not for the figure), which is then widened to hold the figure. Where
    ``rate_2`` is 0 the ratio is undefined and both ends are NaN.

    Source:
        Katz, Baptista, Azen and Pike (1978), Biometrics 34:469-474; the added halves: Agresti (1999),
        Biometrics 55:597-602.
    """
    x1, size1, x2, size2 = (
        np.asarray(a, dtype=np.float64) for a in np.broadcast_arrays(successes_1, n_1, successes_2, n_2)
    )
    extreme = (x1 == 0) | (x1 == size1) | (x2 == size2)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = (x1 / size1) / (x2 / size2)
        a1, a2 = x1 + 0.5 * extreme, x2 + 0.5 * extreme
        b1, b2 = size1 + extreme, size2 + extreme
        centre = np.log((a1 / b1) / (a2 / b2))
        reach = critical_value(confidence) * np.sqrt(1 / a1 - 1 / b1 + 1 / a2 - 1 / b2)
        low, high = np.exp(centre - reach), np.exp(centre + reach)
    defined = (x2 > 0) & (size1 > 0)
    low = np.where(x1 == 0, 0.0, np.minimum(low, ratio))
    return np.where(defined, low, np.nan), np.where(defined, np.maximum(high, ratio), np.nan)


def katz_ratio(
    successes_1: float, n_1: float, successes_2: float, n_2: float, *, confidence: float = 0.95
) -> Interval | None:
    """Interval of one ratio ``rate_1 / rate_2``, see :func:`katz_bounds`.

    Returns:
        ``None`` where ``rate_2`` is 0: the ratio is undefined.

    Raises:
        DataError: A denominator is not positive or a count lies outside ``[0, n]``.

    >>> round(katz_ratio(805, 1795, 349, 1488).high, 3)
    2.124
    """
    check_counts(successes_1, n_1)
    check_counts(successes_2, n_2)
    if successes_2 == 0:
        return None
    return as_interval(
        katz_bounds(successes_1, n_1, successes_2, n_2, confidence=confidence), confidence, "katz-log"
    )
