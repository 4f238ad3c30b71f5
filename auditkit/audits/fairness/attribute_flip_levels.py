"""How the data encode the levels of a sensitive feature, so that a row can be given another one."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from auditkit.audits.fairness.proxies_inputs import feature_places, is_table
from auditkit.data.dataset import UNKNOWN, BoolArray, Dataset, FloatArray, GroupColumn, IntArray
from auditkit.records import Message

ENOUGH = 20
"""Rows of a level from which an input is taken to be decided by it."""


@dataclass(frozen=True, slots=True)
class Encoding:
    """Where the inputs hold a sensitive feature, and what stands there for each level.

    Attributes:
        attribute: The sensitive feature.
        features: Inputs that hold it; empty where none does.
        columns: Their input columns.
        levels: Levels that rows may be given, as index into those of the sensitive feature.
        values: What stands in ``columns`` for each of ``levels``, shape ``(len(levels), len(columns))``.
    """

    attribute: str
    features: tuple[str, ...]
    columns: tuple[int, ...]
    levels: tuple[int, ...]
    values: FloatArray

    def with_level(self, data: Dataset, position: int) -> Dataset:
        """All rows with one level, as inputs and as sensitive feature; everything else as it was."""
        column = data.sensitive_features[self.attribute]
        codes = np.full_like(column.codes, self.levels[position])
        inputs = data.inputs.clone()
        if self.columns:
            own = torch.from_numpy(self.values[position]).to(inputs.dtype)
            inputs[:, torch.tensor(self.columns)] = own.to(inputs.device)
        given = {**data.sensitive_features, self.attribute: GroupColumn(column.levels, codes)}
        return replace(data, inputs=inputs, sensitive_features=given)


def find_encoding(data: Dataset, attribute: str, wanted: tuple[str, ...], *, most: int) -> Encoding | Message:
    """Read from the rows how each level is encoded, or say why it cannot be read.

    The input of the same name holds the attribute, and so do others that it decides in every row (its codes
    under another name): they change together.

    Args:
        data: Rows with weight.
        attribute: Of ``data.sensitive_features``.
        wanted: Levels that rows may be given; empty takes all that occur.
        most: Most levels without a choice.
    """
    if not is_table(data):
        return Message(
            text="The inputs are no table: no column holds {attribute}.", values={"attribute": attribute}
        )
    if not data.features.names:
        return Message(
            text="The inputs have no names, so nothing tells which of them holds {attribute}.",
            values={"attribute": attribute},
        )
    column = data.sensitive_features[attribute]
    levels = _levels(column, wanted)
    if isinstance(levels, Message) or len(levels) < 2:
        few = Message(text="Fewer than two levels of {attribute} occur.", values={"attribute": attribute})
        return levels if isinstance(levels, Message) else few
    places = feature_places(data)
    inputs = data.inputs.detach().cpu().numpy().astype(np.float64)
    known = np.array([level != UNKNOWN for level in column.levels], dtype=np.bool_)[column.codes]
    holding = [
        name
        for name, where in places.items()
        if name == attribute or _is_decided(inputs[:, where], column.codes, known)
    ]
    if holding and not wanted and len(levels) > most:
        text = (
            "{attribute} has {n} levels; at most {most} are given unnamed. Name some in the parameter levels."
        )
        return Message(text=text, values={"attribute": attribute, "n": len(levels), "most": most})
    columns = tuple(place for name in holding for place in places[name])
    values = _values(inputs[:, columns], column.codes, levels)
    if values is None:
        text = "{features}: one level of {attribute} is encoded in several ways, so it cannot be exchanged."
        return Message(text=text, values={"features": ", ".join(holding), "attribute": attribute})
    return Encoding(attribute, tuple(holding), columns, levels, values)


def _levels(column: GroupColumn, wanted: tuple[str, ...]) -> tuple[int, ...] | Message:
    """Those that occur and are known, in the order of the column."""
    occurring = set(np.unique(column.codes).tolist())
    found = {name: code for code, name in enumerate(column.levels) if code in occurring and name != UNKNOWN}
    absent = [name for name in wanted if name not in found]
    if absent:
        return Message(
            text="Levels named in the parameter levels do not occur: {levels}.",
            values={"levels": ", ".join(absent)},
        )
    return tuple(code for name, code in found.items() if not wanted or name in wanted)


def _is_decided(block: FloatArray, codes: IntArray, known: BoolArray) -> bool:
    """Whether rows of one level all have the same values, and not all levels the same."""
    values = []
    for code in np.unique(codes[known]):
        rows = block[codes == code]
        if not _all_alike(rows):
            return False
        if len(rows) >= ENOUGH:
            values.append(rows[0])
    return len(values) > 1 and not _all_alike(np.array(values))


def _values(block: FloatArray, codes: IntArray, levels: tuple[int, ...]) -> FloatArray | None:
    found = []
    for code in levels:
        rows = block[codes == code]
        if not _all_alike(rows):
            return None
        found.append(rows[0])
    return np.array(found)


def _all_alike(rows: FloatArray) -> bool:
    return bool(((rows == rows[0]) | (np.isnan(rows) & np.isnan(rows[0]))).all())
