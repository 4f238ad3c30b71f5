"""Reading CSV, TSV and Parquet files with DuckDB: every value as it stands, no guessing of rows."""

import codecs
import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import duckdb
import numpy as np

from auditkit.data.dataset import FloatArray
from auditkit.data.rows import ObjectArray
from auditkit.errors import DataError, closest

DELIMITERS = {".csv": ",;\t|", ".tsv": "\t"}
SUFFIXES = (*DELIMITERS, ".parquet")
NOT_A_NUMBER = ("NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")
"""Texts that stand for a missing value in a column of numbers."""

_HEADER_LIMIT_B = 4 * 2**20
_OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


class Columns(Protocol):
    """Named columns, wherever they are kept."""

    @property
    def file(self) -> str:
        """What messages call them."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """In order; all different."""
        ...

    @property
    def numeric(self) -> frozenset[str]:
        """Those that hold numbers alone."""
        ...

    def texts(self, name: str) -> ObjectArray:
        """As texts; ``None`` where missing."""
        ...

    def numbers(self, name: str) -> FloatArray:
        """As float64; NaN where missing. Only for columns in ``numeric``."""
        ...

    def column(self, name: str) -> FloatArray | ObjectArray:
        """Numbers where all values are numbers, else texts."""
        ...


@dataclass(frozen=True, slots=True)
class Table:
    """A file in memory. ``expressions`` gives the SQL of each column, ``numeric`` those that are numbers."""

    file: str
    connection: Any
    n_rows: int
    expressions: Mapping[str, str]
    numeric: frozenset[str]

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in file order; the second of two equal ones ends in ``.1``."""
        return tuple(self.expressions)

    def texts(self, name: str) -> ObjectArray:
        """A column as texts, blanks at both ends removed; ``None`` where empty."""
        values = self._fetch(f"CAST({self._expression(name)} AS VARCHAR)")
        texts = np.array(np.ma.getdata(values), dtype=object)
        texts[np.ma.getmaskarray(values)] = None
        return texts

    def numbers(self, name: str) -> FloatArray:
        """A column as float64; NaN where missing. Only for columns in ``numeric``."""
        values = self._fetch(f"TRY_CAST({self._expression(name)} AS DOUBLE)")
        return np.asarray(np.ma.filled(values, np.nan), dtype=np.float64)

    def column(self, name: str) -> FloatArray | ObjectArray:
        """Numbers where all values are numbers, else texts."""
        return self.numbers(name) if name in self.numeric else self.texts(name)

    def derived(self, name: str, expression: str) -> "Table":
        """The table with a text column that is an SQL ``expression`` over ``{column names}`` in braces."""
        sql = expression.format(**self.expressions)
        return replace(
            self, expressions={**self.expressions, name: f"({sql})"}, numeric=self.numeric - {name}
        )

    def _expression(self, name: str) -> str:
        if name not in self.expressions:
            raise DataError(f"{self.file}: no column {name!r}. {closest(name, self.names)}")
        return self.expressions[name]

    def _fetch(self, expression: str) -> Any:
        query = f"SELECT {expression} AS v FROM t"  # noqa: S608 - expressions are ours: c0, c1, ...
        return self.connection.execute(query).fetchnumpy()["v"]


def read_table(
    path: Path, *, names: Sequence[str] | None = None, skip: int = 0, missing: Sequence[str] = ()
) -> Table:
    """Read a file whole.

    Args:
        path: A ``.csv``, ``.tsv`` or ``.parquet`` file. CSV is UTF-8 with a header line; the delimiter
            is the one of ``, ; tab |`` that the header has most of. Any other suffix is read as CSV when
            ``names`` is given.
        names: Column names of a CSV file without header.
        skip: Lines to leave out before the header or the first row.
        missing: Texts that stand for a missing value, besides the empty one.

    Raises:
        DataError: Absent, empty, not UTF-8, no rows, a line with another number of columns, or a format
            that is not known.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES and names is None:
        raise DataError(
            f"{path}: format {suffix or 'without suffix'!r} is not known. Known: {', '.join(SUFFIXES)}"
        )
    connection = duckdb.connect(":memory:", config=_OFFLINE)
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty")
        if suffix == ".parquet":
            return _checked(_read_parquet(connection, path))
        return _checked(_read_csv(connection, path, names, skip, missing))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (OSError, duckdb.Error) as error:
        raise DataError(f"{path}: {_first_lines(error)}") from None


def unique_names(names: Sequence[str]) -> list[str]:
    """Column names made distinct: the second ``a`` becomes ``a.1``; an empty one ``column_3``.

    >>> unique_names(["a", "", "a"])
    ['a', 'column_2', 'a.1']
    """
    found: list[str] = []
    for position, raw in enumerate(names, start=1):
        base = raw.strip() or f"column_{position}"
        name, count = base, 0
        while name in found:
            count += 1
            name = f"{base}.{count}"
        found.append(name)
    return found


def _checked(table: Table) -> Table:
    if table.n_rows == 0:
        raise DataError(f"{table.file}: the file has column names but no rows")
    return table


def _read_csv(
    connection: Any, path: Path, names: Sequence[str] | None, skip: int, missing: Sequence[str]
) -> Table:
    _check_utf8(path)
    header, delimiter = _header(path, skip)
    columns = unique_names(names or header)
    keys = [f"c{index}" for index in range(len(columns))]
    types = ", ".join(f"'{key}': 'VARCHAR'" for key in keys)
    nothing = ", ".join(["''", *(_quoted(text) for text in missing)])
    values = ", ".join(
        f"CASE WHEN trim({key}) IN ({nothing}) THEN NULL ELSE trim({key}) END AS {key}" for key in keys
    )
    connection.execute(
        f"CREATE TABLE t AS SELECT {values} FROM read_csv(?, auto_detect=false, header={names is None},"  # noqa: S608 - keys are ours, texts are quoted
        f" skip={skip}, delim={_quoted(delimiter)}, quote='\"', escape='\"', columns={{{types}}})",
        [_literal(path)],
    )
    absent = ", ".join(_quoted(text) for text in NOT_A_NUMBER)
    texts_in = ", ".join(
        f"count(*) FILTER ({key} NOT IN ({absent}) AND TRY_CAST({key} AS DOUBLE) IS NULL)" for key in keys
    )
    counts = connection.execute(f"SELECT count(*), {texts_in} FROM t").fetchone()  # noqa: S608 - as above
    numeric = frozenset(name for name, texts in zip(columns, counts[1:], strict=True) if texts == 0)
    return Table(str(path), connection, int(counts[0]), dict(zip(columns, keys, strict=True)), numeric)


def _read_parquet(connection: Any, path: Path) -> Table:
    connection.execute("CREATE TABLE t AS SELECT * FROM read_parquet(?)", [_literal(path)])
    described = connection.execute("DESCRIBE t").fetchall()
    columns = unique_names([row[0] for row in described])
    expressions = {name: _typed(row[0], row[1]) for name, row in zip(columns, described, strict=True)}
    numeric = frozenset(name for name, row in zip(columns, described, strict=True) if _is_number(row[1]))
    count = connection.execute("SELECT count(*) FROM t").fetchone()[0]
    return Table(str(path), connection, int(count), expressions, numeric)


def _typed(name: str, sql_type: str) -> str:
    column = '"' + name.replace('"', '""') + '"'
    return column if _is_number(sql_type) else f"nullif(trim(CAST({column} AS VARCHAR)), '')"


def _is_number(sql_type: str) -> bool:
    return sql_type.partition("(")[0] in {
        *("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL"),
        *("UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT"),
    }


def _check_utf8(path: Path) -> None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = 0
    with path.open("rb") as stream:
        try:
            while block := stream.read(2**20):
                decoder.decode(block)
                position += len(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{path}: not UTF-8 text near byte {position + error.start}; "
                "save it again with the encoding UTF-8"
            ) from None


def _header(path: Path, skip: int) -> tuple[list[str], str]:
    """The cells of the first line that counts, and the delimiter."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        for _ in range(skip):
            stream.readline(_HEADER_LIMIT_B)
        rest = stream.read(_HEADER_LIMIT_B)
    line = rest.lstrip("\r\n").splitlines()
    if not line:
        raise DataError(f"{path}: the file has no lines")
    outside = "".join(line[0].split('"')[::2])
    candidates = DELIMITERS.get(path.suffix.lower(), DELIMITERS[".csv"])
    delimiter = max(candidates, key=outside.count)
    try:
        return next(csv.reader(rest.lstrip("\r\n").splitlines(keepends=True), delimiter=delimiter)), delimiter
    except csv.Error as error:
        raise DataError(f"{path}: the header line cannot be read: {error}") from None


def _literal(path: Path) -> str:
    """The path with the characters that DuckDB would expand put in brackets."""
    return "".join(f"[{sign}]" if sign in "[*?" else sign for sign in str(path))


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _first_lines(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ours = ("Possible fixes", "*", "LINE ", "^")
    kept = [line[:160] for line in lines[:4] if not line.startswith(ours)]
    return "; ".join(kept).removeprefix("Invalid Input Error: ")
