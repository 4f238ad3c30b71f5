"""The scores of every group, apart for its positive rows and the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logsumexp

from auditkit.audits.fairness.groupings import Grouping, group_codes, reported_groups
from auditkit.data.dataset import BoolArray, Dataset, FloatArray, IntArray
from auditkit.subjects.subject import Predictions


@dataclass(frozen=True, slots=True)
class Scored:
    """Some rows; arrays of shape ``(n,)``.

    Attributes:
        log_odds: Of the positive label, as stated.
        is_positive: Whether the row has that label.
        weight: Above 0; ``None`` where all rows count alike.
    """

    log_odds: FloatArray
    is_positive: BoolArray
    weight: FloatArray | None

    def __len__(self) -> int:
        return len(self.log_odds)

    @property
    def probability(self) -> FloatArray:
        """Of the positive label, as stated."""
        return np.asarray(expit(self.log_odds), dtype=np.float64)

    @property
    def outcome(self) -> FloatArray:
        """1 for positive rows, 0 for others."""
        return self.is_positive.astype(np.float64)

    @property
    def high(self) -> FloatArray:
        """Log-odds of the positive rows."""
        return self.log_odds[self.is_positive]

    @property
    def low(self) -> FloatArray:
        """Log-odds of the other rows."""
        return self.log_odds[~self.is_positive]

    def take(self, rows: BoolArray | IntArray) -> "Scored":
        """Some of the rows."""
        return Scored(
            self.log_odds[rows], self.is_positive[rows], None if self.weight is None else self.weight[rows]
        )


@dataclass(frozen=True, slots=True)
class GroupScores:
    """The rows of every group of one grouping, in an order that does not depend on that of the data.

    Attributes:
        grouping: Which groups.
        groups: Their rows.
        codes: Their codes among all groups of the division.
        sizes: Rows of each.
    """

    grouping: Grouping
    groups: tuple[Scored, ...]
    codes: IntArray
    sizes: IntArray

    @classmethod
    def of(cls, grouping: Grouping, rows: Scored, codes: IntArray) -> "GroupScores":
        """Part ``rows`` by their group.

        An attribute keeps levels without rows, for their absence is news; a crossing keeps what occurs.

        Raises:
            DataError: There are more groups than can be compared.
        """
        weight = np.zeros(len(rows)) if rows.weight is None else rows.weight
        order = np.lexsort((weight, rows.is_positive, rows.log_odds))
        ordered = rows.take(order)
        members = rows_of_groups(codes[order], len(grouping.combinations))
        kept = reported_groups(grouping, np.array([len(own) for own in members], dtype=np.int64))
        groups = tuple(ordered.take(members[group]) for group in kept)
        sizes = np.array([len(own) for own in groups], dtype=np.int64)
        return cls(grouping.take(kept), groups, kept, sizes)

    @property
    def known(self) -> IntArray:
        """Groups in which every attribute is known."""
        return np.flatnonzero(self.grouping.known)

    @property
    def with_both_labels(self) -> IntArray:
        """Known groups that have positive rows and others."""
        return np.array(
            [group for group in self.known if 0 < self.groups[group].is_positive.sum() < self.sizes[group]],
            dtype=np.int64,
        )

    def labels_of(self, groups: Sequence[int] | IntArray) -> tuple[str, ...]:
        """Names of some groups."""
        names = self.grouping.labels
        return tuple(names[group] for group in groups)


def scored_rows(predictions: Predictions, data: Dataset, positive: int) -> tuple[Scored, IntArray]:
    """Rows that carry weight, and their indices into ``data``.

    Weights that are all alike are no weights.
    """
    kept = np.arange(len(data)) if data.sample_weight is None else np.flatnonzero(data.sample_weight)
    weight = None if data.sample_weight is None else data.sample_weight[kept]
    is_even = weight is None or bool((weight == weight[0]).all())
    return (
        Scored(
            log_odds(predictions, positive)[kept],
            data.y_true[kept] == positive,
            None if is_even else weight,
        ),
        kept,
    )


def rows_of_groups(codes: IntArray, n_groups: int) -> list[IntArray]:
    """Indices of the rows of every group, in their order."""
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.searchsorted(codes[order], np.arange(1, n_groups)))


def codes_of(grouping: Grouping, data: Dataset, kept: IntArray) -> IntArray:
    """Group of each row kept."""
    return np.asarray(group_codes(grouping, data)[kept], dtype=np.int64)


def log_odds(predictions: Predictions, positive: int) -> FloatArray:
    """Log-odds of one class against all others, shape ``(n,)``.

    They rank rows also where probabilities round to 0 or 1.
    """
    stated = predictions.log_probabilities
    others = np.delete(stated, positive, axis=1)
    rest = others[:, 0] if others.shape[1] == 1 else logsumexp(others, axis=1)
    return np.asarray(stated[:, positive] - rest, dtype=np.float64)
