"""Rows of one person are alike: how much less they tell than as many rows of different people.

The weights of every person's rows are summed per group and cell. From these sums follows the linearised
variance of any figure made of cells, with whole persons as the unit that was sampled. Divided by the variance
that independent rows would have, it is the design effect; the effective number of rows is smaller by it.

Sums of disjoint rows add up, in whatever way the rows of a person are spread over shards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PersonSums:
    """Sums of weights per (group, person, cell), entries that do not occur left out.

    Entries of one person in one group stand next to each other. All arrays have shape ``(n_entries,)``.

    Attributes:
        person: Any whole number that tells persons apart.
        group: Group, from 0.
        cell: Cell, from 0; one cell may have several entries.
        weight: Sum of the weights of the rows.
    """

    person: IntArray
    group: IntArray
    cell: IntArray
    weight: FloatArray

    @classmethod
    def count(cls, person: IntArray, group: IntArray, cell: IntArray, weight: FloatArray) -> "PersonSums":
        """Add up rows, given as arrays of shape ``(n,)``."""
        names, index = np.unique(person, return_inverse=True)
        n_persons, n_cells = max(1, len(names)), int(cell.max(initial=0)) + 1
        keys, place = np.unique((group * n_persons + index) * n_cells + cell, return_inverse=True)
        total = np.bincount(place, weights=weight, minlength=len(keys)).astype(np.float64)
        return cls(names[keys // n_cells % n_persons], keys // n_cells // n_persons, keys % n_cells, total)

    @classmethod
    def merge(cls, parts: Sequence["PersonSums"]) -> "PersonSums":
        """The sums of all rows together."""
        return cls.count(
            np.concatenate([part.person for part in parts]),
            np.concatenate([part.group for part in parts]),
            np.concatenate([part.cell for part in parts]),
            np.concatenate([part.weight for part in parts]),
        )

    def recoded(self, cell: IntArray) -> "PersonSums":
        """The same with cell ``c`` called ``cell[c]``."""
        return PersonSums(self.person, self.group, cell[self.cell], self.weight)

    def take(self, groups: IntArray, n_groups: int) -> "PersonSums":
        """Some of the ``n_groups`` groups, in that order."""
        place = np.full(n_groups, -1, dtype=np.int64)
        place[groups] = np.arange(len(groups))
        kept = place[self.group] >= 0
        return PersonSums(self.person[kept], place[self.group[kept]], self.cell[kept], self.weight[kept])

    def overall(self) -> "PersonSums":
        """All groups as one."""
        return PersonSums.count(self.person, np.zeros_like(self.group), self.cell, self.weight)

    def in_several_groups(self) -> int:
        """How many persons have rows in more than one group."""
        first = self._first
        _, places = np.unique(self.person[first], return_counts=True)
        return int((places > 1).sum())

    def totals(self, influence: FloatArray) -> tuple[FloatArray, IntArray, IntArray]:
        """What each person adds to a figure of their group: totals, groups and persons, ``(n_pairs,)`` each.

        Args:
            influence: What one unit of weight in a cell adds, shape ``(n_groups, n_cells)``.
        """
        first = self._first
        pair = np.cumsum(first) - 1
        added = np.bincount(
            pair, weights=self.weight * influence[self.group, self.cell], minlength=int(first.sum())
        )
        return added.astype(np.float64), self.group[first], self.person[first]

    def squares(self, influence: FloatArray) -> FloatArray:
        """Per group the sum over persons of their squared totals, shape ``(n_groups,)``."""
        total, group, _ = self.totals(influence)
        return np.bincount(group, weights=total**2, minlength=len(influence)).astype(np.float64)

    @property
    def _first(self) -> npt.NDArray[np.bool_]:
        """Where the entries of another person or group begin."""
        first = np.ones(len(self.person), dtype=np.bool_)
        first[1:] = (np.diff(self.person) != 0) | (np.diff(self.group) != 0)
        return first


def design_effects(
    persons: PersonSums, n: IntArray, weight_squared: FloatArray, influence: FloatArray, base: FloatArray
) -> FloatArray:
    """By how much clusters raise the variance of a figure over that of independent rows, ``(n_groups,)``.

    Never below 1. Few persons leave the variance itself uncertain; the squared ratio of Student's quantiles
    allows for it, beside the correction ``m / (m - 1)`` for ``m`` persons. Where the rows show no variance at
    all (a rate of 0 or 1, a single person) rows of one person are taken to be perfectly alike.

    Args:
        persons: Sums of weights per group, person and cell.
        n: Rows per group and cell, shape ``(n_groups, n_cells)``.
        weight_squared: Their sums of squared weights, same shape.
        influence: What one unit of weight in a cell adds to the figure, same shape.
        base: 1 where a cell takes part in the figure at all, else 0, same shape.

    Source:
        Binder (1983), International Statistical Review 51:279-292; Korn and Graubard (1998), Survey
        Methodology 24:193-201.
    """
    within, between = (weight_squared * influence**2).sum(axis=1), persons.squares(influence)
    total, group, _ = persons.totals(base)
    m = np.bincount(group, weights=total > 0, minlength=len(base)).astype(np.float64)
    rows = (n * base).sum(axis=1)
    squared = (weight_squared * base).sum(axis=1)
    # residuals of one person add up to exactly 0, which is no sign of precision
    is_shown = (within > 1e-12 * squared * (influence**2).max(axis=1)) & (m > 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        estimated = np.where(is_shown, between / within * _scarcity(m, rows), persons.squares(base) / squared)
    # rounded, so that neither the order of persons nor one row for each of them moves a figure by a last bit
    return np.asarray(np.maximum(1.0, np.round(np.nan_to_num(estimated, nan=1.0), 9)), dtype=np.float64)


def _scarcity(m: FloatArray, n: FloatArray) -> FloatArray:
    """What is lost because the variance comes from ``m`` persons rather than from ``n`` rows."""
    few, many = np.maximum(m, 2), np.maximum(n, 2)
    finite = few / (few - 1) / (many / (many - 1))
    quantiles = t.ppf(0.975, few - 1) / t.ppf(0.975, many - 1)
    return np.asarray(finite * quantiles**2, dtype=np.float64)
