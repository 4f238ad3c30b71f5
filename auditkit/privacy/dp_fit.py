"""Training with DP-SGD: Poisson-sampled batches, clipped gradient sums, Gaussian noise, a fixed divisor.

Sources: Abadi et al. (2016), arXiv:1607.00133; defaults after De et al. (2022), arXiv:2204.13650 and Tramèr
and Boneh (2021), arXiv:2011.11660.
"""

import json
import math
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import nn

from auditkit.config.model import AugmentationConfig
from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import Preprocessing, TablePreprocessing
from auditkit.energy.flops import count_flops
from auditkit.errors import DataError, PrivacyRefusedError, UsageError
from auditkit.models.centred_linear import CentredLinear
from auditkit.models.frozen_front import FrozenFront
from auditkit.privacy.accounting import default_delta, noise_for_epsilon
from auditkit.privacy.certificate import Mechanism, certify
from auditkit.privacy.clipping import ClippedGradients, Clipping
from auditkit.privacy.distributed import Processes
from auditkit.privacy.draws import Draws, EntropyDraws, SeededDraws
from auditkit.privacy.first_steps import FirstSteps, MeasuredCentre, NothingMeasured
from auditkit.privacy.forecast import forecast
from auditkit.privacy.leading_steps import certified_together, steps_of
from auditkit.privacy.measured_scales import MeasuredScales
from auditkit.privacy.partial import Identity, digest_of, machine_of
from auditkit.privacy.preflight import Check, PreflightReport, refuse_unsuitable
from auditkit.privacy.preflight.beforehand import mechanism_checks, row_checks
from auditkit.privacy.preflight.learned_steps import (
    preprocessing_checks,
    refuse_learned_vocabulary,
    taken_as_public,
)
from auditkit.privacy.preflight.report import warned
from auditkit.privacy.public_count import public_count, told_count
from auditkit.privacy.recorded import Progress, Recording, take_all, take_recorded
from auditkit.privacy.resume import Tell
from auditkit.privacy.units import ROWS_PER_PERSON, PrivateUnits, Unit, persons_of, unit_of
from auditkit.randomness import derive_seed, global_generators_seeded
from auditkit.records import Certificate, TrainedWeights, TrainingRecord
from auditkit.training.augmentation import augmentation_of

MOST_ROWS, FEWEST_ROWS, FLOPS_AT_ONCE = 768, 32, 4_000_000_000
WANDERING = 2.0
WEAK_EPSILON = 20.0
"""Above it the promise says next to nothing; it must be asked for twice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DpSettings:
    """The choices of a private training. None may be made by looking at the private rows.

    Attributes:
        epsilon: Budget in ``(0, 100]``; the noise is the least that keeps within it.
        delta: In ``(0, 1/n)``; ``None`` is ``min(1e-5, n^-1.1)``.
        max_grad_norm: The norm every row's gradient is clipped to.
        expected_batch_size: Rows per step on average; ``None`` is a power of two near ``n / 12`` within 256
            and 8192, and at most ``n``.
        steps: Number of steps, fixed in advance.
        clipping: How gradients are scaled to that norm.
        learning_rate: ``None`` follows from the noise, see :func:`steady_rate`; for sgd.
        averaging: Largest decay of the running average of the weights that is kept; 0 keeps the last.
        momentum: Of sgd.
        physical_batch_size: Rows worked on at once; ``None`` is as many as take 4 GFLOP. Changes no figure
            beyond rounding.
        certified: Draw sampling and noise from the operating system rather than from the seed.
        accept_weak: Train even where epsilon is above 20.
        unit: What is sampled, clipped and protected as one; ``None`` is the person where the data tell
            persons apart, else the row. Sizes of batches, n and delta count units.
        rows_per_person: Of a person in one step at most.
        augmentation: How the rows of a batch are changed.
        augmentation_multiplicity: Changed copies of each row, whose gradients are averaged before clipping.
        noise_multiplier: Of a run whose noise was settled with that of others; ``None`` is the least with
            which this training alone keeps within ``epsilon``.
        public_count: Units that there are, as far as anybody may know; ``None`` rounds their number down, see
            :func:`public_count`. It is the n of delta, batches and the sampling rate.
        public_preprocessing: Whether what the preprocessing learned is public, by the user's word; it is then
            kept as it is.
    """

    epsilon: float
    delta: float | None = None
    max_grad_norm: float = 1.0
    expected_batch_size: int | None = None
    steps: int = 500
    clipping: Clipping = "flat"
    optimizer: Literal["sgd", "adam"] = "adam"
    learning_rate: float | None = 0.01
    momentum: float = 0.9
    averaging: float = 0.99
    certified: bool = False
    accept_weak: bool = False
    physical_batch_size: int | None = None
    unit: Unit | None = None
    rows_per_person: int = ROWS_PER_PERSON
    augmentation: AugmentationConfig | None = None
    augmentation_multiplicity: int = 1
    noise_multiplier: float | None = None
    public_count: int | None = None
    public_preprocessing: bool = False


@dataclass(frozen=True, slots=True)
class DpFitted:
    """A privately trained module in evaluation mode, how it was trained, and what that guarantees.

    Attributes:
        module: With the weights that are released.
        training: How it was trained.
        certificate: What that guarantees.
        data: The private rows as the module reads them.
        preprocessing: By which raw rows become what it reads; ``None`` where that is not known.
    """

    module: nn.Module
    training: TrainingRecord
    certificate: Certificate
    data: Dataset
    preprocessing: Preprocessing | None


def dp_fit(  # noqa: PLR0913 - the rows, the choices, and whom to tell
    module: nn.Module,
    data: Dataset,
    settings: DpSettings,
    *,
    seed: int,
    device: str = "cpu",
    recording: Recording | None = None,
    report_progress: Progress | None = None,
    tell: Tell | None = None,
    preprocessing: Preprocessing | None = None,
    processes: Processes | None = None,
    beforehand: Sequence[Check] = (),
) -> DpFitted:
    """Train ``module`` in place on ``data`` so that its weights are (epsilon, delta)-private.

    The weights it starts from must not depend on ``data``. Empty batches are noise-only steps. A row whose
    gradient is not finite contributes zero to its step.

    The rows of a table are to be in their own unit: the first steps measure means and scales, by which
    the module then reads them. Only where those of ``preprocessing`` are public it reads rows as they are.

    Args:
        module: Freshly initialised; its parameters with ``requires_grad`` are trained.
        data: The private rows, encoded by ``preprocessing``.
        settings: Chosen without looking at the rows.
        seed: Of dropout, and of sampling and noise unless ``settings.certified``.
        device: Where to train.
        recording: The ledger that every step is reserved in before it is taken; ``None`` records nothing,
            and the certificate says so.
        report_progress: Called with (done, total, text); tells nothing about the rows. Without it no epsilon
            is computed on the way.
        tell: Called with sentences for the user, a forecast among them; tells nothing about the rows either.
        preprocessing: How ``data`` was encoded; ``None`` where that is not known: rows are read as they are.
        processes: Those that train together, each of which calls this with the same rows and seed; only the
            first may have a ``recording``. All get the same weights and certificate.
        beforehand: Of the pre-flight, what only the caller could examine; goes into the certificate.

    Raises:
        UsageError: Settings are out of range or the module is not suitable (see ``refuse_unsuitable``).
        PrivacyRefusedError: The budget of the rows does not suffice, or epsilon protects next to nothing.
        LedgerError: The ledger cannot be read or written.
        DivergedError: The weights became infinite.
    """
    if report_progress is not None:
        report_progress(0, settings.steps, "noise for the privacy budget")
    checked = _checked(
        module,
        data,
        settings,
        device=device,
        preprocessing=preprocessing,
        beforehand=(*beforehand, *_waived(recording)),
    )
    learner, units, delta = checked.learner, checked.units, checked.delta
    settings, mechanism, report = checked.settings, checked.mechanism, checked.report
    identity = _identity(module, data, mechanism, settings, seed=seed, processes=processes)

    start = time.perf_counter()
    with (
        global_generators_seeded(_seed_of_dropout(seed, certified=settings.certified)),
        ClippedGradients(
            learner,
            mechanism.max_grad_norm,
            physical_batch_size=settings.physical_batch_size or MOST_ROWS,
            rows_per_unit=units.rows_per_unit,
            clipping=settings.clipping,
        ) as clipped,
    ):
        if tell is not None:
            _foretell(clipped, checked, tell)
        draws: Draws = EntropyDraws() if settings.certified else SeededDraws.from_seed(seed)
        steps = steps_of(
            clipped,
            units,
            mechanism,
            settings,
            draws,
            measured=checked.measured,
            processes=processes,
            identity=identity,
        )

        def train() -> Certificate:
            if recording is None:
                execution = take_all(steps, mechanism, delta, report_progress=report_progress)
            else:
                execution = take_recorded(
                    steps,
                    mechanism,
                    delta,
                    identity,
                    recording,
                    certified=settings.certified,
                    report_progress=report_progress or (lambda _done, _total, _text: None),
                    tell=tell or (lambda _text: None),
                )
            steps.finish()
            if processes is not None:
                execution = replace(execution, processes=processes.count)
            return certify(
                mechanism,
                delta,
                counted=told_count(len(units), settings.public_count),
                certified=settings.certified,
                execution=execution,
                preflight=report.evidence,
                not_covered=report.not_covered,
                clipping=settings.clipping,
                trained=_trained(clipped.parameters),
                assumed=report.assumed,
                about_preprocessing=taken_as_public(preprocessing, is_public=settings.public_preprocessing),
            )

        certificate = certified_together(steps, train)
    duration_s = time.perf_counter() - start

    read = replace(data, inputs=checked.measured.seen(data.inputs))
    record = _training_record(read, mechanism, settings, seed=seed, duration_s=duration_s)
    return DpFitted(module.eval(), record, certificate, read, checked.measured.preprocessing)


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
    checked = _checked(
        module, data, settings, device=device, preprocessing=preprocessing, beforehand=beforehand
    )
    if tell is None:
        return
    with ClippedGradients(
        checked.learner,
        checked.mechanism.max_grad_norm,
        physical_batch_size=checked.settings.physical_batch_size or MOST_ROWS,
        rows_per_unit=checked.units.rows_per_unit,
        clipping=checked.settings.clipping,
    ) as clipped:
        _foretell(clipped, checked, tell)


@dataclass(frozen=True, slots=True)
class _Checked:
    """A training that may begin: what learns and of what, and its settings with all that was left open.

    ``example`` is one row as the learner sees it.
    """

    learner: nn.Module
    example: Dataset
    units: PrivateUnits
    measured: FirstSteps
    delta: float
    settings: DpSettings
    mechanism: Mechanism
    report: PreflightReport


def _checked(
    module: nn.Module,
    data: Dataset,
    settings: DpSettings,
    *,
    device: str,
    preprocessing: Preprocessing | None,
    beforehand: Sequence[Check],
) -> _Checked:
    """The training, when nothing speaks against it."""
    refuse_learned_vocabulary(preprocessing, is_public=settings.public_preprocessing)
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
    mechanism = plan(settings, delta, n_public, units.unit)
    measured = _measured(learner, units, mechanism, settings, preprocessing)
    about_steps = preprocessing_checks(
        preprocessing, measured.n_steps, is_public=settings.public_preprocessing
    )
    report = report.with_([*beforehand, *_checks_of(module, data, settings, mechanism), *about_steps])
    report.raise_if_refused()
    if settings.learning_rate is None:
        settings = replace(settings, learning_rate=steady_rate(mechanism))
    return _Checked(learner, example, units, measured, delta, settings, mechanism, report)


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
        return MeasuredScales(preprocessing, mechanism, units.rows_per_unit, units.inputs.device)
    if isinstance(learner, CentredLinear):
        return MeasuredCentre(learner.centre, mechanism, units.rows_per_unit, preprocessing)
    return NothingMeasured(preprocessing)


def _foretell(clipped: ClippedGradients, checked: _Checked, tell: Tell) -> None:
    """What the training will come to, and what epsilon will not cover."""
    for sentence in forecast(clipped, checked.example, checked.mechanism, checked.settings).sentences():
        tell(sentence)
    for check in checked.report.warned:
        tell(str(check.message))


def _trained(parameters: Sequence[nn.Parameter]) -> TrainedWeights:
    dtypes = sorted({str(parameter.dtype).removeprefix("torch.") for parameter in parameters})
    return TrainedWeights(n=sum(parameter.numel() for parameter in parameters), dtype=", ".join(dtypes))


def _checks_of(
    module: nn.Module, data: Dataset, settings: DpSettings, mechanism: Mechanism
) -> Iterator[Check]:
    """What the pre-flight has to say of rows and mechanism."""
    n_weights = sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)
    yield from row_checks(data)
    yield from mechanism_checks(mechanism, n_weights, accept_weak=settings.accept_weak)


def _waived(recording: Recording | None) -> Iterator[Check]:
    """What is wrong with the account and was accepted."""
    for waiver in () if recording is None else recording.waivers:
        yield warned("ledger", waiver)


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


def _seed_of_dropout(seed: int, *, certified: bool) -> int:
    """Of dropout and augmentation.

    Whoever knows it knows which mask the row at each place of a step gets. With a row fewer those behind it
    move up and get other masks, so that the sum changes by more than the contribution of one row. While it is
    secret, all rows get masks from one distribution whoever else is there.
    """
    return secrets.randbits(63) if certified else derive_seed(seed, "dp", "dropout")


def _identity(
    module: nn.Module,
    data: Dataset,
    mechanism: Mechanism,
    settings: DpSettings,
    *,
    seed: int,
    processes: Processes | None,
) -> Identity:
    """What must be the same for an interrupted training to go on."""
    first = next(module.parameters())
    return Identity(
        content={
            "rows": data.digest(),
            "mechanism": json.dumps(asdict(mechanism), sort_keys=True),
            "settings": json.dumps(asdict(settings), sort_keys=True, default=str),
            "seed": str(seed),
            "initial weights": digest_of(module.state_dict()),
        },
        machine={
            **machine_of(first.device, first.dtype),
            "processes": str(1 if processes is None else processes.count),
        },
    )


def plan(settings: DpSettings, delta: float, n_units: int, unit: Unit = "row") -> Mechanism:
    """The public inputs of the mechanism, from the settings and the public number of rows or persons."""
    batch = settings.expected_batch_size or default_batch_size(n_units)
    sample_rate = batch / n_units
    return Mechanism(
        noise_multiplier=settings.noise_multiplier
        or noise_for_epsilon(settings.epsilon, delta, sample_rate, settings.steps),
        sample_rate=sample_rate,
        steps=settings.steps,
        max_grad_norm=settings.max_grad_norm,
        normaliser=float(batch),
        unit=unit,
        rows_per_person=settings.rows_per_person if unit == "person" else None,
        copies=settings.augmentation_multiplicity,
    )


def default_batch_size(n_units: int) -> int:
    """A power of two near a twelfth of the units, within 256 and 8192, and never more than all of them."""
    return int(min(n_units, max(256, min(8192, 2 ** round(math.log2(max(1, n_units / 12)))))))


def steady_rate(mechanism: Mechanism) -> float:
    """A learning rate of plain sgd for rows of length 1: logits wander by about as much, whatever the budget.

    The noise of all steps together then moves the logit of a row by 2 on the way, before averaging. Found
    for linear models on the digits that come with scikit-learn, Adult and MNIST, for epsilon 1 and 3.
    """
    noise = mechanism.noise_multiplier * mechanism.max_grad_norm / mechanism.normaliser
    return WANDERING / (noise * math.sqrt(mechanism.steps))


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


def check_settings(settings: DpSettings, delta: float, n_units: int, unit: Unit) -> None:
    """Refuse settings that are out of range for so many units.

    Raises:
        UsageError: With all that is.
        PrivacyRefusedError: Epsilon protects next to nothing.
        DataError: There are fewer than two units.
    """
    problems = []
    batch, n_public = settings.expected_batch_size, public_count(n_units, settings.public_count)
    largest = max(n_public, n_units)
    if n_public < 1:
        problems.append(f"public_count must be at least 1, got {n_public}")
    elif batch is not None and not 1 <= batch <= n_public:
        problems.append(f"expected_batch_size must be within 1 and {n_public} {unit}s, got {batch}")
    if not 0 < delta < 1 / largest:
        problems.append(
            f"delta must be above 0 and below 1/n = {1 / largest:.3g}, got {delta:g}: at 1/n, publishing "
            f"a {unit} at random would pass"
            + ("" if settings.delta else "; give delta, or a larger public_count")
        )
    if settings.steps < 1:
        problems.append(f"steps must be at least 1, got {settings.steps}")
    if not settings.max_grad_norm > 0:
        problems.append(f"max_grad_norm must be above 0, got {settings.max_grad_norm}")
    if problems:
        raise UsageError("private training: " + "; ".join(problems))
    if settings.epsilon > WEAK_EPSILON and not settings.accept_weak:
        raise PrivacyRefusedError(
            f"private training: epsilon {settings.epsilon:g} lets one {unit} change the odds of a result by "
            f"a factor of {math.exp(settings.epsilon):.2g}; above {WEAK_EPSILON:g} that protects next to "
            "nobody. Ask for a smaller one, or say --accept-weak (accept_weak: true in a config)"
        )
    if n_units < 2:
        raise DataError(f"private training: needs at least 2 {unit}s, got {n_units}")


def _training_record(
    data: Dataset, mechanism: Mechanism, settings: DpSettings, *, seed: int, duration_s: float
) -> TrainingRecord:
    """How it was trained. The loss on the rows is private and stays out."""
    return TrainingRecord(
        steps=mechanism.steps,
        epochs=mechanism.steps * mechanism.sample_rate,
        duration_s=duration_s,
        samples_per_s=mechanism.steps * mechanism.normaliser / duration_s,
        seed=seed,
        data_source=data.source,
        data_digest=data.digest(),
        n_rows=public_count(len(data), settings.public_count if mechanism.unit == "row" else None),
        recipe={
            "method": "dp-sgd",
            "optimizer": settings.optimizer,
            "learning_rate": settings.learning_rate,
            "clipping": settings.clipping,
            **({"momentum": settings.momentum} if settings.optimizer == "sgd" else {}),
            "averaging": settings.averaging,
            "expected_batch_size": mechanism.normaliser,
            "physical_batch_size": settings.physical_batch_size,
            "unit": mechanism.unit,
        },
        final_loss=None,
    )
