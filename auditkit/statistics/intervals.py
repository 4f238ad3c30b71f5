"""Intervals of rates, of their differences and ratios, and of means.

Counts may be fractional: with weighted rows pass the effective number of rows (:func:`effective_n`) and the
weighted rate times it. Functions named ``*_bounds`` work on arrays and return ``(low, high)``, NaN where the
denominator is 0; the others return an :class:`~auditkit.records.Interval` of one figure.
"""

import numpy as np
import numpy.typing as npt
from scipy.stats import beta, norm, t

from auditkit.errors import DataError
from auditkit.records import Interval

FloatArray = npt.NDArray[np.float64]
Bounds = tuple[FloatArray, FloatArray]

SMALL_N = 20
"""Below this many rows a rate gets the exact interval instead of the score interval."""


def wilson_bounds(successes: npt.ArrayLike, n: npt.ArrayLike, *, confidence: float = 0.95) -> Bounds:
    """Score intervals of rates ``successes / n``, elementwise.

    Source:
        Wilson (1927), JASA 22:209-212.
    """
    x, size = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    z2 = _z(confidence) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = x / size
        centre = (x + z2 / 2) / (size + z2)
        reach = np.sqrt(z2 * (size * rate * (1 - rate) + z2 / 4)) / (size + z2)
    low, high = np.clip(centre - reach, 0, 1), np.clip(centre + reach, 0, 1)
    # rounding must not push the end at 0 or 1 past the rate itself
    low, high = np.where(x == 0, 0.0, low), np.where(x == size, 1.0, high)
    return np.where(size > 0, low, np.nan), np.where(size > 0, high, np.nan)


def clopper_pearson_bounds(successes: npt.ArrayLike, n: npt.ArrayLike, *, confidence: float = 0.95) -> Bounds:
    """Exact intervals of rates: coverage is never below ``confidence``, elementwise.

    Source:
        Clopper and Pearson (1934), Biometrika 26:404-413.
    """
    x, size = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    tail = (1 - confidence) / 2
    low = np.where(x > 0, beta.ppf(tail, np.where(x > 0, x, 1), size - x + 1), 0.0)
    high = np.where(x < size, beta.ppf(1 - tail, x + 1, np.where(x < size, size - x, 1)), 1.0)
    return np.where(size > 0, low, np.nan), np.where(size > 0, high, np.nan)


def rate_bounds(successes: npt.ArrayLike, n: npt.ArrayLike, *, confidence: float = 0.95) -> Bounds:
    """Intervals of rates as the audits print them.

    Wilson's; Clopper and Pearson's where it matters to be exact: fewer than 20 rows, or a rate of 0 or 1.
    """
    x, size = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    exact = is_exact_case(x, size)
    score_low, score_high = wilson_bounds(x, size, confidence=confidence)
    exact_low, exact_high = clopper_pearson_bounds(x, size, confidence=confidence)
    return np.where(exact, exact_low, score_low), np.where(exact, exact_high, score_high)


def is_exact_case(successes: npt.ArrayLike, n: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Where :func:`rate_bounds` uses the exact interval."""
    x, size = np.asarray(successes), np.asarray(n)
    return np.asarray((size < SMALL_N) | (x == 0) | (x == size))


def wilson(successes: float, n: float, *, confidence: float = 0.95) -> Interval:
    """Score interval of one rate.

    Raises:
        DataError: ``n`` is not positive or ``successes`` lies outside ``[0, n]``.

    >>> round(wilson(805, 1795).high, 4)
    0.4716
    """
    _check_counts(successes, n)
    return _one(wilson_bounds(successes, n, confidence=confidence), confidence, "wilson")


def clopper_pearson(successes: float, n: float, *, confidence: float = 0.95) -> Interval:
    """Exact interval of one rate.

    Raises:
        DataError: ``n`` is not positive or ``successes`` lies outside ``[0, n]``.

    >>> round(clopper_pearson(0, 10).high, 4)
    0.3085
    """
    _check_counts(successes, n)
    return _one(clopper_pearson_bounds(successes, n, confidence=confidence), confidence, "clopper-pearson")


def rate(successes: float, n: float, *, confidence: float = 0.95) -> Interval:
    """Interval of one rate as the audits print it, see :func:`rate_bounds`.

    Raises:
        DataError: ``n`` is not positive or ``successes`` lies outside ``[0, n]``.
    """
    _check_counts(successes, n)
    exact = bool(is_exact_case(successes, n))
    return (clopper_pearson if exact else wilson)(successes, n, confidence=confidence)


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
    _check_counts(successes_1, n_1)
    _check_counts(successes_2, n_2)
    bounds = newcombe_bounds(successes_1, n_1, successes_2, n_2, confidence=confidence)
    return _one(bounds, confidence, "newcombe")


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
        reach = _z(confidence) * np.sqrt(1 / a1 - 1 / b1 + 1 / a2 - 1 / b2)
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
    _check_counts(successes_1, n_1)
    _check_counts(successes_2, n_2)
    if successes_2 == 0:
        return None
    return _one(
        katz_bounds(successes_1, n_1, successes_2, n_2, confidence=confidence), confidence, "katz-log"
    )


def mean_interval(
    values: npt.ArrayLike, *, weights: npt.ArrayLike | None = None, confidence: float = 0.95
) -> Interval | None:
    """Student's interval of a mean, or of a weighted mean with its linearised variance.

    Args:
        values: Finite, shape ``(n,)``.
        weights: Not negative, shape ``(n,)``; ``None`` counts every row once.
        confidence: Of the interval, in ``(0, 1)``.

    Returns:
        ``None`` where the spread is unknown: fewer than two rows carry weight.

    Raises:
        DataError: ``values`` are not finite or not one-dimensional.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all():
        raise DataError(
            f"mean: expected finite values in one dimension, got shape {x.shape} or NaN or infinity"
        )
    w = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64)
    carried = int((w > 0).sum())
    if carried < 2:
        return None
    size = effective_n(w)
    mean = float(np.average(x, weights=w))
    variance = float((w**2 * (x - mean) ** 2).sum() / w.sum() ** 2) * carried / (carried - 1)
    reach = float(t.ppf((1 + confidence) / 2, max(1.0, size - 1))) * variance**0.5
    return Interval(low=mean - reach, high=mean + reach, confidence=confidence, method="t")


def percentile_interval(
    draws: npt.ArrayLike, value: float, *, confidence: float = 0.95, method: str = "bootstrap-percentile"
) -> Interval | None:
    """Percentiles of bootstrap draws, widened to hold the figure itself.

    Args:
        draws: Replicates of one figure, shape ``(n_draws,)``; NaN marks one in which it was undefined.
        value: The figure.
        confidence: Of the interval, in ``(0, 1)``.
        method: Its name in the record.

    Returns:
        ``None`` where the figure was undefined in 5 % of the replicates or more: leaving those out would
        pretend to a precision that the sample does not have.
    """
    replicates = np.asarray(draws, dtype=np.float64)
    defined = replicates[np.isfinite(replicates)]
    if len(defined) <= 0.95 * len(replicates):
        return None
    tail = (1 - confidence) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return Interval(
        low=min(float(low), value), high=max(float(high), value), confidence=confidence, method=method
    )


def effective_n(weights: npt.ArrayLike) -> float:
    """How many equally weighted rows would carry as much: ``(sum w)^2 / sum w^2``, 0 without weight.

    Source:
        Kish (1965), Survey Sampling, section 11.7.
    """
    w = np.asarray(weights, dtype=np.float64)
    squares = float((w**2).sum())
    return float(w.sum()) ** 2 / squares if squares > 0 else 0.0


def _z(confidence: float) -> float:
    return float(norm.ppf((1 + confidence) / 2))


def _one(bounds: Bounds, confidence: float, method: str) -> Interval:
    return Interval(low=float(bounds[0]), high=float(bounds[1]), confidence=confidence, method=method)


def _check_counts(successes: float, n: float) -> None:
    if not (n > 0 and 0 <= successes <= n):
        raise DataError(f"rate: got {successes} of {n}, expected 0 <= successes <= n and n > 0")
