"""Items: the single conditions, such as ``sex: female``, of which slices are made."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.slice_features import Features
from auditkit.data.dataset import BoolArray, IntArray

MOST_ITEMS = 300
"""More make tens of thousands of pairs, none of which a sample could tell apart."""


@dataclass(frozen=True, slots=True)
class Items:
    """Conditions on rows.

    Attributes:
        names: Feature and level of each.
        feature: Number of the feature of each, shape ``(k,)``; two of one feature never meet in a slice.
        rows: Which rows meet it, shape ``(k, n)``.
        left_out: How many with enough rows were left out because there are more than 300.
    """

    names: tuple[tuple[str, str], ...]
    feature: IntArray
    rows: BoolArray
    left_out: int = 0

    def __len__(self) -> int:
        return len(self.names)

    def group(self, chosen: tuple[int, ...]) -> dict[str, str]:
        """Feature to level, in alphabetical order of the features."""
        return dict(sorted(self.names[item] for item in chosen))

    def label(self, chosen: tuple[int, ...]) -> str:
        """Name of a slice for a reader: ``age: 18 to 24, sex: female``."""
        return ", ".join(f"{feature}: {level}" for feature, level in self.group(chosen).items())


def items_of(features: Features, n: int, *, min_rows: int) -> Items:
    """The levels with at least ``min_rows`` rows, of which as many are outside.

    A level of the same rows as one before it is left out, for it would make the same slices.

    Args:
        features: Columns of ``n`` rows.
        n: Number of rows.
        min_rows: On both sides.
    """
    names: list[tuple[str, str]] = []
    owners: list[int] = []
    rows: list[BoolArray] = []
    seen: set[bytes] = set()
    for number, (feature, column) in enumerate(features.columns.items()):
        totals = np.bincount(column.codes, minlength=len(column.levels))
        for code in np.flatnonzero((totals >= min_rows) & (n - totals >= min_rows)):
            mask = column.codes == code
            packed = np.packbits(mask).tobytes()
            if packed not in seen:
                seen.add(packed)
                names.append((feature, column.levels[code]))
                owners.append(number)
                rows.append(mask)
    found = np.array(rows) if rows else np.zeros((0, n), dtype=np.bool_)
    kept = np.sort(np.argsort(-found.sum(axis=1), kind="stable")[:MOST_ITEMS])
    return Items(
        tuple(names[item] for item in kept),
        np.array(owners, dtype=np.int64)[kept],
        found[kept],
        len(names) - len(kept),
    )
