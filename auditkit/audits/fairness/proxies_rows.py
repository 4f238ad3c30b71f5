"""The rows whose sensitive feature is to be foretold: folds that keep persons together, and permutations."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from auditkit.data.dataset import UNKNOWN, Dataset, FloatArray, GroupColumn, IntArray
from auditkit.errors import DataError
from auditkit.records import Message
from auditkit.statistics.linear_probe import ProbedRows
from auditkit.statistics.units import folds_of, permuted_codes

FEWEST_PER_FOLD = 2
"""Rows (persons) of a level in every fold; a level with fewer is not foretold."""


@dataclass(frozen=True, slots=True)
class AttributeRows:
    """Rows with weight and a known level that has enough of them.

    Attributes:
        attribute: The sensitive feature.
        index: Rows of the data, ascending.
        levels: Those kept.
        codes: Index into ``levels`` of each row.
        folds: Fold of each row; all rows of a person are in one.
        weights: ``None`` where rows count alike.
        units: Which rows belong to one person, or ``None``.
        n_unknown: Rows left out because their level is not known.
        left_out: Levels with too few rows.
    """

    attribute: str
    index: IntArray
    levels: tuple[str, ...]
    codes: IntArray
    folds: IntArray
    weights: FloatArray | None
    units: IntArray | None
    n_unknown: int
    left_out: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.index)

    @property
    def columns(self) -> tuple[int, ...]:
        """Levels that need a score of their own: of two levels the second says all of the first."""
        return (1,) if len(self.levels) == 2 else tuple(range(len(self.levels)))

    def members(self, codes: IntArray) -> FloatArray:
        """1 where a row has the level of a column, shape ``(n, columns)``."""
        return np.asarray(codes[:, None] == np.array(self.columns), dtype=np.float64)

    @property
    def probed(self) -> ProbedRows:
        """What a linear probe needs to know of the rows."""
        return ProbedRows(self.codes, len(self.levels), self.folds, self.weights, self.units)

    def drawn(self, most: int, rng: np.random.Generator) -> IntArray:
        """Places of about ``most`` rows, the same share of every level, but no level too small to fold."""
        if len(self) <= most:
            return np.arange(len(self))
        least = FEWEST_PER_FOLD * (int(self.folds.max()) + 1)
        chosen = []
        for code in range(len(self.levels)):
            own = rng.permutation(np.flatnonzero(self.codes == code))
            chosen.append(own[: max(least, math.ceil(most * len(own) / len(self)))])
        return np.sort(np.concatenate(chosen))

    def take(self, places: IntArray) -> "AttributeRows":
        """Some of the rows, in their folds."""
        return replace(
            self,
            index=self.index[places],
            codes=self.codes[places],
            folds=self.folds[places],
            weights=None if self.weights is None else self.weights[places],
            units=None if self.units is None else self.units[places],
        )

    def permuted(self, number: int, rng: np.random.Generator) -> Iterator[IntArray]:
        """The codes as they might stand if they had nothing to do with the rows, ``number`` times.

        With persons, each gets all levels of another one.
        """
        return permuted_codes(self.codes, self.units, number, rng)


def rows_with_weight(data: Dataset, audit: str) -> Dataset:
    """Rows that carry weight; ``audit`` is named where none does.

    Raises:
        DataError: None does.
    """
    if data.sample_weight is None or bool((data.sample_weight > 0).all()):
        return data
    if not data.sample_weight.any():
        raise DataError(
            f"{audit}: all {len(data)} rows have weight 0, expected some weight above 0. "
            "Check the weight column, or leave weight out of data."
        )
    return data.take(data.sample_weight > 0)


def attribute_rows(
    data: Dataset, attribute: str, *, folds: int, max_rows: int, rng: np.random.Generator
) -> AttributeRows | Message:
    """The rows to learn from and to score, or why there are too few.

    Args:
        data: With some weight above 0.
        attribute: Of ``data.sensitive_features``.
        folds: How many.
        max_rows: Most rows; of more, so many are drawn.
        rng: Draws rows and folds.
    """
    column = data.sensitive_features[attribute]
    carried = np.ones(len(data), dtype=np.bool_) if data.sample_weight is None else data.sample_weight > 0
    is_known = np.array([level != UNKNOWN for level in column.levels], dtype=np.bool_)[column.codes]
    index = np.flatnonzero(carried & is_known)
    if len(index) > max_rows:
        index = np.sort(rng.choice(index, max_rows, replace=False))
    kept = _levels_with_enough(column, index, data.person, FEWEST_PER_FOLD * folds)
    left_out = tuple(
        level
        for code, level in enumerate(column.levels)
        if code not in kept and bool((column.codes[index] == code).any())
    )
    if len(kept) < 2:
        return Message(
            text="Fewer than two levels of {attribute} have {least} rows (persons) each.",
            values={"attribute": attribute, "least": FEWEST_PER_FOLD * folds},
        )
    index = index[np.isin(column.codes[index], kept)]
    codes = np.searchsorted(kept, column.codes[index])
    units = None if data.person is None else data.person[index]
    weights = None if data.sample_weight is None else data.sample_weight[index]
    if weights is not None and bool((weights == weights[0]).all()):
        weights = None
    return AttributeRows(
        attribute=attribute,
        index=index,
        levels=tuple(column.levels[code] for code in kept),
        codes=codes,
        folds=folds_of(codes, units, folds, rng),
        weights=weights,
        units=units,
        n_unknown=int((carried & ~is_known).sum()),
        left_out=left_out,
    )


def _levels_with_enough(
    column: GroupColumn, index: IntArray, person: IntArray | None, least: int
) -> IntArray:
    found = []
    for code in range(len(column.levels)):
        rows = index[column.codes[index] == code]
        n = len(rows) if person is None else len(np.unique(person[rows]))
        if n >= least:
            found.append(code)
    return np.array(found, dtype=np.int64)
