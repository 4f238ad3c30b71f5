"""How well do inputs, hidden layer and scores give a sensitive feature away?"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
from auditkit.audits.fairness.proxies_evidence import evidence_of
from auditkit.audits.fairness.proxies_features import FeatureInformation, feature_information
from auditkit.audits.fairness.proxies_figures import AttributeFound, all_missing, measurements_of
from auditkit.audits.fairness.proxies_inputs import feature_places, is_table, probe_inputs
from auditkit.audits.fairness.proxies_layer import LayerOutputs, penultimate
from auditkit.audits.fairness.proxies_neutral import CarriedGap, Selection, carried_gap
from auditkit.audits.fairness.proxies_probes import boosted_probe, linear_probe
from auditkit.audits.fairness.proxies_rows import AttributeRows, attribute_rows, rows_with_weight
from auditkit.audits.fairness.slice_features import input_features
from auditkit.data.dataset import Dataset, FloatArray
from auditkit.records import Evidence, Measurement, Message
from auditkit.statistics.counts import positive_class
from auditkit.statistics.linear_probe import ProbeResult, standardised
from auditkit.subjects.predictions_table import PredictionsTable
from auditkit.subjects.subject import Predictions, Subject, preprocessing_of

BINS = 10
"""Levels of a number where its information is counted."""

TENTHS = 10
"""Steps of the scores that the probe of scores may weigh one by one."""

DIGITS = 5
"""Of log-odds: more are lost in single precision."""

NO_TABLE = Message(text="The inputs are no table: they have no columns to read one by one.")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is the same for every attribute.

    Attributes:
        subject: Under audit.
        data: Rows with weight.
        layer: Predictions and last hidden layer.
        context: Randomness.
    """

    subject: Subject
    data: Dataset
    layer: LayerOutputs
    context: AuditContext


class Proxies(Audit):
    """Small models that foretell a sensitive feature, from inputs, last hidden layer and scores alone.

    A reader may conclude that at least so much of the attribute can be read from these sources, and how much
    of a gap between groups hangs on one input. They may not conclude that the subject uses what can be read.

    Attributes:
        keep_attribute: Leave the attribute itself among the inputs that the probes read.
        folds: Of the rows; persons stay together.
        n_permutations: Of the attribute, for p-values.
        max_rows: Most rows that probes learn from and score; of more, so many are drawn.
        boosted_rows: The same for boosted trees, which take longer; rare levels keep more of theirs.
        neutralised: Of how many of the most telling inputs to ask what hangs on them.
        confidence: Of all intervals; one minus the chance of showing an input that tells nothing.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="proxies",
        version=1,
        area="fairness",
        question="How well do the inputs, and what the model makes of them, give the sensitive feature away?",
        requires=frozenset({"predictions", "sensitive_features"}),
        limits=(
            "A probe that finds little does not prove that there is little: a better one may find more.",
            "What can be read from a layer or a score need not be used, and an input that tells the "
            "attribute may have every right to be there.",
            "Intervals are about probes trained on as many rows as these. That folds share training rows is "
            "allowed for by a factor, which is approximate.",
            "Shuffling one input leaves others that tell the same; it makes rows that may not exist.",
        ),
        sources=(
            "LeDell, Petersen and van der Laan (2015), Electronic Journal of Statistics 9:1583-1607",
            "Nadeau and Bengio (2003), Machine Learning 52:239-281",
            "DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837-845",
            "Westfall and Young (1993), Resampling-Based Multiple Testing",
            "Theil (1970), American Journal of Sociology 76:103-154",
            "Miller (1955), Note on the bias of information estimates",
            "Feldman et al. (2015), Certifying and removing disparate impact, ACM KDD",
        ),
    )

    keep_attribute: bool = False
    folds: int = Field(5, ge=2, le=20)
    n_permutations: int = Field(199, ge=19, le=10_000)
    max_rows: int = Field(20_000, ge=100)
    boosted_rows: int = Field(10_000, ge=100)
    neutralised: int = Field(3, ge=0, le=20)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """All sources for every sensitive feature."""
        rows = rows_with_weight(data, self.info.name)
        layer = penultimate(subject, rows, batch_size=context.batch_size, rng=context.numpy_rng("directions"))
        seen = _Seen(subject, rows, layer, context)
        measurements: list[Measurement] = []
        evidence: list[Evidence] = []
        notes = _notes(subject, rows, layer)
        for attribute in rows.sensitive_features:
            rng = context.numpy_rng("rows", attribute)
            chosen = attribute_rows(rows, attribute, folds=self.folds, max_rows=self.max_rows, rng=rng)
            if isinstance(chosen, Message):
                measurements += all_missing(attribute, len(rows), chosen)
                continue
            found = self._of(chosen, seen)
            measurements += measurements_of(found)
            evidence += evidence_of(found)
            notes += self._notes_on(chosen, rows)
        return AuditOutput(measurements, evidence, notes)

    def _of(self, rows: AttributeRows, seen: _Seen) -> AttributeFound:
        features = self._features(rows, seen)
        return AttributeFound(
            rows=rows,
            probes={**self._inputs(rows, seen), **self._inside(rows, seen)},
            features=features,
            gaps=self._gaps(rows, seen, features),
            confidence=self.confidence,
        )

    def _left_out(self, attribute: str) -> frozenset[str]:
        return frozenset() if self.keep_attribute else frozenset({attribute})

    def _inputs(self, rows: AttributeRows, seen: _Seen) -> dict[str, ProbeResult | Message]:
        names = ("inputs.auc", "inputs.auc.boosted")
        if not is_table(seen.data):
            return dict.fromkeys(names, NO_TABLE)
        chosen = seen.data.take(rows.index)
        inputs = probe_inputs(chosen, without=self._left_out(rows.attribute))
        if inputs is None:
            return dict.fromkeys(names, Message(text="No input but the attribute itself varies."))
        seed = seen.context.derive_seed("trees", rows.attribute)
        drawn = rows.drawn(self.boosted_rows, seen.context.numpy_rng("trees", rows.attribute))
        return {
            names[0]: self._linear(inputs.spread, rows, seen.context, "inputs"),
            names[1]: boosted_probe(
                inputs.take(drawn), rows.take(drawn), seed=seed, confidence=self.confidence
            ),
        }

    def _inside(self, rows: AttributeRows, seen: _Seen) -> dict[str, ProbeResult | Message]:
        sources: Mapping[str, FloatArray | Message] = {
            "layer": seen.layer.columns,
            "score": _score_columns(seen.subject, seen.layer.predictions),
        }
        found: dict[str, ProbeResult | Message] = {}
        for name, source in sources.items():
            if isinstance(source, Message):
                found[f"{name}.auc"] = source
                continue
            columns = standardised(source[rows.index])
            found[f"{name}.auc"] = (
                self._linear(columns, rows, seen.context, name)
                if columns.shape[1]
                else Message(text="It is the same for every row.")
            )
        return found

    def _linear(
        self, columns: FloatArray, rows: AttributeRows, context: AuditContext, source: str
    ) -> ProbeResult:
        return linear_probe(
            columns,
            rows,
            n_permutations=self.n_permutations,
            rng=context.numpy_rng("permutations", source, rows.attribute),
            confidence=self.confidence,
        )

    def _features(self, rows: AttributeRows, seen: _Seen) -> tuple[FeatureInformation, ...] | Message:
        if not is_table(seen.data):
            return NO_TABLE
        found = input_features(seen.data, preprocessing_of(seen.subject), bins=BINS)
        left_out = self._left_out(rows.attribute)
        columns = {name: column for name, column in found.columns.items() if name not in left_out}
        return feature_information(
            columns,
            rows,
            n_permutations=self.n_permutations,
            rng=seen.context.numpy_rng("features", rows.attribute),
            confidence=self.confidence,
        )

    def _gaps(
        self, rows: AttributeRows, seen: _Seen, features: tuple[FeatureInformation, ...] | Message
    ) -> Mapping[str, CarriedGap] | Message:
        """What hangs on the inputs that tell most."""
        if isinstance(features, Message):
            return features
        if isinstance(seen.subject, PredictionsTable):
            return Message(text="The predictions come from a table: it cannot be asked about other inputs.")
        positive = positive_class(len(seen.data.classes), seen.data.positive_index)
        if positive is None:
            return Message(text="No positive label is declared, so nobody is selected.")
        places = feature_places(seen.data)
        telling = [one.name for one in features if one.is_shown and one.name in places][: self.neutralised]
        if not telling:
            return Message(text="No input is shown to tell the attribute, so none was shuffled.")
        selected = seen.layer.predictions.y_pred == positive
        selection = Selection(seen.subject, seen.data, positive, selected, seen.context.batch_size)
        return {
            name: carried_gap(
                selection,
                places[name],
                rows,
                rng=seen.context.numpy_rng("shuffles", rows.attribute, str(rank)),
                confidence=self.confidence,
            )
            for rank, name in enumerate(telling)
        }

    def _notes_on(self, rows: AttributeRows, data: Dataset) -> list[Message]:
        values: dict[str, str | int | float] = {"attribute": rows.attribute, "n": rows.n_unknown}
        notes = []
        if rows.n_unknown:
            text = "{n} rows have no known {attribute} and are left out of its probes."
            notes.append(Message(text=text, values=values))
        if rows.left_out:
            text = "Levels of {attribute} with too few rows to be foretold: {levels}."
            notes.append(Message(text=text, values={**values, "levels": "; ".join(rows.left_out)}))
        if rows.attribute in feature_places(data):
            text = (
                "{attribute} itself is among the inputs, and the probes read it."
                if self.keep_attribute
                else "{attribute} itself is among the inputs. The probes of inputs do not read it; the layer "
                "and the scores come from a subject that does."
            )
            notes.append(Message(text=text, values=values))
        if len(rows) > self.boosted_rows:
            text = (
                "Boosted trees that foretell {attribute} learn from and score about {n} rows drawn from all."
            )
            notes.append(Message(text=text, values={**values, "n": self.boosted_rows}))
        if len(rows) == self.max_rows:
            text = "The probes of {attribute} learn from and score {n} rows drawn from all."
            notes.append(Message(text=text, values={**values, "n": len(rows)}))
        return notes


def _score_columns(subject: Subject, predictions: Predictions) -> FloatArray:
    """Log-odds against the first class, or which class was predicted where nothing more is stated.

    Beside them in which tenth they lie, so that a group in the middle, or on both sides, is told as well.
    """
    stated = predictions.log_probabilities
    if "probabilities" in subject.capabilities:
        log_odds = np.round(stated[:, 1:] - stated[:, :1], DIGITS)
        edges = np.quantile(log_odds, np.arange(1, TENTHS) / TENTHS, axis=0)
        steps = [(log_odds > edge).astype(np.float64) for edge in edges]
        return np.column_stack([log_odds, *steps])
    classes = np.arange(1, stated.shape[1])
    return np.asarray(predictions.y_pred[:, None] == classes, dtype=np.float64)


def _notes(subject: Subject, data: Dataset, layer: LayerOutputs) -> list[Message]:
    notes = []
    if "probabilities" not in subject.capabilities:
        notes.append(
            Message(text="The subject states no probabilities: its scores are the predicted labels.")
        )
    if not isinstance(layer.columns, Message) and layer.columns.shape[1] < layer.width:
        notes.append(
            Message(
                text="The last hidden layer has {width} numbers per row; the probe reads {kept} random "
                "projections of them.",
                values={"width": layer.width, "kept": layer.columns.shape[1]},
            )
        )
    weight = data.sample_weight
    if weight is not None and not bool((weight == weight[0]).all()):
        notes.append(
            Message(
                text="Rows carry unequal weights: areas, information and gaps are weighted; the permutation "
                "tests count every row once."
            )
        )
    return notes
