"""From a config to the subject and the data it names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from auditkit.audits.audit import Audit
from auditkit.config import RunConfig, load_config
from auditkit.data.dataset import Dataset
from auditkit.data.loading import (
    load_dataset,
    load_raw_data,
    load_training_data,
    load_unscaled_training_data,
)
from auditkit.data.preprocessing import Preprocessing
from auditkit.errors import ConfigError, UsageError
from auditkit.jobs.model_folder import with_model_folder
from auditkit.models.zoo import build_module, check_architecture, complete, require_value_model
from auditkit.randomness import derive_seed, torch_rng
from auditkit.records import Message
from auditkit.registry import AUDITS, check_extensions
from auditkit.subjects.black_box import ROWS_ASKED
from auditkit.subjects.checkpoint import checkpoint_files, save_checkpoint
from auditkit.subjects.sources import ADAPTERS, Request, load_source
from auditkit.subjects.subject import Subject, preprocessing_of
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.training.fit import fit

Progress = Callable[[int, int, str], None]


def no_progress(_done: int, _total: int, _text: str) -> None:
    """Report to nobody."""


@dataclass(frozen=True, slots=True)
class Project:
    """A checked config and where it stands; relative paths in it start there.

    ``stem`` names checkpoints and runs that the config does not name itself.
    """

    config: RunConfig
    folder: Path
    stem: str

    @property
    def title(self) -> str:
        """What the report calls the model."""
        return self.config.subject.name or self.stem

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint lies or will lie."""
        named = self.config.subject.checkpoint
        return self.folder / (named if named else f"checkpoints/{self.stem}")

    @property
    def is_to_be_trained(self) -> bool:
        """Whether the subject is still to be trained, from what the config says."""
        subject = self.config.subject
        makes_it = subject.architecture is not None and subject.training is not None
        return makes_it and not self.checkpoint.exists()

    @property
    def device(self) -> str:
        """The device asked for; ``auto`` is CUDA where there is one."""
        return resolve_device(self.config.execution.device)


def open_project(path: Path | str, overrides: Sequence[str] = ()) -> Project:
    """Read and check a config with everything that it names.

    Raises:
        ConfigError: With all problems found, each at its place.
    """
    path = Path(path)
    config, _ = load_config(path, overrides=overrides, checks=[check_extensions])
    config = with_model_folder(config, path.resolve().parent)
    if config.subject.architecture is not None:
        problems = list(check_architecture(config.subject.architecture, [path.resolve().parent]))
        if problems:
            raise ConfigError(problems)
    return Project(config, path.resolve().parent, path.stem)


def resolve_device(wish: str) -> str:
    """A device string torch understands.

    Raises:
        UsageError: CUDA is asked for and absent.
    """
    if wish == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wish.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError(f"--device {wish}: no CUDA device is visible to torch. Use --device cpu or auto")
    return wish


def train_subject(project: Project, report_progress: Progress = no_progress) -> TorchSubject:
    """Train what the config describes and write the checkpoint.

    Raises:
        ConfigError: The config has no architecture or no training section.
    """
    config = project.config
    architecture, training = config.subject.architecture, config.subject.training
    if architecture is None or training is None:
        raise ConfigError("subject: training needs architecture: and training: in the config")
    data, preprocessing = load_training_data(
        config.data, preprocessing=None, seed=config.seed, folder=project.folder
    )
    subject = fit(
        architecture,
        data,
        training,
        seed=derive_seed(config.seed, "training"),
        device=project.device,
        title=project.title,
        preprocessing=preprocessing,
        report_progress=report_progress,
    )
    save_checkpoint(project.checkpoint, subject, positive=data.positive)
    return subject


def untrained_subject(project: Project) -> Subject:
    """What :func:`obtain_subject` would train, with initial weights; the subject itself where it exists.

    Raises:
        UsageError: As :func:`obtain_subject`.
    """
    config = project.config
    architecture, training = config.subject.architecture, config.subject.training
    if architecture is None or training is None or not project.is_to_be_trained:
        return obtain_subject(project)
    data, preprocessing = load_training_data(
        config.data, preprocessing=None, seed=config.seed, folder=project.folder
    )
    if data.task == "regression":
        require_value_model(architecture)
    full = complete(architecture, **data.sizes())
    return TorchSubject.build(
        build_module(full, rng=torch_rng(config.seed, "plan")),
        title=project.title,
        architecture=full,
        classes=data.classes,
        preprocessing=preprocessing,
        statements=(Message(text="Not trained yet."),),
    )


def obtain_subject(project: Project, report_progress: Progress = no_progress) -> Subject:
    """The subject of the config: loaded from its source, or trained first where it has none yet.

    Raises:
        UsageError: It cannot be read; see the adapters of :mod:`auditkit.subjects.sources`.
    """
    config = project.config.subject
    if project.is_to_be_trained:
        return train_subject(project, report_progress)
    key = next(iter(config.sources), "checkpoint")
    _check_source(project, key)
    update = {
        "name": project.title,
        **({"checkpoint": str(project.checkpoint)} if key == "checkpoint" else {}),
    }
    probe, preprocessing = _data_for(project, key)
    subject = load_source(
        key,
        Request(
            config=config.model_copy(update=update),
            folder=project.folder,
            device=project.device,
            preprocessing=preprocessing,
            classes=() if preprocessing is None else preprocessing.classes,
            length=project.config.data.length,
            probe=probe,
        ),
    )
    _check_recipe(project, subject)
    _check_task(project, subject)
    return subject


def _check_source(project: Project, key: str) -> None:
    """Refuse models that are read as classifiers where a number is to be foretold.

    Raises:
        ConfigError: With what can be done instead.
    """
    readable = ("checkpoint", "function", "predictions")
    if project.config.data.task == "regression" and (key not in readable or _is_bare(project, key)):
        what = "bare weights" if key == "checkpoint" else f"a model of {key}"
        raise ConfigError(
            f"subject.{key}: {what} cannot be read as a regression. Call it from a Python function "
            "(function: package.module:predict), or put its answers into a table (predictions: TABLE.parquet "
            "with data.prediction: COLUMN)"
        )


def _check_task(project: Project, subject: Subject) -> None:
    """Refuse a model that answers otherwise than the data ask.

    Raises:
        ConfigError: One is about numbers and the other about labels.
    """
    foretells_value, wanted = "values" in subject.capabilities, project.config.data.task == "regression"
    if wanted and not foretells_value:
        raise ConfigError(
            f"data.task is regression, but {subject.card.title} tells classes; leave task out, or train a "
            "model of this target"
        )
    if foretells_value and not wanted:
        raise ConfigError(f"{subject.card.title} foretells a number; write data.task: regression")


def _data_for(project: Project, key: str) -> tuple[Dataset | None, Preprocessing | None]:
    """Rows for a model that brings no preprocessing, and how: by fitted steps, or as read."""
    config, reads = project.config, ADAPTERS[key].reads
    if reads == "own" and not _is_bare(project, key):
        return None, None
    if reads == "nothing":
        return load_raw_data(config.data, seed=config.seed, folder=project.folder)
    if reads == "raw" or config.subject.inputs == "raw":
        return load_raw_data(config.data, seed=config.seed, folder=project.folder, most=ROWS_ASKED)
    return load_training_data(config.data, preprocessing=None, seed=config.seed, folder=project.folder)


def _is_bare(project: Project, key: str) -> bool:
    """Whether the checkpoint is weights without a card."""
    path = project.checkpoint
    return key == "checkpoint" and path.is_file() and not checkpoint_files(path)[1].exists()


def _check_recipe(project: Project, subject: Subject) -> None:
    """Refuse a checkpoint that was trained otherwise than the config now says.

    Raises:
        ConfigError: With each setting that differs.
    """
    training, record = project.config.subject.training, subject.card.training
    if training is None or record is None or record.recipe.get("method") == "dp-sgd":
        return
    wanted = training.model_dump(mode="json")
    differing = [
        f"{key} {record.recipe[key]!r} there, {value!r} here"
        for key, value in wanted.items()
        if key in record.recipe and record.recipe[key] != value
    ]
    if differing:
        raise ConfigError(
            f"subject.training: {project.checkpoint} was trained with other settings "
            f"({'; '.join(differing)}). `auditkit train` trains it again; without training: it is kept"
        )


def audits_of(project: Project) -> dict[str, Audit]:
    """The audits of the config by name; relative paths among their parameters start at its folder."""
    return {
        name: AUDITS.make(name, parameters, folder=project.folder)
        for name, parameters in project.config.audits.items()
    }


def audit_data(project: Project, subject: Subject) -> Dataset:
    """The rows to audit, encoded as ``subject`` expects them."""
    return load_dataset(
        project.config.data,
        preprocessing=preprocessing_of(subject),
        seed=project.config.seed,
        folder=project.folder,
    )


def training_data(project: Project, subject: Subject) -> Dataset:
    """The rows that ``subject`` was trained on, encoded as it expects them."""
    data, _ = load_training_data(
        project.config.data,
        preprocessing=preprocessing_of(subject),
        seed=project.config.seed,
        folder=project.folder,
    )
    return data


def unscaled_rows(project: Project, steps: Preprocessing) -> Dataset:
    """The training rows by steps that leave numbers in their own unit, with all their digits."""
    return load_unscaled_training_data(
        project.config.data, steps, seed=project.config.seed, folder=project.folder
    )
