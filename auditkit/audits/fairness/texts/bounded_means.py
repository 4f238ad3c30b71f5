"""Means of bounded figures over templates, with intervals that never claim certainty."""

import numpy as np
from scipy.stats import t

from auditkit.data.dataset import FloatArray
from auditkit.records import Interval
from auditkit.statistics.intervals import clopper_pearson, mean_interval

NO_SPREAD = 1e-9
"""Values no further apart are equal but for rounding."""


def bounded_mean(values: FloatArray, *, low: float, high: float, confidence: float) -> tuple[float, Interval]:
    """The mean of independent values in ``[low, high]``.

    Student's interval, cut at the bounds. Where all values are equal it would have no length: as many values
    as none out of ``n`` leaves possible (Clopper and Pearson) might then still lie at either bound.

    Args:
        values: At least one, shape ``(n,)``.
        low: Smallest possible value.
        high: Largest possible value.
        confidence: Of the interval, in ``(0, 1)``.
    """
    value = float(values.mean())
    interval = mean_interval(values, confidence=confidence) if np.ptp(values) > NO_SPREAD else None
    if interval is None:
        return value, beyond_doubt(value, len(values), low=low, high=high, confidence=confidence)
    return value, interval.model_copy(
        update={"low": max(low, interval.low), "high": min(high, interval.high)}
    )


def beyond_doubt(value: float, *sizes: int, low: float, high: float, confidence: float) -> Interval:
    """How far a mean might still be from one value that all of a sample share.

    Args:
        value: That value.
        sizes: Number of values; several where the figure rests on several samples.
        low: Smallest possible value.
        high: Largest possible value.
        confidence: Of the interval.
    """
    other = min(1.0, sum(clopper_pearson(0, n, confidence=confidence).high for n in sizes))
    return Interval(
        low=value - other * (value - low),
        high=value + other * (high - value),
        confidence=confidence,
        method="clopper-pearson",
    )


def p_of_zero(values: FloatArray) -> float:
    """Two-sided p-value of the hypothesis that the mean is 0 (Student).

    Where all values are equal it is the level at which :func:`beyond_doubt` within ``[-1, 1]`` reaches 0.
    """
    n, mean = len(values), float(values.mean())
    if np.ptp(values) <= NO_SPREAD:
        return 1.0 if abs(mean) <= NO_SPREAD else float(min(1.0, 2 * (1 + abs(mean)) ** -n))
    error = float(values.std(ddof=1)) / n**0.5
    return float(2 * t.sf(abs(mean) / error, n - 1))
