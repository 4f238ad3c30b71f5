"""Rates, means and paired changes of rows that may be weighted and may share a person.

Rows of one person are not independent: the variance is that of the sums over persons, and a rate gets the
interval of as many independent rows as would have that variance.
"""

import numpy as np
import numpy.typing as npt

from auditkit.errors import DataError
from auditkit.records import Interval
from auditkit.statistics.intervals import effective_n, mean_interval, rate
from auditkit.statistics.paired import tango
from auditkit.statistics.ratios import ratio_of_totals

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


def sums_by_unit(values: npt.ArrayLike, units: npt.ArrayLike | None) -> FloatArray:
    """Sums over the rows of each unit, in the order of the units' codes; the values themselves without units.

    Args:
        values: Shape ``(n,)``.
        units: Which rows belong together, shape ``(n,)``; any integers. ``None``: every row stands alone.
    """
    x = np.asarray(values, dtype=np.float64)
    if units is None:
        return x
    codes = np.unique(np.asarray(units), return_inverse=True)[1].reshape(-1)
    return np.asarray(np.bincount(codes, weights=x), dtype=np.float64)


def variance_of_sum(influence: npt.ArrayLike, units: npt.ArrayLike | None) -> float:
    """Variance of an estimate from the influence of its rows, which add up to about 0.

    Source:
        Cochran (1977), Sampling Techniques, section 9A.5: clusters drawn with equal chances.
    """
    sums = sums_by_unit(influence, units)
    carried = int((sums != 0).sum())
    return float((sums**2).sum()) * carried / (carried - 1) if carried > 1 else 0.0


def clustered_rate(
    hits: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    units: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> tuple[float, Interval]:
    """A share of rows, with the interval of a rate at the effective number of rows.

    Args:
        hits: True or False, shape ``(n,)``.
        weights: Not negative, shape ``(n,)``; ``None`` counts every row once.
        units: Which rows belong together, shape ``(n,)``; ``None``: every row stands alone.
        confidence: Of the interval, in ``(0, 1)``.

    Raises:
        DataError: No row carries weight.

    Source:
        Korn and Graubard (1998), Survey Methodology 24:193-201: the effective number of rows.

    >>> clustered_rate([True, False, False, False], units=[1, 1, 2, 2])[0]
    0.25
    """
    x = np.asarray(hits, dtype=np.float64)
    w = _weights(weights, len(x))
    value = float(np.average(x, weights=w))
    size = _effective(value * (1 - value), w / w.sum() * (x - value), w, units, plain=weights is None)
    return value, rate(min(max(value * size, 0.0), size), size, confidence=confidence)


def clustered_change(
    steps: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    units: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> tuple[float, Interval]:
    """Change of a rate when the same rows are judged twice, with Tango's interval at the effective number.

    Args:
        steps: 1 where a row counts the second time only, -1 the first time only, else 0; shape ``(n,)``.
        weights: As in :func:`clustered_rate`.
        units: As in :func:`clustered_rate`.
        confidence: Of the interval, in ``(0, 1)``.

    Raises:
        DataError: No row carries weight.
    """
    x = np.asarray(steps, dtype=np.float64)
    w = _weights(weights, len(x))
    gained, lost = (float(np.average(x == side, weights=w)) for side in (1, -1))
    value = gained - lost
    spread = gained + lost - value**2
    size = _effective(spread, w / w.sum() * (x - value), w, units, plain=weights is None)
    gained, lost = gained * size, lost * size
    interval = tango(gained, min(lost, size - gained), size, confidence=confidence)
    low, high = min(interval.low, value), max(interval.high, value)
    return value, interval.model_copy(update={"low": low, "high": high})


def clustered_mean(
    values: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    units: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> tuple[float, Interval | None]:
    """A mean, with Student's interval over persons; ``None`` where fewer than two carry weight.

    Args:
        values: Finite, shape ``(n,)``.
        weights: As in :func:`clustered_rate`.
        units: As in :func:`clustered_rate`.
        confidence: Of the interval, in ``(0, 1)``.

    Raises:
        DataError: No row carries weight.
    """
    x = np.asarray(values, dtype=np.float64)
    w = _weights(weights, len(x))
    if units is not None:
        return ratio_of_totals(sums_by_unit(w * x, units), sums_by_unit(w, units), confidence=confidence)
    return float(np.average(x, weights=w)), mean_interval(x, weights=weights, confidence=confidence)


def _weights(weights: npt.ArrayLike | None, n: int) -> FloatArray:
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    if not w.sum() > 0:
        raise DataError(f"rate: none of {n} rows carries weight; leave the figure out and say why")
    return w


def _effective(
    spread: float, influence: FloatArray, w: FloatArray, units: npt.ArrayLike | None, *, plain: bool
) -> float:
    """Independent rows that would have the variance of the estimate; never more than the rows carry."""
    if units is None:
        return float(len(w)) if plain else effective_n(w)
    variance = variance_of_sum(influence, units)
    independent = effective_n(sums_by_unit(w, units))
    return min(spread / variance, effective_n(w)) if variance > 0 and spread > 0 else independent
