"""The variant that differential privacy gives: trained again from fresh weights."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, model_validator
from torch import nn

from auditkit.config.model import AugmentationConfig
from auditkit.data.dataset import Dataset
from auditkit.errors import UsageError
from auditkit.models.hf_encoder import Trained
from auditkit.models.own_class import is_own
from auditkit.models.zoo import build_module, pretrained_folder
from auditkit.privacy.clipping import Clipping
from auditkit.privacy.dp_fit import DpSettings, default_batch_size, dp_fit
from auditkit.privacy.preflight import Check
from auditkit.privacy.preflight.beforehand import start_checks
from auditkit.privacy.preflight.pretrained import pretrained_checks
from auditkit.privacy.repair import repair
from auditkit.privacy.units import ROWS_PER_PERSON, Unit, persons_of, unit_of
from auditkit.randomness import torch_rng
from auditkit.records import Certificate, Message
from auditkit.subjects.huggingface import folder_of_classifier
from auditkit.subjects.subject import Subject
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.variants.dp_body import architecture_of
from auditkit.variants.dp_recipe import Recipe, RecipeName, recipe_for
from auditkit.variants.variant import Variant, VariantContext, VariantInfo


class DpRetrain(Variant):
    """Train the baseline's architecture with DP-SGD on the baseline's training rows.

    Training starts from fresh weights: those of the baseline have seen the rows without protection. The
    defaults are meant for tables and small pictures; choosing others by looking at the private rows spends
    privacy that no certificate contains.
    """

    info: ClassVar[VariantInfo] = VariantInfo(
        kind="dp-retrain",
        version=1,
        summary="The same architecture trained from scratch with differential privacy (DP-SGD)",
        requires=frozenset({"layers"}),
        trains=True,
    )

    epsilon: float = Field(gt=0, le=100, description="Privacy budget; smaller protects more")
    delta: float | None = Field(None, gt=0, lt=1, description="Below 1/n; default min(1e-5, n^-1.1)")
    max_grad_norm: float = Field(
        1.0,
        gt=0,
        description="Norm every gradient is clipped to; a larger one is noisier and less overconfident",
    )
    expected_batch_size: int | None = Field(
        None, ge=1, description="Rows (or persons) per step on average; default a power of two near n/12"
    )
    recipe: RecipeName = Field(
        "as-audited",
        description="as-audited trains the audited architecture; auto what does best under privacy: for "
        "pictures a linear classifier on scattering features",
    )
    steps: int | None = Field(
        None, ge=1, description="Default 500 (scattering features: 1000), unless epochs are given"
    )
    epochs: float | None = Field(None, gt=0, description="Instead of steps")
    optimizer: Literal["adam", "sgd"] | None = Field(None, description="Default that of the recipe: adam")
    learning_rate: float | None = Field(
        None, gt=0, description="Default 0.01; of sgd on scattering features what the noise allows"
    )
    momentum: float | None = Field(None, ge=0, lt=1, description="of sgd; default 0.9")
    clipping: Clipping | None = Field(
        None, description="flat keeps short gradients as they are; automatic brings all to one length"
    )
    averaging: float = Field(0.99, ge=0, lt=1, description="Decay of the running average of the weights")
    certified: bool = Field(
        False,
        description="Noise from the operating system instead of the seed: needed before weights are released",
    )
    accept_weak: bool = Field(
        False, description="Train even where epsilon is above 20, or noise drowns the few rows there are"
    )
    fix: bool = Field(
        False, description="Exchange layers that mix rows: BatchNorm for GroupNorm, no running statistics"
    )
    unit: Unit | None = Field(
        None, description="What is protected as one: person (default where data.person is given) or row"
    )
    rows_per_person: int = Field(
        ROWS_PER_PERSON,
        ge=1,
        description="Rows of a person in one step at most; more than that take turns",
    )
    augmentation: AugmentationConfig | None = Field(
        None, description="How rows are changed in each step; see subject.training.augmentation"
    )
    augmentation_multiplicity: int = Field(
        1,
        ge=1,
        description="Changed copies of each row in a step, whose gradients are averaged before clipping",
    )

    train: Trained | None = Field(
        None,
        description="Of pretrained weights: head, biases, low-rank or all; default as audited, and of "
        "subject.hf a new head",
    )
    rank: int | None = Field(None, ge=1, description="Of train: low-rank; default as audited, else 8")
    public_body: bool = Field(
        False,
        description="Pretrained weights were not trained on these rows; must be said of classifiers",
    )

    @model_validator(mode="after")
    def _one_length(self) -> "DpRetrain":
        if self.steps is not None and self.epochs is not None:
            raise ValueError("give steps or epochs, not both")
        return self

    def derive(self, baseline: Subject, context: VariantContext) -> TorchSubject:
        """A privately trained subject with its certificate.

        Raises:
            UsageError: The baseline is not a torch model of the zoo, or has layers that DP-SGD cannot train.
            DataError: The training rows are not at hand.
            PrivacyRefusedError: The privacy budget of the rows does not suffice, or epsilon is above 20.
        """
        if not isinstance(baseline, TorchSubject):
            raise UsageError(
                f"dp-retrain: {baseline.card.title!r} cannot be trained again; expected a torch model with "
                "an architecture. Give subject.architecture and subject.training, or a checkpoint folder."
            )
        audited = architecture_of(baseline, trained=self.train, rank=self.rank, is_public=self.public_body)
        data = context.training_data()
        recipe = recipe_for(self.recipe, audited, data)
        architecture, folder = recipe.architecture, pretrained_folder(recipe.architecture)
        module = build_module(architecture, rng=torch_rng(context.seed, "initial weights"))
        changes: tuple[Message, ...] = ()
        if self.fix:
            module, changes = _repaired(module, data, context.tell)
            apart = architecture.rows_apart or bool(changes)
            architecture = architecture.model_copy(update={"rows_apart": apart})
        fitted = dp_fit(
            module,
            data,
            self._settings(data, recipe),
            seed=context.seed,
            device=context.device,
            recording=None if context.recording is None else context.recording(),
            report_progress=context.report_progress,
            tell=context.tell,
            preprocessing=baseline.preprocessing,
            processes=context.processes,
            beforehand=tuple(self._start_checks(module, baseline, data, folder)),
        )
        return TorchSubject.build(
            fitted.module,
            name=context.name,
            title=baseline.card.title,
            kind=self.info.kind,
            source=f"variants/{context.name}",
            architecture=architecture,
            classes=baseline.card.classes,
            preprocessing=baseline.preprocessing,
            training=fitted.training,
            certificate=fitted.certificate,
            statements=(*_statements(fitted.certificate, data, recipe, folder), *changes),
            device=context.device,
        )

    def _start_checks(
        self, module: nn.Module, baseline: TorchSubject, data: Dataset, folder: Path | None
    ) -> Iterator[Check]:
        """What is to be said of the weights to start from.

        The body of an audited folder is the same in both, and public by the user's word.
        """
        if folder is not None:
            yield from pretrained_checks(folder, is_public=self.public_body)
        if folder_of_classifier(baseline) is None:
            own_class = is_own(baseline.architecture.name)
            yield from start_checks(
                module, baseline.module, baseline.card.training, data, own_class=own_class
            )

    def _settings(self, data: Dataset, recipe: Recipe) -> DpSettings:
        persons = persons_of(data, unit_of(data, self.unit), self.rows_per_person)
        n_units = len(data) if persons is None else len(persons.n)
        batch = self.expected_batch_size or default_batch_size(n_units)
        steps = self.steps or recipe.steps
        if self.epochs is not None:
            steps = math.ceil(self.epochs * n_units / batch)
        return DpSettings(
            epsilon=self.epsilon,
            delta=self.delta,
            max_grad_norm=self.max_grad_norm,
            expected_batch_size=batch,
            steps=steps,
            clipping=self.clipping or recipe.clipping,
            optimizer=self.optimizer or recipe.optimizer,
            learning_rate=self.learning_rate or recipe.learning_rate,
            momentum=recipe.momentum if self.momentum is None else self.momentum,
            averaging=self.averaging,
            certified=self.certified,
            accept_weak=self.accept_weak,
            unit=self.unit,
            rows_per_person=self.rows_per_person,
            augmentation=self.augmentation,
            augmentation_multiplicity=self.augmentation_multiplicity,
        )


def _repaired(
    module: nn.Module, data: Dataset, tell: Callable[[str], None] | None
) -> tuple[nn.Module, tuple[Message, ...]]:
    """The module without layers that mix rows, and every change, none where it had none."""
    repaired = repair(
        module.train(), data.inputs[0], len(data.classes), tokens=data.features.tokens, task=data.task
    )
    if tell is not None:
        for change in repaired.changes:
            tell(str(change))
    return repaired.module, repaired.changes


_FRESH = (
    "Trained from fresh weights with differential privacy: epsilon {epsilon} at delta {delta}, "
    "noise multiplier {noise_multiplier}, {steps} steps."
)
_PRETRAINED = (
    "Trained on the pretrained weights in {folder} with differential privacy: epsilon {epsilon} at delta "
    "{delta}, noise multiplier {noise_multiplier}, {steps} steps."
)


def _statements(
    certificate: Certificate, data: Dataset, recipe: Recipe, folder: Path | None
) -> tuple[Message, ...]:
    figures: dict[str, str | int | float] = {
        "epsilon": round(certificate.epsilon, 3),
        "delta": float(f"{certificate.delta:.3g}"),
        "noise_multiplier": certificate.noise_multiplier,
        "steps": certificate.steps,
    }
    trained = Message(text=_FRESH, values=figures)
    if folder is not None:
        trained = Message(text=_PRETRAINED, values={**figures, "folder": folder.resolve().name})
    exchanged = Message(
        text="Another architecture than the audited one: a linear classifier on scattering features, which "
        "are fixed by a formula and cost no privacy. The first of its steps measure their mean."
    )
    told = (trained, exchanged) if recipe.is_exchanged else (trained,)
    if data.sample_weight is None:
        return told
    unweighted = Message(
        text="The weights of the rows were not used in the private training: clipping bounds every row alike."
    )
    return (*told, unweighted)
