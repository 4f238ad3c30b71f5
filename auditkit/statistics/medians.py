"""Intervals of medians without an assumption about the distribution."""

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from auditkit.errors import DataError
from auditkit.records import Interval


def median_interval(values: npt.ArrayLike, *, confidence: float = 0.95) -> Interval | None:
    """The interval between two order statistics that holds the true median.

    Args:
        values: Finite, independent draws of one distribution, shape ``(n,)``.
        confidence: Smallest coverage, in ``(0, 1)``; the interval may cover more.

    Returns:
        ``None`` where even the whole range covers too seldom: at 0.95, fewer than six values.

    Raises:
        DataError: ``values`` are not finite or not one-dimensional.

    Source:
        David and Nagaraja (2003), Order Statistics, section 7.1.

    >>> median_interval([4, 1, 3, 2, 6, 5]).low
    1.0
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    if ordered.ndim != 1 or not np.isfinite(ordered).all():
        raise DataError(
            f"median: expected finite values in one dimension, got shape {ordered.shape} or NaN or infinity"
        )
    n = len(ordered)
    rank = int(binom.ppf((1 - confidence) / 2, n, 0.5)) if n else 0
    if rank < 1:
        return None
    return Interval(
        low=float(ordered[rank - 1]),
        high=float(ordered[n - rank]),
        confidence=confidence,
        method="order-statistics",
    )
