"""Rows of one person kept together: in the folds of a cross-validation, and when levels are exchanged."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


def folds_of(codes: IntArray, units: IntArray | None, n_folds: int, rng: np.random.Generator) -> IntArray:
    """Fold of each row, shape ``(n,)``; every fold has the same share of every level.

    Persons are dealt out level by level, by the level of their first row.

    Args:
        codes: Level of each row, shape ``(n,)``.
        units: Which rows belong to one person, shape ``(n,)``; ``None``: every row stands alone.
        n_folds: How many.
        rng: Deals them out.
    """
    own = np.arange(len(codes)) if units is None else units
    _, first, unit = np.unique(own, return_index=True, return_inverse=True)
    shuffled = rng.permutation(len(first))
    in_turn = shuffled[np.argsort(codes[first][shuffled], kind="stable")]
    fold = np.empty(len(first), dtype=np.int64)
    fold[in_turn] = np.arange(len(first)) % n_folds
    return fold[unit.reshape(-1)]


def permuted_codes(
    codes: IntArray, units: IntArray | None, number: int, rng: np.random.Generator
) -> Iterator[IntArray]:
    """The levels as they might stand if they had nothing to do with the rows, ``number`` times.

    With persons, each gets all levels of another one.

    Args:
        codes: Level of each row, shape ``(n,)``.
        units: Which rows belong to one person, shape ``(n,)``; ``None``: every row stands alone.
        number: Of permutations.
        rng: Draws them.
    """
    own = np.arange(len(codes)) if units is None else units
    _, unit = np.unique(own, return_inverse=True)
    order = np.argsort(unit, kind="stable")
    sizes = np.bincount(unit)
    starts = np.cumsum(sizes) - sizes
    place = np.empty(len(codes), dtype=np.int64)
    place[order] = np.arange(len(codes)) - np.repeat(starts, sizes)
    for _ in range(number):
        donor = rng.permutation(len(sizes))[unit]
        yield codes[order[starts[donor] + place % sizes[donor]]]
