"""Gaps between groups where there are several classes and none of them is the favourable one.

Every class is compared against the rest. The largest gap is looked for over classes as well as over groups,
so its lower end is taken at a confidence that holds for all classes together (Bonferroni).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.group_rates import GroupRates
from auditkit.audits.fairness.groupings import Grouping
from auditkit.records import Cell, Estimate, Interval, Measurement, Message, Table
from auditkit.statistics.counts import CountTable, RateMetric
from auditkit.statistics.simultaneous import Disparity

MOST_CLASSES = 20


@dataclass(frozen=True, slots=True)
class ClassGap:
    """The largest gap between groups in one rate of one class against the rest.

    Attributes:
        label: The class.
        found: The rate in every group.
        joint: At the confidence at which the gaps of all classes hold together.
        each: At the confidence asked for.
    """

    label: str
    found: GroupRates
    joint: Disparity
    each: Disparity


def class_gaps(
    grouping: Grouping, table: CountTable, metric: RateMetric, classes: Sequence[str], confidence: float
) -> list[ClassGap]:
    """The gap of every class for which two groups have the rate."""
    together = 1 - (1 - confidence) / len(classes)
    gaps = []
    for index, label in enumerate(classes):
        cells = table.cells(index)
        found = GroupRates.of(grouping, cells, metric, confidence)
        joint = GroupRates.of(grouping, cells, metric, together).difference
        each = found.difference
        if joint is not None and each is not None:
            gaps.append(ClassGap(label, found, joint, each))
    return gaps


def class_gap_measurements(
    grouping: Grouping, metric: RateMetric, gaps: Sequence[ClassGap], confidence: float
) -> list[Measurement]:
    """The largest gap over all classes, and the mean of their gaps."""
    names = [f"{metric.name}.{kind}_class_difference" for kind in ("largest", "mean")]
    if not gaps:
        reason = Message(
            text="Fewer than two known groups of {attribute} have rows for which the rate is defined.",
            values={"attribute": grouping.title},
        )
        return [absent(grouping, name, reason) for name in names]
    worst = max(gaps, key=lambda gap: gap.joint.value)
    lows, values, highs = (
        np.array(column)
        for column in zip(
            *((gap.joint.interval.low, gap.joint.value, gap.joint.interval.high) for gap in gaps), strict=True
        )
    )
    found, lower, higher = worst.found, worst.joint.lowest, worst.joint.highest
    lowest, highest = int(found.compared[lower]), int(found.compared[higher])
    return [
        across_groups(
            grouping,
            names[0],
            float(values.max()),
            (float(lows.max()), max(gap.each.interval.high for gap in gaps)),
            confidence,
            n=int(found.rates.n[[lowest, highest]].sum()),
            note=Message(
                text="Class {label}. Lowest: {lowest} ({lowest_rate}, n = {lowest_n}). "
                "Highest: {highest} ({highest_rate}, n = {highest_n}).",
                values={
                    "label": worst.label,
                    "lowest": grouping.labels[lowest],
                    "lowest_rate": round(float(found.rates.value[lowest]), 4),
                    "lowest_n": int(found.rates.n[lowest]),
                    "highest": grouping.labels[highest],
                    "highest_rate": round(float(found.rates.value[highest]), 4),
                    "highest_n": int(found.rates.n[highest]),
                },
            ),
        ),
        across_groups(
            grouping,
            names[1],
            float(values.mean()),
            (float(lows.mean()), float(highs.mean())),
            confidence,
            n=int(found.rates.n[found.compared].sum()),
            note=Message(text="Mean over {k} classes.", values={"k": len(gaps)}),
        ),
    ]


def class_table(grouping: Grouping, gaps: Sequence[Sequence[ClassGap]]) -> Table | None:
    """The gap of every class in every rate; ``None`` where there is none."""
    by_label: dict[str, dict[str, Disparity]] = {}
    for gap in (gap for of_metric in gaps for gap in of_metric):
        by_label.setdefault(gap.label, {})[gap.found.metric.name] = gap.joint
    if not by_label:
        return None
    metrics = list(dict.fromkeys(gap.found.metric.name for of_metric in gaps for gap in of_metric))
    ranked = sorted(by_label, key=lambda label: -max(gap.value for gap in by_label[label].values()))
    shown = ranked[:MOST_CLASSES]
    return Table(
        title=Message(
            text="Largest gaps across {attribute}, each class against the rest: most for {label}",
            values={"attribute": grouping.title, "label": shown[0]},
        ),
        caption=Message(
            text="Intervals hold for all classes and pairs of groups in a rate together. "
            "{shown} of {k} classes.",
            values={"shown": len(shown), "k": len(by_label)},
        ),
        columns=(
            Message(text="class"),
            *(Message(text=name.replace("_", " ")) for name in metrics),
        ),
        rows=tuple((label, *(_cell(by_label[label].get(name)) for name in metrics)) for label in shown),
    )


def _cell(gap: Disparity | None) -> Cell:
    if gap is None:
        return Estimate(value=None, missing=Message(text="Fewer than two groups have a rate."))
    return Estimate(value=gap.value, low=gap.interval.low, high=gap.interval.high)


def across_groups(
    grouping: Grouping,
    name: str,
    value: float,
    ends: tuple[float, float],
    confidence: float,
    *,
    n: int,
    note: Message,
    method: str = "simultaneous-newcombe",
) -> Measurement:
    """A figure that compares groups, smaller being better."""
    return Measurement(
        metric=name,
        value=value,
        n=n,
        better="zero",
        across=grouping.attributes,
        interval=Interval(
            low=min(ends[0], value), high=max(ends[1], value), confidence=confidence, method=method
        ),
        note=note,
    )


def absent(grouping: Grouping, name: str, reason: Message) -> Measurement:
    """The place of a figure that cannot be told."""
    return Measurement(
        metric=name, value=None, n=0, better="zero", across=grouping.attributes, missing=reason
    )
