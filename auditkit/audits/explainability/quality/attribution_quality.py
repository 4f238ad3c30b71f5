"""How far the explanations themselves can be trusted."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from pydantic import Field, field_validator

from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
from auditkit.audits.explainability.explained_rows import ExplainedRows, explained_rows, with_tokens
from auditkit.audits.explainability.explained_score import Explained
from auditkit.audits.explainability.methods.catalogue import METHODS
from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.audits.explainability.methods.safe_front import attributed
from auditkit.audits.explainability.methods.watched_calls import PROBED
from auditkit.audits.explainability.quality import metrics
from auditkit.audits.explainability.quality.explaining import some_of
from auditkit.audits.explainability.quality.imputers import imputers
from auditkit.audits.explainability.quality.method_figures import means_of, measurements_of
from auditkit.audits.explainability.quality.model_agreement import agreement_of_models, models_table
from auditkit.audits.explainability.quality.notes import notes_of
from auditkit.audits.explainability.quality.pair_figures import pair_figures, pair_table
from auditkit.audits.explainability.quality.private_copy import private_copy
from auditkit.audits.explainability.quality.randomisation_evidence import (
    cascade_curve,
    control_figures,
    control_table,
)
from auditkit.audits.explainability.quality.scores import Effort, Scores
from auditkit.audits.explainability.quality.scoring import scores_of
from auditkit.audits.explainability.quality.trained_again import TrainedAgain, explained_by, model_of
from auditkit.audits.explainability.quality.trust_checks import Thresholds, trust_checks
from auditkit.audits.explainability.quality.trust_evidence import trust_table
from auditkit.audits.explainability.steadiness import unsteady
from auditkit.data.dataset import Dataset, IntArray
from auditkit.errors import AuditkitError
from auditkit.records import Evidence, Measurement, Message
from auditkit.subjects.subject import Subject, WhiteBox


class AttributionQuality(Audit):
    """Whether attributions say what the model does, beside the same attributions in random order.

    A reader may conclude which properties an explanation has on this model and these rows, each with its
    interval and with what chance alone would give. See ``info.limits`` for what a reader may not conclude.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="attribution-quality",
        version=6,
        area="explainability",
        question="How far can its explanations be trusted?",
        requires=frozenset({"predictions", "gradients"}),
        limits=(
            "An explanation that passes is faithful to the model in these respects; it need not be true of "
            "the world, nor be of use to the person who reads it.",
            "Taking units away makes rows unlike those of the training; two ways of doing so show how much "
            "hangs on the choice, not that either is right.",
            "Completeness is necessary, not sufficient: wrong attributions can add up.",
            "Methods that multiply by the input share that factor before and after weights are drawn anew, "
            "which makes them look less dependent on the weights than gradients.",
            "Models trained again are compared where their checkpoints are given (trained_again): an audit "
            "has no training rows.",
            "The thresholds are conventions, not laws; they are parameters of the audit.",
        ),
        sources=(
            "Sundararajan, Taly and Yan (2017), Axiomatic Attribution for Deep Networks, arXiv:1703.01365",
            "Adebayo et al. (2018), Sanity Checks for Saliency Maps, arXiv:1810.03292",
            "Ancona et al. (2018), Towards better understanding of gradient-based attribution, "
            "arXiv:1711.06104",
            "Yeh et al. (2019), On the (In)fidelity and Sensitivity of Explanations, arXiv:1901.09392",
            "Agarwal et al. (2022), Rethinking Stability for Attribution-based Explanations, "
            "arXiv:2203.06877",
            "Krishna et al. (2022), The Disagreement Problem in Explainable Machine Learning, "
            "arXiv:2202.01602",
            "Bluecher, Vielhaben and Strodthoff (2024), Decoupling Pixel Flipping and Occlusion Strategy, "
            "arXiv:2401.06654",
            "Hedstroem et al. (2024), A Fresh Look at Sanity Checks for Saliency Maps, arXiv:2405.02383",
        ),
    )

    methods: tuple[str, ...] = Field(
        ("integrated-gradients",), min_length=1, description="Methods whose attributions are examined"
    )
    explained: Explained = Field("logit", description="Score of the predicted class that is explained")
    # With fewer than 368 rows not even all of them adding up would clear 99 % (Clopper and Pearson).
    max_rows: int = Field(512, ge=1, description="Rows explained, drawn with the seed")
    max_texts: int = Field(32, ge=1, description="The same of rows of tokens, whose models cost more")
    rows_again: int = Field(64, ge=1, description="Rows explained again: moved, and with models drawn anew")
    n_subsets: int = Field(128, ge=2, description="Subsets of each size, for sensitivity-n")
    n_noise: int = Field(64, ge=2, description="Draws of noise, for infidelity")
    n_neighbours: int = Field(16, ge=1, description="Rows nearby, for max-sensitivity")
    n_models: int = Field(12, ge=2, description="Models whose weights are drawn anew")
    n_random: int = Field(5, ge=1, description="Random orders beside each attribution")
    n_seeds: int = Field(3, ge=2, description="Draws of methods that draw, to see whether they agree")
    trained_again: tuple[TrainedAgain, ...] = Field(
        (), description="Checkpoints of the same model trained again, five or more, to explain the same rows"
    )
    n_bootstrap: int = Field(2000, ge=100, description="Resamples of the rows")
    confidence: float = Field(0.95, gt=0, lt=1)
    completeness_at_least: float = Field(0.99, ge=0, le=1)
    removal_gain_at_least: float = Field(0.02, ge=-1, le=1)
    sensitivity_n_at_least: float = Field(0.3, ge=-1, le=1)
    infidelity_at_most: float = Field(0.5, ge=0, le=1)
    max_sensitivity_at_most: float = Field(0.5, ge=0)
    randomised_similarity_at_most: float = Field(0.3, ge=-1, le=1)
    seed_agreement_at_least: float = Field(0.9, ge=-1, le=1)

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in methods if name not in METHODS]
        if unknown or len(set(methods)) < len(methods):
            raise ValueError(
                f"got {', '.join(unknown or methods)}, expected different ones of {', '.join(METHODS)}"
            )
        return methods

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """The eight metrics for every method, on a copy of ``subject``."""
        if not isinstance(subject, WhiteBox):
            raise AuditkitError(
                f"attribution-quality: {subject.card.name} has no gradients; audit a torch module or leave "
                "this audit out"
            )
        rows = self._rows(data, context)
        predicted = subject.predict(rows, batch_size=context.batch_size).y_pred
        copied = private_copy(subject, rows.inputs[:2].to(subject.device))
        explained = unsteady(subject, rows) or explained_rows(
            copied, rows, predicted, explained=self.explained, batch_size=context.batch_size
        )
        if isinstance(explained, Message):
            return AuditOutput(_unmeasured(dict.fromkeys(self.methods, explained)))
        obstacles = {name: _obstacle(METHODS[name], explained, context) for name in self.methods}
        usable = [METHODS[name] for name, obstacle in obstacles.items() if obstacle is None]
        refused = {name: obstacle for name, obstacle in obstacles.items() if obstacle is not None}
        found = self._output(explained, rows, usable, context) if usable else AuditOutput(())
        again = self._again(rows, context)
        models = self._models(subject, rows, predicted, context)
        of_models, table = self._agreement(
            usable if models else [],
            [some_of(explained, again), *models],
            None if rows.person is None else rows.person[again],
            context,
        )
        notes = notes_of(explained, data, rows, self.rows_again)
        return AuditOutput(
            [*found.measurements, *of_models, *_unmeasured(refused)], [*found.evidence, *table], notes
        )

    def _models(
        self, subject: WhiteBox, rows: Dataset, predicted: IntArray, context: AuditContext
    ) -> list[ExplainedRows]:
        """The rows that are explained again, as the models trained again see them."""
        again = self._again(rows, context)
        return [
            explained_by(
                model_of(given, subject),
                rows.take(again),
                predicted[again],
                self.explained,
                batch_size=context.batch_size,
            )
            for given in self.trained_again
        ]

    def _agreement(
        self,
        methods: Sequence[AttributionMethod],
        models: Sequence[ExplainedRows],
        person: IntArray | None,
        context: AuditContext,
    ) -> tuple[list[Measurement], list[Evidence]]:
        found: list[Measurement] = []
        for method in methods:
            found += agreement_of_models(
                method,
                models,
                person,
                seed=context.derive_seed("models"),
                n_draws=self.n_bootstrap,
                confidence=self.confidence,
            )
        return found, [models_table(found, len(models))] if found else []

    def _rows(self, data: Dataset, context: AuditContext) -> Dataset:
        """At most ``max_rows`` rows (``max_texts`` of tokens), drawn without replacement, in their order."""
        most = self.max_rows if data.features.tokens is None else self.max_texts
        whole = with_tokens(data)
        if len(whole) <= most:
            return whole
        return whole.take(_drawn(len(whole), most, context.numpy_rng("rows")))

    def _again(self, rows: Dataset, context: AuditContext) -> IntArray:
        return _drawn(len(rows), min(self.rows_again, len(rows)), context.numpy_rng("again"))

    def _output(
        self,
        explained: ExplainedRows,
        rows: Dataset,
        methods: Sequence[AttributionMethod],
        context: AuditContext,
    ) -> AuditOutput:
        again = self._again(rows, context)
        instead = imputers(explained, rows.features.image_shape, context.numpy_rng("imputers"))
        scores = scores_of(
            explained, methods, instead, again, effort=self._effort, seed=context.derive_seed("scores")
        )
        names = tuple(imputer.name for imputer in instead)
        measurements, tables = self._of_methods(scores, names, rows.person, context)
        person_again = None if rows.person is None else rows.person[again]
        pairs = pair_figures(
            scores.methods,
            explained.present,
            rows.person,
            n_draws=self.n_bootstrap,
            rng=context.numpy_rng("pairs"),
            confidence=self.confidence,
        )
        measurements += [*pairs, *control_figures(scores.controls, person_again, self.confidence)]
        evidence = [*tables, *([pair_table(pairs)] if pairs else []), *self._randomised(scores, person_again)]
        return AuditOutput(measurements, evidence)

    @property
    def _effort(self) -> Effort:
        return Effort(
            subsets=self.n_subsets,
            noise=self.n_noise,
            neighbours=self.n_neighbours,
            models=self.n_models,
            random=self.n_random,
            seeds=self.n_seeds,
        )

    @property
    def _thresholds(self) -> Thresholds:
        return Thresholds(
            completeness_at_least=self.completeness_at_least,
            removal_gain_at_least=self.removal_gain_at_least,
            sensitivity_n_at_least=self.sensitivity_n_at_least,
            infidelity_at_most=self.infidelity_at_most,
            max_sensitivity_at_most=self.max_sensitivity_at_most,
            randomised_similarity_at_most=self.randomised_similarity_at_most,
            seed_agreement_at_least=self.seed_agreement_at_least,
        )

    def _of_methods(
        self, scores: Scores, imputed: tuple[str, ...], person: IntArray | None, context: AuditContext
    ) -> tuple[list[Measurement], list[Evidence]]:
        measurements: list[Measurement] = []
        tables: list[Evidence] = []
        for method in scores.methods:
            rng = context.numpy_rng("bootstrap", method.method.name)
            means = means_of(method, scores, person, n_draws=self.n_bootstrap, rng=rng)
            measurements += measurements_of(method, means, len(scores.again), self.confidence)
            checks = trust_checks(means, self._thresholds, imputed)
            tables.append(trust_table(method.method.name, checks, self.confidence))
        return measurements, tables

    def _randomised(self, scores: Scores, person: IntArray | None) -> list[Evidence]:
        if not scores.controls:
            return []
        drawn = {one.method.name: one.randomised for one in scores.methods if one.randomised is not None}
        threshold = self.randomised_similarity_at_most
        return [
            control_table(scores.controls, person, threshold, self.confidence),
            cascade_curve(drawn, scores.controls),
        ]


def _obstacle(method: AttributionMethod, explained: ExplainedRows, context: AuditContext) -> Message | None:
    """Why a method cannot be judged on this model: it is refused on some rows."""
    some = some_of(explained, np.arange(min(PROBED, len(explained.inputs))))
    found = attributed(method, some, context.torch_rng("probe", method.name))
    return found if isinstance(found, Message) else None


def _drawn(n: int, most: int, rng: np.random.Generator) -> IntArray:
    """``most`` of ``n`` rows, without replacement, in their order."""
    return np.sort(rng.choice(n, most, replace=False)).astype(np.int64)


def _unmeasured(reasons: dict[str, Message]) -> list[Measurement]:
    """The main figure of each method that cannot be used, with the reason."""
    return [
        Measurement(
            metric=metrics.SENSITIVITY_N,
            value=None,
            n=0,
            better=metrics.FACTS[metrics.SENSITIVITY_N].better,
            group={"method": name},
            missing=reason,
        )
        for name, reason in reasons.items()
    ]
