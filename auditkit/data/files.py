"""A user's own CSV, TSV or Parquet file as rows, with a part held out where it is one file for both."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from auditkit.config.model import DataConfig
from auditkit.data.roles import rows_of_table
from auditkit.data.rows import Rows
from auditkit.data.splits import held_out
from auditkit.data.table import read_table
from auditkit.records import Message


def file_rows(config: DataConfig, split: str, folder: Path) -> Rows:
    """Rows of ``config.source``, or of ``config.train`` when that is named and training rows are asked for.

    With ``config.train`` the source is the test rows as a whole. Else a column ``config.members`` tells the
    training rows, and without one ``config.test_fraction`` of the rows are held out, always the same rows of
    the same file. ``all`` is every row of the source.
    """
    text = config.train if config.train is not None and split == "train" else config.source
    table = read_table(find_file(text, folder))
    rows = rows_of_table(table, config, name=Path(config.source).stem, split=split)
    if config.train is not None or split == "all":
        return rows
    if rows.member is not None:
        return rows.take(np.flatnonzero(rows.member if split == "train" else ~rows.member))
    test = held_out(len(rows), config.test_fraction, name="file", person=rows.person)
    chosen = rows.take(np.flatnonzero(test if split == "test" else ~test))
    statement = Message(
        text="{n} of {total} rows of the file, held out from training."
        if split == "test"
        else "{n} of {total} rows of the file; the others are held out.",
        values={"n": len(chosen), "total": len(rows)},
    )
    return replace(chosen, statements=(*chosen.statements, statement))


def find_file(text: str, folder: Path) -> Path:
    """A path of the config: relative to the config's folder, else to the working directory."""
    path = Path(text).expanduser()
    beside_config = folder / path
    return beside_config if beside_config.exists() else path
