"""Job: train the audited model again, with differential privacy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auditkit.data.loading import training_rows
from auditkit.errors import UsageError
from auditkit.jobs.held_out import HeldOutFigures, held_out_figures
from auditkit.jobs.ledger import recording_of
from auditkit.jobs.prepare import (
    Progress,
    audit_data,
    no_progress,
    obtain_subject,
    open_project,
    training_data,
    unscaled_rows,
)
from auditkit.models.pretrained_part import Trained
from auditkit.privacy.accounting import LARGEST_EPSILON
from auditkit.privacy.distributed import processes_of_environment
from auditkit.privacy.partial import Partial
from auditkit.privacy.units import Unit
from auditkit.randomness import derive_seed
from auditkit.records import Certificate
from auditkit.registry import VARIANTS
from auditkit.subjects.checkpoint import save_checkpoint
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.variants.variant import VariantContext


@dataclass(frozen=True, slots=True)
class Retrained:
    """A privately trained subject, where its checkpoint lies, and what it costs on the held-out rows.

    Of several processes that trained it together, the one with ``rank`` 0 has written the checkpoint and the
    ledger.
    """

    subject: TorchSubject
    folder: Path
    certificate: Certificate
    figures: HeldOutFigures
    rank: int = 0


def retrain(  # noqa: PLR0913 - each is one choice of the user
    config: Path | str,
    *,
    epsilon: float,
    delta: float | None = None,
    as_audited: bool = False,
    reproducible: bool = False,
    accept_weak: bool = False,
    fix: bool = False,
    replay: bool = False,
    accept_lost_ledger: bool = False,
    unit: Unit | None = None,
    tune: Literal["private"] | None = None,
    trained: Trained | None = None,
    public_body: bool = False,
    public_preprocessing: bool = False,
    overrides: Sequence[str] = (),
    report_progress: Progress = no_progress,
    tell: Callable[[str], None] | None = None,
) -> Retrained:
    """Train from scratch with DP-SGD so that the weights are ``(epsilon, delta)``-private.

    The checkpoint goes beside the audited one, as ``NAME-dp-EPSILON``. Noise and sampling come from the
    operating system, unless ``reproducible``: then they follow from the seed, and whoever knows it can
    take the noise off again; the certificate says so.

    Steps, batches, clipping, augmentation and all else that a ``dp-retrain`` variant can be told are taken
    from ``retrain:`` of the config; what is given here goes before it.

    Pictures get the architecture that does best under privacy, a linear classifier on scattering features,
    unless ``as_audited``.

    With ``fix`` layers that mix rows are exchanged for ones that do not, BatchNorm for GroupNorm, and the
    weights of convolutions that feed it are standardised unless the config says otherwise; each change is
    stated with the model.

    Every step is reserved in the privacy ledger of the rows before it is taken. Repeating an interrupted
    call goes on where it stopped, with fresh noise and the repeated steps charged again; with ``replay`` the
    noise to come is kept on disk meanwhile, and the repeated steps give the same bits. It is locked by a key
    file that lies apart: ``$AUDITKIT_REPLAY_KEY_FILE``, else ``replay.key`` beside the ledgers of the user.

    A ledger that lacks what a checkpoint beside this one, or a variant under ``runs/``, says of it is
    refused, unless ``accept_lost_ledger``: then the certificate says that what was spent is not known.

    What is protected as one is the person where the config names ``data.person``, unless ``unit`` is ``row``.

    With ``tune`` the config's ``tuning`` chooses settings on the private rows: the best of a random number of
    runs, all of which together are within ``epsilon``. The checkpoint goes to ``NAME-dp-EPSILON-tuned``. What
    was interrupted is not taken up again; repeating the call is another tuning, charged again.

    ``trained`` says what of pretrained weights is trained; by default as the architecture says, and of an
    audited folder of transformers (``subject.hf``) a new head, or products of low rank where that foretells
    tokens. ``public_body`` says that pretrained weights were not trained on these rows. It must be said of an
    audited folder and of one that holds a classifier; of any other it is an assumption of the certificate.

    The first steps measure means and scales of a table; those that the audited model was trained with are
    not used. ``public_preprocessing`` says that what its preprocessing learned is public, and keeps it. It
    must be said of a vocabulary that was collected from the training texts.

    Under ``torchrun`` all its processes train together; each calls this.

    Raises:
        UsageError: ``epsilon`` or ``delta`` is out of range, or the model cannot be trained privately.
        PrivacyRefusedError: The privacy budget of the rows does not suffice; or ``accept_weak`` is
            not given, and epsilon is above 20 or noise drowns the few rows there are; or a vocabulary was
            collected from the rows, and ``public_preprocessing`` is not given.
        LedgerError: The ledger was changed, removed or cut off, or cannot be written.
        NothingReleasedError: A tuning gave no model.
        ProcessesDisagreeError: The processes do not have the same rows, settings or versions.
    """
    _check_budget(epsilon, delta)
    if tune and replay:
        raise UsageError(
            "retrain: --tune and --replay exclude each other: where a tuning stopped is kept nowhere, as it "
            "would tell how many runs there are. Leave --replay out"
        )
    project = open_project(config, overrides)
    if project.config.data.task == "regression":
        raise UsageError(
            "retrain: data.task is regression, and private training is for models that tell classes or tokens"
        )
    name = f"dp-{epsilon:g}-tuned" if tune else f"dp-{epsilon:g}"
    asked = {
        "certified": False if reproducible else None,
        "accept_weak": accept_weak or None,
        "accept_lost_ledger": accept_lost_ledger or None,
        "recipe": "as-audited" if as_audited else None,
        "fix": fix or None,
        "unit": unit,
        "tuning": project.config.tuning if tune else None,
        "train": trained,
        "public_body": public_body or None,
        "public_preprocessing": public_preprocessing or None,
    }
    variant = VARIANTS.make(
        "dp-retrain",
        {
            **_DEFAULTS,
            **project.config.retrain,
            **{key: value for key, value in asked.items() if value is not None},
            "epsilon": epsilon,
            "delta": delta,
        },
    )
    if project.is_to_be_trained:
        variant.refuse_early(
            training_rows(project.config.data, seed=project.config.seed, folder=project.folder)
        )
    with processes_of_environment(project.device) as processes:
        rank = 0 if processes is None else processes.rank
        report = no_progress if rank else report_progress
        baseline = (
            obtain_subject(project, report)
            if processes is None
            else processes.first_then_others(lambda: obtain_subject(project, report))
        )
        folder = project.checkpoint.with_name(f"{project.checkpoint.stem}-{name}")
        partial = Partial(folder.with_name(f".{folder.name}.unfinished"), keeps_noise=replay)
        context = VariantContext(
            name=name,
            seed=derive_seed(project.config.seed, "variant", name),
            folder=folder.parent,
            training_data=lambda: training_data(project, baseline),
            unscaled_rows=lambda steps: unscaled_rows(project, steps),
            device=project.device,
            report_progress=report,
            recording=None
            if rank
            else lambda accept_lost: recording_of(
                project,
                purpose=f"retrain {project.stem}",
                partial=partial.folder,
                runs=Path("runs"),
                accept_lost_ledger=accept_lost,
                replay=replay,
            ),
            tell=None if rank else tell,
            processes=processes,
        )
        subject = variant.derive(baseline, context)
        if not isinstance(subject, TorchSubject) or subject.card.certificate is None:
            raise UsageError("dp-retrain gave no certificate")
        data = audit_data(project, baseline).held_out()
        if rank == 0:
            save_checkpoint(folder, subject, positive=data.positive)
            partial.remove()
        return Retrained(
            subject,
            folder,
            subject.card.certificate,
            held_out_figures(baseline, data, subject, audit_data(project, subject).held_out()),
            rank,
        )


_DEFAULTS = {"certified": True, "recipe": "auto"}
"""What differs from a variant: the weights are there to be released, and as good as can be."""


def _check_budget(epsilon: float, delta: float | None) -> None:
    if not 0 < epsilon <= LARGEST_EPSILON:
        raise UsageError(
            f"--epsilon {epsilon:g}: expected a number above 0 and at most {LARGEST_EPSILON:g}, such as 3"
        )
    if delta is not None and not 0 < delta < 1:
        raise UsageError(f"--delta {delta:g}: expected a number between 0 and 1, such as 1e-5")
