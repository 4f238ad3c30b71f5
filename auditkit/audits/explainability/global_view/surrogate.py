"""Rules that imitate the model, shown only when they do."""

from typing import ClassVar

import numpy as np
from pydantic import Field

from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
from auditkit.audits.explainability.global_view import surrogate_figures as figures
from auditkit.audits.explainability.global_view.asked import drawn_rows, notes_on_rows
from auditkit.audits.explainability.global_view.surrogate_columns import SplitTable, split_table
from auditkit.audits.explainability.global_view.surrogate_evidence import rules_table, size_curve, withheld
from auditkit.audits.explainability.global_view.surrogate_figures import HeldOut
from auditkit.audits.explainability.global_view.surrogate_rules import RuleSet, fit_rules, halves
from auditkit.audits.explainability.global_view.table_features import is_table, table_features
from auditkit.audits.explainability.steadiness import unsteady
from auditkit.data.dataset import Dataset, FloatArray
from auditkit.records import Evidence, Message
from auditkit.subjects.subject import Subject, preprocessing_of, values_of

SIZES = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of rules of the chart."""

FEWEST_ROWS = 40
"""Below this many one half is too small for any rule."""

NO_TABLE = Message(text="The inputs are no table: rules over pixels or positions of a text say nothing.")
GENERATIVE = Message(text="A model of language has too many answers for rules.")


class Surrogate(Audit):
    """A shallow tree of the subject's decisions, fitted on one half of the rows and measured on the other.

    A reader may conclude how much of what the subject decides a few rules reproduce. Where rules are shown
    they may be read as a summary of its decisions; they may not be read as how it comes to them.

    Attributes:
        max_rules: Rules, at most.
        least_fidelity: Rules are shown when the whole interval of their fidelity lies above.
        max_rows: Rows used, drawn with the seed.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="surrogate",
        version=2,
        area="explainability",
        question="Can a few rules say what it decides?",
        requires=frozenset(),
        limits=(
            "Rules imitate what the model decides, not how: another set of rules may agree as often.",
            "Fidelity is about rows drawn as these were; on rows of another kind rules and model may part.",
            "Agreement with the model says nothing about being right.",
        ),
        sources=(
            "Craven and Shavlik (1996), Extracting tree-structured representations of networks, NIPS 8",
            "Breiman, Friedman, Olshen and Stone (1984), Classification and Regression Trees",
            "Rudin (2019), Nature Machine Intelligence 1:206-215",
        ),
    )

    max_rules: int = Field(8, ge=2, le=64)
    least_fidelity: float = Field(0.9, gt=0, lt=1)
    max_rows: int = Field(10_000, ge=FEWEST_ROWS)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """Fidelity, and the rules where it is high enough."""
        is_regression = data.task == "regression"
        obstacle = _obstacle(subject, data) or unsteady(subject, data)
        if obstacle is not None:
            return AuditOutput(figures.all_missing(obstacle, is_regression=is_regression))
        rows = drawn_rows(data, self.max_rows, context.numpy_rng("rows"))
        answers = _answers(subject, rows, context.batch_size)
        units = np.arange(len(rows)) if rows.person is None else rows.person
        is_fitted = halves(units, context.numpy_rng("halves"))
        fitted, measured = np.flatnonzero(is_fitted), np.flatnonzero(~is_fitted)
        if min(len(fitted), len(measured)) < FEWEST_ROWS // 2:
            return AuditOutput(figures.all_missing(figures.TOO_FEW, is_regression=is_regression))
        inputs = rows.inputs.detach().cpu().numpy().astype(np.float64)
        table = split_table(table_features(data, preprocessing_of(subject)), inputs, fitted)
        held_out = HeldOut(
            values=table.values[measured],
            answers=answers[measured],
            persons=None if rows.person is None else rows.person[measured],
            is_regression=is_regression,
            confidence=self.confidence,
        )
        seed = context.derive_seed("tree")
        sets = {
            most: fit_rules(
                table.values[fitted], answers[fitted], most=most, is_regression=is_regression, seed=seed
            )
            for most in sorted({*SIZES, self.max_rules})
        }
        return self._output(sets, table, held_out, data, notes_on_rows(data, rows))

    def _output(
        self,
        sets: dict[int, RuleSet],
        table: SplitTable,
        rows: HeldOut,
        data: Dataset,
        notes: list[Message],
    ) -> AuditOutput:
        rules, constant = sets[self.max_rules], sets[1]
        verdict = figures.verdict_on(rules, constant, rows, self.least_fidelity)
        if verdict is None:
            reason = figures.SAME_ANSWER
            return AuditOutput(figures.all_missing(reason, is_regression=rows.is_regression), (), notes)
        sized = [
            (most, value, interval.low, interval.high)
            for most, one in sets.items()
            if (found := rows.fidelity(one)) is not None
            for value, interval in (found,)
        ]
        evidence: list[Evidence] = [
            rules_table(verdict, rules, table.columns, rows, data)
            if verdict.is_shown
            else withheld(verdict, rules, rows, self.least_fidelity)
        ]
        if not verdict.is_trivial:
            evidence.append(size_curve(sized, rows, self.least_fidelity))
        if table.has_unknown:
            notes.append(Message(text="In rules a number that is unknown counts as the median."))
        measurements = figures.fidelity_measurements(verdict, rules, constant, rows, self.least_fidelity)
        return AuditOutput(measurements, evidence, notes)


def _obstacle(subject: Subject, data: Dataset) -> Message | None:
    if "generative" in subject.capabilities:
        return GENERATIVE
    return None if is_table(data) else NO_TABLE


def _answers(subject: Subject, rows: Dataset, batch_size: int) -> FloatArray:
    """What the subject decides: indices of classes, or numbers; shape ``(n,)``."""
    if rows.task == "regression":
        return values_of(subject, rows, batch_size=batch_size)
    return subject.predict(rows, batch_size=batch_size).y_pred.astype(np.float64)
