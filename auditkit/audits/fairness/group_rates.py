"""Measurements of each group's rates and of the gaps between groups."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditkit.audits.fairness.groupings import EVERYONE, Grouping
from auditkit.records import Better, Interval, Measurement, Message
from auditkit.statistics.counts import METRICS, Cells, RateMetric, Rates, rates
from auditkit.statistics.decision import minimum_detectable_difference
from auditkit.statistics.intervals import rate
from auditkit.statistics.simultaneous import Disparity, largest_difference, pair_confidence, smallest_ratio


@dataclass(frozen=True, slots=True)
class GroupRates:
    """One metric in every group of one grouping, with what its disparities need.

    Attributes:
        grouping: Which groups.
        metric: Which rate.
        rates: Its values; arrays over the groups.
        compared: Groups that take part in the comparison: known, with a denominator.
        confidence: Of all intervals.
        is_clustered: Whether rows of one person are counted together.
    """

    grouping: Grouping
    metric: RateMetric
    rates: Rates
    compared: npt.NDArray[np.int64]
    confidence: float
    is_clustered: bool = False

    @classmethod
    def of(cls, grouping: Grouping, cells: Cells, metric: RateMetric, confidence: float) -> "GroupRates":
        """``metric`` from the cells of every group."""
        found = rates(cells, metric)
        compared = np.flatnonzero(found.defined & grouping.known)
        return cls(grouping, metric, found, compared, confidence, cells.persons is not None)

    @property
    def difference(self) -> Disparity | None:
        """Highest minus lowest, ``None`` with fewer than two groups to compare."""
        successes, n = self.rates.successes[self.compared], self.rates.effective_n[self.compared]
        return largest_difference(successes, n, confidence=self.confidence)

    @property
    def ratio(self) -> Disparity | None:
        """Lowest by highest, ``None`` with fewer than two groups to compare or all rates 0."""
        successes, n = self.rates.successes[self.compared], self.rates.effective_n[self.compared]
        return smallest_ratio(successes, n, confidence=self.confidence)

    @property
    def clearest(self) -> tuple[int, int] | None:
        """Lower and higher group of the pair with the clearest gap; ``None`` with fewer than two."""
        gap = self.difference
        if gap is None:
            return None
        lower, higher = gap.clearest
        return int(self.compared[lower]), int(self.compared[higher])

    @property
    def without_denominator(self) -> tuple[str, ...]:
        """Known groups left out of the comparison."""
        left_out = np.flatnonzero(self.grouping.known & ~self.rates.defined)
        return tuple(self.grouping.labels[group] for group in left_out)

    def interval(self, group: int) -> Interval | None:
        """Interval of one group's rate; ``None`` where it is undefined."""
        if not self.rates.defined[group]:
            return None
        size = float(self.rates.effective_n[group])
        successes = min(float(self.rates.successes[group]), size)
        return rate(successes, size, confidence=self.confidence)


def rate_measurements(found: GroupRates, *, small_group: int) -> list[Measurement]:
    """The rate of every group; undefined where its denominator is empty."""
    return [
        Measurement(
            metric=found.metric.name,
            value=float(found.rates.value[group]) if found.rates.defined[group] else None,
            n=int(found.rates.n[group]),
            better=found.metric.better,
            group=name,
            interval=found.interval(group),
            missing=None
            if found.rates.defined[group]
            else empty_denominator(found.metric, int(found.rates.n[group])),
            note=_rate_note(found, group, small_group),
        )
        for group, name in enumerate(found.grouping.groups)
    ]


def overall_measurement(cells: Cells, metric: RateMetric, confidence: float) -> Measurement:
    """The rate of all rows together."""
    (measurement,) = rate_measurements(
        GroupRates.of(EVERYONE, cells.overall(), metric, confidence), small_group=0
    )
    return measurement


def difference_measurement(found: GroupRates) -> Measurement:
    """Highest minus lowest rate."""
    gap = found.difference
    name = f"{found.metric.name}.difference"
    if gap is None:
        return _missing(found, name, "zero", _too_few(found))
    pair = _pair(found, gap)
    return Measurement(
        metric=name,
        value=gap.value,
        n=int(found.rates.n[list(pair)].sum()),
        better="zero",
        across=found.grouping.attributes,
        interval=gap.interval,
        detectable=_detectable(found, pair),
        note=_pair_note(found, pair),
    )


def ratio_measurement(found: GroupRates) -> Measurement:
    """Lowest by highest rate."""
    gap = found.ratio
    name = f"{found.metric.name}.ratio"
    if gap is None:
        all_zero = len(found.compared) >= 2
        reason = Message(text="The rate is 0 in every group, and 0 / 0 is undefined.")
        return _missing(found, name, "one", reason if all_zero else _too_few(found))
    pair = _pair(found, gap)
    return Measurement(
        metric=name,
        value=gap.value,
        n=int(found.rates.n[list(pair)].sum()),
        better="one",
        across=found.grouping.attributes,
        interval=gap.interval,
        note=_pair_note(found, pair),
    )


def equalized_odds_measurement(grouping: Grouping, cells: Cells, confidence: float) -> Measurement:
    """The larger of the gaps in true- and false-positive rates.

    Both intervals are taken at half the error, so that they hold together.
    """
    halved = (1 + confidence) / 2
    parts = [
        GroupRates.of(grouping, cells, METRICS[name], halved)
        for name in ("true_positive_rate", "false_positive_rate")
    ]
    gaps = [part.difference for part in parts]
    name = "equalized_odds.difference"
    for part, gap in zip(parts, gaps, strict=True):
        if gap is None:
            return _missing(part, name, "zero", _too_few(part))
    found = [gap for gap in gaps if gap is not None]
    larger = int(np.argmax([gap.value for gap in found]))
    pair = _pair(parts[larger], found[larger])
    return Measurement(
        metric=name,
        value=found[larger].value,
        n=int(parts[larger].rates.n[list(pair)].sum()),
        better="zero",
        across=grouping.attributes,
        interval=Interval(
            low=max(gap.interval.low for gap in found),
            high=max(gap.interval.high for gap in found),
            confidence=confidence,
            method="simultaneous-newcombe",
        ),
        detectable=_detectable(parts[larger], pair),
        note=_pair_note(parts[larger], pair),
    )


def undecided_measurement(grouping: Grouping, metric: str, suffix: str, n: int) -> Measurement:
    """The place of a disparity that has no meaning without a positive label."""
    return Measurement(
        metric=f"{metric}.{suffix}",
        value=None,
        n=n,
        better="zero" if suffix == "difference" else "one",
        across=grouping.attributes,
        missing=Message(text="There are more than two classes and no positive label; set positive in data."),
    )


def empty_denominator(metric: RateMetric, n: int) -> Message:
    """Why a rate whose denominator holds ``n`` rows is undefined."""
    if n:
        return Message(text="The rows it rests on carry no weight.")
    return {
        (1, 1, 1, 1, 1): Message(text="The group has no rows here."),
        (1, 1, 0, 0, 0): Message(text="The group has no rows with the positive label."),
        (0, 0, 1, 1, 1): Message(text="The group has no rows without the positive label."),
        (1, 0, 1, 0, 0): Message(text="The group has no rows predicted positive."),
        (0, 1, 0, 1, 1): Message(text="The group has no rows predicted other than positive."),
    }[metric.denominator]


def _rate_note(found: GroupRates, group: int, small_group: int) -> Message | None:
    n, effective = int(found.rates.n[group]), float(found.rates.effective_n[group])
    if not found.rates.defined[group]:
        return None
    if n < small_group:
        return Message(
            text="Rests on {n} rows, fewer than {small}: read it with its interval.",
            values={"n": n, "small": small_group},
        )
    if effective < n * (1 - 1e-9) and found.is_clustered:
        return Message(
            text="Rows of one person are alike: the interval rests on an effective number of {n} rows.",
            values={"n": max(1, int(effective))},
        )
    if effective < n * (1 - 1e-9):
        return Message(
            text="Rows are weighted: the interval rests on an effective number of {n} rows.",
            values={"n": int(effective)},
        )
    return None


def _pair(found: GroupRates, gap: Disparity) -> tuple[int, int]:
    """Lowest and highest group, as indices into all groups."""
    return int(found.compared[gap.lowest]), int(found.compared[gap.highest])


def _pair_note(found: GroupRates, pair: Sequence[int]) -> Message:
    lowest, highest = pair
    values: dict[str, str | int | float] = {
        "lowest": found.grouping.labels[lowest],
        "lowest_rate": round(float(found.rates.value[lowest]), 4),
        "lowest_n": int(found.rates.n[lowest]),
        "highest": found.grouping.labels[highest],
        "highest_rate": round(float(found.rates.value[highest]), 4),
        "highest_n": int(found.rates.n[highest]),
    }
    if not found.without_denominator:
        return Message(
            text="Lowest: {lowest} ({lowest_rate}, n = {lowest_n}). "
            "Highest: {highest} ({highest_rate}, n = {highest_n}).",
            values=values,
        )
    return Message(
        text="Lowest: {lowest} ({lowest_rate}, n = {lowest_n}). "
        "Highest: {highest} ({highest_rate}, n = {highest_n}). "
        "Not compared, because the rate is undefined there: {left_out}.",
        values={**values, "left_out": "; ".join(found.without_denominator)},
    )


def _detectable(found: GroupRates, pair: Sequence[int]) -> float | None:
    """At the confidence at which this audit takes each pair, so that it is what this audit would find."""
    sizes = found.rates.effective_n[list(pair)]
    pooled = float(found.rates.successes[list(pair)].sum() / sizes.sum())
    confidence = pair_confidence(len(found.compared), found.confidence)
    return minimum_detectable_difference(
        min(pooled, 1.0), float(sizes[0]), float(sizes[1]), confidence=confidence
    )


def _too_few(found: GroupRates) -> Message:
    return Message(
        text="Fewer than two known groups of {attribute} have rows for which the rate is defined.",
        values={"attribute": found.grouping.title},
    )


def _missing(found: GroupRates, name: str, better: Better, reason: Message) -> Measurement:
    return Measurement(
        metric=name,
        value=None,
        n=int(found.rates.n[found.compared].sum()),
        better=better,
        across=found.grouping.attributes,
        missing=reason,
    )
