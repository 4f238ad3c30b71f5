"""What tells one set of private rows from another, so that all that is spent on it lands in one ledger.

The fingerprint is taken of the rows as they were read, before any encoding, and does not depend on their
order, on names and roles of columns (which one is the target) or on the model. Of a file that is split it is
taken of all its rows, so that the split does not matter either. It is exact: a row added, left
out or edited gives another fingerprint, and a near-copy of the rows is not recognised as one.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from auditkit.data.rows import Rows


def fingerprint_of_rows(rows: Rows) -> str:
    """sha256 of the rows as read, sorted; a column counts once, whatever roles it has."""
    columns: dict[str, npt.NDArray[np.generic]] = {
        **rows.columns,
        **rows.sensitive,
        **rows.control,
        rows.target: rows.labels,
    }
    others = (rows.texts, rows.images, rows.person, rows.weight)
    arrays = [*columns.values(), *(array for array in others if array is not None)]
    cells = zip(*(_cells(array) for array in arrays), strict=True)
    return _digest(b"\x1e".join(sorted(row)) for row in cells)


def _cells(column: npt.NDArray[np.generic]) -> list[bytes]:
    """One entry per row. Numbers written as texts count as numbers."""
    if column.ndim > 1:
        return [row.tobytes() for row in column]
    if column.dtype == np.object_:
        texts = ["" if cell is None else str(cell) for cell in column.tolist()]
        try:
            column = np.array([float(text or "nan") for text in texts])
        except ValueError:
            return [text.encode() for text in texts]
    numbers = np.asarray(column, dtype=np.float64) + 0.0  # minus zero is zero
    numbers[np.isnan(numbers)] = np.nan
    return [number.tobytes() for number in numbers]


def _digest(rows: Iterable[bytes]) -> str:
    sha = hashlib.sha256()
    for row in sorted(hashlib.sha256(row).digest() for row in rows):
        sha.update(row)
    return sha.hexdigest()
