"""What is exchanged as a whole: features of a table, or patches of pictures."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.explainability.global_view.table_features import is_table, table_features
from auditkit.data.dataset import Dataset, IntArray
from auditkit.records import Message


@dataclass(frozen=True, slots=True)
class ExchangedUnit:
    """Input columns that are always exchanged together, such as all levels of one category.

    Attributes:
        name: For a reader.
        columns: Places in the flattened inputs of a row.
    """

    name: str
    columns: tuple[int, ...]


def exchanged_units(
    data: Dataset, preprocessing: object, *, patches: int
) -> tuple[ExchangedUnit, ...] | Message:
    """Features of a table, patches of pictures, or why there is nothing to exchange.

    Args:
        data: The rows.
        preprocessing: What the subject knows about its inputs.
        patches: Along each side of a picture, at most as many as there are pixels.
    """
    if data.features.tokens is not None:
        return Message(
            text="Rows are sequences of tokens: one position holds another word in every row, so exchanging "
            "positions between rows says nothing about a feature."
        )
    if is_table(data):
        return tuple(ExchangedUnit(one.name, one.columns) for one in table_features(data, preprocessing))
    shape = data.features.image_shape
    if shape is None:
        text = "Rows are arrays of {n} dimensions whose meaning nothing tells."
        return Message(text=text, values={"n": data.inputs.ndim - 1})
    return _patches(shape, int(data.inputs[0].numel()), patches)


def _patches(shape: tuple[int, int], size: int, patches: int) -> tuple[ExchangedUnit, ...] | Message:
    """Rectangles of pixels with all their channels; rows and columns count from 1 at the top left."""
    height, width = shape
    if size % (height * width):
        text = "A row holds {size} values, which is no multiple of {height} x {width} pixels."
        return Message(text=text, values={"size": size, "height": height, "width": width})
    owner = patch_owner(shape, patches).reshape(-1)
    places = np.arange(size).reshape(-1, height * width)
    names = _patch_names(shape, patches)
    return tuple(
        ExchangedUnit(name, tuple(places[:, owner == index].reshape(-1).tolist()))
        for index, name in enumerate(names)
    )


def patch_owner(shape: tuple[int, int], patches: int) -> IntArray:
    """Which patch each pixel belongs to, shape ``(height, width)``."""
    rows, columns = (_band(length, patches) for length in shape)
    return np.asarray(rows[:, None] * (columns.max() + 1) + columns[None, :], dtype=np.int64)


def _band(length: int, patches: int) -> IntArray:
    return np.asarray(np.arange(length) * min(patches, length) // length, dtype=np.int64)


def _patch_names(shape: tuple[int, int], patches: int) -> list[str]:
    rows, columns = (_spans(_band(length, patches)) for length in shape)
    return [f"rows {row}, columns {column}" for row in rows for column in columns]


def _spans(band: IntArray) -> list[str]:
    ends = [np.flatnonzero(band == index) + 1 for index in range(int(band.max()) + 1)]
    return [f"{places[0]}-{places[-1]}" if len(places) > 1 else f"{places[0]}" for places in ends]
