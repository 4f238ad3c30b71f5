"""What a table says of each label, brought to one scale: natural logarithms of probabilities."""

from collections.abc import Iterable, Mapping

import numpy as np
from scipy.special import log_softmax, logsumexp

from auditkit.config.model import DataConfig
from auditkit.data.dataset import FloatArray
from auditkit.data.table import Columns
from auditkit.errors import DataError

LEAST_PROBABILITY = 2.0**-52
"""Smaller ones count as this, so that their logarithm is finite."""

EXACT_SUM, ROUNDED_SUM = 1e-6, 1e-3
"""How far the probabilities of a row may be from 1 in sum: to be taken as they are; to be divided by it."""

Scores = tuple[FloatArray, tuple[str, ...]]


def sorted_labels(labels: Iterable[str]) -> tuple[str, ...]:
    """Numbers in numeric order, texts in alphabetical order.

    >>> sorted_labels(["10", "9"]), sorted_labels(["b", "a", "9"])
    (('9', '10'), ('9', 'a', 'b'))
    """
    names = sorted(set(labels))
    try:
        numbers = {name: float(name) for name in names}
    except ValueError:
        return tuple(names)
    if not all(np.isfinite(number) for number in numbers.values()):
        return tuple(names)
    return tuple(sorted(names, key=lambda name: (numbers[name], name)))


def log_of(probabilities: FloatArray) -> FloatArray:
    """Natural logarithms; finite, because probabilities below 2.2e-16 count as 2.2e-16."""
    return np.asarray(np.log(np.maximum(probabilities, LEAST_PROBABILITY)))


def checked_probabilities(values: FloatArray, where: str) -> FloatArray:
    """Rows of probabilities, divided by their sum where it is more than 1e-6 off.

    Raises:
        DataError: Not in [0, 1], or a row does not sum to 1 within 1e-3.
    """
    if not np.isfinite(values).all() or (values < -EXACT_SUM).any() or (values > 1 + EXACT_SUM).any():
        raise DataError(
            f"{where}: expected probabilities in [0, 1], "
            f"got values from {np.min(values):g} to {np.max(values):g}"
        )
    sums = values.sum(axis=1)
    worst = int(np.abs(sums - 1).argmax())
    if abs(sums[worst] - 1) > ROUNDED_SUM:
        raise DataError(
            f"{where}: the probabilities of a row sum to {sums[worst]:.6g}, "
            f"expected 1 (within {ROUNDED_SUM:g})"
        )
    exact = np.abs(sums - 1) <= EXACT_SUM
    return np.clip(np.where(exact[:, None], values, values / sums[:, None]), 0.0, 1.0)


def two_columns(score: FloatArray, scale: str) -> tuple[FloatArray, FloatArray]:
    """Log-probabilities of a label and of the only other one, from what is said of the first."""
    if scale == "logit":
        return -np.logaddexp(0.0, -score), -np.logaddexp(0.0, score)
    if scale == "log-probability":
        with np.errstate(divide="ignore"):
            rest = np.log(-np.expm1(score))
        return score, np.maximum(rest, np.log(LEAST_PROBABILITY))
    return log_of(score), log_of(1.0 - score)


def scores_of_table(
    table: Columns, config: DataConfig, known: Iterable[str], positive: str | None
) -> Scores | None:
    """Log-probabilities, shape ``(n, k)``, and the label of each column.

    Args:
        table: Where the columns are.
        config: ``score`` and ``score_scale``.
        known: Labels that occur, as target or as prediction.
        positive: The label that a single column is about.

    Raises:
        DataError: A column does not hold what its scale says, or the labels do not fit.
    """
    if config.score is None:
        return None
    if isinstance(config.score, str):
        return _of_positive(table, config.score, config.score_scale, set(known), positive)
    return _of_labels(table, config.score, config.score_scale)


def _of_positive(table: Columns, name: str, scale: str, known: set[str], positive: str | None) -> Scores:
    score = _column(table, name, scale)
    others = known - {positive}
    if positive is None or len(others) != 1:
        raise DataError(
            f"{table.file}: data.score: a single column needs two classes and data.positive, the label it is "
            f"about; got {len(known)} classes and positive {positive!r}. For more classes name one column "
            "per label: score: {LABEL: COLUMN, ...}"
        )
    columns = dict(zip((positive, *others), two_columns(score, scale), strict=True))
    labels = sorted_labels(columns)
    return np.column_stack([columns[label] for label in labels]), labels


def _of_labels(table: Columns, columns: Mapping[str, str], scale: str) -> Scores:
    if len(columns) < 2:
        raise DataError(f"{table.file}: data.score: name a column for every label, got {len(columns)}")
    values = np.column_stack([_column(table, name, scale) for name in columns.values()])
    labels = tuple(columns)
    where = f"{table.file}: data.score"
    if scale == "logit":
        return np.asarray(log_softmax(values, axis=1)), labels
    if scale == "log-probability":
        total = np.asarray(logsumexp(values, axis=1))
        checked_probabilities(np.exp(values), where)
        off = np.abs(np.expm1(total)) > EXACT_SUM
        return np.where(off[:, None], values - total[:, None], values), labels
    return log_of(checked_probabilities(values, where)), labels


def _column(table: Columns, name: str, scale: str) -> FloatArray:
    where = f"{table.file}: data.score: {name!r}"
    if name not in table.numeric:
        raise DataError(f"{where} must hold numbers")
    values = table.numbers(name)
    absent = int(np.isnan(values).sum())
    if absent:
        raise DataError(f"{where} lacks a value in {absent} of {len(values)} rows")
    low, high = float(values.min()), float(values.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise DataError(f"{where} holds infinite values; write scores as probabilities")
    if scale == "probability" and not (low >= 0 and high <= 1):
        raise DataError(
            f"{where} runs from {low:g} to {high:g}, expected probabilities in [0, 1]. "
            "Other scales: data.score_scale: log-probability or logit"
        )
    if scale == "log-probability" and high > EXACT_SUM:
        raise DataError(f"{where} runs up to {high:g}, expected logarithms of probabilities (at most 0)")
    return values
