"""Small files of sentences: every column as text, nothing guessed."""

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

from auditkit.errors import DataError

_LIMIT_B = 64 * 2**20


def read_texts(path: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file in UTF-8 as texts by column.

    Raises:
        DataError: The file is absent, too large, not UTF-8, has no rows, or lacks a column of ``needed``.
    """
    try:
        if path.stat().st_size > _LIMIT_B:
            raise DataError(f"{path}: larger than {_LIMIT_B >> 20} MiB; give a part of it")
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream)
            rows = [{key: value or "" for key, value in row.items() if key is not None} for row in reader]
            columns = reader.fieldnames or []
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 at byte {error.start}; save the file as UTF-8") from None
    except (OSError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    absent = [name for name in needed if name not in columns]
    if absent or not rows:
        got = f"the columns {', '.join(columns) or '(none)'} and {len(rows)} rows"
        raise DataError(f"{path}: has {got}, expected the columns {', '.join(needed)} and at least one row")
    return rows


def sha256_of_texts(path: str | None) -> str | None:
    """sha256 of a file that a user names; ``None`` where there is none to read."""
    try:
        return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        return None
