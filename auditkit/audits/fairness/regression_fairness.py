"""Are the numbers that it foretells as right, and as large, for every group?"""

from typing import ClassVar

import numpy as np
from pydantic import Field

from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
from auditkit.audits.fairness.groupings import groupings
from auditkit.audits.fairness.regression_evidence import error_dots, group_table, prediction_curves
from auditkit.audits.fairness.regression_groups import METRICS, GroupErrors, GroupFigures, largest_loss
from auditkit.audits.fairness.regression_parity import (
    Compared,
    compared_values,
    parity_measurements,
    transport_measurement,
)
from auditkit.audits.foretold import foretold_rows, notes_on_rows
from auditkit.data.dataset import Dataset
from auditkit.records import Evidence, Measurement, Message
from auditkit.statistics.distribution_gaps import ParityGap, parity_gap, transport_gap
from auditkit.statistics.regression import Foretold
from auditkit.subjects.subject import Subject

HEADINGS = (
    Message(text="Mean error"),
    Message(text="Mean absolute error"),
    Message(text="Root mean squared error"),
    Message(text="R2"),
    Message(text="Mean prediction"),
)


class RegressionFairness(Audit):
    """Errors and predictions of a regression by group, with the largest gaps and their intervals.

    A reader may conclude whether it is further off, or foretells more than came, for one group than for
    another. They may not conclude why, nor that equal predictions would be just.

    Attributes:
        intersections: Also cross all sensitive features.
        n_permutations: Random deals of the groups, for the level of chance of statistical parity.
        n_bootstrap: Random weightings, for the interval of the Wasserstein distance.
        small_group: Groups of fewer rows (or persons) are flagged.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="regression-fairness",
        version=1,
        area="fairness",
        question="Are the numbers that it foretells as right, and as large, for every group?",
        requires=frozenset({"values", "sensitive_features"}),
        limits=(
            "Errors are measured against the outcomes of the data. Biased outcomes make errors look alike.",
            "Groups whose outcomes differ cannot have both equal mean errors and equal mean predictions.",
            "R2 of a group depends on how much its outcomes vary.",
            "The root of the mean squared error rests on the largest errors: with few rows and long tails "
            "its interval is too short.",
            "Intervals take groups as independent; where a person is in two groups they are approximate.",
            "A gap that is not shown may exist; small groups hide large ones.",
        ),
        sources=(
            "Agarwal, Dudik and Wu (2019), Fair regression, ICML",
            "Zou and Donner (2008), Statistics in Medicine 27:1693-1702",
            "Massart (1990), Annals of Probability 18:1269-1283",
            "Rubin (1981), The Bayesian bootstrap, Annals of Statistics 9:130-134",
        ),
    )

    intersections: bool = False
    n_permutations: int = Field(499, ge=19, le=100_000)
    n_bootstrap: int = Field(300, ge=50, le=100_000)
    small_group: int = Field(30, ge=1)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """All figures of one subject."""
        rows, kept = foretold_rows(subject, data, batch_size=context.batch_size)
        measurements: list[Measurement] = []
        evidence: list[Evidence] = []
        notes = notes_on_rows(data, rows)
        for grouping in groupings(data, intersections=self.intersections):
            errors = GroupErrors.of(grouping, rows, data, kept)
            notes += self._notes_on_groups(errors)
            for part in (self._of_errors(errors, rows), self._of_predictions(errors, context)):
                measurements += part.measurements
                evidence += part.evidence
        return AuditOutput(measurements, evidence, notes)

    def _of_errors(self, errors: GroupErrors, rows: Foretold) -> AuditOutput:
        figures = {metric: GroupFigures.of(metric, errors, self.confidence) for metric in METRICS}
        bias, absolute = figures["bias"], figures["mean_absolute_error"]
        measurements = [
            measurement for one in figures.values() for measurement in one.measurements(self.small_group)
        ]
        return AuditOutput(
            [*measurements, largest_loss(absolute)],
            [
                error_dots(
                    bias,
                    rows.mean(rows.error),
                    Message(text="Mean error (prediction minus outcome)"),
                    small_group=self.small_group,
                ),
                error_dots(
                    absolute,
                    rows.mean(np.abs(rows.error)),
                    Message(text="Mean absolute error"),
                    small_group=self.small_group,
                ),
                group_table(tuple(figures.values()), HEADINGS),
            ],
        )

    def _of_predictions(self, errors: GroupErrors, context: AuditContext) -> AuditOutput:
        compared = compared_values(errors)
        names = errors.grouping.attributes
        parity = self._parity(compared, context, names)
        transport = (
            compared
            if isinstance(compared, Message)
            else transport_gap(
                compared.values,
                confidence=self.confidence,
                n_draws=self.n_bootstrap,
                rng=context.numpy_rng("transport", *names),
            )
        )
        furthest = ""
        is_shown = isinstance(parity, ParityGap) and parity.p_value <= 1 - self.confidence
        if is_shown and isinstance(parity, ParityGap) and isinstance(compared, Compared):
            furthest = errors.grouping.labels[compared.groups[int(parity.of_groups.argmax())]]
        return AuditOutput(
            [
                *parity_measurements(parity, compared, errors, self.confidence),
                transport_measurement(transport, compared, errors, self.confidence),
            ],
            prediction_curves(errors, furthest),
        )

    def _parity(
        self, compared: Compared | Message, context: AuditContext, names: tuple[str, ...]
    ) -> ParityGap | Message:
        if isinstance(compared, Message):
            return compared
        if compared.values.persons_share_groups:
            return Message(text="Some persons have rows in two groups, so groups cannot be dealt out anew.")
        return parity_gap(
            compared.values,
            confidence=self.confidence,
            n_permutations=self.n_permutations,
            rng=context.numpy_rng("parity", *names),
        )

    def _notes_on_groups(self, errors: GroupErrors) -> list[Message]:
        notes, title = [], errors.grouping.title
        unknown = sum(len(errors.groups[group]) for group in np.flatnonzero(~errors.grouping.known))
        if unknown:
            text = (
                "{n} rows have no known {attribute}: they have a row of their own and are never the "
                "benchmark."
            )
            notes.append(Message(text=text, values={"n": unknown, "attribute": title}))
        small = [
            errors.grouping.labels[group]
            for group in np.flatnonzero(errors.grouping.known)
            if errors.groups[group].n_persons < self.small_group
        ]
        if small:
            text = "Groups of {attribute} with fewer than {small} rows: {groups}."
            values = {"attribute": title, "small": self.small_group, "groups": "; ".join(small)}
            notes.append(Message(text=text, values=values))
        return notes
