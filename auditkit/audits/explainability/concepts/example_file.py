"""Rows that show a concept, read from a file and encoded as the subject reads its inputs."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from auditkit.data.csv_texts import sha256_of_texts
from auditkit.data.encoding import encode
from auditkit.data.preprocessing import ImagePreprocessing, TablePreprocessing, TextPreprocessing
from auditkit.data.rows import ByteArray, Rows, texts
from auditkit.data.table import read_table
from auditkit.errors import DataError
from auditkit.subjects.subject import Subject, preprocessing_of


def rows_of_file(path: str, sha256: str | None, subject: Subject) -> torch.Tensor:
    """Inputs of the subject, shape ``(n, *d)``.

    Args:
        path: A CSV, TSV or Parquet file with the columns that the model needs, a ``.npy`` file of grey values
            (shape ``(n, height, width)``, in the scale of the data) or a ``.txt`` file, one text per line.
        sha256: What its content must be; ``None`` takes any.
        subject: Whose preprocessing encodes the rows.

    Raises:
        DataError: The file is absent or another one, or its rows do not fit the model.
    """
    if not Path(path).is_file():
        raise DataError(f"concepts: examples {path} is no file; give the path of a table, .npy or .txt file")
    if sha256 not in (None, sha256_of_texts(path)):
        raise DataError(
            f"concepts: {path} is not the file with the sha256 {sha256}; put that file back, or leave "
            "examples_sha256 out"
        )
    steps = preprocessing_of(subject)
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
