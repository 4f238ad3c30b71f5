"""Counting rows by group, label and prediction: all that rates of groups need of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from auditkit.audits.fairness.groupings import group_codes, groupings
from auditkit.data.dataset import Dataset
from auditkit.statistics.counts import CountTable
from auditkit.subjects.subject import Subject


@dataclass(frozen=True, slots=True)
class GroupCounts:
    """What rows contribute: one count table per grouping, keyed by its attributes."""

    tables: Mapping[tuple[str, ...], CountTable]


def count_groups(subject: Subject, data: Dataset, *, batch_size: int, intersections: bool) -> GroupCounts:
    """Count the rows of ``data`` in every grouping."""
    y_pred = subject.predict(data, batch_size=batch_size).y_pred
    return GroupCounts(
        {
            grouping.attributes: CountTable.count(
                group_codes(grouping, data),
                data.y_true,
                y_pred,
                n_groups=len(grouping.combinations),
                n_classes=len(data.classes),
                **_weights(data),
            )
            for grouping in groupings(data, intersections=intersections)
        }
    )


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
