"""Columns of a table that hold what people wrote, and not one of a few levels."""

import re
import statistics

from auditkit.data.table import Table

FEWEST_ROWS, FEWEST_WORDS, LEAST_DISTINCT = 20, 3, 0.5
"""Values, words in each on average, and the share of values that differ: with fewer it is no text."""

_WORD = re.compile(r"[^\W\d_一-鿿぀-ヿ]{2,}|[一-鿿぀-ヿ]{2}")
"""Letters in a row; of scripts without spaces two signs, about as long as their words are."""


def free_texts(table: Table, among: tuple[str, ...]) -> tuple[str, ...]:
    """Columns of texts, in the order of the table."""
    return tuple(name for name in among if name not in table.numeric and _is_written(table, name))


def _is_written(table: Table, name: str) -> bool:
    values = [value for value in table.texts(name).tolist() if value is not None]
    if len(values) < FEWEST_ROWS or len(set(values)) < LEAST_DISTINCT * len(values):
        return False
    return statistics.mean(len(_WORD.findall(value)) for value in values) >= FEWEST_WORDS
