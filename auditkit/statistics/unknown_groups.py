"""How large and how small a gap between groups could be, whichever group the rows without one belong to.

No model of the missing values: every assignment of the unknown rows to the known groups is allowed, so that
the true gap of this sample lies between the two bounds for certain.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GapBounds:
    """Bounds of highest minus lowest rate.

    Attributes:
        smallest: No assignment gives a smaller gap; not always attained with three or more groups.
        largest: Some assignment gives this gap, and none a larger one.
        highest: Index of the group that has the highest rate at ``largest``.
        lowest: Index of the group that has the lowest rate there.
    """

    smallest: float
    largest: float
    highest: int
    lowest: int


def gap_bounds(
    hits: npt.ArrayLike, size: npt.ArrayLike, unknown_hits: float, unknown_size: float
) -> GapBounds | None:
    """Bounds of the gap between rates ``hits / size``.

    The rate of a group is highest when it gets every unknown row that counts as a hit and none that does not,
    and lowest the other way round. For a pair both can happen at once, which gives its largest gap.

    Args:
        hits: Numerators of the known groups, shape ``(n_groups,)``; sums of weights where rows are weighted.
        size: Their denominators; 0 where a group has no row in it.
        unknown_hits: Numerator of the rows whose group is not known.
        unknown_size: Their denominator.

    Returns:
        ``None`` with fewer than two groups that could have a rate.

    >>> bounds = gap_bounds([8, 5], [10, 10], 1, 2)
    >>> round(bounds.smallest, 4), round(bounds.largest, 4)
    (0.1818, 0.3636)
    """
    x, n = np.asarray(hits, dtype=np.float64), np.asarray(size, dtype=np.float64)
    misses = unknown_size - unknown_hits
    with np.errstate(divide="ignore", invalid="ignore"):
        high, low = (x + unknown_hits) / (n + unknown_hits), x / (n + misses)
    # A group without a row in the denominator has the rate 1 or 0 only if an unknown row of that kind exists.
    high = np.where(n > 0, high, np.where(unknown_hits > 0, 1.0, np.nan))
    low = np.where(n > 0, low, np.where(misses > 0, 0.0, np.nan))
    # Of any number of groups the two highest and the two lowest decide: a pair needs two different ones.
    occupied = n > 0
    deciding = np.unique(
        [
            group
            for eligible in (np.isfinite(high) | np.isfinite(low), occupied)
            for rate in (high, -high, low, -low)
            for group in _two_largest(np.where(eligible, rate, np.nan))
        ]
    ).astype(np.int64)
    high, low, occupied = high[deciding], low[deciding], occupied[deciding]
    gap = high[:, None] - low[None, :]
    np.fill_diagonal(gap, np.nan)
    if not np.isfinite(gap).any():
        return None
    highest, lowest = np.unravel_index(int(np.nanargmax(gap)), gap.shape)
    # The gap of a pair is at least the opposite of the largest gap the other way round.
    at_least = -gap.T[np.ix_(occupied, occupied)]
    finite = at_least[np.isfinite(at_least)]
    smallest = max(0.0, float(finite.max())) if len(finite) else 0.0
    largest = float(gap[highest, lowest])
    return GapBounds(smallest, largest, int(deciding[highest]), int(deciding[lowest]))


def _two_largest(values: FloatArray) -> list[int]:
    """Indices of the two largest values that are no NaN, the first of equals first."""
    defined = np.flatnonzero(np.isfinite(values))
    return [int(group) for group in defined[np.argsort(-values[defined], kind="stable")[:2]]]
