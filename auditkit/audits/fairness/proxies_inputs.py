"""The inputs of a table as the probes read them: spread out for a linear one, one column each for trees."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from auditkit.data.dataset import BoolArray, Dataset, FloatArray, IntArray
from auditkit.statistics.linear_probe import standardised

MOST_LEVELS = 250
"""Of a categorical column; the rarer ones share one."""

MOST_SPREAD = 50
"""Levels of a text that get a column of their own in the linear probe; the rarer ones share one."""


@dataclass(frozen=True, slots=True)
class ProbeInputs:
    """Two views of the same features, row by row.

    Attributes:
        spread: Standardised numbers, shape ``(n, d)``; categorical levels have a column each.
        compact: One column per feature, shape ``(n, f)``; NaN where missing.
        categorical: Which columns of ``compact`` are codes of levels, shape ``(f,)``.
    """

    spread: FloatArray
    compact: FloatArray
    categorical: BoolArray

    def take(self, places: IntArray) -> "ProbeInputs":
        """Some of the rows."""
        return ProbeInputs(self.spread[places], self.compact[places], self.categorical)


def is_table(data: Dataset) -> bool:
    """Whether a row is a row of columns that mean something each."""
    no_table = data.features.image_shape is not None or data.features.tokens is not None
    return not no_table and data.inputs.ndim == 2


def feature_columns(data: Dataset) -> dict[str, FloatArray]:
    """The input columns of each feature by its name, in their order; shapes ``(n, width)``."""
    inputs = data.inputs.detach().cpu().numpy().astype(np.float64)
    return {name: inputs[:, columns] for name, columns in feature_places(data).items()}


def feature_places(data: Dataset) -> dict[str, list[int]]:
    """Which input columns belong to each feature; a column without a name is a feature of its own."""
    width = int(data.inputs.shape[1])
    names, owner = data.features.names, data.features.owner
    if not owner and len(names) == width:
        owner = tuple(range(width))
    if len(owner) != width:
        return {f"input {column + 1}": [column] for column in range(width)}
    found: dict[str, list[int]] = {name: [] for name in names}
    for column, index in enumerate(owner):
        found[names[index]].append(column)
    return {name: columns for name, columns in found.items() if columns}


def probe_inputs(data: Dataset, *, without: Collection[str]) -> ProbeInputs | None:
    """Both views of a table; ``None`` where no feature is left that varies."""
    texts = dict(zip(data.features.names, data.features.levels, strict=False))
    spread: list[FloatArray] = []
    compact: list[FloatArray] = []
    categorical: list[bool] = []
    for name, block in feature_columns(data).items():
        if name in without:
            continue
        if texts.get(name):
            codes = np.where(np.isnan(block[:, 0]), len(texts[name]), block[:, 0]).astype(np.int64)
            codes, spread_codes = _common(codes, MOST_LEVELS), _common(codes, MOST_SPREAD)
            spread.append((spread_codes[:, None] == np.unique(spread_codes)).astype(np.float64))
        elif block.shape[1] > 1 and is_one_hot(block):
            codes = _common(np.where(block.any(axis=1), block.argmax(axis=1), block.shape[1]), MOST_LEVELS)
            spread.append(block)
        else:
            compact += list(block.T)
            categorical += [False] * block.shape[1]
            spread.append(_filled(block))
            continue
        compact.append(codes.astype(np.float64))
        categorical.append(True)
    if not spread:
        return None
    wide = standardised(np.column_stack(spread))
    if not wide.shape[1]:
        return None
    return ProbeInputs(wide, np.column_stack(compact), np.array(categorical, dtype=np.bool_))


def is_one_hot(block: FloatArray) -> bool:
    """Whether at most one column is set in every row."""
    return bool(np.isin(block, (0.0, 1.0)).all() and (block.sum(axis=1) <= 1).all())


def _filled(block: FloatArray) -> FloatArray:
    """Missing values become the mean, and columns say where they were."""
    missing = np.isnan(block)
    if not missing.any():
        return block
    known = np.where(missing, 0.0, block).sum(axis=0) / np.maximum((~missing).sum(axis=0), 1)
    return np.column_stack([np.where(missing, known, block), missing])


def _common(codes: IntArray, most: int) -> IntArray:
    """Codes 0 to ``most - 1`` of the most frequent levels; all others share the last."""
    found, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    rank = np.empty(len(found), dtype=np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(found))
    return np.minimum(rank[inverse.reshape(-1)], most - 1)
