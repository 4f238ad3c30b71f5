"""Levels that few rows have, left out: the name of one that a single row brings along is that row's own."""

from collections.abc import Iterator
from typing import Final

import numpy as np

from auditkit.data.dataset import Dataset
from auditkit.data.steps import CategoricalFeature, NumericFeature, TablePreprocessing, n_columns

FEWEST_ROWS: Final = 10
"""Rows, or persons where these are told apart, that a level is told from."""

_LEFT_OUT = "\N{REPLACEMENT CHARACTER} left out "


def is_told(level: str) -> bool:
    """Whether it is one of the rows, and does not merely keep the place of one that was left out."""
    return not level.startswith(_LEFT_OUT)


def without_rare_levels(steps: TablePreprocessing, data: Dataset) -> TablePreprocessing:
    """``steps`` in which levels of fewer than ten rows have no name.

    Rows as wide as before come of it: the column of such a level is 0 in all of them. This is no guarantee,
    as the counts are exact; but a text that is anybody's own does not stay in what is published.

    Args:
        steps: By which ``data`` was encoded.
        data: The rows that the levels were learned from.
    """
    features: list[NumericFeature | CategoricalFeature] = []
    start = 0
    for feature in steps.features:
        if isinstance(feature, CategoricalFeature):
            features.append(feature.model_copy(update={"levels": tuple(_told(feature, data, start))}))
        else:
            features.append(feature)
        start += n_columns(feature)
    return steps.model_copy(update={"features": tuple(features)})


def _told(feature: CategoricalFeature, data: Dataset, start: int) -> Iterator[str]:
    """The levels that are kept, in their order, then what keeps the places of the others."""
    has = data.inputs[:, start : start + len(feature.levels)].numpy() > 0
    kept = [
        level
        for level, rows in zip(feature.levels, has.T, strict=True)
        if (rows.sum() if data.person is None else len(np.unique(data.person[rows]))) >= FEWEST_ROWS
    ]
    yield from kept
    for number in range(len(feature.levels) - len(kept)):
        yield f"{_LEFT_OUT}{number + 1}"
