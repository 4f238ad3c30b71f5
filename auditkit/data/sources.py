"""From the data section of a config to raw rows."""

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from auditkit.config.model import DataConfig
from auditkit.data.counted import counted_rows
from auditkit.data.files import file_rows
from auditkit.data.plain_text import TEXT_SUFFIX, text_file_rows
from auditkit.data.roles import SPLITS
from auditkit.data.rows import Rows
from auditkit.data.splits import subsample
from auditkit.data.table import SUFFIXES
from auditkit.data.tokenizers import TOKENIZERS
from auditkit.errors import DataError, closest
from auditkit.records import Message

BUILT_IN = {
    "lending": "auditkit.data.lending:lending_source",
    "digits": "auditkit.data.digits:digits_rows",
    "adult": "auditkit.data.adult:adult_rows",
    "compas": "auditkit.data.compas:compas_rows",
    "mnist": "auditkit.data.mnist:mnist_rows",
    "shakespeare": "auditkit.data.shakespeare:shakespeare_rows",
    "sst2": "auditkit.data.sst2:sst2_rows",
    "xor": "auditkit.data.xor:xor_rows",
}
"""Where each built-in source is read; imported when it is asked for."""


def read_rows(config: DataConfig, *, split: str, seed: int, folder: Path) -> Rows:
    """The rows of one split.

    Args:
        config: What to read and what its columns mean; a built-in source fills in what it leaves open.
        split: ``"train"``, ``"test"`` or ``"all"``.
        seed: Decides which rows ``config.limit`` keeps, and nothing else.
        folder: That of the config file; relative paths start there, else at the working directory.

    Raises:
        DataError: The source or the split is unknown, or the data cannot be read as the config says.
    """
    if split not in SPLITS:
        raise DataError(f"data.split: no split {split!r}. {closest(split, SPLITS)}")
    config = _with_tokenizer_found(config, folder)
    if config.counted:
        return counted_rows(config, folder)
    if config.task == "regression" and Path(config.source).suffix.lower() not in SUFFIXES:
        raise DataError(
            f"data.source: {config.source!r} has no target that is a number; data.task: regression reads "
            f"tables ({', '.join(SUFFIXES)})"
        )
    if config.source in BUILT_IN:
        rows = _built_in(config.source)(config, split)
    elif "." not in Path(config.source).name:
        raise DataError(
            f"data.source: {config.source!r} is neither a built-in source nor a file "
            f"({', '.join((*SUFFIXES, TEXT_SUFFIX))}). {closest(config.source, BUILT_IN)}"
        )
    elif Path(config.source).suffix == TEXT_SUFFIX:
        rows = text_file_rows(config, split, folder)
    else:
        rows = file_rows(config, split, folder)
    return rows if config.limit is None else _limited(rows, config.limit, seed)


def default_split(config: DataConfig) -> str:
    """The split that is audited when the config names none.

    A file whose rows carry predictions, or say whether they were trained on, is audited whole.
    """
    if config.counted:
        return "all"
    carries = config.prediction is not None or config.score is not None
    tells = config.members is not None and config.members not in SPLITS
    return "all" if (carries or tells) and config.source not in BUILT_IN else "test"


def _built_in(source: str) -> Callable[[DataConfig, str], Rows]:
    module, function = BUILT_IN[source].split(":")
    reader: Callable[[DataConfig, str], Rows] = getattr(import_module(module), function)
    return reader


def _with_tokenizer_found(config: DataConfig, folder: Path) -> DataConfig:
    """``config`` with the place of a tokenizer folder, which may stand beside the config file."""
    name = config.tokenizer
    if name is None or name in TOKENIZERS:
        return config
    places = [folder / Path(name).expanduser(), Path(name).expanduser()]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        raise DataError(
            f"data.tokenizer: {name!r} is neither {', '.join(TOKENIZERS)} nor a folder with tokenizer.json. "
            f"{closest(name, TOKENIZERS)}"
        )
    return config.model_copy(update={"tokenizer": str(found.resolve())})


def _limited(rows: Rows, limit: int, seed: int) -> Rows:
    if limit >= len(rows):
        return rows
    chosen = rows.take(subsample(len(rows), limit, seed=seed, name="limit"))
    statement = Message(
        text="{n} of {total} rows, drawn at random (data.limit).",
        values={"n": limit, "total": len(rows)},
    )
    return replace(chosen, statements=(*chosen.statements, statement))
