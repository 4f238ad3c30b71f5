"""Which groups rows fall into: one attribute, or several crossed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from auditkit.data.dataset import UNKNOWN, Dataset, IntArray
from auditkit.errors import DataError

MOST_GROUPS = 10_000
"""Crossing more levels than this leaves no rows per group worth a figure."""

MOST_COMPARED = 1000
"""More groups than this are most likely names or numbers of single rows."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """A division of the rows into groups; without attributes, everyone is one group.

    Attributes:
        attributes: The sensitive features crossed; one for a plain division.
        combinations: Of each group the level of every attribute.
    """

    attributes: tuple[str, ...]
    combinations: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, data: Dataset, attributes: Sequence[str]) -> "Grouping":
        """Every combination of levels, also those without rows, in the order of :func:`group_codes`."""
        levels = [data.sensitive_features[attribute].levels for attribute in attributes]
        n_groups = math.prod(len(names) for names in levels)
        if n_groups > MOST_GROUPS:
            raise DataError(
                f"sensitive_features: crossing {', '.join(attributes)} makes {n_groups} groups, expected at "
                f"most {MOST_GROUPS}. Set intersections to false or name fewer sensitive_features."
            )
        return cls(tuple(attributes), tuple(product(*levels)))

    @property
    def groups(self) -> tuple[dict[str, str], ...]:
        """Attribute to level, for every group."""
        return tuple(dict(zip(self.attributes, levels, strict=True)) for levels in self.combinations)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the groups for a reader."""
        return tuple(", ".join(levels) for levels in self.combinations)

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        """Groups in which every attribute is known."""
        return np.array([UNKNOWN not in levels for levels in self.combinations], dtype=np.bool_)

    @property
    def title(self) -> str:
        """Name of the division for a reader."""
        return " × ".join(self.attributes)

    def take(self, groups: npt.NDArray[np.int64]) -> "Grouping":
        """Some of the groups."""
        return Grouping(self.attributes, tuple(self.combinations[group] for group in groups))


EVERYONE = Grouping((), ((),))
"""All rows as one group."""


def groupings(data: Dataset, *, intersections: bool) -> tuple[Grouping, ...]:
    """One grouping per sensitive feature, and with ``intersections`` one that crosses them all.

    Raises:
        DataError: There are no sensitive features, or the crossing has more groups than rows could fill.
    """
    names = tuple(data.sensitive_features)
    if not names:
        raise DataError("sensitive_features: the data has none. Name them in data.")
    found = [Grouping.of(data, (name,)) for name in names]
    if intersections and len(names) > 1:
        found.append(Grouping.of(data, names))
    return tuple(found)


def group_codes(grouping: Grouping, data: Dataset) -> IntArray:
    """Group of each row, shape ``(n,)``."""
    columns = [data.sensitive_features[attribute] for attribute in grouping.attributes]
    if not columns:
        return np.zeros(len(data), dtype=np.int64)
    shape = tuple(len(column.levels) for column in columns)
    return np.asarray(np.ravel_multi_index([column.codes for column in columns], shape), dtype=np.int64)


def reported_groups(grouping: Grouping, sizes: IntArray) -> IntArray:
    """Of a crossing the combinations that occur; of an attribute every level, for its absence is news.

    Args:
        grouping: Which groups.
        sizes: Rows of each.

    Raises:
        DataError: There are more than can be compared.
    """
    found = np.arange(len(sizes)) if len(grouping.attributes) <= 1 else np.flatnonzero(sizes)
    if len(found) > MOST_COMPARED:
        raise DataError(
            f"sensitive_features: {grouping.title} has {len(found)} groups, expected at most "
            f"{MOST_COMPARED}. Is it a number or an identifier? Join its levels, or leave it out."
        )
    return found
