"""Through which inputs do groups come to have different scores?"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from pydantic import Field

from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
from auditkit.audits.explainability.explained_score import Explained
from auditkit.audits.explainability.gap_decomposition.black_box import parts_by_answers
from auditkit.audits.explainability.gap_decomposition.compared_groups import Comparison, comparison_of
from auditkit.audits.explainability.gap_decomposition.evidence import evidence_of
from auditkit.audits.explainability.gap_decomposition.figures import (
    AttributeFound,
    all_missing,
    measurements_of,
)
from auditkit.audits.explainability.gap_decomposition.leakage import leakage_of
from auditkit.audits.explainability.gap_decomposition.proxy_index import proxy_indices
from auditkit.audits.explainability.gap_decomposition.score_parts import ScoreParts, parts_by_gradients
from auditkit.audits.explainability.integrated_gradients import Precision
from auditkit.audits.explainability.steadiness import unsteady
from auditkit.data.dataset import Dataset
from auditkit.errors import DataError
from auditkit.records import Evidence, Measurement, Message
from auditkit.statistics.counts import positive_class
from auditkit.statistics.group_means import mean_differences
from auditkit.subjects.predictions_table import PredictionsTable
from auditkit.subjects.subject import Subject, WhiteBox


class GapDecomposition(Audit):
    """The gap in mean log-odds of the favourable label between groups, as a sum over inputs.

    The score of every row is divided among its inputs from one baseline. The mean part of an input in a group
    minus its mean part elsewhere is what the input contributes to the gap, and the contributions add up to
    the gap; what integration leaves is a line of its own.

    A reader may conclude through which inputs the model comes to score groups differently. They may not
    conclude that the input is a cause of the difference, nor that it has no right to be there.

    Attributes:
        reference: By attribute, the group that the others are compared with; else each with all others.
        explained: Which score of the favourable label; of a subject that only answers, its log-odds.
        tolerance: Of the sums along paths; what they leave is a line of its own.
        max_evaluations: Most gradients per row.
        n_orders: Of a subject that only answers: random orders of the inputs per row, each also backwards.
        max_rows: Rows examined, drawn with the seed.
        max_asked_rows: The same of a subject that only answers.
        top_features: Inputs measured per attribute; the table holds all.
        folds: Of the leakage test; persons stay together.
        n_permutations: Of the groups, for its p-value.
        n_bootstrap: Samples behind the intervals of proxy indices.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="gap-decomposition",
        version=5,
        area="explainability",
        question="Through which inputs do groups come to have different scores?",
        requires=frozenset({"probabilities", "sensitive_features"}),
        limits=(
            "A contribution describes the model and the rows, not the world: it does not say why groups "
            "differ in an input, nor whether the input may be used.",
            "Another baseline divides a score otherwise, unless the score is a sum over single inputs.",
            "Inputs that go together share what they carry in ways that attributions do not tell apart.",
            "The leakage test reads whatever the attributions carry, however little of the score it is; that "
            "it finds nothing does not prove that there is nothing.",
            "The gap is in mean scores, not in decisions.",
        ),
        sources=(
            "Lundberg (2020), Explaining Quantitative Measures of Fairness, Fair & Responsible AI at CHI",
            "Sundararajan, Taly and Yan (2017), Axiomatic Attribution for Deep Networks, arXiv:1703.01365",
            "Štrumbelj and Kononenko (2014), Knowledge and Information Systems 41:647-665",
            "Hothorn, Bretz and Westfall (2008), Biometrical Journal 50:346-363",
            "Bergsma (2013), Journal of the Korean Statistical Society 42:323-328",
            "LeDell, Petersen and van der Laan (2015), Electronic Journal of Statistics 9:1583-1607",
        ),
    )

    reference: Mapping[str, str] = Field(default_factory=dict, description="By attribute: compare with it")
    explained: Explained = Field("log_odds", description="Score of the favourable label")
    tolerance: float = Field(1e-6, gt=0, le=0.1, description="Gap that parts of a row may leave, relative")
    max_evaluations: int = Field(512, ge=16, description="Most gradients per row")
    n_orders: int = Field(4, ge=1, description="Orders of the inputs per row, of a subject that only answers")
    max_rows: int = Field(2000, ge=20, description="Rows examined, drawn with the seed")
    max_asked_rows: int = Field(300, ge=20, description="The same of a subject that only answers")
    top_features: int = Field(20, ge=1, description="Inputs measured; the table holds all")
    folds: int = Field(5, ge=2, le=20)
    n_permutations: int = Field(199, ge=19, le=10_000)
    n_bootstrap: int = Field(200, ge=50, le=10_000)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """The gap of every group of every sensitive feature, divided."""
        rows, n_all = self._rows(subject, data, context)
        parts = self._parts(subject, rows, context)
        if isinstance(parts, Message):
            missing = [all_missing(name, len(rows), parts) for name in rows.sensitive_features]
            return AuditOutput([one for each in missing for one in each])
        measurements: list[Measurement] = []
        evidence: list[Evidence] = []
        notes = _notes(parts, rows, n_all)
        for attribute in rows.sensitive_features:
            comparison = comparison_of(rows, attribute, self.reference.get(attribute))
            if isinstance(comparison, Message):
                measurements += all_missing(attribute, len(rows), comparison)
                continue
            found = self._of(comparison, parts, rows, context)
            measurements += measurements_of(found, self.top_features)
            evidence += evidence_of(found)
            notes += _notes_on(comparison, parts)
        return AuditOutput(measurements, evidence, notes)

    def _rows(self, subject: Subject, data: Dataset, context: AuditContext) -> tuple[Dataset, int]:
        """Rows with weight, at most as many as are examined, in their order; and how many there were."""
        rows = data
        if data.sample_weight is not None:
            if not data.sample_weight.any():
                raise DataError(
                    f"gap-decomposition: all {len(data)} rows have weight 0, expected some weight above 0. "
                    "Check the weight column, or leave weight out of data."
                )
            rows = data.take(data.sample_weight > 0)
        most = self.max_rows if isinstance(subject, WhiteBox) else self.max_asked_rows
        if len(rows) <= most:
            return rows, len(rows)
        drawn = context.numpy_rng("rows").choice(len(rows), most, replace=False)
        return rows.take(np.sort(drawn).astype(np.int64)), len(rows)

    def _parts(self, subject: Subject, rows: Dataset, context: AuditContext) -> ScoreParts | Message:
        positive = positive_class(len(rows.classes), rows.positive_index)
        if positive is None:
            return Message(text="no favourable label is declared: write data.positive")
        space = rows.features
        if space.image_shape is not None or space.tokens is not None or rows.inputs.ndim != 2:
            return Message(text="the rows are no table: they have no columns that mean the same in every row")
        reason = unsteady(subject, rows)
        if reason is not None:
            return reason
        if isinstance(subject, WhiteBox) and "gradients" in subject.capabilities:
            return parts_by_gradients(
                subject,
                rows,
                positive,
                explained=self.explained,
                precision=Precision(self.tolerance, self.max_evaluations),
                batch_size=context.batch_size,
            )
        if isinstance(subject, PredictionsTable):
            return Message(text="the predictions come from a table: it cannot be asked about other inputs")
        return parts_by_answers(
            subject,
            rows,
            positive,
            n_orders=self.n_orders,
            batch_size=context.batch_size,
            rng=context.numpy_rng("orders"),
        )

    def _of(
        self, comparison: Comparison, parts: ScoreParts, rows: Dataset, context: AuditContext
    ) -> AttributeFound:
        attribute = comparison.attribute
        differences = mean_differences(
            np.column_stack([parts.values, parts.unattributed, parts.change]),
            list(comparison.groups.values()),
            weights=rows.sample_weight,
            units=rows.person,
            confidence=self.confidence,
            rng=context.numpy_rng("errors", attribute),
        )
        indices = proxy_indices(
            parts,
            rows,
            comparison,
            n_bootstrap=self.n_bootstrap,
            confidence=self.confidence,
            rng=context.numpy_rng("samples", attribute),
        )
        leakage = leakage_of(
            parts,
            rows,
            comparison,
            folds=self.folds,
            n_permutations=self.n_permutations,
            confidence=self.confidence,
            rng=context.numpy_rng("leakage", attribute),
        )
        return AttributeFound(comparison, parts.names, differences, indices, leakage, self.confidence)


_WAYS: dict[str, Message] = {
    "closed-form": Message(
        text="The score is linear in the inputs, so that every part has a closed form and nothing is left."
    ),
    "integrated-gradients": Message(
        text="Parts are integrated gradients; what integration leaves is the line that is not attributed."
    ),
    "shapley": Message(
        text="The subject only answers: parts are Shapley values of the inputs over random orders, whose "
        "randomness is in the intervals."
    ),
}


def _notes(parts: ScoreParts, rows: Dataset, n_all: int) -> list[Message]:
    notes = [parts.score, parts.baseline, _WAYS[parts.way]]
    if len(rows) < n_all:
        notes.append(
            Message(
                text="{n} of {total} rows were drawn at random and explained.",
                values={"n": len(rows), "total": n_all},
            )
        )
    weight = rows.sample_weight
    if weight is not None and not bool((weight == weight[0]).all()):
        notes.append(
            Message(
                text="Rows carry unequal weights: gaps, parts and indices are weighted; the permutation test "
                "of leakage counts every row once."
            )
        )
    return notes


def _notes_on(comparison: Comparison, parts: ScoreParts) -> list[Message]:
    notes = []
    attribute = comparison.attribute
    if attribute in parts.names:
        notes.append(
            Message(
                text="{attribute} itself is among the inputs: its own part of the gap is its direct use, and "
                "the leakage test reads it.",
                values={"attribute": attribute},
            )
        )
    n_unknown = int((~comparison.known).sum())
    if n_unknown:
        notes.append(
            Message(
                text="{n} rows of unknown or small groups of {attribute} are left out of its figures.",
                values={"n": n_unknown, "attribute": attribute},
            )
        )
    return notes
