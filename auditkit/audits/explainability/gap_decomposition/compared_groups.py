"""Which groups of a sensitive feature are compared, and with whom."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from auditkit.data.dataset import UNKNOWN, BoolArray, Dataset
from auditkit.errors import UsageError, closest
from auditkit.records import Message
from auditkit.statistics.group_means import Contrast

FEWEST = 10
"""Rows (persons) of a group; smaller ones are not compared."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One attribute.

    Attributes:
        attribute: The sensitive feature.
        groups: Those that are compared, with the rows of each and of those it is compared with.
        reference: The group that all are compared with; ``None``: each with all others.
        levels: Groups with enough rows.
        codes: Index into ``levels`` of each row, -1 for others, shape ``(n,)``.
        left_out: Groups with too few rows.
    """

    attribute: str
    groups: Mapping[str, Contrast]
    reference: str | None
    levels: tuple[str, ...]
    codes: np.ndarray[tuple[int], np.dtype[np.int64]]
    left_out: tuple[str, ...]

    @property
    def known(self) -> BoolArray:
        """Rows of groups with enough rows."""
        return np.asarray(self.codes >= 0, dtype=np.bool_)


def comparison_of(data: Dataset, attribute: str, reference: str | None) -> Comparison | Message:
    """The groups of an attribute, or why nothing can be compared.

    Of two groups only the first is compared with the second: the other way round says the same.

    Args:
        data: Rows with weight.
        attribute: Of ``data.sensitive_features``.
        reference: The group to compare with, or ``None``.

    Raises:
        UsageError: The reference is no group.
    """
    column = data.sensitive_features[attribute]
    if reference is not None and reference not in column.levels:
        raise UsageError(
            f"gap-decomposition: reference of {attribute} is {reference!r}. "
            f"{closest(reference, column.levels)}"
        )
    units = np.arange(len(data)) if data.person is None else data.person
    sizes = [len(np.unique(units[column.codes == code])) for code in range(len(column.levels))]
    kept = [code for code, size in enumerate(sizes) if size >= FEWEST and column.levels[code] != UNKNOWN]
    levels = tuple(column.levels[code] for code in kept)
    if len(kept) < 2 or (reference is not None and reference not in levels):
        return Message(
            text="fewer than two groups of {attribute} have {least} rows (persons), or the reference has not",
            values={"attribute": attribute, "least": FEWEST},
        )
    place = np.full(len(column.levels), -1, dtype=np.int64)
    place[kept] = np.arange(len(kept))
    codes = place[column.codes]
    compared = [level for level in levels if level != reference]
    if reference is None and len(levels) == 2:
        compared = compared[:1]
    return Comparison(
        attribute,
        {level: _contrast(codes, levels, level, reference) for level in compared},
        reference,
        levels,
        codes,
        tuple(
            level
            for level, size in zip(column.levels, sizes, strict=True)
            if 0 < size < FEWEST and level != UNKNOWN
        ),
    )


def _contrast(
    codes: np.ndarray[tuple[int], np.dtype[np.int64]],
    levels: tuple[str, ...],
    level: str,
    reference: str | None,
) -> Contrast:
    own = codes == levels.index(level)
    others = (codes >= 0) & ~own if reference is None else codes == levels.index(reference)
    return Contrast(own, others)
