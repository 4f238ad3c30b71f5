"""One figure per group, and the largest gap between groups with an interval that allows for the picking."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from auditkit.audits.fairness.score_groups import GroupScores, Scored
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Better, Estimate, Interval, Measurement, Message
from auditkit.statistics.intervals import Bounds, critical_value
from auditkit.statistics.simultaneous import Disparity, largest_gap, pair_confidence

POWER = 0.8

UNEVEN = Message(text="Rows carry unequal weights; this figure is defined for rows that count alike.")
NO_ROWS = Message(text="The group has no rows here.")
NO_POSITIVE = Message(text="The group has no rows with the positive label.")
NO_OTHERS = Message(text="The group has no rows without the positive label.")


class Found(NamedTuple):
    """The figure of one group.

    Attributes:
        value: The figure.
        n: Rows it rests on.
        scarcer: Rows by which smallness is told, such as those of the rarer label.
        interval: ``None`` where none can be given.
    """

    value: float
    n: int
    scarcer: int
    interval: Interval | None


Compute = Callable[[Scored, float], Found | Message]
"""Rows of one group and a confidence to the figure, or the reason why there is none."""


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """One metric in every group.

    Attributes:
        metric: Its name.
        better: Which direction of a group's figure is good.
        groups: Which groups.
        found: Of each the figure, or why there is none.
        compared: Known groups whose figure has an interval.
        value: Figures of those compared.
        joint: Ends of their intervals at the confidence at which all pairs hold together.
        each: Ends of their intervals at ``confidence``.
        confidence: Of all intervals.
    """

    metric: str
    better: Better
    groups: GroupScores
    found: tuple[Found | Message, ...]
    compared: IntArray
    value: FloatArray
    joint: Bounds
    each: Bounds
    confidence: float

    @classmethod
    def of(
        cls, metric: str, better: Better, groups: GroupScores, compute: Compute, *, confidence: float
    ) -> "GroupFigures":
        """``compute`` for every group, and again for those that are compared."""
        found = tuple(compute(rows, confidence) for rows in groups.groups)
        comparable = {
            group: one
            for group in groups.known.tolist()
            if isinstance(one := found[group], Found) and one.interval is not None
        }
        joint = pair_confidence(len(comparable), confidence) if len(comparable) > 1 else confidence
        again = [compute(groups.groups[group], joint) for group in comparable]
        return cls(
            metric,
            better,
            groups,
            found,
            np.array(list(comparable), dtype=np.int64),
            np.array([one.value for one in comparable.values()], dtype=np.float64),
            _ends(again),
            _ends(comparable.values()),
            confidence,
        )

    @property
    def gap(self) -> Disparity | None:
        """Highest minus lowest, ``None`` with fewer than two groups to compare."""
        return largest_gap(
            self.value, self.joint, self.each, confidence=self.confidence, method="simultaneous-mover"
        )

    @property
    def clearest(self) -> tuple[int, int] | None:
        """Lower and higher group of the pair with the clearest gap; ``None`` with fewer than two."""
        gap = self.gap
        if gap is None:
            return None
        lower, higher = gap.clearest
        return int(self.compared[lower]), int(self.compared[higher])

    @property
    def left_out(self) -> tuple[str, ...]:
        """Known groups that are not compared."""
        return self.groups.labels_of(np.setdiff1d(self.groups.known, self.compared))

    def value_of(self, group: int) -> float:
        """The figure of a group that is compared."""
        return float(self.value[np.searchsorted(self.compared, group)])

    def rows_of(self, groups: Sequence[int]) -> int:
        """How many rows the figures of some groups rest on together."""
        return sum(one.n for group in groups if isinstance(one := self.found[group], Found))

    def estimate(self, group: int) -> Estimate:
        """For charts and tables."""
        one = self.found[group]
        if isinstance(one, Message):
            return Estimate(value=None, n=int(self.groups.sizes[group]), missing=one)
        if one.interval is None:
            return Estimate(value=one.value, n=one.n)
        return Estimate(value=one.value, low=one.interval.low, high=one.interval.high, n=one.n)

    def is_small(self, group: int, small_group: int) -> bool:
        """Whether the figure rests on few rows."""
        one = self.found[group]
        return isinstance(one, Found) and one.scarcer < small_group


def group_measurements(figures: GroupFigures, *, small_group: int) -> list[Measurement]:
    """The figure of every group; missing with the reason where there is none."""
    return [
        figure_measurement(
            figures.metric,
            figures.better,
            one,
            group=name,
            n=int(figures.groups.sizes[index]),
            small_group=small_group,
        )
        for index, (name, one) in enumerate(zip(figures.groups.grouping.groups, figures.found, strict=True))
    ]


def figure_measurement(
    metric: str,
    better: Better,
    found: Found | Message,
    *,
    group: dict[str, str],
    n: int,
    small_group: int,
) -> Measurement:
    """One figure of one group; ``n`` rows are named where there is none."""
    if isinstance(found, Message):
        return Measurement(metric=metric, value=None, n=n, better=better, group=group, missing=found)
    return Measurement(
        metric=metric,
        value=found.value,
        n=found.n,
        better=better,
        group=group,
        interval=found.interval,
        note=_small_note(found, small_group),
    )


def gap_measurement(figures: GroupFigures) -> Measurement:
    """Highest minus lowest figure."""
    gap, attributes = figures.gap, figures.groups.grouping.attributes
    name = f"{figures.metric}.difference"
    if gap is None:
        return Measurement(
            metric=name,
            value=None,
            n=figures.rows_of(figures.compared.tolist()),
            better="zero",
            across=attributes,
            missing=_why_no_gap(figures),
        )
    lowest, highest = (int(figures.compared[index]) for index in (gap.lowest, gap.highest))
    return Measurement(
        metric=name,
        value=gap.value,
        n=figures.rows_of([lowest, highest]),
        better="zero",
        across=attributes,
        interval=gap.interval,
        detectable=_detectable(figures, gap),
        note=_pair_note(figures, lowest, highest),
    )


def too_few(groups: GroupScores) -> Message:
    """Why there is no gap between groups."""
    return Message(
        text="Fewer than two known groups of {attribute} have rows for which the figure is defined.",
        values={"attribute": groups.grouping.title},
    )


def _ends(found: Iterable[Found | Message]) -> Bounds:
    """Lower and upper ends of the intervals of figures that have one."""
    ends = [one.interval for one in found if isinstance(one, Found) and one.interval is not None]
    return (
        np.array([interval.low for interval in ends], dtype=np.float64),
        np.array([interval.high for interval in ends], dtype=np.float64),
    )


def _why_no_gap(figures: GroupFigures) -> Message:
    known = [figures.found[group] for group in figures.groups.known.tolist()]
    return UNEVEN if known and all(one == UNEVEN for one in known) else too_few(figures.groups)


def _small_note(found: Found, small_group: int) -> Message | None:
    if found.interval is None:
        return Message(text="A single row gives no interval.")
    if found.scarcer >= small_group:
        return None
    return Message(
        text="Rests on {n} rows, fewer than {small}: read it with its interval.",
        values={"n": found.scarcer, "small": small_group},
    )


def _pair_note(figures: GroupFigures, lowest: int, highest: int) -> Message:
    labels = figures.groups.grouping.labels
    values: dict[str, str | int | float] = {
        "lowest": labels[lowest],
        "lowest_value": round(figures.value_of(lowest), 4),
        "highest": labels[highest],
        "highest_value": round(figures.value_of(highest), 4),
    }
    if not figures.left_out:
        return Message(
            text="Lowest: {lowest} ({lowest_value}). Highest: {highest} ({highest_value}).", values=values
        )
    return Message(
        text="Lowest: {lowest} ({lowest_value}). Highest: {highest} ({highest_value}). "
        "Not compared, because the figure is undefined there: {left_out}.",
        values={**values, "left_out": "; ".join(figures.left_out)},
    )


def _detectable(figures: GroupFigures, gap: Disparity) -> float:
    """The gap that this pair's intervals would find with 80 % power, at the confidence used for pairs."""
    critical = critical_value(pair_confidence(len(figures.compared), figures.confidence))
    low, high = figures.joint
    halves = [(high[index] - low[index]) / 2 for index in (gap.lowest, gap.highest)]
    return float(np.hypot(*halves)) * (1 + float(norm.ppf(POWER)) / critical)
