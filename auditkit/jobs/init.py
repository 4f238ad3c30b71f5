"""Job: a commented config to start from, filled in from a table where one is given."""

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from auditkit.config import RunConfig
from auditkit.data.rows import ObjectArray
from auditkit.data.table import Table, read_table
from auditkit.errors import UsageError, closest
from auditkit.jobs.identifiers import identifiers
from auditkit.store import write_atomically

TEMPLATES = ("tabular", "image", "text", "lm")
SCHEMA_FILE = "auditkit.schema.json"

_SENSITIVE_WORDS = (
    "sex", "gender", "race", "ethnic", "religion", "disab", "nationality", "origin", "marital", "age_group",
    "age_band", "age_cat", "性别", "民族", "种族", "宗教", "籍贯", "年龄段",
)  # fmt: skip
_FAVOURABLE = (
    "yes",
    "true",
    "1",
    "approved",
    "accept",
    "accepted",
    "granted",
    "hired",
    "repaid",
    ">50k",
    "good",
)
_MOST_GROUPS = 30
_MOST_CLASSES = 30
"""A target of numbers with more values than this is taken for a number to be foretold."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """What the config would say of a table."""

    source: str
    target: str
    positive: str | None
    sensitive_features: tuple[str, ...]
    columns: tuple[str, ...]
    is_number: bool = False
    identifiers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Written:
    """The files that were written, and the columns that the config leaves out as they name rows."""

    files: tuple[Path, ...]
    dropped: tuple[str, ...] = ()


def write_config(
    path: Path, *, template: str, data: Path | None = None, target: str | None = None, force: bool = False
) -> Written:
    """Write a config and the JSON Schema that editors check it against.

    Raises:
        UsageError: The file exists (and ``force`` is not set), the template is unknown, or the target is.
        DataError: The table cannot be read.
    """
    if template not in TEMPLATES:
        raise UsageError(f"no template is called {template!r}. {closest(template, TEMPLATES)}")
    if path.exists() and not force:
        raise UsageError(f"{path}: exists already. Choose another name, or --force to overwrite it")
    placeholders, found = None, None
    if template == "tabular":
        found = None if data is None else propose(read_table(data), str(_relative(data, path.parent)), target)
        template = "regression" if found is not None and found.is_number else template
        placeholders = _placeholders(path, found)
    text = (files("auditkit.config") / "templates" / f"{template}.yaml").read_text(encoding="utf-8")
    if placeholders is not None:
        text = Template(text).substitute(placeholders)
    schema = path.with_name(SCHEMA_FILE)
    write_atomically(path, text)
    write_atomically(schema, json.dumps(RunConfig.model_json_schema(), indent=1, ensure_ascii=False) + "\n")
    return Written((path, schema), () if found is None else found.identifiers)


def _placeholders(path: Path, found: Proposal | None) -> dict[str, str]:
    if found is None:
        return {
            "name": path.stem,
            "data": "  source: lending      # built in; replace by data.csv",
            "drop": _NOTHING_DROPPED,
            "note": "",
        }
    lines = [f"  source: {json.dumps(found.source, ensure_ascii=False)}"]
    lines.append(f"  target: {json.dumps(found.target, ensure_ascii=False)}")
    if found.is_number:
        lines.append("  task: regression     # guessed: the target is a number with many values")
    if found.positive is not None:
        positive = json.dumps(found.positive, ensure_ascii=False)
        lines.append(f"  positive: {positive}      # guessed: the label that is good for the person")
    sensitive = json.dumps(list(found.sensitive_features), ensure_ascii=False)
    lines.append(f"  sensitive_features: {sensitive}      # guessed from the column names")
    note = f"\n  # Columns: {', '.join(found.columns)}"
    return {"name": path.stem, "data": "\n".join(lines), "drop": _drop_line(found), "note": note}


_NOTHING_DROPPED = "  # drop: [id]                       # columns that are not inputs"


def _drop_line(found: Proposal) -> str:
    if not found.identifiers:
        return _NOTHING_DROPPED
    names = json.dumps(list(found.identifiers), ensure_ascii=False)
    return f"  drop: {names}      # guessed: no two rows are alike in it, so it names rows; not an input"


def propose(table: Table, source: str, target: str | None) -> Proposal:
    """Guess target, favourable label and sensitive features from names and values.

    A target that is a number with many values is to be foretold as a number.

    Raises:
        UsageError: ``target`` is not a column.
    """
    if target is not None and target not in table.names:
        raise UsageError(f"--target {target!r}: no such column. {closest(target, table.names)}")
    chosen = target or table.names[-1]
    sensitive = tuple(
        name
        for name in table.names
        if name != chosen
        and any(word in name.lower() for word in _SENSITIVE_WORDS)
        and len(_levels(table.texts(name))) <= _MOST_GROUPS
    )
    column = table.texts(chosen)
    is_number = chosen in table.numeric and len(_levels(column)) > _MOST_CLASSES
    others = tuple(name for name in table.names if name != chosen)
    return Proposal(
        source=source,
        target=chosen,
        positive=_favourable(column),
        sensitive_features=sensitive,
        columns=table.names,
        is_number=is_number,
        identifiers=tuple(name for name in identifiers(table, others) if name not in sensitive),
    )


def _levels(column: ObjectArray) -> list[str]:
    return sorted({value for value in column.tolist() if value is not None})


def _favourable(column: ObjectArray) -> str | None:
    levels = _levels(column)
    if len(levels) != 2:
        return None
    named = [level for level in levels if level.strip().lower() in _FAVOURABLE]
    if named:
        return named[0]
    counts = {level: int(np.sum(column == level)) for level in levels}
    return min(levels, key=lambda level: counts[level])


def _relative(data: Path, folder: Path) -> Path:
    try:
        return data.resolve().relative_to(folder.resolve())
    except ValueError:
        return data.resolve()
