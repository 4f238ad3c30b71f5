"""Plain text as rows of language modelling: windows of characters, each character foretold once."""

from pathlib import Path

from auditkit.config.model import DataConfig
from auditkit.data.files import find_file
from auditkit.data.roles import SPLITS
from auditkit.data.rows import Rows, TextForm, texts
from auditkit.errors import DataError
from auditkit.records import Message

TEXT_SUFFIX = ".txt"
TARGET = "next token"
LENGTH = 64
"""Tokens per row where the config leaves it open."""

_CHARACTERS_PER_TOKEN = {"character": 1, "byte": 1}
_CHARACTERS_PER_WORD = 4
_OF_TABLES = (
    *("target", "features", "drop", "sensitive_features", "control_features", "positive"),
    *("weight", "person", "prediction", "score", "train", "text"),
)
_LIMIT_B = 512 * 2**20


def text_file_rows(config: DataConfig, split: str, folder: Path) -> Rows:
    """Rows of a text file in UTF-8; its end, ``config.test_fraction`` of the characters, is held out."""
    path = find_file(config.source, folder)
    return rows_of_text(
        read_text(path), config, name=path.stem, split=split, test_fraction=config.test_fraction
    )


def read_text(path: Path) -> str:
    """A file as text.

    Raises:
        DataError: Absent, not UTF-8, or larger than 512 MiB.
    """
    try:
        if path.stat().st_size > _LIMIT_B:
            raise DataError(f"{path}: larger than {_LIMIT_B >> 20} MiB; give a part of it")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; save the text as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def rows_of_text(text: str, config: DataConfig, *, name: str, split: str, test_fraction: float) -> Rows:
    """Windows of one text. Neighbours share one character, so that each but the first is foretold once.

    The end of the text is held out, never windows from its midst: neighbouring windows are alike.

    Raises:
        DataError: The config names columns, or the text is too short for a window in each part.
    """
    _check(config, name)
    form = TextForm(config.tokenizer or "character", config.length or LENGTH)
    cut = len(text) - round(len(text) * test_fraction)
    part = {"train": text[:cut], "test": text[cut:], "all": text}[split]
    windows = _windows(part, _width(form))
    if not windows:
        raise DataError(
            f"{name}: {len(part)} characters are too few for {split} rows of {form.length} tokens"
        )
    statement = Message(
        text="{n} windows of {length} tokens; every token is foretold from those before it in its window.",
        values={"n": len(windows), "length": form.length or LENGTH},
    )
    return Rows(
        name=name,
        source=config.source,
        split=split,
        target=TARGET,
        labels=texts(windows),
        texts=texts(windows),
        text_form=form,
        task="language-modelling",
        statements=(statement,),
    )


def _width(form: TextForm) -> int:
    return (form.length or LENGTH) * _CHARACTERS_PER_TOKEN.get(form.tokenizer, _CHARACTERS_PER_WORD)


def _windows(text: str, width: int) -> list[str]:
    """Windows of ``width + 1`` characters that begin every ``width``; a shorter rest is left out."""
    return [text[start : start + width + 1] for start in range(0, len(text) - width, width)]


def _check(config: DataConfig, name: str) -> None:
    named = [key for key in _OF_TABLES if getattr(config, key)]
    if config.members not in (None, *SPLITS):
        named.append("members")
    if named:
        keys = ", ".join(f"data.{key}" for key in named)
        raise DataError(f"{name} is plain text and has no columns; remove {keys}")
