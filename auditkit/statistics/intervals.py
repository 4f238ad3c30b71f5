"""Intervals of rates and of means.

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
    z2 = critical_value(confidence) ** 2
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
    check_counts(successes, n)
    return as_interval(wilson_bounds(successes, n, confidence=confidence), confidence, "wilson")


def clopper_pearson(successes: float, n: float, *, confidence: float = 0.95) -> Interval:
    """Exact interval of one rate.

    Raises:
        DataError: ``n`` is not positive or ``successes`` lies outside ``[0, n]``.

    >>> round(clopper_pearson(0, 10).high, 4)
    0.3085
    """
    check_counts(successes, n)
    return as_interval(
        clopper_pearson_bounds(successes, n, confidence=confidence), confidence, "clopper-pearson"
    )


def rate(successes: float, n: float, *, confidence: float = 0.95) -> Interval:
    """Interval of one rate as the audits print it, see :func:`rate_bounds`.

    Raises:
        DataError: ``n`` is not positive or ``successes`` lies outside ``[0, n]``.
    """
    check_counts(successes, n)
    exact = bool(is_exact_case(successes, n))
    return (clopper_pearson if exact else wilson)(successes, n, confidence=confidence)


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


def critical_value(confidence: float) -> float:
    """The standard normal quantile of a two-sided interval: 1.96 for 0.95."""
    return float(norm.ppf((1 + confidence) / 2))


def as_interval(bounds: Bounds, confidence: float, method: str) -> Interval:
    """The bounds of a single figure as a record."""
    return Interval(low=float(bounds[0]), high=float(bounds[1]), confidence=confidence, method=method)


def check_counts(successes: float, n: float) -> None:
    """Refuse a numerator outside ``[0, n]`` and an empty denominator.

    Raises:
        DataError: They are no counts of a rate.
    """
    if not (n > 0 and 0 <= successes <= n):
        raise DataError(f"rate: got {successes} of {n}, expected 0 <= successes <= n and n > 0")
