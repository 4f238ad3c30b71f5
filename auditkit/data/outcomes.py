"""The target of a regression: numbers, all there and finite."""

import numpy as np

from auditkit.config.model import DataConfig
from auditkit.data.dataset import FloatArray
from auditkit.data.table import Columns
from auditkit.errors import DataError


def outcomes_of_table(table: Columns, config: DataConfig) -> tuple[FloatArray, FloatArray | None]:
    """The numbers to be foretold and, where a column holds them, what was foretold; shape ``(n,)`` each.

    Raises:
        DataError: A column holds texts, lacks a value, or is infinite somewhere.
    """
    outcome = _finite_numbers(table, str(config.target), "target")
    if config.prediction is None:
        return outcome, None
    return outcome, _finite_numbers(table, config.prediction, "prediction")


def _finite_numbers(table: Columns, name: str, role: str) -> FloatArray:
    where = f"{table.file}: data.{role}: {name!r}"
    if name not in table.numeric:
        texts = [value for value in table.texts(name).tolist() if value is not None and not _is_number(value)]
        shown = ", ".join(map(repr, list(dict.fromkeys(texts))[:3]))
        raise DataError(
            f"{where} must hold numbers for data.task: regression; {len(texts)} rows hold other text, such "
            f"as {shown}. Correct them, or leave data.task out where the target is a label"
        )
    values = table.numbers(name)
    absent, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    if absent:
        raise DataError(
            f"{where} is missing in {absent} of {len(values)} rows; remove these rows or complete them"
        )
    if infinite:
        raise DataError(f"{where} is infinite in {infinite} of {len(values)} rows; remove or correct them")
    return values


def _is_number(text: object) -> bool:
    try:
        float(str(text))
    except ValueError:
        return False
    return True
