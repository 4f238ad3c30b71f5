"""All that is settled of a private training before its first step; nothing is spent on it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import Preprocessing, TablePreprocessing
from auditkit.energy.flops import count_flops
from auditkit.models.centred_linear import CentredLinear
from auditkit.models.frozen_front import FrozenFront
from auditkit.privacy.accounting import default_delta
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.dp_settings import DpSettings, check_settings, levels_are_counted, plan, steady_rate
from auditkit.privacy.first_steps import FirstSteps, MeasuredCentre, NothingMeasured
from auditkit.privacy.forecast import forecast
from auditkit.privacy.measured_table import MeasuredTable
from auditkit.privacy.preflight import Check, PreflightReport, refuse_unsuitable
from auditkit.privacy.preflight.beforehand import mechanism_checks, row_checks
from auditkit.privacy.preflight.learned_steps import preprocessing_checks, refuse_learned_steps
from auditkit.privacy.public_count import public_count
from auditkit.privacy.resume import Tell
from auditkit.privacy.units import PrivateUnits, persons_of, unit_of
from auditkit.training.augmentation import augmentation_of

MOST_ROWS, FEWEST_ROWS, FLOPS_AT_ONCE = 768, 32, 4_000_000_000


@dataclass(frozen=True, slots=True)
class CheckedTraining:
    """A training that may begin.

    Attributes:
        learner: What is trained, in training mode: the module, or what stands behind its frozen front.
        example: One row as the learner sees it; its values play no part.
        units: What is sampled, clipped and protected.
        measured: What the first steps measure.
        delta: Of the promise.
        settings: With what was left open.
        mechanism: Its public inputs.
        report: Of the pre-flight.
    """

    learner: nn.Module
    example: Dataset
    units: PrivateUnits
    measured: FirstSteps
    delta: float
    settings: DpSettings
    mechanism: Mechanism
    report: PreflightReport

    def clipped(self) -> ClippedGradients:
        """What sums its clipped gradients, to be entered as a context."""
        return ClippedGradients(
            self.learner,
            self.mechanism.max_grad_norm,
            physical_batch_size=self.settings.physical_batch_size or MOST_ROWS,
            rows_per_unit=self.units.rows_per_unit,
            clipping=self.settings.clipping,
        )

    def foretell(self, clipped: ClippedGradients, tell: Tell) -> None:
        """Tell what the training will come to, and what epsilon will not cover."""
        found = forecast(
            clipped, self.example, self.mechanism, self.settings, n_measuring=self.measured.n_steps
        )
        for sentence in found.sentences():
            tell(sentence)
        for check in self.report.warned:
            tell(str(check.message))


def checked_training(
    module: nn.Module,
    data: Dataset,
    settings: DpSettings,
    *,
    device: str,
    preprocessing: Preprocessing | None,
    beforehand: Sequence[Check],
) -> CheckedTraining:
    """The training, when nothing speaks against it; arguments as of ``dp_fit``.

    Raises:
        UsageError: Settings are out of range or the module is not suitable.
        PrivacyRefusedError: Epsilon protects next to nothing, or something learned would stay unprotected.
    """
    refuse_learned_steps(preprocessing, is_public=settings.public_preprocessing)
    module = module.to(device).train()
    learner, private = _behind_front(module, data, settings)
    units = _units(private, settings, torch.device(device), preprocessing)
    n_public = public_count(len(units), settings.public_count)
    delta = default_delta(n_public) if settings.delta is None else settings.delta
    check_settings(settings, delta, len(units), units.unit)
    first = np.zeros(1, dtype=np.int64)
    row, example = _as_read(data.take(first), preprocessing), _as_read(private.take(first), preprocessing)
    report = refuse_unsuitable(
        module, row.inputs[0].to(device), len(data.classes), tokens=data.features.tokens, task=data.task
    )
    settings = replace(
        settings,
        physical_batch_size=settings.physical_batch_size or rows_at_once(learner, example.inputs.to(device)),
    )
    counts_levels = levels_are_counted(preprocessing, settings)
    mechanism = plan(settings, delta, n_public, units.unit, counts_levels=counts_levels)
    measured = _measured(learner, units, mechanism, settings, preprocessing)
    about_steps = preprocessing_checks(
        preprocessing,
        measured.n_steps,
        is_public=settings.public_preprocessing,
        levels_are_public=settings.public_levels,
    )
    report = report.with_([*beforehand, *_checks_of(module, data, settings, mechanism), *about_steps])
    report.raise_if_refused()
    if settings.learning_rate is None:
        settings = replace(settings, learning_rate=steady_rate(mechanism))
    return CheckedTraining(learner, example, units, measured, delta, settings, mechanism, report)


def examine_fit(
    module: nn.Module,
    data: Dataset,
    settings: DpSettings,
    *,
    device: str = "cpu",
    tell: Tell | None = None,
    preprocessing: Preprocessing | None = None,
    beforehand: Sequence[Check] = (),
) -> None:
    """Everything that :func:`dp_fit` does with the same arguments before its first step; nothing is spent.

    Raises:
        UsageError: As :func:`dp_fit`.
        PrivacyRefusedError: As :func:`dp_fit`.
    """
    checked = checked_training(
        module, data, settings, device=device, preprocessing=preprocessing, beforehand=beforehand
    )
    if tell is not None:
        with checked.clipped() as clipped:
            checked.foretell(clipped, tell)


def _as_read(row: Dataset, preprocessing: Preprocessing | None) -> Dataset:
    """A row with the shape and type that the module reads; its values play no part."""
    if isinstance(preprocessing, TablePreprocessing):
        return replace(row, inputs=row.inputs.float())
    return row


def _measured(
    learner: nn.Module,
    units: PrivateUnits,
    mechanism: Mechanism,
    settings: DpSettings,
    preprocessing: Preprocessing | None,
) -> FirstSteps:
    """What the first steps measure: the figures of a table, or the centre of features."""
    if isinstance(preprocessing, TablePreprocessing) and not settings.public_preprocessing:
        return MeasuredTable(preprocessing, mechanism, units.rows_per_unit, units.inputs.device)
    if isinstance(learner, CentredLinear):
        return MeasuredCentre(learner.centre, mechanism, units.rows_per_unit, preprocessing)
    return NothingMeasured(preprocessing)


def _checks_of(
    module: nn.Module, data: Dataset, settings: DpSettings, mechanism: Mechanism
) -> Iterator[Check]:
    """What the pre-flight has to say of rows and mechanism."""
    n_weights = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    yield from row_checks(data)
    yield from mechanism_checks(mechanism, n_weights, accept_weak=settings.accept_weak)


def _units(
    data: Dataset, settings: DpSettings, device: torch.device, preprocessing: Preprocessing | None
) -> PrivateUnits:
    augment = None
    if settings.augmentation is not None:
        # The global generator: it is seeded for the training, saved with it and taken up again.
        augment = augmentation_of(settings.augmentation, data, preprocessing, torch.default_generator)
    return PrivateUnits.of(
        data,
        device,
        persons_of(data, unit_of(data, settings.unit), settings.rows_per_person),
        copies=settings.augmentation_multiplicity,
        augment=augment,
    )


def _behind_front(module: nn.Module, data: Dataset, settings: DpSettings) -> tuple[nn.Module, Dataset]:
    """What is trained and what it sees: behind a frozen front its features, unless copies are changed."""
    if not isinstance(module, FrozenFront) or settings.augmentation is not None:
        return module, data
    device = next(module.parameters()).device
    return module.output, replace(data, inputs=module.features(data.inputs.to(device)).cpu())


def rows_at_once(module: nn.Module, row: torch.Tensor) -> int:
    """How many rows to work on at once, so that what layers keep stays small.

    Args:
        module: Called once, in evaluation mode.
        row: Inputs of one row, shape ``(1, *d)``.
    """
    training = module.training
    with torch.no_grad():
        flops = count_flops(lambda: module.eval()(row)).flops
    module.train(training)
    return int(min(MOST_ROWS, max(FEWEST_ROWS, FLOPS_AT_ONCE // max(1, flops))))
