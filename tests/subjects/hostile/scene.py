"""Where hostile files are tried: a table of numbers, adapters asked directly, a watch for what happens."""

import contextlib
import faulthandler
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from auditkit.config import DataConfig, SubjectConfig
from auditkit.data.loading import load_raw_data, load_training_data
from auditkit.data.steps import TextPreprocessing
from auditkit.data.tokenizers import WordTokenizer
from auditkit.errors import AuditkitError
from auditkit.subjects.sources import ADAPTERS, Request, load_source
from auditkit.subjects.subject import Subject

HANG_S = 120
"""Far beyond the ten seconds that a file may take, so that a busy machine is no hang."""

REMEDY = re.compile(
    r"\b(again|correct|save|saved|set|remove|write|name|use|get|install|export|supported|train|give|copy|move)\b",
    re.I,
)
TEXTS = TextPreprocessing(
    target="label", classes=("bad", "good"), tokenizer=WordTokenizer(words=("a",)), length=9
)


def write_table(folder: Path) -> Path:
    """Three columns of numbers and a label that depends on the first."""
    rng = np.random.default_rng(2)
    numbers = rng.normal(size=(80, 3)).round(4)
    lines = ["x1,x2,x3,label"]
    lines += [f"{a},{b},{c},{'yes' if a > 0 else 'no'}" for a, b, c in numbers]
    path = folder / "rows.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@dataclass(frozen=True)
class Outcome:
    """What came of a file: a subject, or the error a user is shown."""

    subject: Subject | None
    error: AuditkitError | None


@cache
def _rows(folder: Path, reads: str):
    config = DataConfig(source="rows.csv", split="all", target="label", positive="yes")
    if reads in ("raw", "nothing"):
        return load_raw_data(config, seed=0, folder=folder)
    return load_training_data(config, preprocessing=None, seed=0, folder=folder)


def take(key: str, path: Path, table: Path, **config: object) -> Outcome:
    """Load what lies at ``path`` through the adapter of ``key``; anything but an own error goes through."""
    reads = ADAPTERS[key].reads
    probe, steps = _rows(table.parent, "raw" if reads in ("raw", "nothing") else "fitted")
    if key == "hf":
        probe, steps = None, TEXTS
    request = Request(
        config=SubjectConfig.model_validate({key: str(path), **config}),
        folder=path.parent,
        preprocessing=steps,
        classes=steps.classes,
        probe=probe,
    )
    with no_hang():
        try:
            return Outcome(load_source(key, request), None)
        except AuditkitError as error:
            return Outcome(None, error)


@contextlib.contextmanager
def no_hang() -> Iterator[None]:
    """End the whole test run with the stack of whatever does not end."""
    faulthandler.dump_traceback_later(HANG_S, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()


def faults_of(message: str, path: Path) -> list[str]:
    """What a message lacks: the file, a remedy; or what it must not have."""
    lacking = []
    if path.name not in message:
        lacking.append("does not name the file")
    if not REMEDY.search(message.replace(str(path), "")):
        lacking.append("says no remedy")
    if "Traceback" in message or "\x1b" in message:
        lacking.append("holds a traceback or control characters")
    return [f"{what}: {message}" for what in lacking]
