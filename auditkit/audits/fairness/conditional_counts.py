"""Rows counted by stratum, group, label and prediction.

A stratum is one combination of the control features. Only combinations that occur are kept, so many control
features cost no more memory than there are rows; tables of disjoint rows add up exactly.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.groupings import Grouping, group_codes
from auditkit.data.dataset import UNKNOWN, BoolArray, Dataset, IntArray
from auditkit.errors import DataError
from auditkit.statistics.counts import Cells, CountTable

MOST_CODES = 2**62


@dataclass(frozen=True, slots=True)
class StratumCounts:
    """Counts of the (stratum, group) combinations that occur.

    Attributes:
        codes: ``stratum * n_groups + group``, increasing.
        table: One entry per code.
    """

    codes: IntArray
    table: CountTable

    def __add__(self, other: "StratumCounts") -> "StratumCounts":
        codes = np.union1d(self.codes, other.codes)
        return StratumCounts(codes, _spread(self, codes) + _spread(other, codes))


def _spread(counts: StratumCounts, codes: IntArray) -> CountTable:
    """The same counts among more codes."""
    place = np.searchsorted(codes, counts.codes)
    table = counts.table
    shape = (len(codes), *table.n.shape[1:])
    n, weight, squared = np.zeros(shape, dtype=np.int64), np.zeros(shape), np.zeros(shape)
    n[place], weight[place], squared[place] = table.n, table.weight, table.weight_squared
    return CountTable(n, weight, squared)


def count_strata(
    data: Dataset, y_pred: IntArray, grouping: Grouping, control: Sequence[str]
) -> StratumCounts:
    """Count the rows of ``data``; without control features all rows are one stratum.

    Raises:
        DataError: The control features have more combinations than can be numbered.
    """
    columns = [data.control_features[name] for name in control]
    shape = tuple(len(column.levels) for column in columns)
    n_groups = len(grouping.combinations)
    if math.prod(shape) * n_groups > MOST_CODES:
        raise DataError(
            f"control_features: crossing {', '.join(control)} makes more strata than can be numbered. Name "
            "fewer control_features in data."
        )
    stratum = (
        np.ravel_multi_index([column.codes for column in columns], shape)
        if columns
        else np.zeros(len(data), dtype=np.int64)
    )
    codes, where = np.unique(stratum * n_groups + group_codes(grouping, data), return_inverse=True)
    counts = data.counts
    table = CountTable.count(
        where.astype(np.int64).reshape(-1),
        data.y_true,
        y_pred,
        n_groups=len(codes),
        n_classes=len(data.classes),
        sample_weight=data.sample_weight if counts is None else counts.weight,
        multiplicity=None if counts is None else counts.n,
        weight_squared=None if counts is None else counts.weight_squared,
    )
    return StratumCounts(codes.astype(np.int64), table)


@dataclass(frozen=True, slots=True)
class Strata:
    """The counted rows of one grouping, taken apart.

    Attributes:
        grouping: Which groups.
        control: The control features crossed.
        stratum: Code of the stratum of every entry.
        group: Group of every entry.
        cells: What became of its rows.
        names: Of each stratum code that occurs the level of every control feature.
        known: Whether every control feature of the entry's stratum is known.
    """

    grouping: Grouping
    control: tuple[str, ...]
    stratum: IntArray
    group: IntArray
    cells: Cells
    names: Mapping[int, tuple[str, ...]]
    known: BoolArray

    @classmethod
    def of(
        cls,
        counts: StratumCounts,
        grouping: Grouping,
        levels: Mapping[str, Sequence[str]],
        positive: int | None,
    ) -> "Strata":
        """Entries of ``counts``; ``levels`` are those of each control feature, in order."""
        stratum, group = np.divmod(counts.codes, len(grouping.combinations))
        shape = tuple(len(names) for names in levels.values())
        occurring = np.unique(stratum)
        codes = np.array(np.unravel_index(occurring, shape)).T if shape else np.zeros((len(occurring), 0))
        names = {
            int(code): tuple(own[int(level)] for own, level in zip(levels.values(), row, strict=True))
            for code, row in zip(occurring, codes, strict=True)
        }
        known = np.array([UNKNOWN not in names[int(code)] for code in stratum], dtype=np.bool_)
        return cls(grouping, tuple(levels), stratum, group, counts.table.cells(positive), names, known)

    def by_group(self) -> Cells:
        """All strata of each group together."""
        shape = (len(self.grouping.combinations), self.cells.n.shape[1])
        n, weight, squared = np.zeros(shape, dtype=np.int64), np.zeros(shape), np.zeros(shape)
        np.add.at(n, self.group, self.cells.n)
        np.add.at(weight, self.group, self.cells.weight)
        np.add.at(squared, self.group, self.cells.weight_squared)
        return Cells(n, weight, squared)

    def incomparable(self) -> tuple[int, int]:
        """Rows of known groups that have no counterpart in their stratum, and all rows of known groups.

        A stratum with an unknown control feature holds rows that need not be alike: nothing in it is
        compared.
        """
        rows = self.cells.n.sum(axis=1)
        counted = self.grouping.known[self.group] & (rows > 0)
        occurring, where = np.unique(self.stratum[counted & self.known], return_inverse=True)
        groups_there = np.bincount(where.reshape(-1), minlength=len(occurring))
        shared = np.isin(self.stratum, occurring[groups_there > 1]) & self.known
        return int(rows[counted & ~shared].sum()), int(rows[counted].sum())
