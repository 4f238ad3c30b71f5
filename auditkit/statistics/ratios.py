"""Ratios of totals over rows, such as a loss per token, where what is inside a row is dependent."""

import numpy as np
import numpy.typing as npt

from auditkit.errors import DataError
from auditkit.records import Interval
from auditkit.statistics.intervals import mean_interval

FloatArray = npt.NDArray[np.float64]


def ratio_of_totals(
    totals: npt.ArrayLike,
    sizes: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    confidence: float = 0.95,
) -> tuple[float, Interval | None]:
    """``sum(totals) / sum(sizes)`` with an interval that takes rows, not their parts, as independent.

    Student's interval of the linearised values, the Taylor expansion of the ratio. Rows of size 0 carry
    nothing and are left out. The interval is ``None`` for a single row.

    Args:
        totals: Of each row, shape ``(n,)``.
        sizes: How many parts each row has, not negative, shape ``(n,)``.
        weights: Of the rows, not negative; ``None`` counts every row once.
        confidence: Of the interval, in ``(0, 1)``.

    Raises:
        DataError: No row has both a size and a weight.

    Source:
        Cochran (1977), Sampling Techniques, sections 6.3 and 9A.5.

    >>> ratio_of_totals([2.0, 4.0], [1, 2])[0]
    2.0
    """
    size = np.asarray(sizes, dtype=np.float64)
    weight = np.ones(len(size)) if weights is None else np.asarray(weights, dtype=np.float64)
    used = (size > 0) & (weight > 0)
    if not used.any():
        raise DataError("ratio: no row has a size and a weight; leave the figure out and say why")
    total, size, weight = np.asarray(totals, dtype=np.float64)[used], size[used], weight[used]
    mean_size = float(np.average(size, weights=weight))
    value = float(np.average(total, weights=weight)) / mean_size
    linear = value + (total - value * size) / mean_size
    interval = mean_interval(linear, weights=weight, confidence=confidence)
    return value, None if interval is None else interval.model_copy(
        update={
            "low": min(interval.low, value),
            "high": max(interval.high, value),
            "method": "ratio-linearised",
        }
    )
