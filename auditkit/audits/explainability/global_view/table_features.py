"""The features of a table: which input columns hold each, and what their values are in a reader's units."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from auditkit.audits.explainability.explained_features import feature_names
from auditkit.data.dataset import UNKNOWN, Dataset, FloatArray, IntArray
from auditkit.data.preprocessing import NumericFeature, TablePreprocessing, ValueTablePreprocessing
from auditkit.data.steps import CategoricalFeature, n_columns
from auditkit.errors import DataError

ROUNDING = 1e-5
"""Of the spread of a feature: finer steps are lost when inputs are held in single precision."""

OTHER = "other"
"""A level that none of the input columns of a categorical feature stands for."""


@dataclass(frozen=True, slots=True)
class TableFeature:
    """One feature as a reader knows it, and the input columns that hold it.

    Attributes:
        name: Of the feature.
        columns: Input columns that change together.
        kind: A ``number``; a category whose ``levels`` have a column each or (``codes``) share one as
            indices; or a ``block`` of columns of which nothing more is known.
        levels: Of a category, in the order of columns or codes.
        mean: A number is ``input * scale + mean`` in the reader's unit.
        scale: See ``mean``; positive.
        has_missing_column: Whether the second column says that the number was missing.
    """

    name: str
    columns: tuple[int, ...]
    kind: Literal["number", "category", "codes", "block"]
    levels: tuple[str, ...] = ()
    mean: float = 0.0
    scale: float = 1.0
    has_missing_column: bool = False

    def numbers(self, inputs: FloatArray) -> FloatArray:
        """Values of a number in the reader's unit, NaN where missing; shape ``(n,)``.

        Args:
            inputs: Encoded rows, shape ``(n, width)``.
        """
        held = inputs[:, self.columns[0]]
        values = held * self.scale + self.mean
        if self.has_missing_column:
            values = np.where(inputs[:, self.columns[1]] > 0.5, np.nan, values)
        return snapped(values, self.scale if self.has_steps else _spread(values))

    @property
    def has_steps(self) -> bool:
        """Whether the number was centred or scaled on its way to the model."""
        return (self.mean, self.scale) != (0.0, 1.0)

    def codes(self, inputs: FloatArray) -> IntArray:
        """Index into ``levels`` of a category; their number where a row has none. Shape ``(n,)``."""
        block = inputs[:, list(self.columns)]
        if self.kind == "codes":
            held = block[:, 0]
            found = np.where(np.isnan(held), len(self.levels), np.nan_to_num(held))
        else:
            found = np.where(block.any(axis=1), block.argmax(axis=1), block.shape[1])
        return np.asarray(found, dtype=np.int64)

    @property
    def no_level(self) -> str:
        """What a row without any of the levels is called."""
        rest = UNKNOWN if self.kind == "codes" else OTHER
        while rest in self.levels:
            rest += " "
        return rest

    def encoded_number(self, value: float) -> tuple[float, ...]:
        """What the columns hold when the number has ``value``, and is not missing."""
        held = (value - self.mean) / self.scale
        return (held, 0.0) if self.has_missing_column else (held,)

    def encoded_level(self, code: int) -> tuple[float, ...]:
        """What the columns hold when the category has the level ``code``."""
        if self.kind == "codes":
            return (float(code),)
        return tuple(float(place == code) for place in range(len(self.columns)))


def is_table(data: Dataset) -> bool:
    """Whether a row is a row of columns that mean something each."""
    is_other = data.features.image_shape is not None or data.features.tokens is not None
    return not is_other and data.inputs.ndim == 2


def table_features(data: Dataset, preprocessing: object) -> tuple[TableFeature, ...]:
    """All features of a table in their order.

    Args:
        data: The rows; their inputs are columns.
        preprocessing: What the subject knows about its inputs; anything but the steps of a table is ignored.

    Raises:
        DataError: The columns and their owners differ in number.
    """
    width = int(data.inputs.shape[1])
    if isinstance(preprocessing, TablePreprocessing | ValueTablePreprocessing):
        steps = preprocessing.features
        fits = sum(n_columns(step) for step in steps) == width
        same = [step.name for step in steps] == list(data.features.names) or not data.features.names
        if fits and same:
            return _by_steps(steps)
    return _by_space(data, width)


def snapped(values: FloatArray, spread: float) -> FloatArray:
    """Values freed of the rounding of single precision: 36.999998 becomes 37.

    Args:
        values: In the reader's unit, NaN where missing.
        spread: Size of usual differences; 0 leaves the values as they are.
    """
    if not spread > 0:
        return values
    return np.round(values, -math.floor(math.log10(ROUNDING * spread)))


def _spread(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.std()) if len(known) else 0.0


def _by_steps(steps: Sequence[NumericFeature | CategoricalFeature]) -> tuple[TableFeature, ...]:
    found, start = [], 0
    for step in steps:
        columns = tuple(range(start, start + n_columns(step)))
        start += len(columns)
        if isinstance(step, NumericFeature):
            found.append(
                TableFeature(
                    step.name,
                    columns,
                    "number",
                    mean=step.mean,
                    scale=step.scale,
                    has_missing_column=step.missing_indicator,
                )
            )
        else:
            found.append(TableFeature(step.name, columns, "category", levels=step.levels))
    return tuple(one for one in found if one.columns)


def _by_space(data: Dataset, width: int) -> tuple[TableFeature, ...]:
    """What the names and owners of the columns tell, without the steps behind them."""
    space = data.features
    names = feature_names(space, width)
    owner = space.owner or tuple(range(len(names)))
    if len(owner) != width:
        raise DataError(f"features: got owners of {len(owner)} columns, expected {width} as in inputs")
    inputs = data.inputs.detach().cpu().numpy()
    found = []
    for index, name in enumerate(names):
        columns = tuple(np.flatnonzero(np.asarray(owner) == index).tolist())
        if not columns:
            continue
        texts = space.levels[index] if space.levels else ()
        if len(columns) == 1:
            found.append(TableFeature(name, columns, "codes" if texts else "number", levels=texts))
        elif _is_one_hot(inputs[:, list(columns)]):
            levels = tuple(str(place + 1) for place in range(len(columns)))
            found.append(TableFeature(name, columns, "category", levels=levels))
        else:
            found.append(TableFeature(name, columns, "block"))
    return tuple(found)


def _is_one_hot(block: FloatArray) -> bool:
    return bool(np.isin(block, (0.0, 1.0)).all() and (block.sum(axis=1) <= 1).all())
