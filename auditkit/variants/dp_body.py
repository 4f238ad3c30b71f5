"""Which architecture a private training starts from, where that begins with pretrained weights."""

from pathlib import Path
from typing import Any

from auditkit.config.model import Architecture
from auditkit.errors import UsageError
from auditkit.models.hf_encoder import Trained
from auditkit.models.pretrained import reads_one_way
from auditkit.models.zoo import check_architecture, pretrained_folder
from auditkit.subjects.huggingface import folder_of_classifier
from auditkit.subjects.torch_subject import TorchSubject


def architecture_of(
    baseline: TorchSubject, *, trained: Trained | None, rank: int | None, is_public: bool
) -> Architecture:
    """The architecture of ``baseline``, or a new classifier on the body of a transformers folder.

    Args:
        baseline: As audited.
        trained: What is trained of a pretrained body; ``None`` is as audited, and of a folder its head.
        rank: Of products of low rank; ``None`` is the architecture's.
        is_public: Whether the user says that the pretrained weights were not trained on the private rows.

    Raises:
        UsageError: It has no architecture that could be started again, or none with a body.
    """
    folder = folder_of_classifier(baseline)
    if folder is not None:
        if not is_public:
            raise UsageError(_not_stated(folder, trained or "head"))
        return _on_body_of(folder, {"train": trained or "head", "rank": rank})
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


def _on_body_of(folder: Path, chosen: dict[str, Any]) -> Architecture:
    pooling = "last" if reads_one_way(folder) else "mean"
    return Architecture.model_validate(
        {"name": "hf-encoder", "folder": str(folder), "pooling": pooling, **_given(**chosen)}
    )


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _not_stated(folder: Path, trained: Trained) -> str:
    return (
        f"dp-retrain: nothing tells whether the weights in {folder} were trained on these rows, and epsilon "
        "would not cover what they learned from them. If they were not, say so, and a new classifier is "
        f"trained on its body: auditkit retrain --public-body --train {trained}, or in a config {{kind: "
        f"dp-retrain, epsilon: 3, public_body: true, train: {trained}}}; train may be head, biases, low-rank "
        "or all. If they were, name the folder of the model as it was before: subject: {architecture: {name: "
        f"hf-encoder, folder: FOLDER, train: {trained}}}, training: {{epochs: 10}}}}"
    )
