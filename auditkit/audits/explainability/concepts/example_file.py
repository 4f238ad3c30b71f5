"""Rows that show a concept, read from a file or a folder and encoded as the subject reads its inputs."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from auditkit.audits.explainability.concepts.definition import sha256_of_examples
from auditkit.data.encoding import encode
from auditkit.data.picture_folder import read_picture_folder
from auditkit.data.preprocessing import (
    ImagePreprocessing,
    Preprocessing,
    TablePreprocessing,
    TextPreprocessing,
)
from auditkit.data.rows import ByteArray, Rows, texts
from auditkit.data.table import read_table
from auditkit.errors import DataError
from auditkit.subjects.subject import Subject, preprocessing_of

GREY_LEVELS = 255.0
"""Of a picture file; the data may count theirs otherwise."""


def rows_of_examples(place: Path, sha256: str | None, subject: Subject) -> torch.Tensor:
    """Inputs of the subject, shape ``(n, *d)``.

    Args:
        place: A folder of pictures of any size and colour, a CSV, TSV or Parquet file with the columns that
            the model needs, a ``.npy`` file of grey values (shape ``(n, height, width)``, in the scale of the
            data) or a ``.txt`` file, one text per line.
        sha256: What its content must be; ``None`` takes any.
        subject: Whose preprocessing encodes the rows.

    Raises:
        DataError: The file or folder is absent, damaged or another one, or its rows do not fit the model.
    """
    if not place.is_file() and not place.is_dir():
        raise DataError(
            f"concepts: examples {place} is no file or folder; give the path of a folder of pictures, of a "
            "table, or of a .npy or .txt file"
        )
    if sha256 not in (None, sha256_of_examples(place)):
        raise DataError(
            f"concepts: {place} does not hold what has the sha256 {sha256}; put that back, or leave "
            "examples_sha256 out"
        )
    steps = preprocessing_of(subject)
    return _of_folder(place, steps, subject) if place.is_dir() else _of_file(str(place), steps, subject)


def _of_folder(folder: Path, steps: Preprocessing | None, subject: Subject) -> torch.Tensor:
    if not isinstance(steps, ImagePreprocessing):
        raise DataError(
            f"concepts: {folder} is a folder of pictures, which {subject.card.name} does not read; give a "
            "file of rows as the model reads them, or name a condition on the data"
        )
    try:
        pictures = read_picture_folder(folder, height=steps.height, width=steps.width)
    except DataError as error:
        raise DataError(f"concepts: {error}") from None
    rows = Rows(**_roles(str(folder), steps, len(pictures)), images=pictures, divisor=GREY_LEVELS)
    # white is white, however many grey levels the data count up to it
    return encode(rows, steps.model_copy(update={"divisor": GREY_LEVELS})).inputs


def _of_file(path: str, steps: Preprocessing | None, subject: Subject) -> torch.Tensor:
    if isinstance(steps, ImagePreprocessing):
        pictures = _pictures(Path(path))
        rows = Rows(**_roles(path, steps, len(pictures)), images=pictures, divisor=steps.divisor)
    elif isinstance(steps, TextPreprocessing):
        lines = [line for line in Path(path).read_text(encoding="utf-8").splitlines() if line.strip()]
        rows = Rows(**_roles(path, steps, len(lines)), texts=texts(lines))
    elif isinstance(steps, TablePreprocessing):
        table = read_table(Path(path))
        columns = {name: table.column(name) for name in table.names}
        rows = Rows(**_roles(path, steps, len(next(iter(columns.values())))), columns=columns)
    else:
        raise DataError(
            f"concepts: {subject.card.name} has no preprocessing on record, so {path} cannot be encoded; "
            "name a condition on the data instead"
        )
    return encode(rows, steps).inputs


def _roles(
    path: str, steps: ImagePreprocessing | TextPreprocessing | TablePreprocessing, n: int
) -> dict[str, Any]:
    """Examples have no label of their own; any stands in, and none is read."""
    labels = texts([steps.classes[0]] * n)
    return {"name": path, "source": path, "split": "all", "target": steps.target, "labels": labels}


def _pictures(path: Path) -> ByteArray:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"concepts: {path} cannot be read as a .npy file: {error}") from None
    if found.ndim != 3 or not len(found) or found.dtype != np.uint8:
        raise DataError(
            f"concepts: {path} holds {found.dtype} of shape {found.shape}, expected uint8 grey values of "
            "shape (n, height, width)"
        )
    return np.asarray(found, dtype=np.uint8)
