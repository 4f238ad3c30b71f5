"""The method that is shown in detail: importance over all rows, and the rows chosen by rule."""

from dataclasses import dataclass

from auditkit.audits.explainability import attribution_measurements as figures
from auditkit.audits.explainability.attribution_evidence import (
    example_bars,
    example_pictures,
    grey_values,
    heat_map,
    importance_bars,
    importance_table,
    outcome_of,
)
from auditkit.audits.explainability.example_rows import ExampleRow, example_rows
from auditkit.audits.explainability.explained_features import feature_names, importances
from auditkit.audits.explainability.token_evidence import (
    example_text,
    token_bars,
    token_importances,
    token_table,
)
from auditkit.data.dataset import Dataset, FloatArray, TokenSpace
from auditkit.data.token_text import visible
from auditkit.records import Evidence, Measurement, Message, Unit
from auditkit.subjects.subject import Predictions, Subject, preprocessing_of


@dataclass(frozen=True, slots=True)
class Detail:
    """What is shown of one method.

    Attributes:
        subject: The model.
        rows: The explained rows.
        predictions: Of those rows.
        attributions: Of units, shape ``(n, m)``.
        signed: Whether they speak for and against.
        unit: Of the attributions.
        about: What is explained and from where.
        top_features: How many features are measured and drawn.
        confidence: Of the intervals.
    """

    subject: Subject
    rows: Dataset
    predictions: Predictions
    attributions: FloatArray
    signed: bool
    unit: Unit
    about: tuple[Message, ...]
    top_features: int
    confidence: float

    def shown(self) -> tuple[list[Measurement], tuple[Evidence, ...]]:
        """Figures of features, and evidence."""
        if self.rows.features.tokens is not None:
            return [], self._of_tokens(self.rows.features.tokens)
        if self.rows.features.image_shape is not None:
            return [], self._of_pictures(self.rows.features.image_shape)
        return self._of_table()

    def _of_tokens(self, tokens: TokenSpace) -> tuple[Evidence, ...]:
        ids = self.rows.inputs.numpy()
        ranked = token_importances(self.attributions, ids, ids != tokens.padding, self.confidence)
        examples = [
            example_text(example, self.attributions, self.rows, tokens, outcome, self.unit, about=self.about)
            for example, outcome in self._examples()
        ]
        bars = token_bars(ranked, self.top_features, tokens, self.unit)
        return (bars, *examples, token_table(ranked, tokens, self.unit))

    def _of_pictures(self, image_shape: tuple[int, int]) -> tuple[Evidence, ...]:
        attributions = self.attributions.reshape(len(self.rows), *image_shape)
        inputs = self.rows.inputs.detach().double().cpu().numpy()
        pictures = grey_values(inputs, preprocessing_of(self.subject), image_shape)
        chosen = self._examples()
        examples, outcomes = [example for example, _ in chosen], [outcome for _, outcome in chosen]
        shown = example_pictures(
            examples, pictures, attributions, outcomes, signed=self.signed, about=self.about
        )
        return heat_map(pictures, attributions, self.unit), shown

    def _of_table(self) -> tuple[list[Measurement], tuple[Evidence, ...]]:
        names, n = feature_names(self.rows.features, self.attributions.shape[1]), len(self.rows)
        ranked = importances(self.attributions, names, self.confidence)
        examples = [
            example_bars(example, self.attributions[example.row], names, outcome, self.unit, about=self.about)
            for example, outcome in self._examples()
        ]
        overview = (
            importance_bars(ranked, self.top_features, n, self.unit),
            importance_table(ranked, n, self.unit),
        )
        measured = figures.importance_measurements(ranked[: self.top_features], n, self.unit)
        return measured, (*overview, *examples)

    def _examples(self) -> list[tuple[ExampleRow, dict[str, str | float]]]:
        rows, predictions = self.rows, self.predictions
        is_language = rows.task == "language-modelling"
        classes = tuple(visible(name) for name in rows.classes) if is_language else rows.classes
        return [
            (example, outcome_of(example, predictions, rows.y_true, classes))
            for example in example_rows(predictions, rows.y_true)
        ]
