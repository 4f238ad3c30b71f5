"""Do scores rank, separate and state chances alike in every group, whatever the threshold?"""

from collections.abc import Sequence
from typing import ClassVar

from pydantic import Field

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput, PairedAudit
from auditkit.audits.fairness.groupings import Grouping, groupings
from auditkit.audits.fairness.score_calibration import (
    calibration_errors,
    error_measurements,
    intercepts,
    mean_score_by_group,
    slopes,
)
from auditkit.audits.fairness.score_calibration_table import calibration_table
from auditkit.audits.fairness.score_changes import PairedScores, auc_changes, auc_gap_change
from auditkit.audits.fairness.score_curves import (
    largest_gaps,
    pair_gap_measurement,
    roc_areas,
    selection_areas,
)
from auditkit.audits.fairness.score_evidence import (
    auc_chart,
    cross_heatmap,
    ranking_table,
    roc_curves,
    selection_curves,
)
from auditkit.audits.fairness.score_figures import (
    Found,
    figure_measurement,
    gap_measurement,
    group_measurements,
)
from auditkit.audits.fairness.score_groups import GroupScores, Scored, codes_of, scored_rows
from auditkit.audits.fairness.score_notes import notes_on_groups, notes_on_rows
from auditkit.audits.fairness.score_ranking import (
    auc_by_group,
    bnsp_by_group,
    bpsn_by_group,
    cross_areas,
    cross_gap_measurement,
)
from auditkit.data.dataset import Dataset
from auditkit.errors import DataError
from auditkit.records import Better, Evidence, Measurement, Message
from auditkit.statistics.auc import auc_delong
from auditkit.statistics.counts import positive_class
from auditkit.subjects.subject import Subject

COMPARED = ("auc.difference", "xauc.difference", "largest_selection_gap", "selection_gap_area", "abroca")
"""Figures across groups that need a positive label."""


class ScoreFairness(PairedAudit):
    """Ranking, selection at every threshold and calibration within groups, from scores instead of decisions.

    A reader may conclude whether a gap between groups comes with the scores themselves, so that no common
    threshold removes it. They may not conclude which threshold is used, nor why a gap exists.

    Attributes:
        intersections: Also cross all sensitive features.
        bins: Most bins of the calibration error within a group.
        n_bootstrap: Resamples for the areas between curves.
        small_group: Figures that rest on fewer rows (of the rarer label where both are needed) are flagged.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="score-fairness",
        version=1,
        area="fairness",
        question="Do the scores rank, select and state chances alike in every group, whatever the threshold?",
        requires=frozenset({"probabilities", "sensitive_features"}),
        limits=(
            "Figures rest on the labels of the data. Biased labels make scores look alike that are not.",
            "Equal ranking within groups does not make scores comparable across groups, nor the reverse.",
            "Where groups differ in how often the label is positive, calibration and equal mean scores "
            "exclude each other, unless the label is foretold without error.",
            "Intervals of areas between curves are longer than needed where the curves are far apart.",
            "A gap that is not shown may exist; small groups hide large ones.",
        ),
        sources=(
            "DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837-845",
            "Kallus and Zhou (2019), The fairness of risk scores beyond classification, NeurIPS",
            "Borkan et al. (2019), Nuanced metrics for measuring unintended bias, WWW Companion",
            "Massart (1990), Annals of Probability 18:1269-1283",
            "Gardner, Brooks and Baker (2019), Evaluating the fairness of predictive student models, LAK",
            "Kleinberg, Mullainathan and Raghavan (2017), Inherent trade-offs, ITCS",
            "Cox (1958), Biometrika 45:562-565",
        ),
    )

    intersections: bool = False
    bins: int = Field(10, ge=2, le=1000)
    n_bootstrap: int = Field(1000, ge=50, le=100_000)
    small_group: int = Field(30, ge=1)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """All figures of one subject."""
        self._require_weight(data)
        divisions = groupings(data, intersections=self.intersections)
        positive = _positive(data)
        if positive is None:
            return AuditOutput([_undecided(name, one, len(data)) for one in divisions for name in COMPARED])
        rows, kept = scored_rows(subject.predict(data, batch_size=context.batch_size), data, positive)
        measurements: list[Measurement] = []
        evidence: list[Evidence] = []
        notes = notes_on_rows(data, rows)
        for division in divisions:
            groups = GroupScores.of(division, rows, codes_of(division, data, kept))
            notes += notes_on_groups(groups, self.small_group)
            for part in (
                self._ranking(groups, rows),
                self._thresholds(groups, context),
                self._calibration(groups, context),
            ):
                measurements += part.measurements
                evidence += part.evidence
        return AuditOutput(measurements, evidence, notes)

    def compare(
        self, baseline: Subject, variant: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Change of the AUC within each group, and of the gap where it is clearest in the baseline."""
        self._require_weight(data)
        divisions = groupings(data, intersections=self.intersections)
        positive = _positive(data)
        if positive is None:
            name = "auc.difference.change"
            return AuditOutput([_undecided(name, one, len(data)) for one in divisions])
        (before, kept), (after, _) = (
            scored_rows(subject.predict(data, batch_size=context.batch_size), data, positive)
            for subject in (baseline, variant)
        )
        measurements: list[Measurement] = []
        for division in divisions:
            codes = codes_of(division, data, kept)
            groups = GroupScores.of(division, before, codes)
            paired = PairedScores.of(groups, before, after, codes)
            measurements += auc_changes(
                groups, paired, small_group=self.small_group, confidence=self.confidence
            )
            measurements.append(auc_gap_change(groups, paired, confidence=self.confidence))
        return AuditOutput(measurements, notes=notes_on_rows(data, before))

    def _ranking(self, groups: GroupScores, rows: Scored) -> AuditOutput:
        """Within groups, of each group against the others, and between every two groups."""
        areas = auc_by_group(groups, self.confidence)
        bpsn, bnsp = bpsn_by_group(groups, self.confidence), bnsp_by_group(groups, self.confidence)
        crossed = cross_areas(groups, self.confidence)
        return AuditOutput(
            [
                *group_measurements(areas, small_group=self.small_group),
                gap_measurement(areas),
                *self._by_group("bpsn_auc", "higher", groups, bpsn),
                *self._by_group("bnsp_auc", "higher", groups, bnsp),
                cross_gap_measurement(crossed, groups),
            ],
            [
                auc_chart(areas, _overall_auc(rows), small_group=self.small_group),
                *cross_heatmap(crossed),
                ranking_table(areas, bpsn, bnsp),
            ],
        )

    def _thresholds(self, groups: GroupScores, context: AuditContext) -> AuditOutput:
        """Over all thresholds at once."""
        gaps = largest_gaps(groups, self.confidence)
        selected, ranked = (
            areas(
                groups,
                n_draws=self.n_bootstrap,
                confidence=self.confidence,
                rng=context.numpy_rng(name, *groups.grouping.attributes),
            )
            for name, areas in (("selection", selection_areas), ("roc", roc_areas))
        )
        return AuditOutput(
            [
                pair_gap_measurement("largest_selection_gap", gaps, groups),
                pair_gap_measurement("selection_gap_area", selected, groups),
                pair_gap_measurement("abroca", ranked, groups),
            ],
            [
                *selection_curves(groups, gaps, small_group=self.small_group),
                *roc_curves(groups, ranked, small_group=self.small_group),
            ],
        )

    def _calibration(self, groups: GroupScores, context: AuditContext) -> AuditOutput:
        """Whether probabilities hold within groups, and whether equal labels get equal scores."""
        errors = calibration_errors(
            groups,
            bins=self.bins,
            confidence=self.confidence,
            rng=context.numpy_rng("calibration", *groups.grouping.attributes),
        )
        shifts, factors = intercepts(groups, self.confidence), slopes(groups, self.confidence)
        means = [
            mean_score_by_group(groups, of_positive=label, confidence=self.confidence)
            for label in (True, False)
        ]
        measurements = [
            *error_measurements(groups, errors, small_group=self.small_group),
            *self._by_group("calibration_intercept", "zero", groups, shifts),
            *self._by_group("calibration_slope", "one", groups, factors),
        ]
        for mean in means:
            measurements += [*group_measurements(mean, small_group=self.small_group), gap_measurement(mean)]
        return AuditOutput(
            measurements, [calibration_table(groups, errors, shifts, factors, (means[0], means[1]))]
        )

    def _by_group(
        self, metric: str, better: Better, groups: GroupScores, found: Sequence[Found | Message]
    ) -> list[Measurement]:
        return [
            figure_measurement(metric, better, one, group=name, n=len(rows), small_group=self.small_group)
            for name, rows, one in zip(groups.grouping.groups, groups.groups, found, strict=True)
        ]

    def _require_weight(self, data: Dataset) -> None:
        if data.sample_weight is not None and not data.sample_weight.any():
            raise DataError(
                f"{self.info.name}: all {len(data)} rows have weight 0, expected some weight above 0. "
                "Check the weight column, or leave weight out of data."
            )


def _positive(data: Dataset) -> int | None:
    """The class whose score is examined; ``None`` where there is none to choose."""
    return positive_class(len(data.classes), data.positive_index) if len(data.classes) > 1 else None


def _overall_auc(rows: Scored) -> float | None:
    """Of all rows together; ``None`` where a label is absent or rows do not count alike."""
    if rows.weight is not None or not (len(rows.high) and len(rows.low)):
        return None
    return auc_delong(rows.high, rows.low)[0]


def _undecided(metric: str, grouping: Grouping, n: int) -> Measurement:
    """The place of a figure that has no meaning without a positive label."""
    return Measurement(
        metric=metric,
        value=None,
        n=n,
        better="lower" if metric.endswith(".change") else "zero",
        across=grouping.attributes,
        missing=Message(text="There are more than two classes and no positive label; set positive in data."),
    )
