"""The features of a table as a reader knows them: numbers in their units, levels by name.

Inputs are what a model is called with; values are what a reader calls them, one column per feature: a number
in its unit, the index of a level, or NaN where the value is missing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from auditkit.data.dataset import UNKNOWN, Dataset, FloatArray, IntArray
from auditkit.data.preprocessing import (
    CategoricalFeature,
    NumericFeature,
    Preprocessing,
    TablePreprocessing,
)
from auditkit.data.steps import n_columns

MOST_DECIMALS = 3
"""Numbers with more are taken as continuous."""

ROUNDING = 2.0**-22
"""Relative error of a number that was stored in single precision, with room for the way back."""

OTHER = "other"
"""A level that the model does not know: none of its columns is set."""


@dataclass(frozen=True, slots=True)
class NumberFeature:
    """A number: ``input = (value - mean) / scale``.

    Attributes:
        name: As the reader knows it.
        column: Of the inputs.
        mean: In the unit of the reader.
        scale: Likewise, positive.
        low: Smallest value of the rows.
        high: Largest value of the rows.
        deviation: What counts as a distance of 1: the median absolute deviation, or what stands in for it.
        is_median: Whether it is the median absolute deviation.
        decimals: With how many all rows can be written; ``None`` for continuous ones.
        flag: Input column that is 1 where the value is missing, or ``None``.
    """

    name: str
    column: int
    mean: float
    scale: float
    low: float
    high: float
    deviation: float
    is_median: bool
    decimals: int | None
    flag: int | None = None

    @property
    def columns(self) -> tuple[int, ...]:
        """Input columns that change with the value."""
        return (self.column,)

    def on_grid(self, values: FloatArray) -> FloatArray:
        """Values with as many decimals as the rows have."""
        return values if self.decimals is None else np.asarray(np.round(values, self.decimals))

    def decode(self, inputs: FloatArray) -> FloatArray:
        """Values of encoded rows, NaN where missing; rounding of the encoding is undone."""
        own = inputs[:, self.column]
        values = own * self.scale + self.mean
        near = self.on_grid(values) + 0.0  # -0.0 becomes 0.0
        values = np.where(np.abs(near - values) <= _noise(values, self.mean), near, values)
        return values if self.flag is None else np.where(inputs[:, self.flag] > 0, np.nan, values)

    def encode(self, values: FloatArray) -> FloatArray:
        """Input column of values, shape ``(n, 1)``."""
        return np.asarray((values - self.mean) / self.scale)[:, None]


@dataclass(frozen=True, slots=True)
class LevelFeature:
    """A choice between levels: one input column for each, or a single one with the index.

    Attributes:
        name: As the reader knows it.
        columns: Of the inputs.
        levels: Names; the one that sets no column, where rows have it, is the last.
        offered: Whether a row may be given the level: neither "unknown" nor one that the model does not know.
        is_code: Whether the single column holds the index.
    """

    name: str
    columns: tuple[int, ...]
    levels: tuple[str, ...]
    offered: tuple[bool, ...]
    is_code: bool

    def decode(self, inputs: FloatArray) -> FloatArray:
        """Index of the level of encoded rows, NaN where missing."""
        block = inputs[:, list(self.columns)]
        if self.is_code:
            return np.asarray(block[:, 0])
        return np.asarray(np.where(block.any(axis=1), block.argmax(axis=1), len(self.columns)), np.float64)

    def encode(self, values: FloatArray) -> FloatArray:
        """Input columns of levels, shape ``(n, width)``."""
        if self.is_code:
            return np.asarray(values[:, None])
        return np.asarray(values[:, None] == np.arange(len(self.columns)), dtype=np.float64)


Feature = NumberFeature | LevelFeature


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """All features of a table, in the order of its columns."""

    features: tuple[Feature, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Of the features."""
        return tuple(feature.name for feature in self.features)

    @property
    def is_number(self) -> IntArray:
        """Indices of the numbers."""
        found = [j for j, feature in enumerate(self.features) if isinstance(feature, NumberFeature)]
        return np.array(found, dtype=np.int64)

    @property
    def deviations(self) -> FloatArray:
        """What a distance of 1 is for each feature, shape ``(f,)``; 1 for levels."""
        return np.array([f.deviation if isinstance(f, NumberFeature) else 1.0 for f in self.features])

    def decode(self, inputs: FloatArray) -> FloatArray:
        """Values of encoded rows, shape ``(n, f)``."""
        return np.column_stack([feature.decode(inputs) for feature in self.features])

    def encode(self, values: FloatArray, own: FloatArray, own_inputs: FloatArray) -> FloatArray:
        """Inputs of rows of which some features were changed; what was not keeps its inputs to the last bit.

        Args:
            values: Shape ``(n, f)``.
            own: Values before the change, same shape.
            own_inputs: Inputs before the change, shape ``(n, d)``.
        """
        inputs = own_inputs.copy()
        for j, feature in enumerate(self.features):
            rows = np.flatnonzero(is_other(values[:, j], own[:, j]))
            if len(rows):
                inputs[np.ix_(rows, list(feature.columns))] = feature.encode(values[rows, j])
        return inputs


def is_other(values: FloatArray, own: FloatArray) -> np.ndarray:
    """Where a value is not the own one; missing ones are equal."""
    return np.asarray((values != own) & ~(np.isnan(values) & np.isnan(own)))


def read_features(data: Dataset, preprocessing: Preprocessing | None) -> FeatureTable:
    """What the columns of ``data`` mean, as far as it is on record.

    With the preprocessing of a table numbers are in the unit of the reader. Without it they are in that of
    the inputs, and several columns of one feature are its levels if at most one of them is set in every row.
    """
    inputs = data.inputs.detach().cpu().numpy().astype(np.float64)
    if isinstance(preprocessing, TablePreprocessing) and _fits(preprocessing, data):
        return _preprocessed(preprocessing, inputs)
    return _as_they_are(data, inputs)


def _fits(preprocessing: TablePreprocessing, data: Dataset) -> bool:
    """Whether the rows were encoded by it."""
    names = tuple(feature.name for feature in preprocessing.features)
    widths = [n_columns(feature) for feature in preprocessing.features]
    owner = tuple(index for index, width in enumerate(widths) for _ in range(width))
    return data.features.names == names and data.features.owner == owner


def _preprocessed(preprocessing: TablePreprocessing, inputs: FloatArray) -> FeatureTable:
    found: list[Feature] = []
    start = 0
    for step in preprocessing.features:
        width = n_columns(step)
        columns = tuple(range(start, start + width))
        if isinstance(step, NumericFeature):
            found.append(_number_of_step(step, columns, inputs))
        else:
            found.append(_levels_of_step(step, columns, inputs))
        start += width
    return FeatureTable(tuple(found))


def _number_of_step(step: NumericFeature, columns: tuple[int, ...], inputs: FloatArray) -> NumberFeature:
    flag = columns[1] if step.missing_indicator else None
    block = inputs if flag is None else inputs[inputs[:, flag] == 0]
    # a stand-in for missing values, such as the median of an even number, need not have the decimals of
    others filled = np.abs(block[:, columns[0]] - (step.fill - step.mean) / step.scale) <= 1e-6 place =
    _Place(step.name, columns[0], step.mean, step.scale, flag) return _number(place, block[:, columns[0]],
    unsure=filled)


def _levels_of_step(step: CategoricalFeature, columns: tuple[int, ...], inputs: FloatArray) -> LevelFeature:
    return _one_hot(step.name, columns, step.levels, inputs)


def _one_hot(
    name: str, columns: tuple[int, ...], levels: tuple[str, ...], inputs: FloatArray
) -> LevelFeature:
    offered = tuple(level != UNKNOWN for level in levels)
    if bool(inputs[:, list(columns)].any(axis=1).all()):
        return LevelFeature(name, columns, levels, offered, is_code=False)
    return LevelFeature(name, columns, (*levels, OTHER), (*offered, False), is_code=False)


def _as_they_are(data: Dataset, inputs: FloatArray) -> FeatureTable:
    found: list[Feature] = []
    for index, (name, columns) in enumerate(_places(data)):
        texts = data.features.levels[index] if index < len(data.features.levels) else ()
        block = inputs[:, list(columns)]
        if texts:
            offered = tuple(level not in {UNKNOWN, ""} for level in texts)
            found.append(LevelFeature(name, columns, texts, offered, is_code=True))
        elif len(columns) > 1 and bool(np.isin(block, (0, 1)).all() and (block.sum(axis=1) <= 1).all()):
            levels = tuple(f"{name} {place + 1}" for place in range(len(columns)))
            found.append(_one_hot(name, columns, levels, inputs))
        else:
            found += [_number(place, inputs[:, place.column]) for place in _apart(name, columns)]
    return FeatureTable(tuple(found))


def _apart(name: str, columns: tuple[int, ...]) -> list["_Place"]:
    """The columns of a feature that are numbers, each by itself."""
    several = len(columns) > 1
    return [
        _Place(f"{name} {place + 1}" if several else name, column, 0.0, 1.0)
        for place, column in enumerate(columns)
    ]


def _places(data: Dataset) -> list[tuple[str, tuple[int, ...]]]:
    """The features by name with their input columns; a column without a name is a feature of its own."""
    width = int(data.inputs.shape[1])
    names, owner = data.features.names, data.features.owner
    if not owner and len(names) == width:
        owner = tuple(range(width))
    if len(owner) != width:
        return [(f"input {column + 1}", (column,)) for column in range(width)]
    found: dict[int, list[int]] = {}
    for column, index in enumerate(owner):
        found.setdefault(index, []).append(column)
    return [(names[index], tuple(found[index])) for index in sorted(found)]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a number stands, and how it is encoded there."""

    name: str
    column: int
    mean: float
    scale: float
    flag: int | None = None


def _number(
    place: _Place, inputs: FloatArray, unsure: Sequence[bool] | np.ndarray | None = None
) -> NumberFeature:
    """A number with what its rows tell; ``unsure`` marks rows that say nothing about decimals."""
    values = inputs * place.scale + place.mean
    seen = values[~np.isnan(values)]
    told = seen if unsure is None else seen[~np.asarray(unsure)]
    decimals = _decimals(told, _noise(told, place.mean))
    if decimals is not None:
        near = np.round(seen, decimals)
        seen = np.where(np.abs(near - seen) <= _noise(seen, place.mean), near, seen) + 0.0
    deviation, is_median = _deviation(seen)
    return NumberFeature(
        name=place.name,
        column=place.column,
        mean=place.mean,
        scale=place.scale,
        low=float(seen.min()) if len(seen) else place.mean,
        high=float(seen.max()) if len(seen) else place.mean,
        deviation=deviation,
        is_median=is_median,
        decimals=decimals,
        flag=place.flag,
    )


def _noise(values: FloatArray, mean: float) -> FloatArray:
    """What single precision may have moved a value by."""
    return np.asarray(ROUNDING * np.abs(values - mean) + 1e-12 * (1 + abs(mean)))


def _decimals(values: FloatArray, noise: FloatArray) -> int | None:
    if not len(values):
        return None
    for decimals in range(MOST_DECIMALS + 1):
        fine_enough = float(noise.max()) < 10.0**-decimals / 20
        if fine_enough and bool((np.abs(values - np.round(values, decimals)) <= noise).all()):
            return decimals
    return None


def _deviation(values: FloatArray) -> tuple[float, bool]:
    """The median absolute deviation; where it is 0, the standard deviation; of two values their distance."""
    if not len(values) or values.min() == values.max():
        return 1.0, False
    if len(np.unique(values)) == 2:
        return float(values.max() - values.min()), False
    median = float(np.median(np.abs(values - np.median(values))))
    return (median, True) if median > 0 else (float(values.std()), False)
