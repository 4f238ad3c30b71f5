"""Ways to hold a model: which adapter reads which key of ``subject:``, and what it must know of the data."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Literal, Protocol

from auditkit.config.model import SubjectConfig
from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import Preprocessing
from auditkit.subjects.subject import Subject

Reads = Literal["own", "fitted", "raw", "nothing"]
"""Where the inputs of a model come from: the preprocessing that came with it; one fitted on the training
rows; the rows as they were read; or nowhere, because the predictions are already there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What an adapter is asked for.

    Attributes:
        config: The subject section.
        folder: That of the config file; relative paths start there, else at the working directory.
        device: Where a torch module is put.
        name: Of the subject.
        preprocessing: As the adapter's ``reads`` says; ``None`` for ``own``.
        classes: Names of the labels in the data, in the order of the outputs; empty for ``own``.
        length: Most tokens per row, where the config says it.
        probe: Rows encoded by ``preprocessing``, to find out what a model answers; ``None`` for ``own``.
    """

    config: SubjectConfig
    folder: Path
    device: str = "cpu"
    name: str = "baseline"
    preprocessing: Preprocessing | None = None
    classes: tuple[str, ...] = ()
    length: int | None = None
    probe: Dataset | None = None

    def path(self, key: str) -> Path:
        """The file or folder that ``subject.KEY`` names."""
        text = Path(str(getattr(self.config, key))).expanduser()
        beside_config = self.folder / text
        return beside_config if beside_config.exists() else text


class Load(Protocol):
    """Reads a model, or says why not."""

    def __call__(self, request: Request) -> Subject:
        """The subject.

        Raises:
            UnsafeError: Loading it could execute code.
            CheckpointError: Absent, damaged, or not fitting the data.
            MissingExtraError: The library that reads it is not installed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Adapter:
    """Where the function that loads is defined, and what it reads."""

    load: str
    reads: Reads


ADAPTERS = {
    "checkpoint": Adapter("auditkit.subjects.intake:load", "own"),
    "hf": Adapter("auditkit.subjects.huggingface:load", "fitted"),
    "keras": Adapter("auditkit.subjects.keras_model:load", "fitted"),
    "sklearn": Adapter("auditkit.subjects.sklearn_model:load", "raw"),
    "onnx": Adapter("auditkit.subjects.onnx_model:load", "fitted"),
    "function": Adapter("auditkit.subjects.function:load", "raw"),
    "predictions": Adapter("auditkit.subjects.predictions_table:load", "nothing"),
    "counts": Adapter("auditkit.subjects.predictions_table:load", "nothing"),
}
"""By the key of ``subject:``; imported when it is asked for."""


def load_source(key: str, request: Request) -> Subject:
    """The subject behind ``subject.KEY``; see :class:`Load` for what may be raised."""
    module, function = ADAPTERS[key].load.split(":")
    load: Load = getattr(import_module(module), function)
    return load(request)
