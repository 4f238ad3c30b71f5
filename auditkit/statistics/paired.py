"""Intervals for the change of a rate when the same rows are judged twice."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from auditkit.errors import DataError
from auditkit.records import Interval
from auditkit.statistics.intervals import Bounds, FloatArray, as_interval, critical_value

HALVINGS = 60
"""Bisections of [-1, 1]: leaves an error near 2e-18, below double precision."""


def tango_bounds(
    gained: npt.ArrayLike, lost: npt.ArrayLike, n: npt.ArrayLike, *, confidence: float = 0.95
) -> Bounds:
    """Score intervals of ``(gained - lost) / n``, the change of a rate over the same ``n`` rows, elementwise.

    Also informative where no row changed: the interval then is about ``+-3.84 / n`` at 95 %.

    Args:
        gained: Rows that count the second time only.
        lost: Rows that count the first time only.
        n: All rows judged twice; may be an effective number, with counts scaled to it.
        confidence: Of the interval, in ``(0, 1)``.

    Returns:
        Low and high ends in ``[-1, 1]``, NaN where ``n`` is 0.

    Source:
        Tango (1998), Statistics in Medicine 17:891-908.
    """
    b, c, size = (np.asarray(a, dtype=np.float64) for a in np.broadcast_arrays(gained, lost, n))
    z = critical_value(confidence)
    with np.errstate(divide="ignore", invalid="ignore"):
        change = (b - c) / size
    low = _bisect(lambda delta: _score(delta, b, c, size) > z, np.full_like(size, -1.0), change)
    high = _bisect(lambda delta: _score(delta, b, c, size) > -z, change, np.full_like(size, 1.0))
    return np.where(size > 0, low, np.nan), np.where(size > 0, high, np.nan)


def tango(gained: float, lost: float, n: float, *, confidence: float = 0.95) -> Interval:
    """Score interval of one change ``(gained - lost) / n``, see :func:`tango_bounds`.

    Raises:
        DataError: ``n`` is not positive, a count is negative, or more rows changed than there are.

    >>> interval = tango(0, 0, 44)
    >>> round(interval.high, 4)
    0.0803
    """
    if not (n > 0 and gained >= 0 and lost >= 0 and gained + lost <= n):
        raise DataError(
            f"paired change: got {gained} gained and {lost} lost of {n}, expected counts with a sum within n"
        )
    return as_interval(tango_bounds(gained, lost, n, confidence=confidence), confidence, "tango")


def _score(delta: FloatArray, gained: FloatArray, lost: FloatArray, n: FloatArray) -> FloatArray:
    """Score statistic of the hypothesis that the change is ``delta``; falls as ``delta`` grows."""
    linear = -gained - lost + (2 * n - gained + lost) * delta
    constant = -lost * delta * (1 - delta)
    with np.errstate(divide="ignore", invalid="ignore"):
        share_lost = (np.sqrt(np.maximum(linear**2 - 8 * n * constant, 0)) - linear) / (4 * n)
        variance = n * (2 * share_lost + delta * (1 - delta))
        excess = gained - lost - n * delta
        score = excess / np.sqrt(np.maximum(variance, 0))
    # at the rim the variance vanishes; a zero excess over it is no evidence either way
    return np.where(excess == 0, 0.0, score)


def _bisect(
    above: Callable[[FloatArray], npt.NDArray[np.bool_]], left: FloatArray, right: FloatArray
) -> FloatArray:
    for _ in range(HALVINGS):
        middle = (left + right) / 2
        go_right = above(middle)
        left, right = np.where(go_right, middle, left), np.where(go_right, right, middle)
    return (left + right) / 2
