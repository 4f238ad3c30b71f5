"""What a reader has to know of the rows before reading figures that are made of counts."""

import numpy as np

from auditkit.audits.fairness.data_notes import note_on_label, note_on_weights
from auditkit.data.dataset import Dataset
from auditkit.records import Message


def notes_on_counted_rows(data: Dataset) -> list[Message]:
    """The label that was taken, what weights do, and rows of one person."""
    notes = [*note_on_label(data), *note_on_weights(data)]
    if data.person is not None and len(np.unique(data.person)) < len(data.person):
        notes.append(
            Message(
                text="Several rows are about one person; here they are counted as independent, so intervals "
                "are too short."
            )
        )
    return notes
