"""Figures made of several rates, such as F1, in every group, and their gaps."""

from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from auditkit.audits.fairness.groupings import EVERYONE, Grouping
from auditkit.records import Dots, Estimate, Interval, Mark, Measurement, Message
from auditkit.statistics.composites import CompositeMetric, Composites
from auditkit.statistics.counts import Cells
from auditkit.statistics.simultaneous import Disparity, largest_gap, pair_confidence

AXES = MappingProxyType(
    {
        "balanced_accuracy": Message(text="Balanced accuracy: mean of true-positive and true-negative rate"),
        "f1": Message(text="F1: harmonic mean of true-positive rate and positive predictive value"),
        "matthews_correlation": Message(text="Matthews correlation of labels and predictions"),
        "informedness": Message(text="Informedness: true-positive rate minus false-positive rate"),
        "treatment_ratio": Message(text="False negatives for every false positive"),
        "average_odds": Message(text="Average odds: mean of true- and false-positive rate"),
    }
)


@dataclass(frozen=True, slots=True)
class GroupComposites:
    """One composite figure in every group of one grouping.

    Attributes:
        grouping: Which groups.
        metric: Which figure.
        figures: Its values; arrays over the groups.
        compared: Groups that take part in the comparison: known, with a defined figure.
        confidence: Of all intervals.
    """

    grouping: Grouping
    metric: CompositeMetric
    figures: Composites
    compared: npt.NDArray[np.int64]
    confidence: float

    @classmethod
    def of(
        cls, grouping: Grouping, cells: Cells, metric: CompositeMetric, confidence: float
    ) -> "GroupComposites":
        """``metric`` from the cells of every group."""
        figures = Composites.of(cells, metric)
        compared = np.flatnonzero(np.isfinite(figures.value) & grouping.known)
        return cls(grouping, metric, figures, compared, confidence)

    @property
    def difference(self) -> Disparity | None:
        """Highest minus lowest, ``None`` with fewer than two groups to compare."""
        if len(self.compared) < 2:
            return None
        joint, each = (
            tuple(end[self.compared] for end in self.figures.bounds(level))
            for level in (pair_confidence(len(self.compared), self.confidence), self.confidence)
        )
        return largest_gap(
            self.figures.value[self.compared],
            (joint[0], joint[1]),
            (each[0], each[1]),
            confidence=self.confidence,
            method=f"simultaneous-{self.method}",
        )

    @property
    def method(self) -> str:
        """Name of the interval."""
        return "delta-method" if self.metric.name == "matthews_correlation" else "wilson, combined"


def composite_measurements(found: GroupComposites, *, small_group: int) -> list[Measurement]:
    """The figure of every group; undefined where its formula is 0 / 0."""
    low, high = found.figures.bounds(found.confidence)
    measurements = []
    for group, name in enumerate(found.grouping.groups):
        value, n = float(found.figures.value[group]), int(found.figures.n[group])
        is_defined = bool(np.isfinite(value))
        measurements.append(
            Measurement(
                metric=found.metric.name,
                value=value if is_defined else None,
                n=n,
                better=found.metric.better,
                group=name,
                interval=Interval(
                    low=float(low[group]),
                    high=float(high[group]),
                    confidence=found.confidence,
                    method=found.method,
                )
                if is_defined
                else None,
                missing=None if is_defined else found.metric.undefined,
                note=Message(
                    text="Rests on {n} rows, fewer than {small}: read it with its interval.",
                    values={"n": n, "small": small_group},
                )
                if is_defined and n < small_group
                else None,
            )
        )
    return measurements


def overall_composite(cells: Cells, metric: CompositeMetric, confidence: float) -> Measurement:
    """The figure of all rows together."""
    found = GroupComposites.of(EVERYONE, cells.overall(), metric, confidence)
    return composite_measurements(found, small_group=0)[0]


def composite_difference(found: GroupComposites) -> Measurement:
    """Highest minus lowest figure."""
    gap, name = found.difference, f"{found.metric.name}.difference"
    if gap is None:
        return Measurement(
            metric=name,
            value=None,
            n=int(found.figures.n[found.compared].sum()),
            better="zero",
            across=found.grouping.attributes,
            missing=Message(
                text="Fewer than two known groups of {attribute} have a defined figure.",
                values={"attribute": found.grouping.title},
            ),
        )
    lowest, highest = int(found.compared[gap.lowest]), int(found.compared[gap.highest])
    return Measurement(
        metric=name,
        value=gap.value,
        n=int(found.figures.n[lowest] + found.figures.n[highest]),
        better="zero",
        across=found.grouping.attributes,
        interval=gap.interval,
        note=Message(
            text="Lowest: {lowest} ({lowest_rate}, n = {lowest_n}). "
            "Highest: {highest} ({highest_rate}, n = {highest_n}).",
            values={
                "lowest": found.grouping.labels[lowest],
                "lowest_rate": round(float(found.figures.value[lowest]), 4),
                "lowest_n": int(found.figures.n[lowest]),
                "highest": found.grouping.labels[highest],
                "highest_rate": round(float(found.figures.value[highest]), 4),
                "highest_n": int(found.figures.n[highest]),
            },
        ),
    )


def composite_chart(found: GroupComposites, overall: float | None, *, small_group: int) -> Dots:
    """One dot with its interval per group, against the figure of all rows."""
    marks = tuple(
        Mark(
            label=label,
            estimate=Estimate(
                value=one.value,
                low=None if one.interval is None else one.interval.low,
                high=None if one.interval is None else one.interval.high,
                n=one.n,
                missing=one.missing,
            ),
            small=one.n < small_group,
        )
        for label, one in zip(
            found.grouping.labels, composite_measurements(found, small_group=0), strict=True
        )
    )
    return Dots(
        title=_title(found),
        axis=AXES[found.metric.name],
        marks=marks,
        reference=overall,
        reference_label=None if overall is None else Message(text="all rows"),
        low=found.metric.low,
        high=found.metric.high,
    )


def _title(found: GroupComposites) -> Message:
    gap, attribute = found.difference, found.grouping.title
    if gap is None:
        return Message(
            text="Fewer than two groups of {attribute} can be compared", values={"attribute": attribute}
        )
    if gap.interval.low <= 0:
        return Message(
            text="No gap beyond chance is shown across {attribute}", values={"attribute": attribute}
        )
    lower, higher = (int(found.compared[group]) for group in gap.clearest)
    return Message(
        text="{high} for {highest}, {low} for {lowest}",
        values={
            "high": f"{found.figures.value[higher]:.2f}",
            "highest": found.grouping.labels[higher],
            "low": f"{found.figures.value[lower]:.2f}",
            "lowest": found.grouping.labels[lower],
        },
    )
