"""The variant that a bias mitigation gives: a smaller gap between the groups of one attribute, at a price.

The gap is made smaller on training rows. Whether it is smaller elsewhere, and what it costs in accuracy and
calibration, the audits measure on the test rows beside the baseline.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, model_validator

from auditkit.config.model import Architecture, TrainingConfig
from auditkit.data.dataset import BoolArray, Dataset
from auditkit.errors import UsageError
from auditkit.randomness import derive_seed
from auditkit.records import Message, TrainingRecord
from auditkit.subjects.answers import digest_of
from auditkit.subjects.subject import Subject, preprocessing_of
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.training.fit import fit
from auditkit.variants import mitigate_statements as say
from auditkit.variants.mitigate_adversarial import Aim, Debiased, adversarial_fit, unused_settings
from auditkit.variants.mitigate_around import BATCH_SIZE, BYTES, mixed, require_probabilities, thresholded
from auditkit.variants.mitigate_choice import Chosen, Grid, choose
from auditkit.variants.mitigate_correlation import CAPABILITIES as DECORRELATED
from auditkit.variants.mitigate_correlation import DecorrelatedSubject, Decorrelator, flat_numbers
from auditkit.variants.mitigate_recipe import trained_again
from auditkit.variants.mitigate_reweighing import reweighed, single_label_levels
from auditkit.variants.mitigate_task import BinaryTask, Constraint
from auditkit.variants.variant import Variant, VariantContext, VariantInfo

Method = Literal[
    "threshold-optimiser", "exponentiated-gradient", "correlation-remover", "reweighing", "adversarial"
]

STRENGTHS: Mapping[Method, tuple[float, ...]] = {
    "adversarial": (0.1, 0.3, 1.0),
    "correlation-remover": (1.0,),
}
"""What is tried by default. Methods that are not here have no strength."""


class Mitigate(Variant):
    """Derive a subject whose rates differ less between the groups of one sensitive feature.

    ``reweighing`` and ``adversarial`` give a torch model, kept as a checkpoint. The others give a subject of
    its own kind, which is made again, to the same answers, whenever a run is resumed.
    """

    info: ClassVar[VariantInfo] = VariantInfo(
        kind="mitigate",
        version=1,
        summary="A smaller gap between groups: thresholds, a reduction, inputs, weights or an adversary",
        requires=frozenset({"predictions"}),
        trains=True,
    )

    method: Method
    attribute: str | None = Field(None, description="A sensitive feature; default the only one")
    constraint: Constraint = Field("demographic_parity", description="The rates to be made equal")
    strengths: tuple[Annotated[float, Field(gt=0, le=1000)], ...] | None = Field(
        None,
        min_length=1,
        description="Of adversarial (default 0.1, 0.3, 1) and correlation-remover (default 1, at most 1); of "
        "several, one is chosen on training rows set aside",
    )
    accuracy_budget: float = Field(
        0.05, ge=0, lt=1, description="The smallest gap is chosen within this accuracy of the best strength"
    )
    validation_fraction: float = Field(
        0.2, gt=0, lt=1, description="Share of the training rows set aside where a strength is chosen"
    )
    slack: float = Field(
        0.01, gt=0, lt=1, description="of exponentiated-gradient: how far a group's rate may lie from all"
    )

    @model_validator(mode="after")
    def _fits_the_method(self) -> "Mitigate":
        if self.method in ("reweighing", "correlation-remover") and self.constraint != "demographic_parity":
            raise ValueError(
                f"{self.method} aims at demographic_parity alone; for {self.constraint} take "
                "threshold-optimiser, exponentiated-gradient or adversarial"
            )
        if self.strengths is not None and self.method not in STRENGTHS:
            raise ValueError(f"{self.method} has no strengths; they are of {' and '.join(STRENGTHS)}")
        if self.method == "correlation-remover" and max(self.strengths or (1.0,)) > 1:
            raise ValueError("a correlation-remover removes at most everything: strengths up to 1")
        if "slack" in self.model_fields_set and self.method != "exponentiated-gradient":
            raise ValueError(f"{self.method} has no slack; it is of exponentiated-gradient")
        return self

    def derive(self, baseline: Subject, context: VariantContext) -> Subject:
        """The mitigated subject; the baseline stays as it is.

        Raises:
            UsageError: The data have no favourable label of two, or no such attribute with two levels; or the
                baseline lacks what the method needs.
            DataError: The training rows are not at hand, or too few.
        """
        if "generative" in baseline.capabilities:
            raise UsageError(f"mitigate: {baseline.card.title!r} foretells tokens; expected a classifier")
        if self.method in ("threshold-optimiser", "exponentiated-gradient"):
            require_probabilities(baseline, self.method)
        else:
            trained_again(baseline, self.method)
        data = context.training_data()
        task = BinaryTask.of(data, self.attribute)
        if self.method == "threshold-optimiser":
            return thresholded(baseline, context, data, task, self.constraint)
        if self.method == "exponentiated-gradient":
            return mixed(baseline, context, data, task, constraint=self.constraint, slack=self.slack)
        trained: Mapping[str, Callable[[Subject, VariantContext, Dataset, BinaryTask], Subject]] = {
            "reweighing": self._reweighing,
            "adversarial": self._adversarial,
            "correlation-remover": self._correlation_remover,
        }
        return trained[self.method](baseline, context, data, task)

    def _reweighing(
        self, baseline: Subject, context: VariantContext, data: Dataset, task: BinaryTask
    ) -> Subject:
        architecture, recipe = trained_again(baseline, self.method)
        fitted = _fit(architecture, reweighed(data, task), recipe, context)
        single = single_label_levels(task)
        statements = [
            say.reweighed_statement(task),
            *([say.single_label_statement(task, single)] if single else []),
            *say.on_the_rows(data, task, uses_weights=True),
            say.used_in_training(data, task),
            *fitted.card.statements,
        ]
        training = fitted.card.training
        return self._torch_subject(baseline, context, fitted, statements, self._noted(training, task))

    def _adversarial(
        self, baseline: Subject, context: VariantContext, data: Dataset, task: BinaryTask
    ) -> Subject:
        architecture, recipe = trained_again(baseline, self.method)

        def make(rows: Dataset, strength: float) -> Debiased:
            return adversarial_fit(
                architecture,
                rows,
                BinaryTask.of(rows, task.attribute),
                recipe,
                aim=Aim(self.constraint, strength),
                seed=derive_seed(context.seed, "mitigate"),
                device=context.device,
                report_progress=context.report_progress,
            )

        def subject(made: Debiased) -> TorchSubject:
            return TorchSubject.build(
                made.module,
                architecture=made.architecture,
                classes=data.classes,
                device=context.device,
            )

        chosen = self._chosen(data, task, make, lambda made, rows: _selected(subject(made), rows))
        unused = unused_settings(recipe)
        statements = [
            say.adversarial_statement(task, self.constraint, chosen.strength),
            *chosen.statements,
            *([say.left_out_statement(unused)] if unused else []),
            *say.on_the_rows(data, task, uses_weights=True),
            say.used_in_training(data, task),
        ]
        return self._torch_subject(
            baseline, context, subject(chosen.made), statements, self._noted(chosen.made.training, task)
        )

    def _correlation_remover(
        self, baseline: Subject, context: VariantContext, data: Dataset, task: BinaryTask
    ) -> Subject:
        architecture, recipe = trained_again(baseline, self.method)
        flat_numbers(data, self.method)

        def make(rows: Dataset, strength: float) -> tuple[TorchSubject, Decorrelator]:
            remover = Decorrelator.fit(rows, BinaryTask.of(rows, task.attribute), strength)
            return _fit(architecture, remover.apply(rows), recipe, context), remover

        chosen = self._chosen(data, task, make, lambda made, rows: _selected(made[0], made[1].apply(rows)))
        fitted, remover = chosen.made
        statements = [
            say.decorrelated_statement(task, chosen.strength),
            *chosen.statements,
            *say.on_the_rows(data, task, uses_weights=False),
            *say.used_in_predictions(task, unknown=say.kept_inputs(task)),
            *fitted.card.statements,
        ]
        inner = self._torch_subject(baseline, context, fitted, (), self._noted(fitted.card.training, task))
        card = inner.card.model_copy(
            update={
                "digest": digest_of(inner.card.digest, remover.attribute, *remover.levels, remover.shifts),
                "capabilities": tuple(sorted(DECORRELATED)),
                "n_parameters": (inner.card.n_parameters or 0) + remover.shifts.size,
                "size_b": (inner.card.size_b or 0) + BYTES * remover.shifts.size,
                "statements": tuple(statements),
            }
        )
        return DecorrelatedSubject(card, inner, remover)

    def _chosen(
        self,
        data: Dataset,
        task: BinaryTask,
        make: Callable[[Dataset, float], Any],
        selects: Callable[[Any, Dataset], BoolArray],
    ) -> Chosen[Any]:
        strengths = self.strengths or STRENGTHS[self.method]
        grid = Grid(tuple(dict.fromkeys(strengths)), self.accuracy_budget, self.validation_fraction)
        return choose(data, grid, self.constraint, task.attribute, make=make, selects=selects)

    def _noted(self, training: TrainingRecord | None, task: BinaryTask) -> TrainingRecord | None:
        """The record with the mitigation in its recipe."""
        if training is None:
            return None
        noted = {"method": self.method, "attribute": task.attribute, "constraint": self.constraint}
        mitigation = {**noted, **training.recipe.get("mitigation", {})}
        return training.model_copy(update={"recipe": {**training.recipe, "mitigation": mitigation}})

    def _torch_subject(
        self,
        baseline: Subject,
        context: VariantContext,
        fitted: TorchSubject,
        statements: Sequence[Message],
        training: TrainingRecord | None,
    ) -> TorchSubject:
        return TorchSubject.build(
            fitted.module,
            name=context.name,
            title=baseline.card.title,
            kind=self.info.kind,
            source=f"variants/{context.name}",
            architecture=fitted.architecture,
            classes=baseline.card.classes,
            preprocessing=preprocessing_of(baseline),
            training=training,
            statements=tuple(statements),
            device=context.device,
        )


def _fit(
    architecture: Architecture, data: Dataset, recipe: TrainingConfig, context: VariantContext
) -> TorchSubject:
    return fit(
        architecture,
        data,
        recipe,
        seed=derive_seed(context.seed, "mitigate"),
        device=context.device,
        report_progress=context.report_progress,
    )


def _selected(subject: Subject, data: Dataset) -> BoolArray:
    """Whether the prediction is the favourable label, for each row."""
    return np.asarray(subject.predict(data, batch_size=BATCH_SIZE).y_pred == data.positive_index)
