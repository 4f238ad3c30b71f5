"""Which inputs move the decision, and whether the explanation adds up."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field, field_validator

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput, PairedAudit
from auditkit.audits.explainability import attribution_measurements as figures
from auditkit.audits.explainability.attribution_detail import Detail
from auditkit.audits.explainability.attribution_evidence import importance_comparison
from auditkit.audits.explainability.attribution_notes import notes_of, pair_notes
from auditkit.audits.explainability.black_box_rows import asked_rows, black_box_rows
from auditkit.audits.explainability.chosen_methods import PATH, STAND_INS, Chosen, Methods, Usable
from auditkit.audits.explainability.explained_features import feature_names, importances
from auditkit.audits.explainability.explained_rows import ExplainedRows, with_tokens, without_tokens
from auditkit.audits.explainability.explained_score import Explained
from auditkit.audits.explainability.integrated_gradients import Precision
from auditkit.audits.explainability.method_figures import (
    agreement_evidence,
    agreement_figures,
    measured_pairs,
    pairs_of,
    shares_by_method,
)
from auditkit.audits.explainability.methods.catalogue import METHODS
from auditkit.audits.explainability.methods.safe_front import at_rest, drawn_at_random
from auditkit.audits.explainability.rank_agreement import spearman_by_row, spearman_by_text
from auditkit.audits.explainability.steadiness import unsteady
from auditkit.data.dataset import BoolArray, Dataset, FloatArray, IntArray
from auditkit.errors import closest
from auditkit.randomness import global_generators_seeded
from auditkit.records import Evidence, Measurement, Message
from auditkit.subjects.subject import Subject


class Attribution(PairedAudit):
    """How much each input adds to the score of the predicted class, by one or several methods.

    A reader may conclude which inputs the model's score depends on along the path from the baseline, from
    the completeness figures whether the attributions add up as they must, and from the agreement of several
    methods how much hangs on the choice of one. See ``info.limits`` for what a reader may not conclude.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="attribution",
        version=8,
        area="explainability",
        question="Which inputs move the decision?",
        requires=frozenset({"scores"}),
        limits=(
            "Attributions describe the model, not the world: a feature that weighs much need not be a cause.",
            "Attributions depend on the baseline; another baseline gives other attributions.",
            "Correlated features share their weight in ways that integrated gradients do not tell apart.",
            "A logit that rises for all classes at once gets attributions without changing the prediction; "
            "explained: log_odds leaves that part out.",
            "Attributions that add up are not thereby faithful; adding up is necessary, not sufficient.",
            "Intervals describe the rows drawn; rows of one person are counted as if they were independent.",
        ),
        sources=(
            "Sundararajan, Taly and Yan (2017), Axiomatic Attribution for Deep Networks, arXiv:1703.01365",
            "Kokhlikyan et al. (2020), Captum, arXiv:2009.07896",
            "Krishna et al. (2022), The Disagreement Problem in Explainable Machine Learning, "
            "arXiv:2202.01602",
        ),
    )

    methods: tuple[str, ...] = Field(
        (PATH,),
        min_length=1,
        description="How attributions are computed: the first is shown in detail, others are held against it",
    )
    explained: Explained = Field("logit", description="Score of the predicted class that is explained")
    tolerance: float = Field(
        1e-3,
        gt=0,
        le=0.1,
        description="Gap that a row may have, relative to its change and to the spread of changes over "
        "rows; and error of its attributions, relative to their size",
    )
    max_evaluations: int = Field(1024, ge=16, description="Most gradients per row")
    max_rows: int = Field(512, ge=1, description="Rows explained, drawn with the seed")
    max_texts: int = Field(64, ge=1, description="The same of rows of tokens, whose models cost more")
    top_features: int = Field(20, ge=1, description="Features measured; the table holds all")
    confidence: float = Field(0.95, gt=0, lt=1)

    @field_validator("methods")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in METHODS:
                raise ValueError(f"no method {name!r}. {closest(name, METHODS)}")
        if len(set(names)) < len(names):
            raise ValueError(f"a method is named twice: {', '.join(names)}; name each once")
        return names

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """Completeness and importance of the inputs for ``subject``, and agreement of the methods."""
        rows = self._rows(data, context)
        nothing = without_tokens(rows)
        if nothing is not None:
            return AuditOutput(figures.unmeasured(nothing, (figures.WITHIN, figures.MEDIAN)))
        with at_rest(subject), global_generators_seeded(context.derive_seed("model")):
            predictions = subject.predict(rows, batch_size=context.batch_size)
            explained = unsteady(subject, rows) or self._explained(subject, rows, predictions.y_pred, context)
            chosen = explained if isinstance(explained, Message) else self._chosen(explained, context)
        if isinstance(chosen, Message) or isinstance(explained, Message):
            reason = chosen if isinstance(chosen, Message) else Message(text="")
            return AuditOutput(figures.unmeasured(reason, (figures.WITHIN, figures.MEDIAN)))
        first = chosen.first
        of_first, evidence = Detail(
            subject=subject,
            rows=rows,
            predictions=predictions,
            attributions=first.values,
            signed=first.signed,
            unit=first.unit,
            about=(explained.score_meaning, explained.baseline_meaning),
            top_features=self.top_features,
            confidence=self.confidence,
        ).shown()
        as_always = first.method == self.methods[0] == PATH
        of_others, beside = self._beside(chosen, explained.present, rows)
        return AuditOutput(
            [*first.completeness, *of_first, *of_others],
            (*evidence, *beside),
            notes_of(explained, data, rows, () if as_always else (first.method,)),
        )

    def compare(
        self, baseline: Subject, variant: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Rank agreement of the attributions of both, for the class that the baseline predicts."""
        rows = self._rows(data, context)
        target = baseline.predict(rows, batch_size=context.batch_size).y_pred
        explained: list[ExplainedRows] = []
        for subject in (baseline, variant):
            one = unsteady(subject, rows) or self._explained(subject, rows, target, context)
            if isinstance(one, Message):
                return AuditOutput(figures.unmeasured(one, (figures.AGREEMENT,)))
            explained.append(one)
        if any(one.no_gradients is not None for one in explained):
            # the score of both must be the same
            asked = [
                black_box_rows(one.subject, rows, target, batch_size=context.batch_size) for one in explained
            ]
            explained = [one for one in asked if not isinstance(one, Message)]
            for reason in asked:
                if isinstance(reason, Message):
                    return AuditOutput(figures.unmeasured(reason, (figures.AGREEMENT,)))
        found = self._of_both(explained, context)
        if isinstance(found, Message):
            return AuditOutput(figures.unmeasured(found, (figures.AGREEMENT,)))
        before, after = (one.values for one in found)
        measurement = figures.agreement(_correlations(rows, before, after), self.confidence)
        has_names = rows.features.image_shape is None and rows.features.tokens is None
        names = feature_names(rows.features, before.shape[1]) if has_names else ()
        evidence = (importance_comparison(before, after, names, self.confidence),) if names else ()
        return AuditOutput([measurement], evidence, pair_notes(found, rows, self.methods[0]))

    def _of_both(
        self, explained: Sequence[ExplainedRows], context: AuditContext
    ) -> tuple[Usable, Usable] | Message:
        """Both by the first method, or both by the one that stands in, never each by another."""
        methods, reason = self._methods(context), Message(text="")
        for name in dict.fromkeys((self.methods[0], *STAND_INS)):
            both = []
            for one in explained:
                with at_rest(one.subject), global_generators_seeded(0):
                    found = methods.by(name, one, named=False)
                if isinstance(found, Message):
                    reason = found
                    break
                both.append(found)
            else:
                return both[0], both[1]
        return reason

    def _chosen(self, explained: ExplainedRows, context: AuditContext) -> Chosen | Message:
        return drawn_at_random(explained) or self._methods(context).applied(explained)

    def _methods(self, context: AuditContext) -> Methods:
        precision = Precision(self.tolerance, self.max_evaluations)
        return Methods(
            self.methods, precision, self.confidence, lambda name: context.torch_rng("methods", name)
        )

    def _beside(
        self, chosen: Chosen, present: BoolArray, rows: Dataset
    ) -> tuple[list[Measurement], tuple[Evidence, ...]]:
        """What the other methods say; nothing where there is but one."""
        measured, evidence = chosen.refusals(), list[Evidence]()
        if len(self.methods) > 1:
            values = {one.method: one.values for one in chosen.usable}
            pairs = measured_pairs(pairs_of(values, present), present, self.confidence)
            measured += agreement_figures(pairs, present, self.confidence)
            measured += [figure for one in chosen.usable[1:] for figure in one.completeness]
            evidence += agreement_evidence(pairs, present)
            if rows.features.tokens is None and rows.features.image_shape is None and len(values) > 1:
                names = feature_names(rows.features, present.shape[1])
                ranked = {name: importances(found, names, self.confidence) for name, found in values.items()}
                evidence.append(shares_by_method(ranked, len(rows)))
                for one in chosen.usable[1:]:
                    top = ranked[one.method][: self.top_features]
                    measured += figures.importance_measurements(top, len(rows), one.unit, one.method)
        if chosen.refused:
            evidence.append(chosen.refusal_table(self.methods))
        return measured, tuple(evidence)

    def _rows(self, data: Dataset, context: AuditContext) -> Dataset:
        """At most ``max_rows`` rows (``max_texts`` of tokens), drawn without replacement, in their order."""
        most = self.max_rows if data.features.tokens is None else self.max_texts
        whole = with_tokens(data)
        if len(whole) <= most:
            return whole
        drawn = context.numpy_rng("rows").choice(len(whole), most, replace=False)
        return whole.take(np.sort(drawn).astype(np.int64))

    def _explained(
        self, subject: Subject, rows: Dataset, target: IntArray, context: AuditContext
    ) -> ExplainedRows | Message:
        return asked_rows(subject, rows, target, explained=self.explained, batch_size=context.batch_size)


def _correlations(rows: Dataset, before: FloatArray, after: FloatArray) -> FloatArray:
    """Rank correlation of each row over its features, its pixels or those places that hold a token."""
    if rows.features.tokens is None:
        return spearman_by_row(before, after)
    return spearman_by_text(before, after, rows.inputs.numpy() != rows.features.tokens.padding)
