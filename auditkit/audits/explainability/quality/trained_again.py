"""Models trained again, given as checkpoints, that explain the same rows."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from auditkit.audits.explainability.explained_rows import ExplainedRows, explained_rows
from auditkit.audits.explainability.explained_score import Explained
from auditkit.data.csv_texts import sha256_of_texts
from auditkit.data.dataset import Dataset, IntArray
from auditkit.errors import DataError
from auditkit.records import Message
from auditkit.subjects.checkpoint import checkpoint_files, load_checkpoint
from auditkit.subjects.subject import Subject, WhiteBox, preprocessing_of


class TrainedAgain(BaseModel):
    """A checkpoint of the same kind of model, trained on the same task with another seed or other rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(description="Its folder or its weights file")
    weights_sha256: str | None = Field(None, description="Of the weights; filled in")

    @model_validator(mode="before")
    @classmethod
    def _known_by_digest(cls, value: Any) -> Any:
        """A path alone will do; what stands there later under the same name is another model."""
        found = {"path": value} if isinstance(value, str) else value
        if not isinstance(found, dict) or not isinstance(found.get("path"), str):
            return found
        if found.get("weights_sha256") is not None:
            return found
        weights, _ = checkpoint_files(Path(found["path"]))
        return {**found, "weights_sha256": sha256_of_texts(str(weights))}


def model_of(given: TrainedAgain, audited: Subject) -> WhiteBox:
    """The model of a checkpoint, which must read rows as the audited one does.

    Raises:
        CheckpointError: It cannot be read.
        DataError: It is another file than before, or answers another question than ``audited``.
    """
    weights, _ = checkpoint_files(Path(given.path))
    if given.weights_sha256 not in (None, sha256_of_texts(str(weights))):
        raise DataError(
            f"attribution-quality: {weights} does not have the sha256 {given.weights_sha256}; put that model "
            "back, or leave weights_sha256 out"
        )
    model = load_checkpoint(Path(given.path), device=str(getattr(audited, "device", "cpu")))
    for what, own, theirs in (
        ("classes", audited.card.classes, model.card.classes),
        ("preprocessing", preprocessing_of(audited), preprocessing_of(model)),
    ):
        if own != theirs:
            raise DataError(
                f"attribution-quality: {given.path} has other {what} than {audited.card.name}; give "
                "checkpoints that were trained for the same classes, with the preprocessing of the same rows"
            )
    return model


def explained_by(
    model: WhiteBox, rows: Dataset, target: IntArray, explained: Explained, *, batch_size: int
) -> ExplainedRows:
    """The same rows and the same classes as explained for the audited model.

    Raises:
        DataError: Its gradients cannot be had.
    """
    found = explained_rows(model, rows, target, explained=explained, batch_size=batch_size)
    if isinstance(found, Message):
        raise DataError(f"attribution-quality: {model.card.title}: {found}")
    return found
