"""Which inputs move the decision, and whether the explanation adds up."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput, PairedAudit
from auditkit.audits.explainability import attribution_measurements as figures
from auditkit.audits.explainability.attribution_evidence import (
    example_bars,
    example_pictures,
    grey_values,
    heat_map,
    importance_bars,
    importance_comparison,
    importance_table,
    outcome_of,
)
from auditkit.audits.explainability.example_rows import ExampleRow, example_rows
from auditkit.audits.explainability.explained_features import feature_names, importances
from auditkit.audits.explainability.explained_rows import ExplainedRows, explained_rows, with_tokens
from auditkit.audits.explainability.explained_score import Explained
from auditkit.audits.explainability.integrated_gradients import Attributions, Precision
from auditkit.audits.explainability.methods.path import along_the_path
from auditkit.audits.explainability.rank_agreement import spearman_by_row, spearman_by_text
from auditkit.audits.explainability.token_evidence import (
    example_text,
    token_bars,
    token_importances,
    token_table,
)
from auditkit.data.dataset import Dataset, FloatArray, IntArray, TokenSpace
from auditkit.data.token_text import visible
from auditkit.errors import AuditkitError
from auditkit.records import Evidence, Measurement, Message
from auditkit.subjects.subject import Predictions, Subject, WhiteBox, preprocessing_of


class Attribution(PairedAudit):
    """How much each input adds to the score of the predicted class, by integrated gradients.

    A reader may conclude which inputs the model's score depends on along the path from the baseline, and
    from the completeness figures whether the attributions add up as they must. See ``info.limits`` for what
    a reader may not conclude.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="attribution",
        version=3,
        area="explainability",
        question="Which inputs move the decision?",
        requires=frozenset({"gradients"}),
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
        ),
    )

    methods: tuple[Literal["integrated-gradients"], ...] = Field(
        ("integrated-gradients",), min_length=1, max_length=1, description="How attributions are computed"
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

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """Completeness and importance of the inputs for ``subject``."""
        model, rows = _white_box(subject), self._rows(data, context)
        predictions = subject.predict(rows, batch_size=context.batch_size)
        explained = self._explained(model, rows, predictions.y_pred, context)
        if isinstance(explained, Message):
            return AuditOutput(figures.unmeasured(explained, (figures.WITHIN, figures.MEDIAN)))
        attributions = along_the_path(explained, self._precision)
        measurements: list[Measurement] = [*figures.completeness(attributions, self.confidence)]
        about = (explained.score_meaning, explained.baseline_meaning)
        evidence: tuple[Evidence, ...]
        if rows.features.tokens is not None:
            evidence = self._of_tokens(
                rows, predictions, attributions.values, rows.features.tokens, about=about
            )
        elif rows.features.image_shape is not None:
            evidence = _of_pictures(
                model, rows, predictions, attributions.values, rows.features.image_shape, about=about
            )
        else:
            of_features, evidence = self._of_table(rows, predictions, attributions.values, about=about)
            measurements += of_features
        return AuditOutput(measurements, evidence, _notes(explained, data, rows))

    def compare(
        self, baseline: Subject, variant: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Rank agreement of the attributions of both, for the class that the baseline predicts."""
        rows = self._rows(data, context)
        found: list[Attributions] = []
        target = baseline.predict(rows, batch_size=context.batch_size).y_pred
        for subject in (baseline, variant):
            explained = self._explained(_white_box(subject), rows, target, context)
            if isinstance(explained, Message):
                return AuditOutput(figures.unmeasured(explained, (figures.AGREEMENT,)))
            found.append(along_the_path(explained, self._precision))
        first, second = found
        before, after = first.values, second.values
        measurement = figures.agreement(_correlations(rows, before, after), self.confidence)
        has_names = rows.features.image_shape is None and rows.features.tokens is None
        names = feature_names(rows.features, before.shape[1]) if has_names else ()
        evidence = (importance_comparison(before, after, names, self.confidence),) if names else ()
        return AuditOutput([measurement], evidence, _pair_notes(first, second, rows))

    def _rows(self, data: Dataset, context: AuditContext) -> Dataset:
        """At most ``max_rows`` rows (``max_texts`` of tokens), drawn without replacement, in their order."""
        most = self.max_rows if data.features.tokens is None else self.max_texts
        whole = with_tokens(data)
        if len(whole) <= most:
            return whole
        drawn = context.numpy_rng("rows").choice(len(whole), most, replace=False)
        return whole.take(np.sort(drawn).astype(np.int64))

    def _explained(
        self, subject: WhiteBox, rows: Dataset, target: IntArray, context: AuditContext
    ) -> ExplainedRows | Message:
        return explained_rows(subject, rows, target, explained=self.explained, batch_size=context.batch_size)

    @property
    def _precision(self) -> Precision:
        return Precision(self.tolerance, self.max_evaluations)

    def _of_tokens(
        self,
        rows: Dataset,
        predictions: Predictions,
        attributions: FloatArray,
        tokens: TokenSpace,
        *,
        about: tuple[Message, ...],
    ) -> tuple[Evidence, ...]:
        ids = rows.inputs.numpy()
        real = ids != tokens.padding
        ranked = token_importances(attributions, ids, real, self.confidence)
        examples = [
            example_text(example, attributions, rows, tokens, outcome, about=about)
            for example, outcome in _examples(rows, predictions)
        ]
        return (token_bars(ranked, self.top_features, tokens), *examples, token_table(ranked, tokens))

    def _of_table(
        self,
        rows: Dataset,
        predictions: Predictions,
        attributions: FloatArray,
        *,
        about: tuple[Message, ...],
    ) -> tuple[list[Measurement], tuple[Evidence, ...]]:
        names = feature_names(rows.features, attributions.shape[1])
        ranked = importances(attributions, names, self.confidence)
        examples = [
            example_bars(example, attributions[example.row], names, outcome, about=about)
            for example, outcome in _examples(rows, predictions)
        ]
        overview = (
            importance_bars(ranked, self.top_features, len(rows)),
            importance_table(ranked, len(rows)),
        )
        measured = figures.importance_measurements(ranked[: self.top_features], len(rows))
        return measured, (*overview, *examples)


def _of_pictures(
    subject: WhiteBox,
    rows: Dataset,
    predictions: Predictions,
    attributions: FloatArray,
    image_shape: tuple[int, int],
    *,
    about: tuple[Message, ...],
) -> tuple[Evidence, ...]:
    attributions = attributions.reshape(len(rows), *image_shape)
    inputs = rows.inputs.detach().double().cpu().numpy()
    pictures = grey_values(inputs, preprocessing_of(subject), image_shape)
    examples = _examples(rows, predictions)
    return (
        heat_map(pictures, attributions),
        example_pictures(
            [example for example, _ in examples],
            pictures,
            attributions,
            [outcome for _, outcome in examples],
            about=about,
        ),
    )


def _examples(rows: Dataset, predictions: Predictions) -> list[tuple[ExampleRow, dict[str, str | float]]]:
    is_language = rows.task == "language-modelling"
    classes = tuple(visible(name) for name in rows.classes) if is_language else rows.classes
    return [
        (example, outcome_of(example, predictions, rows.y_true, classes))
        for example in example_rows(predictions, rows.y_true)
    ]


def _correlations(rows: Dataset, before: FloatArray, after: FloatArray) -> FloatArray:
    """Rank correlation of each row over its features, its pixels or those places that hold a token."""
    if rows.features.tokens is None:
        return spearman_by_row(before, after)
    return spearman_by_text(before, after, rows.inputs.numpy() != rows.features.tokens.padding)


def _white_box(subject: Subject) -> WhiteBox:
    if not isinstance(subject, WhiteBox):
        raise AuditkitError(
            f"attribution: {subject.card.name} has no gradients; audit a torch module or leave this audit out"
        )
    return subject


def _notes(explained: ExplainedRows, data: Dataset, rows: Dataset) -> list[Message]:
    notes = [explained.score_meaning, explained.baseline_meaning]
    if data.features.tokens is not None:
        notes.append(
            Message(
                text="An attribution of a token is about the vector with which it enters the model, in its "
                "place among the others; elsewhere it may weigh otherwise."
            )
        )
    empty = len(data) - len(with_tokens(data))
    if empty:
        notes.append(Message(text="{n} rows without any token are left out.", values={"n": empty}))
    if len(rows) < len(data) - empty:
        notes.append(
            Message(
                text="{n} of {total} rows were drawn at random and explained.",
                values={"n": len(rows), "total": len(data) - empty},
            )
        )
    if data.sample_weight is not None:
        notes.append(Message(text="Rows count equally here, whatever their sample weight."))
    return notes


def _pair_notes(first: Attributions, second: Attributions, rows: Dataset) -> list[Message]:
    notes = [
        Message(text="Explained in both models is the token that the baseline foretells.")
        if rows.task == "language-modelling"
        else Message(text="Explained in both models is the class that the baseline predicts.")
    ]
    incomplete: Sequence[int] = [int((~found.complete).sum()) for found in (first, second)]
    if any(incomplete):
        notes.append(
            Message(
                text="Attributions do not add up in {baseline} rows of the baseline, {variant} of the other.",
                values={"baseline": incomplete[0], "variant": incomplete[1]},
            )
        )
    return notes
