"""A config that names a transformers folder: where the folder is, and that its tokenizer reads the texts."""

from pathlib import Path

from auditkit.config import RunConfig
from auditkit.config.model import Architecture
from auditkit.data.tokenizers import TOKENIZER_FILE


def with_model_folder(config: RunConfig, folder: Path) -> RunConfig:
    """``config`` with the place of an encoder's folder, and the model's tokenizer unless another is named.

    Args:
        config: Checked.
        folder: That of the config file; relative paths start there, else at the working directory.
    """
    subject, architecture = config.subject, config.subject.architecture
    named = subject.hf
    if architecture is not None and isinstance(architecture.parameters.get("folder"), str):
        named = str(_found(architecture.parameters["folder"], folder))
        architecture = Architecture.model_validate({**architecture.model_dump(), "folder": named})
        subject = subject.model_copy(update={"architecture": architecture})
    data = config.data
    if named is not None and data.tokenizer is None and (_found(named, folder) / TOKENIZER_FILE).is_file():
        data = data.model_copy(update={"tokenizer": named})
    return config.model_copy(update={"subject": subject, "data": data})


def _found(text: str, folder: Path) -> Path:
    path = Path(text).expanduser()
    beside_config = folder / path
    return beside_config.resolve() if beside_config.exists() else path.resolve()
