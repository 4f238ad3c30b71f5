"""Counting rows by group, label and prediction: all that audits of rates need of them."""

from abc import ABC
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from auditkit.audits.audit import AuditContext, ShardedAudit
from auditkit.audits.fairness.groupings import Grouping, group_codes, groupings
from auditkit.data.dataset import Dataset, IntArray
from auditkit.errors import closest
from auditkit.statistics.clusters import PersonSums
from auditkit.statistics.counts import METRICS, CountTable, merge
from auditkit.subjects.subject import Subject


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """What rows contribute: one count table per grouping, keyed by its attributes."""

    tables: Mapping[tuple[str, ...], CountTable]


class AuditOfCounts(ShardedAudit[GroupCounts], ABC):
    """Base of audits whose figures follow from counts: which rates they are about, counting, and adding up.

    Attributes:
        metrics: Rates to look at.
        intersections: Also cross all sensitive features.
        confidence: Of all intervals.
    """

    known_metrics: ClassVar[frozenset[str]] = frozenset(METRICS)
    metrics: tuple[str, ...]
    intersections: bool = False
    confidence: float = Field(0.95, ge=0.5, lt=1)

    @field_validator("metrics")
    @classmethod
    def _known_metrics(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if not names:
            raise ValueError(f"no metric given. {closest('', cls.known_metrics)}")
        for name in names:
            if name not in cls.known_metrics:
                raise ValueError(f"unknown metric {name!r}. {closest(name, cls.known_metrics)}")
        return tuple(dict.fromkeys(names))

    def partial(self, subject: Subject, data: Dataset, context: AuditContext) -> GroupCounts:
        """Count the rows of one shard in every grouping."""
        return count_groups(subject, data, batch_size=context.batch_size, intersections=self.intersections)

    def merge(self, partials: Sequence[GroupCounts]) -> GroupCounts:
        """Add the counts."""
        return GroupCounts(
            {key: merge([partial.tables[key] for partial in partials]) for key in partials[0].tables}
        )


def count_groups(subject: Subject, data: Dataset, *, batch_size: int, intersections: bool) -> GroupCounts:
    """Count the rows of ``data`` in every grouping."""
    y_pred = subject.predict(data, batch_size=batch_size).y_pred
    return GroupCounts(
        {
            grouping.attributes: _counted(grouping, data, y_pred)
            for grouping in groupings(data, intersections=intersections)
        }
    )


def _counted(grouping: Grouping, data: Dataset, y_pred: IntArray) -> CountTable:
    groups, n_classes = group_codes(grouping, data), len(data.classes)
    table = CountTable.count(
        groups,
        data.y_true,
        y_pred,
        n_groups=len(grouping.combinations),
        n_classes=n_classes,
        **_weights(data),
    )
    if data.person is None:
        return table
    weight = np.ones(len(data)) if data.sample_weight is None else data.sample_weight
    persons = PersonSums.count(data.person, groups, data.y_true * n_classes + y_pred, weight)
    return replace(table, persons=persons)


def _weights(data: Dataset) -> dict[str, npt.NDArray[Any] | None]:
    """What each row weighs, and for how many it stands."""
    if data.counts is None:
        return {"sample_weight": data.sample_weight}
    counts = data.counts
    return {
        "multiplicity": counts.n,
        "sample_weight": counts.weight,
        "weight_squared": counts.weight_squared,
    }
