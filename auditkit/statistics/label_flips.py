"""How many labels would have to be wrong for a gap between two groups not to be shown any more."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from auditkit.statistics.comparisons import newcombe_bounds
from auditkit.statistics.counts import RateMetric

IntArray = npt.NDArray[np.int64]

TRUE_POSITIVE, FALSE_NEGATIVE, FALSE_POSITIVE, TRUE_NEGATIVE = range(4)
_FLIPS = (
    (TRUE_POSITIVE, FALSE_POSITIVE),
    (FALSE_NEGATIVE, TRUE_NEGATIVE),
    (FALSE_POSITIVE, TRUE_POSITIVE),
    (TRUE_NEGATIVE, FALSE_NEGATIVE),
)
"""A row whose label is flipped keeps its prediction."""

Side = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Flips:
    """Labels of one kind in one group, enough of them to close the gap.

    Attributes:
        count: How many.
        side: In which of the two groups.
        was_positive: Whether the labels flipped are positive ones.
        predicted_positive: Whether the rows are predicted positive.
    """

    count: int
    side: Side
    was_positive: bool
    predicted_positive: bool


def fewest_flips(
    higher: IntArray, lower: IntArray, metric: RateMetric, *, confidence: float = 0.95
) -> Flips | None:
    """The fewest labels of one kind in one group whose flip leaves an interval of the gap that includes 0.

    Mixtures of kinds are not tried: fewer labels of several kinds may do, so the count is an upper bound.

    Args:
        higher: Rows of the group with the higher rate in the cells true positive, false negative, false
            positive, true negative (and a fifth, empty with two classes), shape ``(5,)``.
        lower: The same of the other group.
        metric: The rate.
        confidence: Of Newcombe's interval of the difference.

    Returns:
        ``None`` where no number of such flips closes the gap.
    """
    found = []
    groups: tuple[tuple[Side, IntArray], ...] = (("higher", higher), ("lower", lower))
    for side, cells in groups:
        for source, target in _FLIPS:

            def closed(k: int, side: Side = side, flip: tuple[int, int] = (source, target)) -> bool:
                changed = _flipped(higher if side == "higher" else lower, flip, k)
                pair = (changed, lower) if side == "higher" else (higher, changed)
                return _includes_zero(*pair, metric, confidence)

            count = _first_true(closed, int(cells[source]))
            if count is not None:
                positive = source in {TRUE_POSITIVE, FALSE_NEGATIVE}
                predicted = source in {TRUE_POSITIVE, FALSE_POSITIVE}
                found.append(Flips(count, side, positive, predicted))
    return min(found, key=lambda flips: flips.count, default=None)


def _flipped(cells: IntArray, flip: tuple[int, int], k: int) -> IntArray:
    changed = cells.copy()
    changed[flip[0]] -= k
    changed[flip[1]] += k
    return changed


def _includes_zero(higher: IntArray, lower: IntArray, metric: RateMetric, confidence: float) -> bool:
    numerator, denominator = np.array(metric.numerator), np.array(metric.denominator)
    sizes = int(higher @ denominator), int(lower @ denominator)
    if not all(sizes):
        return False
    low, _ = newcombe_bounds(higher @ numerator, sizes[0], lower @ numerator, sizes[1], confidence=confidence)
    return bool(low <= 0)


def _first_true(holds: Callable[[int], bool], most: int) -> int | None:
    """The smallest ``k`` in ``0..most`` at which a condition holds that stays true once it is; by halving.

    The last flip may empty a denominator, and a rate without rows shows nothing: then the one before counts.
    """
    last = next((k for k in (most, most - 1) if k >= 0 and holds(k)), None)
    if last is None:
        return None
    low, high = -1, last
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high
