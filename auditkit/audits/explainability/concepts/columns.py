"""The columns that a concept may name, in the units in which the data have them."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.explainability.concepts.definition import ConceptDefinition
from auditkit.data.dataset import UNKNOWN, BoolArray, Dataset, FloatArray, GroupColumn
from auditkit.data.preprocessing import TablePreprocessing
from auditkit.data.steps import CategoricalFeature, NumericFeature, n_columns
from auditkit.errors import closest
from auditkit.records import Message

Column = GroupColumn | FloatArray


@dataclass(frozen=True, slots=True)
class Holders:
    """Which rows show a concept, and which are known not to; shape ``(n,)`` each."""

    shows: BoolArray
    lacks: BoolArray


def known_columns(data: Dataset, preprocessing: object) -> dict[str, Column]:
    """Levels or numbers by name: sensitive and control features, then the inputs of a table.

    Args:
        data: The rows.
        preprocessing: What the subject knows about its inputs; anything but the steps of a table is ignored.
    """
    found: dict[str, Column] = {**data.control_features, **data.sensitive_features}
    for name, column in _inputs(data, preprocessing).items():
        found.setdefault(name, column)
    return found


def holders(data: Dataset, preprocessing: object, definition: ConceptDefinition) -> Holders | Message:
    """Rows on both sides of a condition on a column, or why there are none."""
    columns = known_columns(data, preprocessing)
    name = str(definition.feature)
    if name not in columns:
        return Message(
            text="no column {feature} to be seen. {closest}",
            values={"feature": name, "closest": closest(name, columns)},
        )
    if definition.level:
        return _by_level(columns[name], name, definition.level)
    return _by_number(columns[name], name, definition)


def _by_level(column: Column, name: str, levels: tuple[str, ...]) -> Holders | Message:
    if not isinstance(column, GroupColumn):
        return Message(
            text="{feature} is a number: say above or below instead of level", values={"feature": name}
        )
    absent = [level for level in levels if level not in column.levels]
    if absent:
        return Message(
            text="{feature} has no level {level}. {closest}",
            values={"feature": name, "level": absent[0], "closest": closest(absent[0], column.levels)},
        )
    chosen = [column.levels.index(level) for level in levels]
    unknown = [code for code, level in enumerate(column.levels) if level == UNKNOWN and code not in chosen]
    shows = np.isin(column.codes, chosen)
    return Holders(shows, ~shows & ~np.isin(column.codes, unknown))


def _by_number(column: Column, name: str, definition: ConceptDefinition) -> Holders | Message:
    numbers = _numbers(column)
    if numbers is None:
        return Message(
            text="{feature} holds texts: say level instead of above or below", values={"feature": name}
        )
    low = -np.inf if definition.above is None else definition.above
    high = np.inf if definition.below is None else definition.below
    shows = (numbers > low) & (numbers < high)
    return Holders(shows, ~shows & ~np.isnan(numbers))


def _numbers(column: Column) -> FloatArray | None:
    if not isinstance(column, GroupColumn):
        return column
    try:
        of_levels = [np.nan if level == UNKNOWN else float(level) for level in column.levels]
    except ValueError:
        return None
    return np.array(of_levels, dtype=np.float64)[column.codes]


def _inputs(data: Dataset, preprocessing: object) -> dict[str, Column]:
    if data.features.image_shape is not None or data.features.tokens is not None or data.inputs.ndim != 2:
        return {}
    inputs = data.inputs.detach().cpu().numpy().astype(np.float64)
    if isinstance(preprocessing, TablePreprocessing) and inputs.shape[1] == sum(
        n_columns(feature) for feature in preprocessing.features
    ):
        return _by_steps(inputs, preprocessing)
    return _by_space(data, inputs)


def _by_steps(inputs: FloatArray, preprocessing: TablePreprocessing) -> dict[str, Column]:
    """Undo the steps between raw rows and inputs."""
    found: dict[str, Column] = {}
    start = 0
    for feature in preprocessing.features:
        block = inputs[:, start : start + n_columns(feature)]
        start += n_columns(feature)
        if isinstance(feature, CategoricalFeature):
            found[feature.name] = _levels(block, feature.levels)
        elif isinstance(feature, NumericFeature):
            numbers = block[:, 0] * feature.scale + feature.mean
            found[feature.name] = (
                np.where(block[:, 1] > 0.5, np.nan, numbers) if feature.missing_indicator else numbers
            )
    return found


def _by_space(data: Dataset, inputs: FloatArray) -> dict[str, Column]:
    """What names and owners of the columns tell, without the steps behind them."""
    space, width = data.features, inputs.shape[1]
    names = space.names or tuple(f"input {column + 1}" for column in range(width))
    owner = np.array(space.owner or range(len(names)), dtype=np.int64)
    if len(owner) != width:
        return {}
    found: dict[str, Column] = {}
    for index, name in enumerate(names):
        block = inputs[:, owner == index]
        if block.shape[1] == 1:
            texts = space.levels[index] if space.levels else ()
            found[name] = _codes(block[:, 0], texts) if texts else block[:, 0]
        elif block.shape[1]:
            found[name] = _levels(block, tuple(str(column + 1) for column in range(block.shape[1])))
    return found


def _codes(values: FloatArray, texts: tuple[str, ...]) -> GroupColumn:
    """A column of texts as it was read: indices of its levels."""
    known = np.isfinite(values)
    return GroupColumn((*texts, UNKNOWN), np.where(known, values, len(texts)).astype(np.int64))


def _levels(block: FloatArray, names: tuple[str, ...]) -> GroupColumn:
    """One-hot columns as a level per row; no column set is a level that nobody can name."""
    codes = np.where(block.any(axis=1), block.argmax(axis=1), block.shape[1]).astype(np.int64)
    return GroupColumn((*names, UNKNOWN), codes)
