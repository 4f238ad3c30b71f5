"""What a reader has to know of the rows before reading figures of scores."""

import numpy as np

from auditkit.audits.fairness.data_notes import note_on_label
from auditkit.audits.fairness.score_groups import GroupScores, Scored
from auditkit.data.dataset import Dataset
from auditkit.records import Message


def notes_on_rows(data: Dataset, rows: Scored) -> list[Message]:
    """The label that was taken, and what weights do."""
    notes = note_on_label(data)
    if len(rows) < len(data):
        notes.append(
            Message(text="{n} rows have weight 0 and are left out.", values={"n": len(data) - len(rows)})
        )
    if rows.weight is not None:
        notes.append(
            Message(
                text="Rows carry unequal weights: calibration and mean scores are weighted, figures of "
                "ranking and of thresholds are left out."
            )
        )
    return notes


def notes_on_groups(groups: GroupScores, small_group: int) -> list[Message]:
    """Rows without a known group, and groups of few rows."""
    notes, title = [], groups.grouping.title
    unknown = int(groups.sizes[~groups.grouping.known].sum())
    if unknown:
        notes.append(
            Message(
                text="{n} rows have no known {attribute}: they have a row of their own and are never the "
                "benchmark.",
                values={"n": unknown, "attribute": title},
            )
        )
    small = np.flatnonzero((groups.sizes < small_group) & groups.grouping.known)
    if len(small):
        notes.append(
            Message(
                text="Groups of {attribute} with fewer than {small} rows: {groups}.",
                values={
                    "attribute": title,
                    "small": small_group,
                    "groups": "; ".join(groups.labels_of(small)),
                },
            )
        )
    return notes
