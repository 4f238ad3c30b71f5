"""Tables too large to be read, or counted elsewhere: one row per combination of groups, label and prediction.

Every rate of a group follows from these counts (see :mod:`auditkit.statistics.counts`). They are whole
numbers, so counting in parts and adding up gives the same to the last digit.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from auditkit.config.model import DataConfig
from auditkit.data.dataset import Counts, FloatArray
from auditkit.data.files import find_file
from auditkit.data.memory_table import MemoryTable
from auditkit.data.roles import SPLITS, rows_of_table
from auditkit.data.rows import ObjectArray, Rows, texts
from auditkit.errors import DataError, closest
from auditkit.records import Message

MOST_CELLS = 1_000_000
_SUFFIX = ".parquet"
_NOT_HERE = ("features", "text", "score", "person", "limit", "train")
_OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


def counted_rows(config: DataConfig, folder: Path) -> Rows:
    """The cells of ``config.source``: a Parquet file, or several by a pattern such as ``part-*.parquet``.

    Rows of the files are counted, or where ``config.count`` names a column, its numbers are added up. They
    are read in a stream: memory holds the cells alone.

    Raises:
        DataError: A file is absent or damaged, a column is missing, or there are too many cells.
    """
    paths = _paths(config.source, folder)
    keys = _keys(config)
    connection = duckdb.connect(":memory:", config=_OFFLINE)
    try:
        cells = _cells(connection, paths, keys, config)
    except duckdb.Error as error:
        raise DataError(f"{config.source}: {str(error).splitlines()[0]}") from None
    columns: dict[str, FloatArray | ObjectArray] = {
        key: _as_texts(cells[f"k{i}"]) for i, key in enumerate(keys)
    }
    table = MemoryTable(config.source, columns)
    plain = config.model_copy(update={"weight": None, "features": (), "members": None})
    rows = rows_of_table(table, plain, name=Path(config.source).stem, split="all")
    counts = Counts(cells["n"].astype(np.int64), *(cells[key].astype(np.float64) for key in ("w", "w2")))
    statement = Message(
        text="{n} rows in {files} files were counted into {cells} cells.",
        values={"n": int(counts.n.sum()), "files": len(paths), "cells": len(rows)},
    )
    return replace(rows, counts=counts, statements=(*rows.statements, statement))


def _paths(source: str, folder: Path) -> list[Path]:
    if any(sign in source for sign in "*?["):
        found = sorted(folder.glob(source)) if not Path(source).is_absolute() else _absolute(Path(source))
    else:
        found = [find_file(source, folder)]
    if not found:
        raise DataError(f"{source}: no file has such a name in {folder}")
    for path in found:
        if path.suffix.lower() != _SUFFIX:
            raise DataError(f"{path}: counts are read from Parquet files; save the table as one")
        if not path.is_file():
            raise DataError(f"{path}: no such file")
    return found


def _absolute(pattern: Path) -> list[Path]:
    return sorted(pattern.parent.glob(pattern.name))


def _keys(config: DataConfig) -> list[str]:
    """Columns that make a cell, each once.

    Raises:
        DataError: No column of labels or predictions is named, or one is that counts cannot keep.
    """
    problems = [f"data.{key} is about single rows; remove it" for key in _NOT_HERE if getattr(config, key)]
    if config.members is not None:
        problems.append("data.members is about single rows; remove it")
    if config.split not in (None, SPLITS[-1]):
        problems.append("data.split: counts are not split; remove it")
    problems += [f"data.{key} is not set" for key in ("target", "prediction") if getattr(config, key) is None]
    if config.count is not None and config.weight is not None:
        problems.append(
            "data.weight: counts that were added up have lost the weights of their rows; remove it"
        )
    if problems:
        raise DataError(f"{config.source}: " + "; ".join(problems))
    named = (config.target, config.prediction, *config.sensitive_features, *config.control_features)
    return list(dict.fromkeys(str(name) for name in named))


def _cells(connection: Any, paths: Sequence[Path], keys: Sequence[str], config: DataConfig) -> dict[str, Any]:
    files = [_literal(path) for path in paths]
    source = "read_parquet(?, union_by_name=true)"
    known = [row[0] for row in connection.execute(f"DESCRIBE SELECT * FROM {source}", [files]).fetchall()]  # noqa: S608 - no text of the user
    wanted = [*keys, *(name for name in (config.count, config.weight) if name is not None)]
    absent = [f"no column {name!r}. {closest(name, known)}" for name in wanted if name not in known]
    if absent:
        raise DataError(f"{config.source}: " + "; ".join(absent))
    selected = ", ".join(f"{_column(key)} AS k{i}" for i, key in enumerate(keys))
    size = "count(*)" if config.count is None else f"sum({_column(config.count)})::BIGINT"
    weight, squared = size, size
    if config.weight is not None:
        weight, squared = f"sum({_column(config.weight)})", f"sum({_column(config.weight)} ** 2)"
    query = (
        f"SELECT {selected}, {size} AS n, {weight} AS w, {squared} AS w2 FROM {source} "  # noqa: S608 - names are quoted
        f"GROUP BY {', '.join(_column(key) for key in keys)} ORDER BY ALL LIMIT {MOST_CELLS + 1}"
    )
    found: dict[str, Any] = connection.execute(query, [files]).fetchnumpy()
    n_cells = len(found["n"])
    if n_cells > MOST_CELLS:
        raise DataError(
            f"{config.source}: more than {MOST_CELLS:,} combinations of {', '.join(keys)}; "
            "name columns with few values"
        )
    _check(config, n_cells, found)
    return found


def _check(config: DataConfig, n_cells: int, found: dict[str, Any]) -> None:
    if n_cells == 0:
        raise DataError(f"{config.source}: the files have no rows")
    if np.ma.getmaskarray(found["n"]).any() or (np.asarray(found["n"]) < 0).any():
        raise DataError(f"{config.source}: data.count: {config.count!r} must hold whole numbers from 0")
    weights = found["w"], found["w2"]
    if any(np.ma.getmaskarray(w).any() or not np.isfinite(np.asarray(w)).all() for w in weights):
        raise DataError(f"{config.source}: data.weight: {config.weight!r} must be finite in every row")
    if (np.asarray(found["w"]) < 0).any():
        raise DataError(f"{config.source}: data.weight: {config.weight!r} must not be negative")


def _as_texts(column: Any) -> ObjectArray:
    """A column of keys as texts; ``None`` where missing."""
    missing = np.ma.getmaskarray(column)
    values = np.ma.getdata(column)
    return texts(
        [None if gone else _text(value) for value, gone in zip(values.tolist(), missing, strict=True)]
    )


def _text(value: object) -> str | None:
    if isinstance(value, float):
        if value != value:  # noqa: PLR0124 - NaN is the one value that differs from itself
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value).strip() or None


def _column(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(path: Path) -> str:
    """The path with the characters that DuckDB would expand put in brackets."""
    return "".join(f"[{sign}]" if sign in "[*?" else sign for sign in str(path))
