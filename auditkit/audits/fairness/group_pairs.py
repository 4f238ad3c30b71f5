"""Which two groups differ most clearly, in which rate, by how much, and what chance could do."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import hypergeom, norm

from auditkit.audits.fairness.group_rates import GroupRates
from auditkit.records import Cell, Estimate, Message, Table
from auditkit.statistics.comparisons import newcombe_bounds
from auditkit.statistics.counts import FloatArray
from auditkit.statistics.decision import minimum_detectable_difference
from auditkit.statistics.multiplicity import holm
from auditkit.statistics.simultaneous import pair_confidence

MOST_ROWS = 8
FEWEST_EXPECTED = 1.0
"""Below so many expected rows in a cell the exact test takes the place of the score test."""


@dataclass(frozen=True, slots=True)
class PairGap:
    """The gap between two groups in one rate.

    Attributes:
        found: The rate, in all groups.
        lower: Group with the lower rate.
        higher: Group with the higher rate.
        low: Lower end of its simultaneous interval.
        high: Upper end of it.
        p_value: Holm-adjusted over all pairs of groups in this rate.
        detectable: Smallest true gap that the two samples find with 80 % power.
    """

    found: GroupRates
    lower: int
    higher: int
    low: float
    high: float
    p_value: float
    detectable: float | None

    @property
    def value(self) -> float:
        """Higher minus lower rate."""
        values = self.found.rates.value
        return float(values[self.higher] - values[self.lower])


def worst_pairs(found: Sequence[GroupRates], *, most: int = MOST_ROWS) -> list[PairGap]:
    """The clearest gaps over several rates of one grouping: the largest lower end first."""
    pairs = [pair for one in _without_complements(found) for pair in _clearest(one, most)]
    return sorted(pairs, key=lambda pair: -pair.low)[:most]


def pair_table(found: Sequence[GroupRates]) -> Table | None:
    """The clearest gaps as a table; ``None`` where no two groups can be compared."""
    pairs = worst_pairs(found)
    if not pairs:
        return None
    return Table(
        title=_title(pairs),
        caption=Message(
            text="Sorted by the lower end of the gap. Intervals hold for all pairs of groups together; "
            "p-values are adjusted for all pairs in the same rate (Holm). Only a gap larger than the "
            "smallest detectable one is found with 80 % power."
        ),
        columns=(
            Message(text="rate"),
            Message(text="higher in"),
            Message(text="rate there"),
            Message(text="lower in"),
            Message(text="rate there"),
            Message(text="gap"),
            Message(text="adjusted p-value"),
            Message(text="smallest detectable gap"),
        ),
        rows=tuple(_row(pair) for pair in pairs),
    )


def pair_p_values(x1: FloatArray, n1: FloatArray, x2: FloatArray, n2: FloatArray) -> FloatArray:
    """Two-sided p-values that two rates are equal, elementwise.

    The score test with Pearson's correction ``(N - 1) / N``; where a cell expects less than one row, twice
    the smaller tail of the exact test on rounded counts, which is conservative.

    Source:
        Campbell (2007), Statistics in Medicine 26:3661-3675.
    """
    total, hits = n1 + n2, x1 + x2
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = hits * (total - hits) * n1 * n2 / np.maximum(total - 1, 1e-9)
        z = np.abs(x1 * n2 - x2 * n1) / np.sqrt(spread)
    p_values = np.where(spread > 0, 2 * norm.sf(z), 1.0)
    few = np.minimum(hits, total - hits) * np.minimum(n1, n2) < FEWEST_EXPECTED * total
    if few.any():
        p_values[few] = _exact_p_values(*(np.rint(a[few]) for a in (x1, n1, hits, total)))
    return p_values


def _exact_p_values(seen: FloatArray, drawn: FloatArray, hits: FloatArray, total: FloatArray) -> FloatArray:
    """Twice the smaller tail; counts that rounding has made impossible are brought back."""
    drawn, hits = np.minimum(drawn, total), np.minimum(hits, total)
    seen = np.clip(seen, np.maximum(0, hits + drawn - total), np.minimum(hits, drawn))
    lower = hypergeom.cdf(seen, total, hits, drawn)
    upper = hypergeom.sf(seen - 1, total, hits, drawn)
    # less than one effective row rounds to none, which proves nothing
    twice = np.nan_to_num(2 * np.minimum(lower, upper), nan=1.0)
    return np.asarray(np.minimum(1.0, twice), dtype=np.float64)


def _without_complements(found: Sequence[GroupRates]) -> list[GroupRates]:
    """One rate of two that add up to 1, such as true- and false-negative rate: their gaps are the same."""
    kept: dict[frozenset[tuple[int, ...]], GroupRates] = {}
    for one in found:
        hit, base = one.metric.numerator, one.metric.denominator
        miss = tuple(b - h for h, b in zip(hit, base, strict=True))
        kept.setdefault(frozenset({hit, miss}), one)
    return list(kept.values())


def _clearest(found: GroupRates, most: int) -> list[PairGap]:
    compared = found.compared
    if len(compared) < 2:
        return []
    n = found.rates.effective_n[compared]
    x = np.minimum(found.rates.successes[compared], n)
    first, second = np.triu_indices(len(compared), 1)
    is_up = x[first] / n[first] >= x[second] / n[second]
    higher, lower = np.where(is_up, first, second), np.where(is_up, second, first)
    confidence = pair_confidence(len(compared), found.confidence)
    low, high = newcombe_bounds(x[higher], n[higher], x[lower], n[lower], confidence=confidence)
    p_values = holm(pair_p_values(x[higher], n[higher], x[lower], n[lower]))
    return [
        PairGap(
            found,
            int(compared[lower[pair]]),
            int(compared[higher[pair]]),
            float(low[pair]),
            float(high[pair]),
            float(p_values[pair]),
            minimum_detectable_difference(
                float((x[lower[pair]] + x[higher[pair]]) / (n[lower[pair]] + n[higher[pair]])),
                float(n[lower[pair]]),
                float(n[higher[pair]]),
                confidence=confidence,
            ),
        )
        for pair in np.argsort(-low, kind="stable")[:most]
    ]


def _row(pair: PairGap) -> tuple[Cell, ...]:
    labels = pair.found.grouping.labels
    undetectable = Message(text="The rate is 0 or 1 in both groups.")
    return (
        pair.found.metric.name,
        labels[pair.higher],
        _rate(pair, pair.higher),
        labels[pair.lower],
        _rate(pair, pair.lower),
        Estimate(value=pair.value, low=min(pair.low, pair.value), high=max(pair.high, pair.value)),
        Message(text="below {p}", values={"p": 0.001}) if pair.p_value < 0.001 else round(pair.p_value, 3),
        Estimate(value=pair.detectable, missing=None if pair.detectable is not None else undetectable),
    )


def _rate(pair: PairGap, group: int) -> Estimate:
    return Estimate(value=float(pair.found.rates.value[group]), n=int(pair.found.rates.n[group]))


def _title(pairs: Sequence[PairGap]) -> Message:
    grouping, shown = pairs[0].found.grouping, sum(pair.low > 0 for pair in pairs)
    if not shown:
        return Message(
            text="No two groups of {attribute} differ beyond chance in any rate",
            values={"attribute": grouping.title},
        )
    return Message(
        text="The clearest gap across {attribute} is between {higher} and {lower}",
        values={
            "attribute": grouping.title,
            "higher": grouping.labels[pairs[0].higher],
            "lower": grouping.labels[pairs[0].lower],
        },
    )
