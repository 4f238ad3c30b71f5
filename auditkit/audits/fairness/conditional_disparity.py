"""Do groups still fare differently among rows that are alike in the control features?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import ClassVar

import numpy as np
from pydantic import Field, field_validator

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput, ShardedAudit
from auditkit.audits.fairness.conditional_counts import Strata, StratumCounts, count_strata
from auditkit.audits.fairness.conditional_evidence import conditional_chart, pair_table
from auditkit.audits.fairness.conditional_figures import (
    NO_CONTROL,
    UNDECIDED,
    absent_measurements,
    conditional_measurements,
    incomparable_measurement,
)
from auditkit.audits.fairness.conditional_notes import notes_on_counted_rows
from auditkit.audits.fairness.conditional_pairs import MOST_GROUPS_PAIRED, ConditionalGaps
from auditkit.audits.fairness.group_rates import GroupRates, difference_measurement
from auditkit.audits.fairness.groupings import Grouping, groupings
from auditkit.data.dataset import Dataset
from auditkit.errors import closest
from auditkit.records import Evidence, Measurement, Message
from auditkit.statistics.counts import METRICS, RateMetric, positive_class
from auditkit.subjects.subject import Subject

DOUBT = 0.05
"""Adjusted p-value below which one common odds ratio is said to hide that strata differ."""


@dataclass(frozen=True, slots=True)
class ConditionalCounts:
    """What rows contribute: counts by stratum and group, one table per grouping, keyed by its attributes."""

    tables: Mapping[tuple[str, ...], StratumCounts]


class ConditionalDisparity(ShardedAudit[ConditionalCounts]):
    """Gaps between groups within strata of the control features, and whether they turn the raw gap round.

    A reader may conclude whether a gap remains among rows that do not differ in the control features. They
    may not conclude that those features are legitimate reasons: that is a decision, and a control feature
    that is itself the result of unequal treatment hides a gap.

    Attributes:
        metrics: Rates to compare.
        intersections: Also cross all sensitive features.
        small_group: Strata in which a group has fewer rows are flagged.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="conditional-disparity",
        version=1,
        area="fairness",
        question="Do groups still fare differently among rows that are alike in the control features?",
        requires=frozenset({"predictions", "sensitive_features"}),
        reads_counts=True,
        limits=(
            "Whether a control feature is a legitimate reason is not a question of figures. One that is the "
            "result of unequal treatment itself hides a gap.",
            "Rows are alike in the control features only; they may differ in everything else.",
            "Rows without a counterpart of another group in their stratum say nothing; their share is given.",
            "One figure over all strata can hide strata that differ; the table says where they do.",
        ),
        sources=(
            "Miettinen and Nurminen (1985), Statistics in Medicine 4:213-226",
            "Mantel and Haenszel (1959), JNCI 22:719-748",
            "Robins, Breslow and Greenland (1986), Biometrics 42:311-323",
            "Tarone (1985), Biometrika 72:91-95",
            "Bickel, Hammel and O'Connell (1975), Science 187:398-404",
        ),
    )

    metrics: tuple[str, ...] = ("selection_rate", "true_positive_rate", "false_positive_rate")
    intersections: bool = False
    small_group: int = Field(30, ge=1)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names or ("",):
            if name not in METRICS:
                raise ValueError(f"unknown metric {name!r}. {closest(name, METRICS)}")
        return tuple(dict.fromkeys(names))

    def partial(self, subject: Subject, data: Dataset, context: AuditContext) -> ConditionalCounts:
        """Count the rows of one shard by stratum, in every grouping."""
        y_pred = subject.predict(data, batch_size=context.batch_size).y_pred
        return ConditionalCounts(
            {
                grouping.attributes: count_strata(data, y_pred, grouping, tuple(data.control_features))
                for grouping in groupings(data, intersections=self.intersections)
            }
        )

    def merge(self, partials: Sequence[ConditionalCounts]) -> ConditionalCounts:
        """Add the counts."""
        return ConditionalCounts(
            {
                key: reduce(lambda left, right: left + right, [one.tables[key] for one in partials])
                for key in partials[0].tables
            }
        )

    def conclude(
        self, total: ConditionalCounts, subject: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Gaps over all rows and among alike rows, per grouping and rate."""
        positive = positive_class(len(data.classes), data.positive_index)
        levels = {name: column.levels for name, column in data.control_features.items()}
        measurements: list[Measurement] = []
        evidence: list[Evidence] = []
        notes = notes_on_counted_rows(data)
        for grouping in groupings(data, intersections=self.intersections):
            strata = Strata.of(total.tables[grouping.attributes], grouping, levels, positive)
            measurements += self._raw(strata, positive)
            if levels:
                measurements.append(incomparable_measurement(strata))
            found = self._gaps(strata, positive, has_control=bool(levels))
            for metric, gaps in found.items():
                if isinstance(gaps, Message):
                    n = int(strata.cells.n.sum())
                    measurements += absent_measurements(metric, grouping, n, gaps)
                else:
                    measurements += conditional_measurements(gaps)
            drawn = [gaps for gaps in found.values() if not isinstance(gaps, Message) and gaps.pairs]
            evidence += [conditional_chart(gaps, small_group=self.small_group) for gaps in drawn]
            evidence += [pair_table(drawn)] if drawn else []
            notes += [note for gaps in drawn for note in _notes_on_strata(gaps)]
        return AuditOutput(measurements, evidence, notes)

    def _chosen(self, positive: int | None) -> list[RateMetric]:
        metrics = [METRICS[name] for name in self.metrics]
        return [metric for metric in metrics if positive is not None or not metric.needs_positive]

    def _raw(self, strata: Strata, positive: int | None) -> list[Measurement]:
        """Gaps over all rows, to hold the others against."""
        cells = strata.by_group()
        occurring = (
            np.flatnonzero(cells.n.sum(axis=1))
            if len(strata.grouping.attributes) > 1
            else np.arange(len(cells.n))
        )
        grouping, cells = strata.grouping.take(occurring), cells.take(occurring)
        chosen = self._chosen(positive)
        too_many = _too_many(strata)
        if too_many is not None:
            return [_absent_raw(metric, grouping, int(cells.n.sum()), too_many) for metric in chosen]
        return [
            difference_measurement(GroupRates.of(grouping, cells, metric, self.confidence))
            for metric in chosen
        ]

    def _gaps(
        self, strata: Strata, positive: int | None, *, has_control: bool
    ) -> dict[str, ConditionalGaps | Message]:
        """Of every rate the comparisons, or why there are none."""
        too_many = _too_many(strata)
        found: dict[str, ConditionalGaps | Message] = {}
        for name in self.metrics:
            if positive is None and METRICS[name].needs_positive:
                found[name] = UNDECIDED
            elif not has_control:
                found[name] = NO_CONTROL
            elif too_many is not None:
                found[name] = too_many
            else:
                found[name] = ConditionalGaps.of(strata, METRICS[name], self.confidence)
        return found


def _too_many(strata: Strata) -> Message | None:
    """Why groups are not compared, where they make more pairs than anyone reads."""
    occurring = np.unique(strata.group)
    known = int(strata.grouping.known[occurring].sum())
    if known <= MOST_GROUPS_PAIRED:
        return None
    return Message(
        text="{groups} groups make too many pairs to compare within strata; at most {most} are taken.",
        values={"groups": known, "most": MOST_GROUPS_PAIRED},
    )


def _absent_raw(metric: RateMetric, grouping: Grouping, n: int, reason: Message) -> Measurement:
    return Measurement(
        metric=f"{metric.name}.difference",
        value=None,
        n=n,
        better="zero",
        across=grouping.attributes,
        missing=reason,
    )


def _notes_on_strata(gaps: ConditionalGaps) -> list[Message]:
    """Where one common figure does not do the strata justice."""
    labels = gaps.strata.grouping.labels
    differing = [
        " / ".join(labels[group] for group in pair.tables.groups)
        for pair, p_value in zip(gaps.pairs, gaps.homogeneity, strict=True)
        if p_value is not None and p_value < DOUBT
    ]
    if not differing:
        return []
    return [
        Message(
            text="For {pairs} the odds ratio differs between strata: one figure over all strata hides that.",
            values={"pairs": "; ".join(differing[:10])},
        )
    ]
