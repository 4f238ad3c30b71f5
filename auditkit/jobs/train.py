"""Job: train the model a config describes."""

from collections.abc import Sequence
from pathlib import Path

from auditkit.jobs.prepare import Progress, no_progress, open_project, train_subject
from auditkit.subjects.torch_subject import TorchSubject


def train(
    config: Path | str, *, overrides: Sequence[str] = (), report_progress: Progress = no_progress
) -> tuple[TorchSubject, Path]:
    """Train, write the checkpoint, and return the subject with the folder it lies in."""
    project = open_project(config, overrides)
    return train_subject(project, report_progress), project.checkpoint
