"""What a reader must know about these data before reading the figures of groups."""

import numpy as np

from auditkit.audits.fairness.data_notes import note_on_label, note_on_weights
from auditkit.audits.fairness.groupings import Grouping
from auditkit.data.dataset import Dataset
from auditkit.records import Message
from auditkit.statistics.counts import Cells


def notes_on_data(data: Dataset) -> list[Message]:
    """About labels, weights and persons."""
    notes = note_on_label(data)
    if data.positive is None and len(data.classes) > 2:
        notes.append(
            Message(
                text="There are more than two classes and no positive label: every class is compared against "
                "the rest."
            )
        )
    notes += note_on_weights(data)
    if data.person is not None and len(np.unique(data.person)) < len(data.person):
        notes.append(
            Message(
                text="Some persons have several rows; intervals allow for rows of one person being alike."
            )
        )
    return notes


def notes_on_groups(grouping: Grouping, cells: Cells, small_group: int) -> list[Message]:
    """About unknown groups, small ones, and persons in several."""
    notes = []
    sizes = cells.n.sum(axis=1)
    unknown = int(sizes[~grouping.known].sum())
    if unknown:
        notes.append(
            Message(
                text="{n} rows have no known {attribute}: they have a row of their own and are never the "
                "benchmark.",
                values={"n": unknown, "attribute": grouping.title},
            )
        )
    small = np.flatnonzero((sizes < small_group) & grouping.known)
    if len(small):
        notes.append(
            Message(
                text="Groups of {attribute} with fewer than {small} rows: {groups}.",
                values={
                    "attribute": grouping.title,
                    "small": small_group,
                    "groups": "; ".join(grouping.labels[group] for group in small),
                },
            )
        )
    spread = 0 if cells.persons is None else cells.persons.in_several_groups()
    if spread:
        notes.append(
            Message(
                text="{n} persons have rows in several groups of {attribute}. Intervals of gaps take groups "
                "as independent; where rows of one person are alike they are wider than need be.",
                values={"n": spread, "attribute": grouping.title},
            )
        )
    return notes
