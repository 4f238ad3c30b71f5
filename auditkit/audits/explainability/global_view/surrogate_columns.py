"""The features of a table as columns that a tree may split, with what a split means to a reader."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditkit.audits.explainability.global_view.table_features import TableFeature
from auditkit.data.dataset import UNKNOWN, FloatArray, IntArray

MOST_LEVELS = 50
"""Of a category that get a column of their own; the rarer ones have none."""


@dataclass(frozen=True, slots=True)
class SplitColumn:
    """One column of the surrogate's inputs.

    Attributes:
        feature: Name of the feature.
        level: The level that the column is 1 for, else it is 0; ``None`` for a number.
    """

    feature: str
    level: str | None = None


@dataclass(frozen=True, slots=True)
class SplitTable:
    """Rows as the surrogate reads them.

    Attributes:
        columns: What each column means.
        values: Shape ``(n, n_columns)``, exact in single precision.
        has_unknown: Whether a number is missing somewhere; it then counts as the median of the fitted rows.
    """

    columns: tuple[SplitColumn, ...]
    values: FloatArray
    has_unknown: bool


def split_table(features: Sequence[TableFeature], inputs: FloatArray, fitted: IntArray) -> SplitTable:
    """Numbers in the reader's unit, one column for each level of a category.

    Args:
        features: Of the table.
        inputs: Encoded rows, shape ``(n, width)``.
        fitted: Rows from which medians and frequent levels are taken.
    """
    columns: list[SplitColumn] = []
    values: list[FloatArray] = []
    has_unknown = False
    for feature in features:
        if feature.kind in {"category", "codes"}:
            own, found = _levels(feature, inputs, fitted)
        elif feature.kind == "number":
            own, found = _number(feature.name, feature.numbers(inputs), fitted)
            has_unknown |= len(own) > 1
        else:
            own = [SplitColumn(f"{feature.name} ({place + 1})") for place in range(len(feature.columns))]
            found = list(inputs[:, list(feature.columns)].T)
        columns += own
        values += found
    # as scikit-learn will read them, so that a threshold means the same to both
    table = np.column_stack(values).astype(np.float32).astype(np.float64)
    return SplitTable(tuple(columns), table, has_unknown)


def _levels(
    feature: TableFeature, inputs: FloatArray, fitted: IntArray
) -> tuple[list[SplitColumn], list[FloatArray]]:
    codes = feature.codes(inputs)
    names = (*feature.levels, feature.no_level)
    counts = np.bincount(codes[fitted], minlength=len(names))
    frequent = np.sort(np.argsort(-counts, kind="stable")[:MOST_LEVELS])
    kept = [code for code in frequent.tolist() if counts[code]]
    return [SplitColumn(feature.name, names[code]) for code in kept], [
        (codes == code).astype(np.float64) for code in kept
    ]


def _number(name: str, values: FloatArray, fitted: IntArray) -> tuple[list[SplitColumn], list[FloatArray]]:
    missing = ~np.isfinite(values)
    if not missing.any():
        return [SplitColumn(name)], [values]
    known = values[fitted][~missing[fitted]]
    filled = np.where(missing, float(np.median(known)) if len(known) else 0.0, values)
    return [SplitColumn(name), SplitColumn(name, UNKNOWN)], [filled, missing.astype(np.float64)]
