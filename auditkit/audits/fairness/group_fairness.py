"""Are groups selected, and misjudged, at different rates?"""

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput, PairedAudit
from auditkit.audits.fairness.group_changes import (
    JointCells,
    RateChanges,
    change_measurements,
    gap_change_measurement,
)
from auditkit.audits.fairness.group_counts import AuditOfCounts, GroupCounts
from auditkit.audits.fairness.group_evidence import count_table, rate_chart
from auditkit.audits.fairness.group_rates import (
    GroupRates,
    difference_measurement,
    equalized_odds_measurement,
    overall_measurement,
    rate_measurements,
    ratio_measurement,
    undecided_measurement,
)
from auditkit.audits.fairness.groupings import EVERYONE, Grouping, groupings
from auditkit.data.dataset import Dataset, IntArray
from auditkit.records import Evidence, Measurement, Message
from auditkit.statistics.counts import METRICS, Cells, RateMetric, positive_class
from auditkit.subjects.subject import Subject

DEFAULT_METRICS = (
    "selection_rate",
    "true_positive_rate",
    "false_positive_rate",
    "positive_predictive_value",
    "accuracy",
    "base_rate",
)


class GroupFairness(AuditOfCounts, PairedAudit):
    """Rates of every group, and the gaps between groups with intervals that allow for their being picked.

    A reader may conclude that a gap whose interval excludes 0 is no accident of the sample. They may not
    conclude why it exists, nor that a gap that is not shown does not exist.

    Attributes:
        metrics: Rates to compare.
        intersections: Also cross all sensitive features.
        small_group: Rates that rest on fewer rows are flagged.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="group-fairness",
        version=1,
        area="fairness",
        question="Are groups selected, and misjudged, at different rates?",
        requires=frozenset({"predictions", "sensitive_features"}),
        reads_counts=True,
        limits=(
            "Rates show that groups fare differently, not why, and not whether a difference is justified.",
            "Errors are counted against the labels of the data. Biased labels make biased error rates.",
            "A gap that is not shown may exist: the smallest one this sample would find is given with it.",
            "Attributes that the data does not record are not examined.",
        ),
        sources=(
            "Hardt, Price and Srebro (2016), Equality of opportunity in supervised learning",
            "Chouldechova (2017), Fair prediction with disparate impact",
            "Newcombe (1998), Statistics in Medicine 17:873-890",
            "Hayter (1984), Annals of Statistics 12:61-75",
            "Tango (1998), Statistics in Medicine 17:891-908",
        ),
    )

    metrics: tuple[str, ...] = DEFAULT_METRICS
    small_group: int = Field(30, ge=1)

    def conclude(
        self, total: GroupCounts, subject: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Rates, gaps, charts and notes from the counts."""
        positive = positive_class(len(data.classes), data.positive_index)
        chosen = self._measurable(positive)
        divisions = groupings(data, intersections=self.intersections)
        everyone = total.tables[divisions[0].attributes].cells(positive).overall()
        overall = {metric.name: overall_measurement(everyone, metric, self.confidence) for metric in chosen}
        measurements: list[Measurement] = list(overall.values())
        evidence: list[Evidence] = []
        notes = _notes_on_labels(data)
        for division in divisions:
            counted = total.tables[division.attributes].cells(positive)
            reported = _reported(division, counted.n.sum(axis=1))
            grouping, cells = division.take(reported), counted.take(reported)
            notes.extend(self._notes_on_groups(grouping, cells))
            for metric in chosen:
                found = GroupRates.of(grouping, cells, metric, self.confidence)
                measurements.extend(rate_measurements(found, small_group=self.small_group))
                measurements.extend((difference_measurement(found), ratio_measurement(found)))
                evidence.append(rate_chart(found, overall[metric.name].value, small_group=self.small_group))
                notes.extend(_note_on_base_rates(found))
            measurements.extend(self._not_measurable(grouping, positive, int(cells.n.sum())))
            if {"true_positive_rate", "false_positive_rate"} <= {metric.name for metric in chosen}:
                measurements.append(equalized_odds_measurement(grouping, cells, self.confidence))
            evidence.append(count_table(grouping, cells, has_positive=positive is not None))
        return AuditOutput(measurements, evidence, notes)

    def compare(
        self, baseline: Subject, variant: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Change of every rate, and of the gap between the two groups where it is clearest in the baseline.

        Both subjects judge the same rows, so each row's two predictions are counted together.
        """
        before = baseline.predict(data, batch_size=context.batch_size).y_pred
        after = variant.predict(data, batch_size=context.batch_size).y_pred
        positive = positive_class(len(data.classes), data.positive_index)
        # labels do not change, so neither does the base rate
        changing = [metric for metric in self._measurable(positive) if metric.name != "base_rate"]
        measurements: list[Measurement] = []
        for division in (EVERYONE, *groupings(data, intersections=self.intersections)):
            counted = JointCells.count(division, data, before, after, positive)
            reported = _reported(division, counted.n.sum(axis=(1, 2)))
            grouping, joint = division.take(reported), counted.take(reported)
            for metric in changing:
                rng = context.numpy_rng("change", metric.name, *grouping.attributes)
                changes = RateChanges.of(joint, metric, rng)
                measurements.extend(change_measurements(grouping, changes, self.confidence))
                if division is not EVERYONE:
                    measurements.append(gap_change_measurement(grouping, changes, self.confidence))
        return AuditOutput(measurements, notes=_notes_on_labels(data))

    def _measurable(self, positive: int | None) -> tuple[RateMetric, ...]:
        metrics = tuple(METRICS[name] for name in self.metrics)
        return tuple(metric for metric in metrics if positive is not None or not metric.needs_positive)

    def _not_measurable(self, grouping: Grouping, positive: int | None, n: int) -> list[Measurement]:
        left_out = [
            METRICS[name] for name in self.metrics if positive is None and METRICS[name].needs_positive
        ]
        return [
            undecided_measurement(grouping, metric, suffix, n)
            for metric in left_out
            for suffix in ("difference", "ratio")
        ]

    def _notes_on_groups(self, grouping: Grouping, cells: Cells) -> list[Message]:
        notes = []
        sizes = cells.n.sum(axis=1)
        unknown = int(sizes[~grouping.known].sum())
        if unknown:
            notes.append(
                Message(
                    text="{n} rows have no known {attribute}: they have a row of their own and are never the "
                    "benchmark.",
                    values={"n": unknown, "attribute": grouping.title},
                )
            )
        small = np.flatnonzero((sizes < self.small_group) & grouping.known)
        if len(small):
            notes.append(
                Message(
                    text="Groups of {attribute} with fewer than {small} rows: {groups}.",
                    values={
                        "attribute": grouping.title,
                        "small": self.small_group,
                        "groups": "; ".join(grouping.labels[group] for group in small),
                    },
                )
            )
        return notes


def _reported(grouping: Grouping, sizes: IntArray) -> npt.NDArray[np.int64]:
    """Of a crossing the combinations that occur; of an attribute every level, for its absence is news."""
    if len(grouping.attributes) <= 1:
        return np.arange(len(sizes))
    return np.flatnonzero(sizes)


def _note_on_base_rates(found: GroupRates) -> list[Message]:
    gap = found.difference
    if found.metric.name != "base_rate" or gap is None or gap.interval.low <= 0:
        return []
    return [
        Message(
            text="Groups of {attribute} differ in how often they are labelled positive. Equal error rates "
            "and equal predictive values then exclude each other, unless every prediction is right.",
            values={"attribute": found.grouping.title},
        )
    ]


def _notes_on_labels(data: Dataset) -> list[Message]:
    notes = []
    if data.positive is None and len(data.classes) == 2:
        notes.append(
            Message(
                text="No positive label is declared; {label}, the second class, is taken.",
                values={"label": data.classes[1]},
            )
        )
    if data.positive is None and len(data.classes) > 2:
        notes.append(
            Message(text="There are more than two classes and no positive label: only accuracy is compared.")
        )
    if data.sample_weight is not None:
        notes.append(
            Message(
                text="Rates are weighted; intervals rest on the effective number of rows, which assumes that "
                "weights and outcomes are unrelated."
            )
        )
    return notes
