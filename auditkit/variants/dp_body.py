"""Which architecture a private training starts from, where that begins with pretrained weights."""

from pathlib import Path
from typing import Any

from auditkit.config.model import Architecture
from auditkit.data.dataset import Task
from auditkit.errors import ConfigError, UsageError
from auditkit.models.pretrained import reads_one_way
from auditkit.models.pretrained_part import Trained
from auditkit.models.zoo import check_architecture, pretrained_folder
from auditkit.subjects.huggingface import folder_of_audited
from auditkit.subjects.torch_subject import TorchSubject


def architecture_of(
    baseline: TorchSubject, *, trained: Trained | None, rank: int | None, is_public: bool
) -> Architecture:
    """The architecture of ``baseline``, or what begins with the weights of an audited transformers folder.

    Of a classifier that is a new classifier on its body, of a model of language the model itself.

    Args:
        baseline: As audited.
        trained: What is trained of pretrained weights; ``None`` is as audited, and of a folder the head of a
            classifier or products of low rank in a model of language.
        rank: Of products of low rank; ``None`` is the architecture's.
        is_public: Whether the user says that the pretrained weights were not trained on the private rows.

    Raises:
        UsageError: It has no architecture that could be started again, or none with a body.
    """
    folder = folder_of_audited(baseline)
    if folder is not None:
        part: Trained = trained or ("low-rank" if baseline.task == "language-modelling" else "head")
        if not is_public:
            raise UsageError(_not_stated(folder, part, baseline.task))
        return _begun_with(folder, baseline.task, {"train": part, "rank": rank})
    if check_architecture(baseline.architecture):
        raise UsageError(
            f"dp-retrain: {baseline.card.title!r} came with an architecture of its own "
            f"({baseline.architecture.name}), which cannot be started again from fresh weights. Give "
            "subject.architecture and subject.training to train a model privately."
        )
    if trained is None and rank is None:
        return baseline.architecture
    if pretrained_folder(baseline.architecture) is None:
        raise UsageError(
            f"dp-retrain: train and rank are about pretrained weights, and {baseline.architecture.name} "
            "starts from fresh ones; leave them out"
        )
    kept = baseline.architecture.model_dump(exclude={"frozen", "rank", "alpha"} if trained else set())
    return Architecture.model_validate({**kept, **_given(train=trained, rank=rank)})


def _begun_with(folder: Path, task: Task, chosen: dict[str, Any]) -> Architecture:
    """Raises ConfigError where a model of language is to be trained in a part that it does not have."""
    if task == "language-modelling":
        architecture = Architecture.model_validate(
            {"name": "hf-language-model", "folder": str(folder), **_given(**chosen)}
        )
        problems = check_architecture(architecture)
        if problems:
            raise ConfigError(problems)
        return architecture
    pooling = "last" if reads_one_way(folder) else "mean"
    return Architecture.model_validate(
        {"name": "hf-encoder", "folder": str(folder), "pooling": pooling, **_given(**chosen)}
    )


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _not_stated(folder: Path, trained: Trained, task: Task) -> str:
    name, started, parts = "hf-encoder", "a new classifier is trained on its body", "head, biases, low-rank"
    if task == "language-modelling":
        name, started, parts = "hf-language-model", "it is trained on from there", "biases, low-rank"
    return (
        f"dp-retrain: nothing tells whether the weights in {folder} were trained on these rows, and epsilon "
        f"would not cover what they learned from them. If they were not, say so, and {started}: auditkit "
        f"retrain --public-body --train {trained}, or in a config {{kind: dp-retrain, epsilon: 3, "
        f"public_body: true, train: {trained}}}; train may be {parts} or all. If they were, name the folder "
        f"of the model as it was before: subject: {{architecture: {{name: {name}, folder: FOLDER, train: "
        f"{trained}}}, training: {{epochs: 10}}}}"
    )
