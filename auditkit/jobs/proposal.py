"""What a config would say of a table: roles of its columns, guessed from names and values."""

from dataclasses import dataclass, replace

import numpy as np

from auditkit.data.rows import ObjectArray
from auditkit.data.table import Table
from auditkit.errors import UsageError, closest
from auditkit.jobs.free_texts import free_texts
from auditkit.jobs.identifiers import identifiers

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
    """What the config would say of a table.

    ``text`` is the column that is classified where rows are texts; ``texts`` are those of other tables, which
    are no inputs.
    """

    source: str
    target: str
    positive: str | None
    sensitive_features: tuple[str, ...]
    columns: tuple[str, ...]
    is_number: bool = False
    identifiers: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    text: str | None = None


def propose(table: Table, source: str, target: str | None) -> Proposal:
    """Guess target, favourable label and sensitive features from names and values.

    A target that is a number with many values is to be foretold as a number. Columns that name rows or hold
    texts are no inputs, unless nothing else would be left; of texts alone the first is what is classified.

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
    proposal = Proposal(
        source=source,
        target=chosen,
        positive=_favourable(column),
        sensitive_features=sensitive,
        columns=table.names,
        is_number=is_number,
    )
    others = tuple(name for name in table.names if name != chosen and name not in sensitive)
    texts = free_texts(table, others)
    named = identifiers(table, tuple(name for name in others if name not in texts))
    if set(others) == {*texts, *named}:
        if texts and not is_number:
            return replace(proposal, identifiers=named, texts=texts, text=texts[0])
        texts, named = (), ()
    return replace(proposal, identifiers=named, texts=texts)


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
