"""Rows and errors of every conjunction of items, counted by products of matrices."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from auditkit.data.dataset import BoolArray, IntArray

_EXACT_IN_SINGLE = 2**24
"""Counts up to here are exact in single precision."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """Conjunctions with enough rows.

    Attributes:
        items: Of each the items in ascending order, filled up with -1; shape ``(m, depth)``.
        n: Rows that meet all its items, shape ``(m,)``.
        errors: How many of them are errors, shape ``(m,)``.
    """

    items: IntArray
    n: IntArray
    errors: IntArray

    def __len__(self) -> int:
        return len(self.n)

    def of(self, index: int) -> tuple[int, ...]:
        """The items of one conjunction."""
        return tuple(int(item) for item in self.items[index] if item >= 0)


def lattice(rows: BoolArray, feature: IntArray, errors: BoolArray, *, depth: int, min_rows: int) -> Lattice:
    """All conjunctions of up to ``depth`` items with at least ``min_rows`` rows inside and outside.

    Args:
        rows: Which rows meet each item, shape ``(k, n)``.
        feature: Number of the feature of each item, shape ``(k,)``; items of one feature are not combined.
        errors: Which rows are errors, shape ``(n,)``.
        depth: 1, 2 or 3.
        min_rows: Fewest rows in a slice and in the rest.
    """
    parts = [_single(rows, errors, depth)]
    if depth >= 2 and len(rows):
        parts.append(_pairs(rows, feature, errors, first=(), depth=depth))
    if depth >= 3:
        for first in range(len(rows)):
            inside = rows[first]
            if inside.sum() >= min_rows:
                within = rows[first + 1 :, inside]
                other = np.where(feature[first + 1 :] == feature[first], -1, feature[first + 1 :])
                parts.append(_pairs(within, other, errors[inside], first=(first,), depth=depth))
    items, n, wrong = (np.concatenate([part[index] for part in parts]) for index in range(3))
    enough = (n >= min_rows) & (rows.shape[1] - n >= min_rows)
    return Lattice(items[enough], n[enough], wrong[enough])


def _single(rows: BoolArray, errors: BoolArray, depth: int) -> tuple[IntArray, IntArray, IntArray]:
    items = np.full((len(rows), depth), -1, dtype=np.int64)
    items[:, 0] = np.arange(len(rows))
    return items, rows.sum(axis=1), (rows & errors).sum(axis=1)


def _pairs(
    rows: BoolArray, feature: IntArray, errors: BoolArray, *, first: tuple[int, ...], depth: int
) -> tuple[IntArray, IntArray, IntArray]:
    """Pairs of items of two features, each after the item ``first`` where one is given.

    Items of the feature -1 take no part.
    """
    offset = first[0] + 1 if first else 0
    matrix: npt.NDArray[np.floating] = rows.astype(
        np.float32 if rows.shape[1] < _EXACT_IN_SINGLE else np.float64
    )
    of_errors = np.ascontiguousarray(matrix[:, errors])
    left, right = np.triu_indices(len(rows), 1)
    allowed = (feature[left] != feature[right]) & (feature[left] >= 0) & (feature[right] >= 0)
    left, right = left[allowed], right[allowed]
    items = np.full((len(left), depth), -1, dtype=np.int64)
    items[:, : len(first)] = first
    items[:, len(first)], items[:, len(first) + 1] = left + offset, right + offset
    n = (matrix @ matrix.T)[left, right]
    wrong = (of_errors @ of_errors.T)[left, right]
    return items, n.astype(np.int64), wrong.astype(np.int64)
