"""The columns whose levels make slices: who a row is about, and the inputs in the units a reader knows."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.number_bins import number_levels, snapped
from auditkit.data.dataset import UNKNOWN, Dataset, FloatArray, GroupColumn
from auditkit.data.preprocessing import TablePreprocessing
from auditkit.data.steps import CategoricalFeature, NumericFeature, n_columns

OTHER = "other"
"""A level that none of the input columns of a categorical feature stands for."""

MOST_NUMBERS = 20
"""A sensitive or control feature of more levels than this, all of them numbers, is taken for a number."""


@dataclass(frozen=True, slots=True)
class Features:
    """Columns by name, and the names of inputs that could not be read as levels."""

    columns: Mapping[str, GroupColumn]
    unreadable: tuple[str, ...] = ()


def slice_features(data: Dataset, preprocessing: object, *, bins: int) -> Features:
    """Sensitive and control features, then the inputs of a table; for other inputs the true class.

    An input that is also a sensitive or control feature is taken from there. The true class is left out of
    tables: it would split errors by their direction, which is no property of a row that is known when the
    prediction is made.

    Args:
        data: The rows.
        preprocessing: What the subject knows about its inputs; anything but the steps of a table is ignored.
        bins: Levels of a number.
    """
    given = {**data.sensitive_features, **data.control_features, **data.sensitive_features}
    columns = {name: _coarser(column, bins) for name, column in given.items()}
    if not _is_table(data):
        columns.setdefault(data.target, GroupColumn(data.classes, data.y_true))
        return Features(columns)
    found = input_features(data, preprocessing, bins=bins)
    for name, column in found.columns.items():
        columns.setdefault(name, column)
    return Features(columns, found.unreadable)


def input_features(data: Dataset, preprocessing: object, *, bins: int) -> Features:
    """The inputs of a table alone, as levels in the units a reader knows.

    Args:
        data: The rows; their inputs are columns.
        preprocessing: What the subject knows about its inputs; anything but the steps of a table is ignored.
        bins: Levels of a number.
    """
    inputs = data.inputs.detach().cpu().numpy().astype(np.float64)
    if isinstance(preprocessing, TablePreprocessing) and _fits(preprocessing, inputs):
        return _by_steps(inputs, preprocessing, bins)
    return _by_space(data, inputs, bins)


def _coarser(column: GroupColumn, bins: int) -> GroupColumn:
    """A column of many numbers, such as an age in years, in bins; any other as it is."""
    if len(column.levels) <= MOST_NUMBERS:
        return column
    try:
        numbers = np.array([np.nan if level == UNKNOWN else float(level) for level in column.levels])
    except ValueError:
        return column
    return number_levels(numbers[column.codes], bins)


def _is_table(data: Dataset) -> bool:
    if data.features.image_shape is not None or data.features.tokens is not None:
        return False
    return data.inputs.ndim == 2


def _fits(preprocessing: TablePreprocessing, inputs: FloatArray) -> bool:
    return bool(sum(n_columns(feature) for feature in preprocessing.features) == inputs.shape[1])


def _by_steps(inputs: FloatArray, preprocessing: TablePreprocessing, bins: int) -> Features:
    """Undo the steps between raw rows and inputs."""
    columns: dict[str, GroupColumn] = {}
    start = 0
    for feature in preprocessing.features:
        block = inputs[:, start : start + n_columns(feature)]
        start += n_columns(feature)
        if isinstance(feature, CategoricalFeature):
            columns[feature.name] = _levels(block, feature.levels)
        else:
            columns[feature.name] = number_levels(_raw_numbers(block, feature), bins)
    return Features(columns)


def _raw_numbers(block: FloatArray, feature: NumericFeature) -> FloatArray:
    values = snapped(block[:, 0] * feature.scale + feature.mean, feature.scale)
    return np.where(block[:, 1] > 0.5, np.nan, values) if feature.missing_indicator else values


def _levels(block: FloatArray, names: tuple[str, ...]) -> GroupColumn:
    """One-hot columns as a level per row; no column set is a level of its own."""
    codes = np.where(block.any(axis=1), block.argmax(axis=1), block.shape[1]).astype(np.int64)
    rest = OTHER
    while rest in names:
        rest += " "
    return GroupColumn((*names, rest), codes)


def _by_space(data: Dataset, inputs: FloatArray, bins: int) -> Features:
    """What the names and owners of the columns tell, without the steps behind them."""
    space = data.features
    names = space.names or tuple(f"input {column + 1}" for column in range(inputs.shape[1]))
    owner = np.array(space.owner or range(len(names)), dtype=np.int64)
    columns: dict[str, GroupColumn] = {}
    unreadable = []
    for index, name in enumerate(names):
        block = inputs[:, owner == index] if len(owner) == inputs.shape[1] else inputs[:, :0]
        if block.shape[1] == 1:
            texts = space.levels[index] if space.levels else ()
            columns[name] = _read_column(block[:, 0], texts, bins)
        elif block.shape[1] and _is_one_hot(block):
            columns[name] = _levels(block, tuple(str(column + 1) for column in range(block.shape[1])))
        else:
            unreadable.append(name)
    return Features(columns, tuple(unreadable))


def _read_column(values: FloatArray, texts: tuple[str, ...], bins: int) -> GroupColumn:
    """A column as it was read: indices of texts, or numbers."""
    known = np.isfinite(values)
    if texts:
        codes = np.where(known, values, len(texts)).astype(np.int64)
        return GroupColumn((*texts, UNKNOWN), codes)
    spread = float(values[known].std()) if known.any() else 0.0
    return number_levels(snapped(values, spread) if spread > 0 else values, bins)


def _is_one_hot(block: FloatArray) -> bool:
    return bool(np.isin(block, (0.0, 1.0)).all() and (block.sum(axis=1) <= 1).all())
