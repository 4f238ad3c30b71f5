"""Every two groups compared within strata, in one rate."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from auditkit.audits.fairness.conditional_counts import Strata
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Interval
from auditkit.statistics.comparisons import newcombe_difference
from auditkit.statistics.counts import RateMetric, Rates, rates
from auditkit.statistics.multiplicity import holm
from auditkit.statistics.stratified import (
    ChiSquareTest,
    StratifiedDifference,
    breslow_day,
    cochran_mantel_haenszel,
    mantel_haenszel_odds_ratio,
    stratified_difference,
)

MOST_GROUPS_PAIRED = 40
"""More groups than this make more pairs than anyone reads."""


@dataclass(frozen=True, slots=True)
class PairTables:
    """The 2 x 2 tables of two groups in the strata that both have; arrays ``(2, n_strata)``.

    Attributes:
        groups: The two.
        strata: Codes of the strata.
        successes: Effective ones.
        n: Effective denominators.
        rows: Rows in the denominators.
        weight: Sums of weights in the denominators.
        rows_in_all: Rows in the denominators of both over all strata.
    """

    groups: tuple[int, int]
    strata: IntArray
    successes: FloatArray
    n: FloatArray
    rows: IntArray
    weight: FloatArray
    rows_in_all: int


@dataclass(frozen=True, slots=True)
class PairGap:
    """First minus second group of a pair; intervals come as (at the joint, at the single confidence).

    At the joint confidence all pairs hold together.
    """

    tables: PairTables
    raw: tuple[float, Interval, Interval]
    conditional: tuple[StratifiedDifference, StratifiedDifference]
    odds_ratio: tuple[tuple[float, Interval], tuple[float, Interval]] | None
    dependence: ChiSquareTest | None
    homogeneity: ChiSquareTest | None

    @property
    def is_reversed(self) -> bool:
        """Whether both gaps are beyond chance, with opposite signs: Simpson's reversal."""
        raw, inner = self.raw[1], self.conditional[0].interval
        return (raw.low > 0 and inner.high < 0) or (raw.high < 0 and inner.low > 0)


@dataclass(frozen=True, slots=True)
class ConditionalGaps:
    """One rate of all pairs of known groups that share a stratum.

    Attributes:
        strata: Where the rows come from.
        metric: Which rate.
        pairs: The comparisons; the first group of each comes first in the grouping.
        apart: Pairs that have rows but share no stratum.
        dependence: Holm's p-value per pair that within strata the rate does not depend on the group.
        homogeneity: Holm's p-value per pair that the odds ratio is the same in all strata.
        confidence: Of all intervals.
    """

    strata: Strata
    metric: RateMetric
    pairs: tuple[PairGap, ...]
    apart: tuple[tuple[int, int], ...]
    dependence: tuple[float | None, ...]
    homogeneity: tuple[float | None, ...]
    confidence: float

    @classmethod
    def of(cls, strata: Strata, metric: RateMetric, confidence: float) -> "ConditionalGaps":
        """Compare every two of the known groups that have rows in the denominator."""
        found = rates(strata.cells, metric)
        members = [
            np.flatnonzero((strata.group == group) & strata.known & found.defined)
            for group in range(len(strata.grouping.combinations))
        ]
        known = np.flatnonzero(strata.grouping.known)
        tables, apart = [], []
        for first, second in combinations([int(group) for group in known if len(members[group])], 2):
            pair = _tables(strata, metric, found, members[first], members[second])
            if len(pair.strata):
                tables.append(pair)
            else:
                apart.append(pair.groups)
        joint = 1 - (1 - confidence) / max(1, len(tables))
        whole = rates(strata.by_group(), metric)
        pairs = tuple(_gap(pair, whole, joint, confidence) for pair in tables)
        return cls(
            strata,
            metric,
            pairs,
            tuple(apart),
            _adjusted([pair.dependence for pair in pairs]),
            _adjusted([pair.homogeneity for pair in pairs]),
            confidence,
        )

    @property
    def largest(self) -> int:
        """The pair with the largest conditional gap."""
        return int(np.argmax([abs(pair.conditional[0].value) for pair in self.pairs]))

    @property
    def clearest(self) -> int:
        """The pair to show: one whose order turns round, else the one with the clearest gap."""
        ends = [pair.conditional[0].interval for pair in self.pairs]
        shown = [max(one.low, -one.high) + 2 * p.is_reversed for one, p in zip(ends, self.pairs, strict=True)]
        return int(np.argmax(shown))

    @property
    def reversals(self) -> tuple[PairGap, ...]:
        """Pairs whose order turns round."""
        return tuple(pair for pair in self.pairs if pair.is_reversed)


def _tables(
    strata: Strata, metric: RateMetric, found: Rates, first: IntArray, second: IntArray
) -> PairTables:
    shared, of_first, of_second = np.intersect1d(
        strata.stratum[first], strata.stratum[second], assume_unique=True, return_indices=True
    )
    entries = np.array([first[of_first], second[of_second]])
    weight = strata.cells.weight @ np.array(metric.denominator)
    return PairTables(
        (int(strata.group[first[0]]), int(strata.group[second[0]])),
        shared.astype(np.int64),
        found.successes[entries],
        found.effective_n[entries],
        found.n[entries],
        weight[entries],
        int(found.n[first].sum() + found.n[second].sum()),
    )


def _gap(tables: PairTables, whole: Rates, joint: float, single: float) -> PairGap:
    a, b = tables.groups
    x, n = tables.successes, tables.n
    counts = (*_count(whole, a), *_count(whole, b))
    ratios = [mantel_haenszel_odds_ratio(x, n, confidence=level) for level in (joint, single)]
    weight = tables.weight.sum(axis=0)
    return PairGap(
        tables,
        (
            float(whole.value[a] - whole.value[b]),
            newcombe_difference(*counts, confidence=joint),
            newcombe_difference(*counts, confidence=single),
        ),
        (
            stratified_difference(x, n, weight, confidence=joint),
            stratified_difference(x, n, weight, confidence=single),
        ),
        None if ratios[0] is None or ratios[1] is None else (ratios[0], ratios[1]),
        cochran_mantel_haenszel(x, n),
        breslow_day(x, n),
    )


def _count(whole: Rates, group: int) -> tuple[float, float]:
    size = float(whole.effective_n[group])
    return min(float(whole.successes[group]), size), size


def _adjusted(tests: Sequence[ChiSquareTest | None]) -> tuple[float | None, ...]:
    adjusted = iter(holm([test.p_value for test in tests if test is not None]).tolist())
    return tuple(None if test is None else next(adjusted) for test in tests)
