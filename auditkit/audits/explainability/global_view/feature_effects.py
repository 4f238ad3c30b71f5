"""How the score moves with each feature."""

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
from auditkit.audits.explainability.global_view import effects_figures as figures
from auditkit.audits.explainability.global_view.asked import Asked, drawn_rows, notes_on_rows
from auditkit.audits.explainability.global_view.effect_curves import (
    Score,
    accumulated_effects,
    conditional_curves,
    grid_of,
    partial_dependence,
)
from auditkit.audits.explainability.global_view.effects_evidence import (
    effect_chart,
    effects_table,
    range_bars,
)
from auditkit.audits.explainability.global_view.table_features import TableFeature, is_table, table_features
from auditkit.audits.explainability.steadiness import unsteady
from auditkit.data.dataset import Dataset, FloatArray
from auditkit.errors import UsageError, closest
from auditkit.records import Evidence, Message, Unit
from auditkit.statistics.counts import positive_class
from auditkit.subjects.subject import Subject, preprocessing_of

NO_TABLE = Message(
    text="The inputs are no table: a pixel or a position of a text has no scale to move along."
)
NOTHING = Message(text="No feature has two different values.")


class FeatureEffects(Audit):
    """Partial dependence, its spread over rows, and accumulated local effects of every feature.

    A reader may conclude how the subject's score moves when a feature is changed and all else kept. They may
    not conclude what would happen to people if the feature changed in the world.

    Attributes:
        scale: Of the score of a class.
        target_class: Whose score; default the favourable label, else the class predicted most often.
        grid_points: Values that rows are given of a number; of a category the most frequent levels.
        ale_bins: Steps of accumulated effects.
        max_rows: Rows asked about, drawn with the seed.
        max_features: Features asked about; of more, those that vary the score most in a first look.
        charts: Features with a chart of their own.
        top_features: Features measured; the table holds all that were asked about.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="feature-effects",
        version=2,
        area="explainability",
        question="How does the score move with each feature?",
        requires=frozenset(),
        limits=(
            "Curves describe the model, not the world: they do not say what changing a feature would bring.",
            "Partial dependence gives every row every value, also where the two never occur together.",
            "A mean curve hides that a feature may raise the score of some rows and lower that of others; "
            "the spread between rows shows how much is hidden.",
            "Accumulated effects hold for rows near each value; far steps add up many small ones.",
        ),
        sources=(
            "Friedman (2001), Annals of Statistics 29:1189-1232",
            "Goldstein et al. (2015), Journal of Computational and Graphical Statistics 24:44-65",
            "Apley and Zhu (2020), Journal of the Royal Statistical Society B 82:1059-1086",
            "Chernozhukov, Chetverikov and Kato (2013), Annals of Statistics 41:2786-2819",
        ),
    )

    scale: Literal["probability", "log_odds"] = "probability"
    target_class: str | None = None
    grid_points: int = Field(21, ge=2, le=200)
    ale_bins: int = Field(20, ge=1, le=200)
    max_rows: int = Field(500, ge=2)
    max_features: int = Field(50, ge=1)
    charts: int = Field(4, ge=0)
    top_features: int = Field(20, ge=1)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """Curves and ranges of every feature of a table."""
        self._require_known(data)
        if not is_table(data):
            return AuditOutput(figures.all_missing(NO_TABLE))
        rows = drawn_rows(data, self.max_rows, context.numpy_rng("rows"))
        asked = Asked.about(subject, rows, batch_size=context.batch_size)
        if isinstance(asked, Message):
            return AuditOutput(figures.all_missing(asked))
        reason = unsteady(subject, rows)
        if reason is not None:
            return AuditOutput(figures.all_missing(reason))
        features = table_features(data, preprocessing_of(subject))
        score, notes = self._score(asked)
        known = [place for place, one in enumerate(features) if one.kind != "block"]
        first = self._first_look(asked, score, features, known, context)
        found = [one for place in first if (one := self._effect(asked, score, features, place, context))]
        if not found:
            return AuditOutput(figures.all_missing(NOTHING))
        found.sort(key=lambda one: -one.range.value)
        notes += _left_out(len(features), len(known), len(first)) + notes_on_rows(data, rows)
        return self._output(asked, score, found, notes)

    def _require_known(self, data: Dataset) -> None:
        if self.target_class is not None and self.target_class not in data.classes:
            raise UsageError(
                f"{self.info.name}: target_class {self.target_class!r} is not a class of the data. "
                f"{closest(self.target_class, data.classes)}"
            )

    def _score(self, asked: Asked) -> tuple[Score, list[Message]]:
        """What is described, and why that class."""
        rows, notes = asked.rows, []
        if rows.task == "regression":
            return Score(None, self.scale), []
        if asked.cost == "brier":
            notes.append(
                Message(
                    text="The subject states no probabilities: curves are shares of rows with that label."
                )
            )
        if self.target_class is not None:
            return Score(rows.classes.index(self.target_class), self.scale), notes
        declared = positive_class(len(rows.classes), rows.positive_index)
        if declared is not None:
            return Score(declared, self.scale), notes
        answers = asked.answers(asked.inputs, np.arange(len(rows)))
        common = int(np.bincount(answers.argmax(axis=1), minlength=len(rows.classes)).argmax())
        text = "Described is {label}, the class predicted most often; target_class chooses another."
        notes.append(Message(text=text, values={"label": rows.classes[common]}))
        return Score(common, self.scale), notes

    def _first_look(
        self,
        asked: Asked,
        score: Score,
        features: tuple[TableFeature, ...],
        known: list[int],
        context: AuditContext,
    ) -> list[int]:
        """Features to ask about: all, or those whose exchange between rows moves the score most."""
        if len(known) <= self.max_features:
            return known
        index, own = np.arange(len(asked.rows)), asked.inputs
        donors = context.numpy_rng("first look").permutation(len(index))
        before = score.of(asked, own, index)
        moved = []
        for place in known:
            changed, columns = own.clone(), list(features[place].columns)
            changed[:, columns] = own[donors][:, columns]
            moved.append(float(np.abs(score.of(asked, changed, index) - before).mean()))
        order = np.argsort(-np.array(moved), kind="stable")[: self.max_features]
        return [known[place] for place in np.sort(order)]

    def _effect(
        self,
        asked: Asked,
        score: Score,
        features: tuple[TableFeature, ...],
        place: int,
        context: AuditContext,
    ) -> figures.FeatureEffect | None:
        """All about one feature; ``None`` where it has a single value."""
        feature, persons = features[place], asked.rows.person
        inputs: FloatArray = asked.inputs.numpy().astype(np.float64)
        grid = grid_of(feature, inputs, self.grid_points)
        if len(grid) < 2:
            return None
        rng = context.numpy_rng("ranges", str(place))
        curves = conditional_curves(asked, score, feature, grid)
        dependence = partial_dependence(curves, grid)
        local = (
            accumulated_effects(asked, score, feature, self.ale_bins) if feature.kind == "number" else None
        )
        absent = figures.NO_STEPS if feature.kind == "number" else figures.NO_ORDER
        return figures.FeatureEffect(
            feature=feature,
            dependence=dependence,
            local=local or absent,
            range=figures.range_figure(dependence, persons=persons, confidence=self.confidence, rng=rng),
            local_range=absent
            if local is None
            else figures.range_figure(local, persons=persons, confidence=self.confidence, rng=rng),
            spread=figures.spread_figure(curves, persons=persons, confidence=self.confidence),
        )

    def _output(
        self, asked: Asked, score: Score, found: list[figures.FeatureEffect], notes: list[Message]
    ) -> AuditOutput:
        rows = asked.rows
        is_log_odds = score.target is not None and self.scale == "log_odds" and asked.cost != "brier"
        unit: Unit = "nat" if is_log_odds else "1"
        label = rows.target if score.target is None else rows.classes[score.target]
        what = label if score.target is None else f"logit P({label})" if is_log_odds else f"P({label})"
        evidence: list[Evidence] = [range_bars(found, what, unit, shown=self.top_features)]
        evidence += [
            effect_chart(one, what, unit, persons=rows.person, confidence=self.confidence)
            for one in found[: self.charts]
        ]
        evidence.insert(min(3, len(evidence)), effects_table(found, unit))
        measurements = figures.effect_measurements(found[: self.top_features], unit)
        return AuditOutput(measurements, evidence, notes)


def _left_out(n_all: int, n_known: int, n_asked: int) -> list[Message]:
    notes = []
    if n_known < n_all:
        text = "{n} features are several columns of which nothing tells what they mean; they are left out."
        notes.append(Message(text=text, values={"n": n_all - n_known}))
    if n_asked < n_known:
        text = (
            "Of {total} features the {n} were asked about whose exchange between rows moves the score most."
        )
        notes.append(Message(text=text, values={"n": n_asked, "total": n_known}))
    return notes
