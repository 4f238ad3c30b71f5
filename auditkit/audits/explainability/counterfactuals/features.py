"""The features of a table as a reader knows them: numbers in their units, levels by name.

Inputs are what a model is called with; values are what a reader calls them, one column per feature: a number
in its unit, the index of a level, or NaN where the value is missing.
"""

from dataclasses import dataclass

import numpy as np

from auditkit.data.dataset import BoolArray, FloatArray, IntArray

ROUNDING = 2.0**-22
"""Relative error of a number that was stored in single precision, with room for the way back."""


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
        values = np.where(np.abs(near - values) <= noise_of(values, self.mean), near, values)
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
                inputs[np.ix_(rows, np.array(feature.columns))] = feature.encode(values[rows, j])
        return inputs


def is_other(values: FloatArray, own: FloatArray) -> BoolArray:
    """Where a value is not the own one; missing ones are equal."""
    return np.asarray((values != own) & ~(np.isnan(values) & np.isnan(own)))


def noise_of(values: FloatArray, mean: float) -> FloatArray:
    """What single precision may have moved a value by."""
    return np.asarray(ROUNDING * np.abs(values - mean) + 1e-12 * (1 + abs(mean)))
