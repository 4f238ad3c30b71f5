"""Job: a commented config to start from, filled in from a table where one is given."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from string import Template

from auditkit.config import RunConfig
from auditkit.data.table import read_table
from auditkit.errors import UsageError, closest
from auditkit.jobs.proposal import Proposal, propose
from auditkit.store import write_atomically

TEMPLATES = ("tabular", "image", "text", "lm")
SCHEMA_FILE = "auditkit.schema.json"


@dataclass(frozen=True, slots=True)
class Written:
    """The files that were written, and columns that the config leaves out: they name rows or hold texts."""

    files: tuple[Path, ...]
    identifiers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


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
    found = None if data is None else _proposed(data, path, template, target)
    if template == "tabular" and found is not None:
        template = "text" if found.text else "regression" if found.is_number else template
    text = (files("auditkit.config") / "templates" / f"{template}.yaml").read_text(encoding="utf-8")
    if template in _FILLED:
        text = Template(text).substitute(_FILLED[template](path, found))
    schema = path.with_name(SCHEMA_FILE)
    write_atomically(path, text)
    write_atomically(schema, json.dumps(RunConfig.model_json_schema(), indent=1, ensure_ascii=False) + "\n")
    if found is None or found.text:
        return Written((path, schema))
    return Written((path, schema), found.identifiers, found.texts)


def _proposed(data: Path, path: Path, template: str, target: str | None) -> Proposal:
    """Raises UsageError where the template is not about such a file."""
    if template not in ("tabular", "text"):
        raise UsageError(f"--data: the template {template} is not about a table; leave out --data")
    found = propose(read_table(data), str(_relative(data, path.parent)), target)
    if template == "tabular" or found.text:
        return found
    if found.texts:
        return replace(found, text=found.texts[0])
    raise UsageError(
        f"--template text: no column of {data} holds texts. Leave out --data, and name it in the config: "
        "data.text: COLUMN"
    )


def _of_texts(path: Path, found: Proposal | None) -> dict[str, str]:
    if found is None:
        return {
            "name": "reviews-rnn",
            "data": _BUILT_IN_TEXTS,
            "private": _WORDS_ARE_PUBLIC,
            "sensitive": _NO_GROUPS,
        }
    lines = [f"  {key}: {json.dumps(value, ensure_ascii=False)}" for key, value in _roles(found)]
    groups = json.dumps(list(found.sensitive_features), ensure_ascii=False)
    sensitive = f"  sensitive_features: {groups}      # guessed from the column names"
    return {
        "name": path.stem,
        "data": "\n".join(lines),
        "private": _WORDS_ARE_NOT_PUBLIC,
        "sensitive": sensitive if found.sensitive_features else _NO_GROUPS,
    }


def _roles(found: Proposal) -> Iterator[tuple[str, str]]:
    yield "source", found.source
    yield "text", str(found.text)
    yield "target", found.target
    if found.positive is not None:
        yield "positive", found.positive


_BUILT_IN_TEXTS = (
    "  source: sst2                       # or a table (CSV, TSV, Parquet) with text: COLUMN, target: COLUMN"
)
_NO_GROUPS = (
    "  # sensitive_features: [gender]     # columns of your file; group-fairness then compares their groups"
)
_DP_8 = "dp-8: {kind: dp-retrain, epsilon: 8, learning_rate: 0.003, public_preprocessing: true}"
_WORDS_ARE_PUBLIC = f"""\
  # the words of sst2 are published; of your own texts say public_preprocessing only if their words are, too
  {_DP_8}"""
_WORDS_ARE_NOT_PUBLIC = f"""\
  # only if the words of your texts are public; else write tokenizer: byte above, and leave the statement out
  # {_DP_8}"""


def _of_table(path: Path, found: Proposal | None) -> dict[str, str]:
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


_FILLED: Mapping[str, Callable[[Path, Proposal | None], dict[str, str]]] = {
    "tabular": _of_table,
    "regression": _of_table,
    "text": _of_texts,
}
"""Templates with places to fill in, and what goes there."""

_NOTHING_DROPPED = "  # drop: [id]                       # columns that are not inputs"


def _drop_line(found: Proposal) -> str:
    if not found.identifiers and not found.texts:
        return _NOTHING_DROPPED
    names = json.dumps([*found.identifiers, *found.texts], ensure_ascii=False)
    whys = ["no two rows are alike in it, so it names rows"] if found.identifiers else []
    whys += [f"texts ({', '.join(found.texts)}) are read one by one: data.text"] if found.texts else []
    return f"  drop: {names}      # guessed: {'; '.join(whys)}; not an input"


def _relative(data: Path, folder: Path) -> Path:
    try:
        return data.resolve().relative_to(folder.resolve())
    except ValueError:
        return data.resolve()
