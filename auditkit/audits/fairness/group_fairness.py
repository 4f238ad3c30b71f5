"""Are groups selected, and misjudged, at different rates?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import Field

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput, PairedAudit
from auditkit.audits.fairness.group_changes import (
    JointCells,
    RateChanges,
    change_measurements,
    gap_change_measurement,
)
from auditkit.audits.fairness.group_classes import class_gap_measurements, class_gaps, class_table
from auditkit.audits.fairness.group_composites import (
    GroupComposites,
    composite_chart,
    composite_difference,
    composite_measurements,
    overall_composite,
)
from auditkit.audits.fairness.group_counts import AuditOfCounts, GroupCounts
from auditkit.audits.fairness.group_distributions import distribution_measurements, macro_f1_measurements
from auditkit.audits.fairness.group_evidence import count_table, rate_chart
from auditkit.audits.fairness.group_notes import notes_on_data, notes_on_groups
from auditkit.audits.fairness.group_pairs import pair_table
from auditkit.audits.fairness.group_rates import (
    GroupRates,
    difference_measurement,
    equalized_odds_measurement,
    overall_measurement,
    rate_measurements,
    ratio_measurement,
    undecided_measurement,
)
from auditkit.audits.fairness.group_reference import (
    check_reference,
    reference_group,
    reference_measurements,
    rest_measurements,
    shortfall_measurements,
)
from auditkit.audits.fairness.groupings import EVERYONE, Grouping, groupings, reported_groups
from auditkit.data.dataset import Dataset
from auditkit.records import Evidence, Measurement, Message
from auditkit.statistics.composites import COMPOSITES, CompositeMetric
from auditkit.statistics.counts import METRICS, Cells, CountTable, RateMetric, positive_class
from auditkit.subjects.subject import Subject

DEFAULT_METRICS = (
    "selection_rate",
    "true_positive_rate",
    "false_positive_rate",
    "positive_predictive_value",
    "accuracy",
    "base_rate",
)


@dataclass(frozen=True, slots=True)
class _Found:
    """What is found, as it grows."""

    measurements: list[Measurement] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    notes: list[Message] = field(default_factory=list)


class GroupFairness(AuditOfCounts, PairedAudit):
    """Rates of every group, and the gaps between groups with intervals that allow for their being picked.

    A reader may conclude that a gap whose interval excludes 0 is no accident of the sample. They may not
    conclude why it exists, nor that a gap that is not shown does not exist.

    Attributes:
        metrics: Rates to compare, and figures made of several rates.
        intersections: Also cross all sensitive features.
        reference: For an attribute the group that every other one is compared with.
        against_rest: Also compare every group with all others together.
        small_group: Rates that rest on fewer rows are flagged.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="group-fairness",
        version=2,
        area="fairness",
        question="Are groups selected, and misjudged, at different rates?",
        requires=frozenset({"predictions", "sensitive_features"}),
        reads_counts=True,
        limits=(
            "Rates show that groups fare differently, not why, and not whether a difference is justified.",
            "Errors are counted against the labels of the data. Biased labels make biased error rates.",
            "A gap that is not shown may exist: the smallest one this sample would find is given with it.",
            "Attributes that the data does not record are not examined.",
            "Fewer than about 20 persons with several rows each leave intervals a little too short.",
        ),
        sources=(
            "Hardt, Price and Srebro (2016), Equality of opportunity in supervised learning",
            "Chouldechova (2017), Fair prediction with disparate impact",
            "Newcombe (1998), Statistics in Medicine 17:873-890",
            "Hayter (1984), Annals of Statistics 12:61-75",
            "Tango (1998), Statistics in Medicine 17:891-908",
            "Binder (1983), International Statistical Review 51:279-292",
            "29 CFR 1607.4(D): four-fifths rule",
        ),
    )

    known_metrics: ClassVar[frozenset[str]] = frozenset(METRICS) | frozenset(COMPOSITES)
    metrics: tuple[str, ...] = DEFAULT_METRICS
    small_group: int = Field(30, ge=1)
    reference: Mapping[str, str] = Field(default_factory=dict)
    against_rest: bool = False

    def partial(self, subject: Subject, data: Dataset, context: AuditContext) -> GroupCounts:
        """Count the rows of one shard in every grouping.

        Raises:
            DataError: The reference is no group of the data.
        """
        check_reference(data, self.reference)
        return AuditOfCounts.partial(self, subject, data, context)

    def conclude(
        self, total: GroupCounts, subject: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Rates, gaps, charts and notes from the counts.

        Raises:
            DataError: An attribute has more groups than can be compared.
        """
        positive = positive_class(len(data.classes), data.positive_index)
        divisions = groupings(data, intersections=self.intersections)
        everyone = total.tables[divisions[0].attributes].cells(positive).overall()
        found = _Found(notes=notes_on_data(data))
        overall = self._overall(everyone, positive)
        found.measurements.extend(overall.values())
        for division in divisions:
            table = total.tables[division.attributes]
            reported = reported_groups(division, table.n.sum(axis=(1, 2)))
            grouping, table = division.take(reported), table.take(reported)
            cells = table.cells(positive)
            found.notes.extend(notes_on_groups(grouping, cells, self.small_group))
            self._add_rates(found, grouping, cells, overall, positive)
            self._add_composites(found, grouping, cells, overall, positive)
            found.measurements.extend(self._not_measurable(grouping, positive, int(cells.n.sum())))
            if positive is None:
                self._add_classes(found, grouping, table, data.classes, context)
            found.evidence.append(count_table(grouping, cells, has_positive=positive is not None))
        return AuditOutput(found.measurements, found.evidence, found.notes)

    def _overall(self, everyone: Cells, positive: int | None) -> dict[str, Measurement]:
        """Figures of all rows together, by metric."""
        return {
            **{
                metric.name: overall_measurement(everyone, metric, self.confidence)
                for metric in self._measurable(positive)
            },
            **{
                metric.name: overall_composite(everyone, metric, self.confidence)
                for metric in self._composites(positive)
            },
        }

    def _add_rates(
        self,
        found: _Found,
        grouping: Grouping,
        cells: Cells,
        overall: Mapping[str, Measurement],
        positive: int | None,
    ) -> None:
        reference = reference_group(grouping, self.reference)
        metrics = self._measurable(positive)
        of_metrics = [GroupRates.of(grouping, cells, metric, self.confidence) for metric in metrics]
        for one in of_metrics:
            name = one.metric.name
            found.measurements.extend(rate_measurements(one, small_group=self.small_group))
            found.measurements.extend((difference_measurement(one), ratio_measurement(one)))
            if reference is not None:
                found.measurements.extend(reference_measurements(one, reference))
            if self.against_rest:
                found.measurements.extend(rest_measurements(one, cells))
            if name == "selection_rate":
                found.measurements.extend(shortfall_measurements(one, cells))
            found.evidence.append(rate_chart(one, overall[name].value, small_group=self.small_group))
            found.notes.extend(_note_on_base_rates(one))
        if {"true_positive_rate", "false_positive_rate"} <= {metric.name for metric in metrics}:
            found.measurements.append(equalized_odds_measurement(grouping, cells, self.confidence))
        pairs = pair_table([one for one in of_metrics if one.metric.name != "base_rate"])
        found.evidence.extend([] if pairs is None else [pairs])

    def _add_composites(
        self,
        found: _Found,
        grouping: Grouping,
        cells: Cells,
        overall: Mapping[str, Measurement],
        positive: int | None,
    ) -> None:
        for metric in self._composites(positive):
            one = GroupComposites.of(grouping, cells, metric, self.confidence)
            found.measurements.extend(composite_measurements(one, small_group=self.small_group))
            found.measurements.append(composite_difference(one))
            value = overall[metric.name].value
            found.evidence.append(composite_chart(one, value, small_group=self.small_group))

    def _add_classes(
        self,
        found: _Found,
        grouping: Grouping,
        table: CountTable,
        classes: Sequence[str],
        context: AuditContext,
    ) -> None:
        """Several classes and none of them favourable: each against the rest, and their shares as a whole."""
        metrics = [METRICS[name] for name in self.metrics if name in METRICS]
        of_metrics = {
            metric: class_gaps(grouping, table, metric, classes, self.confidence)
            for metric in metrics
            if metric.needs_positive
        }
        for metric, gaps in of_metrics.items():
            found.measurements.extend(class_gap_measurements(grouping, metric, gaps, self.confidence))
        rng = context.numpy_rng("classes", *grouping.attributes)
        found.measurements.extend(distribution_measurements(grouping, table, self.confidence, rng))
        found.measurements.extend(macro_f1_measurements(grouping, table, self.confidence))
        of_classes = class_table(grouping, list(of_metrics.values()))
        found.evidence.extend([] if of_classes is None else [of_classes])

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
            reported = reported_groups(division, counted.n.sum(axis=(1, 2)))
            grouping, joint = division.take(reported), counted.take(reported)
            for metric in changing:
                rng = context.numpy_rng("change", metric.name, *grouping.attributes)
                changes = RateChanges.of(joint, metric, rng)
                measurements.extend(change_measurements(grouping, changes, self.confidence))
                if division is not EVERYONE:
                    measurements.append(gap_change_measurement(grouping, changes, self.confidence))
        return AuditOutput(measurements, notes=notes_on_data(data))

    def _measurable(self, positive: int | None) -> tuple[RateMetric, ...]:
        metrics = tuple(METRICS[name] for name in self.metrics if name in METRICS)
        return tuple(metric for metric in metrics if positive is not None or not metric.needs_positive)

    def _composites(self, positive: int | None) -> tuple[CompositeMetric, ...]:
        if positive is None:
            return ()
        return tuple(COMPOSITES[name] for name in self.metrics if name in COMPOSITES)

    def _not_measurable(self, grouping: Grouping, positive: int | None, n: int) -> list[Measurement]:
        if positive is not None:
            return []
        rates = [name for name in self.metrics if name in METRICS and METRICS[name].needs_positive]
        composites = [name for name in self.metrics if name in COMPOSITES]
        return [
            *(
                undecided_measurement(grouping, name, suffix, n)
                for name in rates
                for suffix in ("difference", "ratio")
            ),
            *(undecided_measurement(grouping, name, "difference", n) for name in composites),
        ]


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
