"""Counts from which every group metric follows, and the catalogue of these metrics.

Rows are read once, into a table of (group x true class x predicted class). Tables of disjoint rows add up, so
shards may be counted apart. No metric ever looks at a row again.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from auditkit.errors import DataError
from auditkit.records import Better
from auditkit.statistics.clusters import PersonSums, design_effects

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

N_CELLS = 5
"""True positive, false negative, false positive, true negative, confused.

``confused`` holds rows that neither are nor are predicted positive but got the wrong class; with two classes
it is empty. Without a positive label all rows fall into the last two: right or wrong.
"""


@dataclass(frozen=True, slots=True)
class RateMetric:
    """A rate as the share of ``numerator`` cells in ``denominator`` cells, which include them."""

    name: str
    numerator: tuple[int, int, int, int, int]
    denominator: tuple[int, int, int, int, int]
    better: Better

    @property
    def needs_positive(self) -> bool:
        """Whether it is about the positive label; accuracy alone is not."""
        return self.name != "accuracy"

    @property
    def fixed_denominator(self) -> bool:
        """Whether the denominator depends on the labels alone, so that two subjects share its rows."""
        return self.denominator in {(1, 1, 1, 1, 1), (1, 1, 0, 0, 0), (0, 0, 1, 1, 1)}


_EVERYONE, _ACTUAL, _NOT_ACTUAL = (1, 1, 1, 1, 1), (1, 1, 0, 0, 0), (0, 0, 1, 1, 1)
_SELECTED, _NOT_SELECTED = (1, 0, 1, 0, 0), (0, 1, 0, 1, 1)

METRICS = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            RateMetric("selection_rate", _SELECTED, _EVERYONE, "neither"),
            RateMetric("true_positive_rate", (1, 0, 0, 0, 0), _ACTUAL, "higher"),
            RateMetric("false_negative_rate", (0, 1, 0, 0, 0), _ACTUAL, "lower"),
            RateMetric("false_positive_rate", (0, 0, 1, 0, 0), _NOT_ACTUAL, "lower"),
            RateMetric("true_negative_rate", (0, 0, 0, 1, 1), _NOT_ACTUAL, "higher"),
            RateMetric("positive_predictive_value", (1, 0, 0, 0, 0), _SELECTED, "higher"),
            RateMetric("false_discovery_rate", (0, 0, 1, 0, 0), _SELECTED, "lower"),
            RateMetric("negative_predictive_value", (0, 0, 0, 1, 1), _NOT_SELECTED, "higher"),
            RateMetric("false_omission_rate", (0, 1, 0, 0, 0), _NOT_SELECTED, "lower"),
            RateMetric("accuracy", (1, 0, 0, 1, 0), _EVERYONE, "higher"),
            RateMetric("base_rate", _ACTUAL, _EVERYONE, "neither"),
        )
    }
)
"""Name -> metric. The positive label is the favourable one: a positive prediction is a selection."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Counts per group in the five cells, each array of shape ``(n_groups, 5)``.

    Attributes:
        n: Rows.
        weight: Sum of their weights.
        weight_squared: Sum of their squared weights.
        persons: Sums of weights per person; ``None`` where every row is taken as a person of its own.
    """

    n: IntArray
    weight: FloatArray
    weight_squared: FloatArray
    persons: PersonSums | None = None

    def overall(self) -> "Cells":
        """All groups as one."""
        return Cells(
            self.n.sum(axis=0, keepdims=True),
            self.weight.sum(axis=0, keepdims=True),
            self.weight_squared.sum(axis=0, keepdims=True),
            None if self.persons is None else self.persons.overall(),
        )

    def take(self, groups: npt.ArrayLike) -> "Cells":
        """The cells of some groups, in that order."""
        index = np.asarray(groups, dtype=np.int64)
        persons = None if self.persons is None else self.persons.take(index, len(self.n))
        return Cells(self.n[index], self.weight[index], self.weight_squared[index], persons)


@dataclass(frozen=True, slots=True)
class Rates:
    """One metric in every group; arrays of shape ``(n_groups,)``.

    Attributes:
        value: The weighted rate, NaN where the denominator is 0.
        n: Rows in the denominator.
        effective_n: Equally weighted rows of different persons that would carry as much (Kish, by the design
            effect); ``n`` without weights and persons.
        successes: Numerators that match ``effective_n``; the plain counts without weights and persons.
    """

    value: FloatArray
    n: IntArray
    effective_n: FloatArray
    successes: FloatArray

    @property
    def defined(self) -> npt.NDArray[np.bool_]:
        """Where the denominator is not empty."""
        return np.isfinite(self.value)


@dataclass(frozen=True, slots=True)
class CountTable:
    """Rows per (group, true class, predicted class), each array of shape ``(n_groups, k, k)``.

    ``persons`` has the same sums of weights per person, or is ``None``.
    """

    n: IntArray
    weight: FloatArray
    weight_squared: FloatArray
    persons: PersonSums | None = None

    @classmethod
    def count(
        cls,
        groups: IntArray,
        y_true: IntArray,
        y_pred: IntArray,
        *,
        n_groups: int,
        n_classes: int,
        sample_weight: FloatArray | None = None,
        multiplicity: IntArray | None = None,
        weight_squared: FloatArray | None = None,
    ) -> "CountTable":
        """Count rows; ``groups``, ``y_true`` and ``y_pred`` are codes from 0, shape ``(n,)``.

        Where entries stand for several rows, ``multiplicity`` says for how many, and ``sample_weight`` and
        ``weight_squared`` are the sums over them.

        Raises:
            DataError: Lengths differ or a code is out of range.
        """
        if not len(groups) == len(y_true) == len(y_pred):
            raise DataError(
                f"counts: got {len(groups)} groups, {len(y_true)} labels and {len(y_pred)} predictions, "
                "expected equal numbers"
            )
        for name, codes, limit in (
            ("group", groups, n_groups),
            ("label", y_true, n_classes),
            ("prediction", y_pred, n_classes),
        ):
            if len(codes) and (codes.min() < 0 or codes.max() >= limit):
                raise DataError(
                    f"counts: {name} codes run from {codes.min()} to {codes.max()}, expected 0 to {limit - 1}"
                )
        index = (groups * n_classes + y_true) * n_classes + y_pred
        shape = (n_groups, n_classes, n_classes)
        # Sums of whole numbers are exact in double precision up to 2**53.
        n = np.bincount(index, weights=multiplicity, minlength=math.prod(shape)).reshape(shape)
        n = n.astype(np.int64)
        if sample_weight is None:
            return cls(n, n.astype(np.float64), n.astype(np.float64))
        size = math.prod(shape)
        weight = np.bincount(index, weights=sample_weight, minlength=size).astype(np.float64)
        squared = np.bincount(
            index, weights=sample_weight**2 if weight_squared is None else weight_squared, minlength=size
        ).astype(np.float64)
        return cls(n, weight.reshape(shape), squared.reshape(shape))

    def __add__(self, other: "CountTable") -> "CountTable":
        return merge((self, other))

    @property
    def is_weighted(self) -> bool:
        """Whether any row had a weight other than 1."""
        return not (np.array_equal(self.weight, self.n) and np.array_equal(self.weight_squared, self.n))

    def cells(self, positive: int | None) -> Cells:
        """The five cells with class ``positive`` against the rest; ``None`` leaves right and wrong."""
        n_groups, n_classes = self.n.shape[:2]
        cell = cell_of_pairs(n_classes, positive).ravel()
        selector = np.zeros((n_classes * n_classes, N_CELLS), dtype=np.int64)
        selector[np.arange(n_classes**2), cell] = 1
        return Cells(
            self.n.reshape(n_groups, -1) @ selector,
            self.weight.reshape(n_groups, -1) @ selector,
            self.weight_squared.reshape(n_groups, -1) @ selector,
            None if self.persons is None else self.persons.recoded(cell),
        )

    def take(self, groups: npt.ArrayLike) -> "CountTable":
        """The counts of some groups, in that order."""
        index = np.asarray(groups, dtype=np.int64)
        persons = None if self.persons is None else self.persons.take(index, len(self.n))
        return CountTable(self.n[index], self.weight[index], self.weight_squared[index], persons)


def positive_class(n_classes: int, declared: int | None) -> int | None:
    """The class that counts as positive: the declared one, else the second of two, else none."""
    return 1 if declared is None and n_classes == 2 else declared


def merge(tables: Sequence[CountTable]) -> CountTable:
    """The table of all rows together.

    Raises:
        DataError: The tables have other groups or classes, or only some of them tell persons apart.
    """
    first = tables[0]
    for table in tables:
        if table.n.shape != first.n.shape:
            raise DataError(f"counts: cannot add tables of shape {first.n.shape} and {table.n.shape}")
    persons = [table.persons for table in tables if table.persons is not None]
    if persons and len(persons) < len(tables):
        raise DataError("counts: cannot add tables with and without persons; give person for all rows")
    return CountTable(
        reduce(np.add, [table.n for table in tables]),
        reduce(np.add, [table.weight for table in tables]),
        reduce(np.add, [table.weight_squared for table in tables]),
        PersonSums.merge(persons) if persons else None,
    )


def cell_of_pairs(n_classes: int, positive: int | None) -> IntArray:
    """Which cell a (true class, predicted class) pair falls into, shape ``(k, k)``."""
    true, predicted = np.indices((n_classes, n_classes))
    cell = np.where(true == predicted, 3, 4).astype(np.int64)
    if positive is not None:
        cell[:, positive] = 2
        cell[positive, :] = 1
        cell[positive, positive] = 0
    return cell


def rates(cells: Cells, metric: RateMetric) -> Rates:
    """``metric`` in every group of ``cells``."""
    numerator, denominator = np.array(metric.numerator), np.array(metric.denominator)
    found = share(
        cells.weight @ numerator,
        cells.weight @ denominator,
        cells.weight_squared @ denominator,
        cells.n @ denominator,
    )
    if cells.persons is None:
        return found
    residual = numerator - np.nan_to_num(found.value)[:, None] * denominator
    base = np.broadcast_to(denominator.astype(np.float64), cells.n.shape)
    effect = design_effects(cells.persons, cells.n, cells.weight_squared, residual, base)
    return Rates(found.value, found.n, found.effective_n / effect, found.successes / effect)


def share(hits: FloatArray, weight: FloatArray, weight_squared: FloatArray, n: IntArray) -> Rates:
    """Rates ``hits / weight`` of denominators that hold ``n`` rows with these sums of weights."""
    with np.errstate(divide="ignore", invalid="ignore"):
        value = hits / weight
        per_weight = np.where(weight > 0, weight / weight_squared, 0.0)
    return Rates(value, n, weight * per_weight, hits * per_weight)
