"""Testing slices on rows that had no part in finding them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
from scipy.stats import hypergeom, norm

from auditkit.audits.fairness.slice_search import Gaps, Slice
from auditkit.data.dataset import BoolArray, FloatArray
from auditkit.records import Interval
from auditkit.statistics.comparisons import newcombe_difference
from auditkit.statistics.decision import minimum_detectable_difference
from auditkit.statistics.intervals import critical_value, rate
from auditkit.statistics.multiplicity import holm

TEST_POWER = 0.9
"""Of the test alone; search and test together then find about four slices in five, or more (simulated)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """One slice in the confirming half.

    Attributes:
        items: Its items.
        n: Its rows.
        errors: Errors among them.
        n_rest: All other rows.
        errors_rest: Errors among those.
        p: Exact; of no higher error rate inside than outside, doubled so that it fits a two-sided interval.
        p_adjusted: By Holm, over all slices tested.
        interval: Of the gap; all slices' intervals hold together. ``None`` where there are no rows.
        rate_interval: Of the error rate, likewise.
        confidence: At which each interval is taken.
        contributions: Of each item to the gap; they add up to it.
        confirmed: Whether the adjusted p-value and the interval both show it to be worse than the rest.
    """

    items: Slice
    n: int
    errors: int
    n_rest: int
    errors_rest: int
    p: float
    p_adjusted: float
    interval: Interval | None
    rate_interval: Interval | None
    confidence: float
    contributions: tuple[float, ...]
    confirmed: bool

    @property
    def error_rate(self) -> float | None:
        """Inside; ``None`` without rows."""
        return self.errors / self.n if self.n else None

    @property
    def rest_rate(self) -> float | None:
        """Outside; ``None`` without rows."""
        return self.errors_rest / self.n_rest if self.n_rest else None

    @property
    def gap(self) -> float | None:
        """Inside minus outside."""
        if self.error_rate is None or self.rest_rate is None:
            return None
        return self.error_rate - self.rest_rate

    @property
    def detectable(self) -> float | None:
        """The smallest gap that this test finds with 80 % power."""
        pooled = (self.errors + self.errors_rest) / (self.n + self.n_rest)
        return minimum_detectable_difference(pooled, self.n, self.n_rest, confidence=self.confidence)


def confirm(
    slices: Sequence[Slice], rows: BoolArray, errors: BoolArray, *, confidence: float
) -> tuple[Tested, ...]:
    """Test every candidate; confirmed ones first, the clearest gap first.

    The chance that any slice is confirmed that is not worse than the rest is at most ``1 - confidence``.

    Args:
        slices: Items of the candidates.
        rows: Which confirming rows meet each item, shape ``(k, n)``.
        errors: Which confirming rows are errors, shape ``(n,)``.
        confidence: That all intervals hold.
    """
    if not slices:
        return ()
    gaps = Gaps(rows, errors)
    inside = np.array([gaps.inside(items) for items in slices])
    n, wrong = inside.sum(axis=1), (inside & errors).sum(axis=1)
    p = fisher_doubled(wrong, n, int(errors.sum()), len(errors))
    adjusted = holm(p)
    each = 1 - (1 - confidence) / len(slices)
    found = []
    for index, items in enumerate(slices):
        n_rest = len(errors) - int(n[index])
        wrong_rest = int(errors.sum() - wrong[index])
        interval = _interval(
            int(wrong[index]), int(n[index]), wrong_rest, n_rest, each=each, confidence=confidence
        )
        shown = interval is not None and interval.low > 0
        found.append(
            Tested(
                items=items,
                n=int(n[index]),
                errors=int(wrong[index]),
                n_rest=n_rest,
                errors_rest=wrong_rest,
                p=float(p[index]),
                p_adjusted=float(adjusted[index]),
                interval=interval,
                rate_interval=_rate_interval(int(wrong[index]), int(n[index]), each, confidence),
                confidence=each,
                contributions=contributions(items, gaps),
                confirmed=bool(shown and adjusted[index] <= 1 - confidence),
            )
        )
    return tuple(sorted(found, key=lambda one: (not one.confirmed, -_low(one))))


def fisher_doubled(wrong: FloatArray, n: FloatArray, wrong_all: int, n_all: int) -> FloatArray:
    """Twice the exact chance of so many errors or more inside, had they fallen anywhere; at most 1.

    Source:
        Fisher (1935), JRSS 98:39-82; doubling: Agresti (2013), Categorical Data Analysis, section 3.5.
    """
    return np.asarray(np.minimum(1.0, 2 * hypergeom.sf(wrong - 1, n_all, wrong_all, n)), dtype=np.float64)


def contributions(items: Slice, gaps: Gaps) -> tuple[float, ...]:
    """What each item adds to the gap, averaged over the orders in which they may be added.

    Source:
        Shapley (1953), A value for n-person games, Contributions to the Theory of Games 2:307-317.
    """
    total = dict.fromkeys(items, 0.0)
    orders = list(permutations(items))
    for order in orders:
        before = 0.0
        for length in range(1, len(order) + 1):
            after = gaps[tuple(sorted(order[:length]))]
            total[order[length - 1]] += after - before
            before = after
    return tuple(total[item] / len(orders) for item in items)


def smallest_found(
    error_rate: float, n_slice: int, n_all: int, *, n_tests: int, confidence: float
) -> float | None:
    """About the smallest gap at which at least four in five slices of ``n_slice`` rows are confirmed.

    Args:
        error_rate: Of the rest, in ``[0, 1]``.
        n_slice: Confirming rows inside.
        n_all: Confirming rows.
        n_tests: Slices tested.
        confidence: That no slice is confirmed by accident.

    Returns:
        ``None`` where even a slice of nothing but errors would not be found so often, or a side is empty.

    Source:
        Fleiss, Levin and Paik (2003), Statistical Methods for Rates and Proportions, chapter 4, with the
        spread under both hypotheses.
    """
    level = (1 - confidence) / n_tests
    # the chance that a slice like the rest is all errors: where that is no rarity, no test can tell
    if not 0 < n_slice < n_all or 2 * error_rate**n_slice > level:
        return None
    critical = critical_value(1 - level)
    gaps = np.linspace(0, 1 - error_rate, 2001)[1:]
    inside, share = error_rate + gaps, n_slice / n_all
    pooled = share * inside + (1 - share) * error_rate
    n_rest = n_all - n_slice
    if_none = np.sqrt(pooled * (1 - pooled) * (1 / n_slice + 1 / n_rest))
    if_gap = np.sqrt(inside * (1 - inside) / n_slice + error_rate * (1 - error_rate) / n_rest)
    found = gaps - critical * if_none >= float(norm.ppf(TEST_POWER)) * if_gap
    return float(gaps[found.argmax()]) if found.any() else None


def _interval(
    wrong: int, n: int, wrong_rest: int, n_rest: int, *, each: float, confidence: float
) -> Interval | None:
    if not (n and n_rest):
        return None
    found = newcombe_difference(wrong, n, wrong_rest, n_rest, confidence=each)
    return found.model_copy(update={"confidence": confidence, "method": "simultaneous-newcombe"})


def _rate_interval(wrong: int, n: int, each: float, confidence: float) -> Interval | None:
    if not n:
        return None
    found = rate(wrong, n, confidence=each)
    return found.model_copy(update={"confidence": confidence, "method": f"simultaneous-{found.method}"})


def _low(tested: Tested) -> float:
    return -1.0 if tested.interval is None else tested.interval.low
