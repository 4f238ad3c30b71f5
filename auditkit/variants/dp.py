"""The variant that differential privacy gives: trained again from fresh weights."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from pydantic import Field
from torch import nn

from auditkit.config.model import Architecture, TuningConfig
from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import CategoricalFeature, Preprocessing, TablePreprocessing
from auditkit.data.public_steps import public_steps
from auditkit.data.rows import Rows
from auditkit.data.told_levels import is_told
from auditkit.errors import UsageError
from auditkit.models.own_class import is_own
from auditkit.models.standardised import standardised_names
from auditkit.models.zoo import build_module, pretrained_folder
from auditkit.privacy.dp_fit import DpFitted, dp_fit
from auditkit.privacy.dp_settings import DpSettings, default_batch_size
from auditkit.privacy.preflight import Check
from auditkit.privacy.preflight.beforehand import start_checks
from auditkit.privacy.preflight.pretrained import pretrained_checks
from auditkit.privacy.preflight.random_rows import random_rows
from auditkit.privacy.public_count import public_count
from auditkit.privacy.recorded import Recording
from auditkit.privacy.repair import repair
from auditkit.privacy.standardising import group_norms, standardise_before
from auditkit.privacy.tuned_fit import FreshModels, tuned_fit
from auditkit.privacy.tuning import Tuning
from auditkit.privacy.units import persons_of, unit_of
from auditkit.randomness import torch_rng
from auditkit.records import Certificate, Message
from auditkit.records.bounds import rounded_up
from auditkit.subjects.huggingface import folder_of_audited
from auditkit.subjects.subject import Subject
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.variants.dp_beforehand import count_units, refuse_out_of_range
from auditkit.variants.dp_body import architecture_of
from auditkit.variants.dp_choices import DpChoices
from auditkit.variants.dp_recipe import FEWEST_STEPS, Recipe, recipe_for
from auditkit.variants.dp_tuning import tuning_of
from auditkit.variants.variant import Variant, VariantContext, VariantInfo


class DpRetrain(DpChoices, Variant):
    """Train the baseline's architecture with DP-SGD on the baseline's training rows.

    Training starts from fresh weights: those of the baseline have seen the rows without protection. So have
    the means and scales by which the baseline reads them; the variant measures its own, with noise. The
    defaults are meant for tables and small pictures; choosing others by looking at the private rows spends
    privacy that no certificate contains.
    """

    info: ClassVar[VariantInfo] = VariantInfo(
        kind="dp-retrain",
        version=2,
        summary="The same architecture trained from scratch with differential privacy (DP-SGD)",
        requires=frozenset({"layers"}),
        trains=True,
    )

    epsilon: float = Field(gt=0, le=100, description="Privacy budget; smaller protects more")
    delta: float | None = Field(None, gt=0, lt=1, description="Below 1/n; default min(1e-5, n^-1.1)")
    tuning: TuningConfig | None = Field(
        None, description="Choose settings by a private tuning, within the same epsilon; default none"
    )

    def refuse_early(self, rows: Rows) -> None:
        """Refuse settings that no training on so many rows or persons can have.

        Raises:
            UsageError: They are out of range, or no noise keeps within epsilon.
            PrivacyRefusedError: Epsilon is above 20.
        """
        refuse_out_of_range(self._candidates(rows), rows)

    def _candidates(self, rows: Rows) -> tuple[DpSettings, ...]:
        """What can be said of the settings without an architecture; of a tuning, those of each candidate."""
        n_units = public_count(count_units(rows, unit_of(rows, self.unit)), self.public_count)
        settings = self._without_recipe(n_units, FEWEST_STEPS)
        if self.tuning is None:
            return (settings,)
        return tuple(candidate.settings for candidate in tuning_of(self.tuning, settings).candidates)

    def derive(self, baseline: Subject, context: VariantContext) -> TorchSubject:
        """A privately trained subject with its certificate.

        Raises:
            UsageError: The baseline is not a torch model of the zoo, or has layers that DP-SGD cannot train.
            DataError: The training rows are not at hand.
            PrivacyRefusedError: The privacy budget of the rows does not suffice, or epsilon is above 20.
            LedgerError: The ledger was changed, or lines that earlier checkpoints name are lost.
        """
        if not isinstance(baseline, TorchSubject):
            raise UsageError(
                f"dp-retrain: {baseline.card.title!r} cannot be trained again; expected a torch model with "
                "an architecture. Give subject.architecture and subject.training, or a checkpoint folder."
            )
        audited = architecture_of(baseline, trained=self.train, rank=self.rank, is_public=self.public_body)
        audited_rows = context.training_data()
        data, steps = self._as_read(baseline, audited_rows, context)
        recipe = recipe_for(self.recipe, audited, data)
        folder = pretrained_folder(recipe.architecture)

        def examine(fresh: nn.Module) -> tuple[Check, ...]:
            return tuple(self._start_checks(fresh, baseline, audited_rows, folder))

        module, changes = self._fresh(recipe.architecture, data, context.seed, context.tell)
        recording = None if context.recording is None else context.recording(self.accept_lost_ledger)
        settings = self._settings(data, recipe)
        if self.tuning is None:
            fitted = dp_fit(
                module,
                data,
                settings,
                seed=context.seed,
                device=context.device,
                recording=recording,
                report_progress=context.report_progress,
                tell=context.tell,
                preprocessing=steps,
                processes=context.processes,
                beforehand=examine(module),
            )
        else:
            models = FreshModels(
                build=lambda seed: self._fresh(recipe.architecture, data, seed, None)[0],
                examine=examine,
                preprocessing=steps,
            )
            fitted = _tuned(models, data, tuning_of(self.tuning, settings), context, recording)
        architecture = recipe.architecture
        if changes:
            built = {
                "rows_apart": architecture.rows_apart or self.fix,
                "weights_standardised": standardised_names(fitted.module),
            }
            architecture = architecture.model_copy(update=built)
        return TorchSubject.build(
            fitted.module,
            name=context.name,
            title=baseline.card.title,
            kind=self.info.kind,
            source=f"variants/{context.name}",
            architecture=architecture,
            classes=baseline.card.classes,
            preprocessing=fitted.preprocessing,
            training=fitted.training,
            certificate=fitted.certificate,
            statements=(
                *_statements(fitted.certificate, data, recipe, folder),
                *_about_levels(fitted),
                *changes,
            ),
            device=context.device,
        )

    def _as_read(
        self, baseline: TorchSubject, audited_rows: Dataset, context: VariantContext
    ) -> tuple[Dataset, Preprocessing | None]:
        """The rows for the training, and how: by no figure learned from them, unless that is public."""
        learned = baseline.preprocessing
        if learned is None or self.public_preprocessing:
            return audited_rows, learned
        steps = public_steps(learned)
        return (audited_rows if steps == learned else context.unscaled_rows(steps)), steps

    def _fresh(
        self, architecture: Architecture, data: Dataset, seed: int, tell: Callable[[str], None] | None
    ) -> tuple[nn.Module, tuple[Message, ...]]:
        """A module to train, and what was changed of it, none where nothing had to be."""
        module = build_module(architecture, rng=torch_rng(seed, "initial weights"))
        module, changes = self._changed(module.train(), data)
        if tell is not None:
            for change in changes:
                tell(str(change))
        return module, changes

    def _changed(self, module: nn.Module, data: Dataset) -> tuple[nn.Module, tuple[Message, ...]]:
        """Without layers that mix rows, and with standardised weights, where that is asked for."""
        row, n_classes, tokens = data.inputs[0], len(data.classes), data.features.tokens
        if self.fix:
            before = self.weight_standardisation
            repaired = repair(module, row, n_classes, tokens=tokens, task=data.task, standardised=before)
            return repaired.module, repaired.changes
        if self.weight_standardisation == "all":
            rows = random_rows(row, n_classes, tokens, data.task)
            return module, standardise_before(module, group_norms(module), rows)
        return module, ()

    def _start_checks(
        self, module: nn.Module, baseline: TorchSubject, data: Dataset, folder: Path | None
    ) -> Iterator[Check]:
        """What is to be said of the weights to start from.

        The body of an audited folder is the same in both, and public by the user's word.
        """
        if folder is not None:
            yield from pretrained_checks(folder, is_public=self.public_body)
        if folder_of_audited(baseline) is None:
            own_class = is_own(baseline.architecture.name)
            yield from start_checks(
                module, baseline.module, baseline.card.training, data, own_class=own_class
            )

    def _settings(self, data: Dataset, recipe: Recipe) -> DpSettings:
        persons = persons_of(data, unit_of(data, self.unit), self.rows_per_person)
        n_units = public_count(len(data) if persons is None else len(persons.n), self.public_count)
        return replace(
            self._without_recipe(n_units, recipe.steps),
            clipping=self.clipping or recipe.clipping,
            optimizer=self.optimizer or recipe.optimizer,
            learning_rate=self.learning_rate or recipe.learning_rate,
            momentum=recipe.momentum if self.momentum is None else self.momentum,
        )

    def _without_recipe(self, n_units: int, steps: int) -> DpSettings:
        """What follows from the choices and the public number of units; ``steps`` where none are chosen."""
        batch = self.expected_batch_size or default_batch_size(n_units)
        if self.epochs is not None:
            steps = math.ceil(self.epochs * n_units / batch)
        return DpSettings(
            epsilon=self.epsilon,
            delta=self.delta,
            max_grad_norm=self.max_grad_norm,
            expected_batch_size=batch,
            steps=self.steps or steps,
            averaging=self.averaging,
            certified=self.certified,
            accept_weak=self.accept_weak,
            unit=self.unit,
            rows_per_person=self.rows_per_person,
            augmentation=self.augmentation,
            augmentation_multiplicity=self.augmentation_multiplicity,
            public_count=self.public_count,
            public_preprocessing=self.public_preprocessing,
            public_levels=self.public_levels,
        )


def _tuned(
    models: FreshModels, data: Dataset, tuning: Tuning, context: VariantContext, recording: Recording | None
) -> DpFitted:
    if context.processes is not None:
        raise UsageError(
            "dp-retrain: a private tuning runs in one process; start it without torchrun, or train in "
            "several processes without tuning"
        )
    return tuned_fit(
        models,
        data,
        tuning,
        seed=context.seed,
        device=context.device,
        recording=recording,
        report_progress=context.report_progress,
        tell=context.tell,
    )


_FRESH = (
    "Trained from fresh weights with differential privacy: epsilon {epsilon} at delta {delta}, "
    "noise multiplier {noise_multiplier}, steps {steps}."
)
_PRETRAINED = (
    "Trained on the pretrained weights in {folder} with differential privacy: epsilon {epsilon} at delta "
    "{delta}, noise multiplier {noise_multiplier}, steps {steps}."
)


def _about_levels(fitted: DpFitted) -> Iterator[Message]:
    """How many levels of text columns were frequent enough, where they were counted."""
    if fitted.certificate.failure_probability and isinstance(fitted.preprocessing, TablePreprocessing):
        levels = [
            level
            for feature in fitted.preprocessing.features
            if isinstance(feature, CategoricalFeature)
            for level in feature.levels
        ]
        yield Message(text=_LEVELS, values={"told": sum(map(is_told, levels)), "n": len(levels)})


_LEVELS = (
    "Of {n} levels of text columns noisy counts found {told} frequent; the others have no name and weigh "
    "nothing. Where levels are public, public_levels: true keeps all."
)


def _statements(
    certificate: Certificate, data: Dataset, recipe: Recipe, folder: Path | None
) -> tuple[Message, ...]:
    figures: dict[str, str | int | float] = {
        "epsilon": rounded_up(certificate.epsilon),
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
