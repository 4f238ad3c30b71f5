"""Reading from rows and their preprocessing what the columns of a table mean."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.explainability.counterfactuals.features import (
    Feature,
    FeatureTable,
    LevelFeature,
    NumberFeature,
    noise_of,
)
from auditkit.data.dataset import UNKNOWN, BoolArray, Dataset, FloatArray
from auditkit.data.preprocessing import NumericFeature, Preprocessing, TablePreprocessing
from auditkit.data.steps import n_columns

MOST_DECIMALS = 3
"""Numbers with more are taken as continuous."""

OTHER = "other"
"""A level that the model does not know: none of its columns is set."""


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
            found.append(_one_hot(step.name, columns, step.levels, inputs))
        start += width
    return FeatureTable(tuple(found))


def _number_of_step(step: NumericFeature, columns: tuple[int, ...], inputs: FloatArray) -> NumberFeature:
    flag = columns[1] if step.missing_indicator else None
    block = inputs if flag is None else inputs[inputs[:, flag] == 0]
    # what stands in for missing values, a median say, need not have the decimals of the others
    filled = np.abs(block[:, columns[0]] - (step.fill - step.mean) / step.scale) <= 1e-6
    place = _Place(step.name, columns[0], step.mean, step.scale, flag)
    return _number(place, block[:, columns[0]], unsure=filled)


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


def _number(place: _Place, inputs: FloatArray, unsure: BoolArray | None = None) -> NumberFeature:
    """A number with what its rows tell; ``unsure`` marks rows that say nothing about decimals."""
    values = inputs * place.scale + place.mean
    seen = values[~np.isnan(values)]
    told = seen if unsure is None else seen[~unsure]
    decimals = _decimals(told, noise_of(told, place.mean))
    if decimals is not None:
        near = np.round(seen, decimals)
        seen = np.where(np.abs(near - seen) <= noise_of(seen, place.mean), near, seen) + 0.0
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
