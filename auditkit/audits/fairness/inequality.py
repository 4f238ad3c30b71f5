"""How unevenly are benefits and outcomes spread over people and groups?"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput
from auditkit.audits.fairness.conditional_notes import notes_on_counted_rows
from auditkit.audits.fairness.group_counts import AuditOfCounts, GroupCounts
from auditkit.audits.fairness.groupings import Grouping, groupings
from auditkit.audits.fairness.inequality_evidence import benefit_chart, benefit_table
from auditkit.audits.fairness.inequality_figures import (
    UNDECIDED,
    Place,
    benefit_counts,
    between_measurements,
    differential_measurements,
    index_measurements,
    largest_measurement,
    outcome_counts,
)
from auditkit.audits.fairness.inequality_subgroups import excess_over_margins, subgroup_unfairness
from auditkit.data.dataset import Dataset
from auditkit.records import Evidence, Measurement, Message
from auditkit.statistics.counts import METRICS, Cells, CountTable, positive_class
from auditkit.subjects.subject import Subject

Division = tuple[Grouping, CountTable]


class Inequality(AuditOfCounts):
    """Inequality of benefits, differential fairness, and subgroups whose rate weighs most.

    A reader may conclude how far predictions spread benefits and outcomes more unevenly than labels do. They
    may not conclude that an even spread is right: where everyone is misjudged alike, benefits are even too.

    Attributes:
        metrics: Rates in which subgroups are compared with everyone.
        intersections: Also cross all sensitive features.
        small_group: Groups with fewer rows are flagged.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="inequality",
        version=1,
        area="fairness",
        question="How unevenly are benefits and outcomes spread over people and groups?",
        requires=frozenset({"predictions", "sensitive_features"}),
        reads_counts=True,
        limits=(
            "Benefits are counted against the labels of the data. Biased labels make biased benefits.",
            "An even spread is not a good one: where everyone is refused alike, nothing is unequal.",
            "Differential fairness is a ratio of the two groups furthest apart; how many people they are is "
            "not in it.",
        ),
        sources=(
            "Speicher et al. (2018), A unified approach to quantifying algorithmic unfairness, KDD",
            "Foulds, Islam, Keya and Pan (2020), An intersectional definition of fairness, ICDE",
            "Kearns, Neel, Roth and Wu (2018), Preventing fairness gerrymandering, ICML",
        ),
    )

    metrics: tuple[str, ...] = ("selection_rate", "false_positive_rate")
    small_group: int = Field(30, ge=1)

    def conclude(
        self, total: GroupCounts, subject: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Indices over all rows, then what lies between the groups of every grouping."""
        positive = positive_class(len(data.classes), data.positive_index)
        divisions = [
            (one, total.tables[one.attributes]) for one in groupings(data, intersections=self.intersections)
        ]
        everyone = divisions[0][1].cells(positive).overall()
        rng = context.numpy_rng("indices")
        overall = index_measurements(
            None if positive is None else everyone, int(everyone.n.sum()), self.confidence, rng
        )
        measurements: list[Measurement] = list(overall)
        evidence: list[Evidence] = []
        for grouping, table in divisions:
            place = Place(grouping, int(table.n.sum()))
            measurements += self._of_groups(place, table, positive, overall[0])
            measurements += self._of_subgroups(place, divisions, positive)
            if positive is not None and table.weight.any():
                evidence += self._drawn(grouping, table.cells(positive))
        return AuditOutput(measurements, evidence, notes_on_counted_rows(data))

    def _of_groups(
        self, place: Place, table: CountTable, positive: int | None, overall: Measurement
    ) -> list[Measurement]:
        """Figures that compare the known groups that have weight."""
        kept = np.flatnonzero(place.grouping.known & (table.weight.sum(axis=(1, 2)) > 0))
        benefits = None if positive is None else benefit_counts(table.cells(positive))[kept]
        labels = place.grouping.take(kept).labels
        predicted, labelled = (outcome_counts(table, of_labels=side)[kept] for side in (False, True))
        return [
            *between_measurements(place, benefits, overall, self.confidence),
            *differential_measurements(place, predicted, labelled, labels, self.confidence),
        ]

    def _of_subgroups(
        self, place: Place, divisions: list[Division], positive: int | None
    ) -> list[Measurement]:
        """Of a crossing, its cells and the groups of every attribute; of an attribute, its groups."""
        is_crossing = len(place.grouping.attributes) > 1
        cells = {
            grouping.attributes: (grouping, table.cells(positive))
            for grouping, table in divisions
            if is_crossing or grouping.attributes == place.grouping.attributes
        }
        measurements = []
        for name in self.metrics:
            metric = METRICS[name]
            undecided = UNDECIDED if positive is None and metric.needs_positive else None
            unfair = undecided or subgroup_unfairness(list(cells.values()), metric, self.confidence)
            measurements.append(
                largest_measurement(place, f"{name}.subgroup_unfairness", "lower", unfair or _no_subgroup())
            )
            if is_crossing:
                grouping, crossed = cells[place.grouping.attributes]
                excess = undecided or excess_over_margins(grouping, crossed, metric, self.confidence)
                measurements.append(
                    largest_measurement(
                        place, f"{name}.excess_over_margins", "zero", excess or _no_subgroup()
                    )
                )
        return measurements

    def _drawn(self, grouping: Grouping, cells: Cells) -> list[Evidence]:
        occurring = np.flatnonzero(cells.n.sum(axis=1))
        grouping, cells = grouping.take(occurring), cells.take(occurring)
        return [
            benefit_chart(
                grouping,
                benefit_counts(cells),
                cells.n.sum(axis=1).astype(np.float64),
                small_group=self.small_group,
                confidence=self.confidence,
            ),
            benefit_table(grouping, cells),
        ]


def _no_subgroup() -> Message:
    return Message(text="No known subgroups have such rows that can be compared with others.")
