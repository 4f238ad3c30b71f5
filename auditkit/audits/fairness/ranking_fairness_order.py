"""Measurements of the order itself: divergence of prefixes, the prefix test, pairs put right."""

from itertools import product

import numpy as np

from auditkit.audits.fairness.ranking_fairness_figures import absent, too_few
from auditkit.audits.fairness.ranking_fairness_rows import RankedGroups
from auditkit.data.dataset import BoolArray, FloatArray, IntArray
from auditkit.records import Interval, Measurement, Message
from auditkit.statistics.auc import auc_delong
from auditkit.statistics.intervals import critical_value
from auditkit.statistics.rankings import ENOUGH_LISTS, PrefixDivergence, prefix_test
from auditkit.statistics.ratios import ratio_of_totals

MOST_PLACES = 1000
"""Of the prefix test, whose work grows with their square."""

MOST_LISTS_TESTED = 100
MOST_GROUPS_TESTED = 100
MOST_GROUPS_PAIRED = 12
"""More groups make more ordered pairs than a heatmap can show."""

TIE_ORDERS = 20
"""Orders of equal scores over which the divergence is averaged."""


def divergence_measurements(
    ranked: RankedGroups, *, n_draws: int, confidence: float, rng: np.random.Generator
) -> list[Measurement]:
    """Divergence of prefixes (NDKL): the figure, what chance alone gives, and what is beyond it.

    Chance shuffles the rows within their lists. The interval of the excess rests on the spread of the figure
    when rows are drawn again, or of chance where that is larger.
    """
    is_known = np.isin(ranked.groups, ranked.known)
    if len(np.unique(ranked.groups[is_known])) < 2:
        names = ("ndkl", "ndkl.floor", "ndkl.excess")
        return [absent(name, "zero", ranked, too_few(ranked)) for name in names]
    groups, list_of = (
        ranked.groups[is_known],
        np.unique(ranked.ranking.list_of[is_known], return_inverse=True)[1],
    )
    diverge = PrefixDivergence(list_of, len(ranked.sizes))
    orders = _orders_of_equals(ranked, is_known, rng)
    value = float(np.mean([diverge(order).mean() for order in orders]))
    by_chance = np.array([diverge(_shuffled(groups, list_of, rng)).mean() for _ in range(n_draws)])
    again = np.array([diverge(_drawn_again(orders[0], list_of, rng)).mean() for _ in range(n_draws)])
    floor = float(by_chance.mean())
    p_value = float((1 + (by_chance >= value).sum()) / (1 + n_draws))
    reach = critical_value(confidence) * float(max(again.std(ddof=1), by_chance.std(ddof=1)))
    low, high = np.quantile(by_chance, [(1 - confidence) / 2, (1 + confidence) / 2])
    excess = value - floor

    def figure(name: str, number: float, interval: Interval, note: Message | None = None) -> Measurement:
        return Measurement(
            metric=name,
            value=number,
            unit="nat",
            n=len(groups),
            better="zero",
            across=ranked.grouping.attributes,
            interval=interval,
            note=note,
        )

    return [
        figure(
            "ndkl", value, _interval(max(0.0, value - reach), value + reach, confidence, "bootstrap-normal")
        ),
        figure("ndkl.floor", floor, _interval(min(low, floor), max(high, floor), confidence, "permutation")),
        figure(
            "ndkl.excess",
            excess,
            _interval(excess - reach, excess + reach, confidence, "bootstrap-normal"),
            Message(
                text="A random order is at least as far off in a share of {p_value} of {draws} shuffles.",
                values={"p_value": f"{p_value:.2g}", "draws": n_draws},
            ),
        ),
    ]


def _interval(low: float, high: float, confidence: float, method: str) -> Interval:
    return Interval(low=float(low), high=float(high), confidence=confidence, method=method)


def _orders_of_equals(ranked: RankedGroups, kept: BoolArray, rng: np.random.Generator) -> list[IntArray]:
    """Groups in the order of the ranking; several times with equals shuffled where there are any."""
    if not ranked.ranking.has_ties:
        return [ranked.groups[kept]]
    found = []
    for _ in range(TIE_ORDERS):
        keys = ranked.ranking.tied_from + rng.random(len(ranked.groups))
        order = np.argsort(keys)
        found.append(ranked.groups[order][kept[order]])
    return found


def _shuffled(groups: IntArray, list_of: IntArray, rng: np.random.Generator) -> IntArray:
    if not list_of[-1]:
        return rng.permutation(groups)
    return np.asarray(groups[np.argsort(list_of + rng.random(len(groups)))])


def _drawn_again(groups: IntArray, list_of: IntArray, rng: np.random.Generator) -> IntArray:
    """Rows drawn again within their list, in the order of the ranking."""
    starts = np.searchsorted(list_of, np.arange(list_of[-1] + 2))
    drawn = starts[list_of] + (rng.random(len(groups)) * np.diff(starts)[list_of]).astype(np.int64)
    return np.repeat(groups, np.bincount(drawn, minlength=len(groups)))


def prefix_measurements(ranked: RankedGroups, places: int, rng: np.random.Generator) -> list[Measurement]:
    """FA*IR's test for every known group; over several lists the smallest p-value times their number."""
    keys = ranked.ranking.tied_from + rng.random(len(ranked.groups))
    groups = ranked.groups[np.argsort(keys)]
    return [_prefix_figure(ranked, groups, int(group), min(places, MOST_PLACES)) for group in ranked.known]


def _prefix_figure(ranked: RankedGroups, groups: IntArray, group: int, places: int) -> Measurement:
    starts, sizes = ranked.ranking.starts, ranked.ranking.sizes
    name, label = "prefix_test_p_value", ranked.grouping.groups[group]
    reason = None
    found = []
    if len(ranked.sizes) > MOST_GROUPS_TESTED:
        reason = Message(
            text="The prefix test is made for at most {most} groups.", values={"most": MOST_GROUPS_TESTED}
        )
    elif len(sizes) > MOST_LISTS_TESTED:
        reason = Message(
            text="The prefix test is made for at most {most} lists.", values={"most": MOST_LISTS_TESTED}
        )
    else:
        for start, size in zip(starts[:-1], sizes, strict=True):
            is_member = groups[start : start + size] == group
            share = float(is_member.mean())
            if 0 < share < 1:
                found.append(prefix_test(is_member[: min(places, size)], share))
    if not found:
        reason = reason or Message(text="No list holds the group beside others.")
        return Measurement(
            metric=name, value=None, n=len(groups), better="neither", group=label, missing=reason
        )
    worst = min(found, key=lambda one: one.p_value)
    value = min(1.0, worst.p_value * len(found))
    return Measurement(
        metric=name,
        value=value,
        n=int(min(places, sizes.max())),
        better="neither",
        group=label,
        interval=Interval.exact(value),
        note=Message(
            text="Rarest among the first {place}: {seen} rows, {expected} were to be expected.",
            values={"place": worst.place, "seen": worst.seen, "expected": f"{worst.expected:.1f}"},
        ),
    )


Pair = tuple[int, int]


def pairwise_accuracy(
    ranked: RankedGroups, confidence: float
) -> dict[Pair, tuple[float, Interval]] | Message:
    """Chance that a positive row of the first group is ranked above another row of the second, per pair.

    Intervals hold for all pairs together.
    """
    known = ranked.known
    if len(known) > MOST_GROUPS_PAIRED:
        return Message(
            text="{groups} groups make too many ordered pairs; at most {most} are taken.",
            values={"groups": len(known), "most": MOST_GROUPS_PAIRED},
        )
    n_lists = len(ranked.ranking.sizes)
    if 1 < n_lists < ENOUGH_LISTS:
        return Message(
            text="With {lists} lists there is no interval: pairs are compared in one list, or in {enough} or "
            "more.",
            values={"lists": n_lists, "enough": ENOUGH_LISTS},
        )
    joint = 1 - (1 - confidence) / max(1, len(known) ** 2)
    found = {
        (int(a), int(b)): one
        for a, b in product(known, known)
        if (one := _accuracy(ranked, int(a), int(b), joint)) is not None
    }
    return found or too_few(ranked)


def _accuracy(
    ranked: RankedGroups, first: int, second: int, confidence: float
) -> tuple[float, Interval] | None:
    high = (ranked.groups == first) & (ranked.relevant > 0)
    low = (ranked.groups == second) & (ranked.relevant == 0)
    if not (high.any() and low.any()):
        return None
    if len(ranked.ranking.sizes) == 1:
        return auc_delong(ranked.scores[high], ranked.scores[low], confidence=confidence)
    wins, pairs = _wins(ranked, high, low)
    if not pairs.any():
        return None
    value, interval = ratio_of_totals(wins, pairs, confidence=confidence)
    return None if interval is None else (value, _clipped(interval))


def _clipped(interval: Interval) -> Interval:
    return interval.model_copy(update={"low": max(0.0, interval.low), "high": min(1.0, interval.high)})


def _wins(ranked: RankedGroups, high: BoolArray, low: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Pairs put right (ties half) and all pairs, per list."""
    ranking = ranked.ranking
    below = np.concatenate([[0], np.cumsum(low)])
    end = below[ranking.starts[ranking.list_of + 1]]
    won = end - below[ranking.tied_to] + (below[ranking.tied_to] - below[ranking.tied_from]) / 2
    lists, n_lists = ranking.list_of, len(ranking.sizes)
    wins = np.bincount(lists, weights=np.where(high, won, 0.0), minlength=n_lists)
    pairs = np.bincount(lists, weights=high, minlength=n_lists) * np.bincount(
        lists, weights=low, minlength=n_lists
    )
    return wins.astype(np.float64), pairs.astype(np.float64)


def accuracy_gap(
    ranked: RankedGroups, found: dict[Pair, tuple[float, Interval]] | Message, confidence: float
) -> Measurement:
    """Highest minus lowest pairwise accuracy."""
    name = "pairwise_accuracy.difference"
    if isinstance(found, Message) or len(found) < 2:
        reason = found if isinstance(found, Message) else too_few(ranked)
        return absent(name, "zero", ranked, reason)
    lowest, highest = min(found, key=lambda p: found[p][0]), max(found, key=lambda p: found[p][0])
    intervals = [interval for _, interval in found.values()]
    labels = ranked.grouping.labels
    value = found[highest][0] - found[lowest][0]
    most = max(one.high for one in intervals) - min(one.low for one in intervals)
    return Measurement(
        metric=name,
        value=value,
        n=len(ranked.groups),
        better="zero",
        across=ranked.grouping.attributes,
        interval=Interval(
            low=max(0.0, max(one.low for one in intervals) - min(one.high for one in intervals)),
            high=max(value, most),
            confidence=confidence,
            method="simultaneous-bonferroni",
        ),
        note=Message(
            text="Best: positive rows of {best} above other rows of {best_other}. Worst: positive rows of "
            "{worst} above other rows of {worst_other}.",
            values={
                "best": labels[highest[0]],
                "best_other": labels[highest[1]],
                "worst": labels[lowest[0]],
                "worst_other": labels[lowest[1]],
            },
        ),
    )
