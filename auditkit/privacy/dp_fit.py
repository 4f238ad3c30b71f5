"""Training with DP-SGD: Poisson-sampled batches, clipped gradient sums, Gaussian noise, a fixed divisor.

Source: Abadi et al. (2016), arXiv:1607.00133.
"""

import json
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from torch import nn

from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import Preprocessing
from auditkit.privacy.certificate import Mechanism, certify
from auditkit.privacy.checked_training import checked_training
from auditkit.privacy.distributed import Processes
from auditkit.privacy.dp_settings import DpSettings
from auditkit.privacy.draws import Draws, EntropyDraws, SeededDraws
from auditkit.privacy.leading_steps import certified_together, steps_of
from auditkit.privacy.partial import Identity, digest_of, machine_of
from auditkit.privacy.preflight import Check
from auditkit.privacy.preflight.learned_steps import taken_as_public
from auditkit.privacy.preflight.report import warned
from auditkit.privacy.public_count import public_count, told_count
from auditkit.privacy.recorded import Progress, Recording, take_all, take_recorded
from auditkit.privacy.resume import Tell
from auditkit.randomness import derive_seed, global_generators_seeded
from auditkit.records import Certificate, TrainedWeights, TrainingRecord


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
    the module then reads them, and count which levels are frequent. Only where what ``preprocessing`` learned
    is public it reads rows as they are.

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
    checked = checked_training(
        module,
        data,
        settings,
        device=device,
        preprocessing=preprocessing,
        beforehand=(*beforehand, *_waived(recording)),
    )
    units, delta = checked.units, checked.delta
    settings, mechanism, report = checked.settings, checked.mechanism, checked.report
    identity = _identity(module, data, mechanism, settings, seed=seed, processes=processes)

    start = time.perf_counter()
    with (
        global_generators_seeded(_seed_of_dropout(seed, certified=settings.certified)),
        checked.clipped() as clipped,
    ):
        if tell is not None:
            checked.foretell(clipped, tell)
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
                about_preprocessing=taken_as_public(
                    preprocessing,
                    is_public=settings.public_preprocessing,
                    levels_are_public=settings.public_levels,
                ),
            )

        certificate = certified_together(steps, train)
    duration_s = time.perf_counter() - start

    read = replace(data, inputs=checked.measured.seen(data.inputs))
    record = _training_record(read, mechanism, settings, seed=seed, duration_s=duration_s)
    return DpFitted(module.eval(), record, certificate, read, checked.measured.preprocessing)


def _trained(parameters: Sequence[nn.Parameter]) -> TrainedWeights:
    dtypes = sorted({str(parameter.dtype).removeprefix("torch.") for parameter in parameters})
    return TrainedWeights(n=sum(parameter.numel() for parameter in parameters), dtype=", ".join(dtypes))


def _waived(recording: Recording | None) -> Iterator[Check]:
    """What is wrong with the account and was accepted."""
    for waiver in () if recording is None else recording.waivers:
        yield warned("ledger", waiver)


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
