"""Looking for slices in one half of the rows. Nothing counted here is a result."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from auditkit.audits.fairness.slice_halves import Colours
from auditkit.audits.fairness.slice_lattice import Lattice, lattice
from auditkit.data.dataset import BoolArray, FloatArray, IntArray
from auditkit.statistics.comparisons import newcombe_bounds

EXPLAINED = 0.9
"""Share of a slice's gap that a slice with fewer conditions has to show for the longer one to be dropped."""

Slice = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """What the exploring half suggests.

    Attributes:
        slices: Items of the slices to test, the most promising first.
        n_explored: Conjunctions with enough rows.
    """

    slices: tuple[Slice, ...]
    n_explored: int


@dataclass(slots=True)
class Gaps:
    """Error rates of slices minus those of the rest, each counted once.

    Attributes:
        rows: Which rows meet each item, shape ``(k, n)``.
        errors: Which rows are errors, shape ``(n,)``.
    """

    rows: BoolArray
    errors: BoolArray
    _known: dict[Slice, float] = field(default_factory=dict)

    def inside(self, items: Slice) -> BoolArray:
        """Rows that meet all of the items."""
        return np.asarray(np.logical_and.reduce(self.rows[list(items)], axis=0))

    def __getitem__(self, items: Slice) -> float:
        """The gap; 0 where a slice or its rest is empty, for then it tells no rows apart."""
        if items not in self._known:
            inside = self.inside(items)
            n, n_all = int(inside.sum()), len(inside)
            wrong, wrong_all = int((inside & self.errors).sum()), int(self.errors.sum())
            apart = 0 < n < n_all
            self._known[items] = wrong / n - (wrong_all - wrong) / (n_all - n) if apart else 0.0
        return self._known[items]


@dataclass(frozen=True, slots=True)
class Search:
    """How candidates are chosen.

    Attributes:
        depth: Most items in a slice.
        min_rows: Fewest rows in a slice, and in the rest.
        top: Most candidates.
        confidence: Of the interval whose lower end ranks the slices.
    """

    depth: int
    min_rows: int
    top: int
    confidence: float

    def run(self, rows: BoolArray, feature: IntArray, errors: BoolArray, colours: Colours) -> Found:
        """Choose candidates among the rows that explore.

        A slice is passed over when one with fewer conditions shows nine tenths of its gap, or when it is no
        longer worse than the rest, or too small to tell, without the rows of slices chosen before it.

        Args:
            rows: Which rows meet each item, shape ``(k, n)``.
            feature: Number of the feature of each item.
            errors: Which rows are errors.
            colours: Of the items, to rank equals.
        """
        found = lattice(rows, feature, errors, depth=self.depth, min_rows=self.min_rows)
        low = self._lower_ends(found.n, found.errors, len(errors), int(errors.sum()))
        gaps = Gaps(rows, errors)
        chosen: list[Slice] = []
        covered = np.zeros(len(errors), dtype=np.bool_)
        for index in _ranked(found, low, colours):
            if len(chosen) == self.top or low[index] <= 0:
                break
            items = found.of(index)
            explained = any(gaps[part] >= EXPLAINED * gaps[items] for part in proper_parts(items))
            inside = gaps.inside(items)
            if not explained and self._is_worse_without(inside, covered, errors):
                chosen.append(items)
                covered |= inside
        return Found(tuple(chosen), len(found))

    def _is_worse_without(self, inside: BoolArray, covered: BoolArray, errors: BoolArray) -> bool:
        """Whether the rows not yet covered are worse than the rest of those."""
        if not covered.any():
            return True
        left = ~covered
        own = inside & left
        n, n_left = int(own.sum()), int(left.sum())
        if n < self.min_rows or n_left - n < self.min_rows:
            return False
        wrong = np.array([int((own & errors).sum())])
        (low,) = self._lower_ends(np.array([n]), wrong, n_left, int((errors & left).sum()))
        return bool(low > 0)

    def _lower_ends(self, n: IntArray, wrong: IntArray, n_all: int, wrong_all: int) -> FloatArray:
        low, _ = newcombe_bounds(wrong, n, wrong_all - wrong, n_all - n, confidence=self.confidence)
        return low


def proper_parts(items: Slice) -> Iterator[Slice]:
    """All shorter slices that hold the rows of this one; the whole is not among them."""
    for bits in range(1, 2 ** len(items) - 1):
        yield tuple(item for place, item in enumerate(items) if bits >> place & 1)


def _ranked(found: Lattice, low: FloatArray, colours: Colours) -> IntArray:
    """Highest lower end first; of equals the larger, then that of fewer items, then by what they are like."""
    used = found.items >= 0
    likeness = np.where(used, colours[found.items], np.uint64(0)).sum(axis=1, dtype=np.uint64)
    return np.lexsort((likeness, used.sum(axis=1), -found.n, -low))
