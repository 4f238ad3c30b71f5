"""What a reader has to know of the rows before reading figures that are made of counts."""

import numpy as np

from auditkit.data.dataset import Dataset
from auditkit.records import Message


def notes_on_counted_rows(data: Dataset) -> list[Message]:
    """The label that was taken, what weights do, and rows of one person."""
    notes = []
    if data.positive is None and len(data.classes) == 2:
        notes.append(
            Message(
                text="No positive label is declared; {label}, the second class, is taken.",
                values={"label": data.classes[1]},
            )
        )
    if data.sample_weight is not None:
        notes.append(
            Message(
                text="Rates are weighted; intervals rest on the effective number of rows, which assumes that "
                "weights and outcomes are unrelated."
            )
        )
    if data.person is not None and len(np.unique(data.person)) < len(data.person):
        notes.append(
            Message(
                text="Several rows are about one person; here they are counted as independent, so intervals "
                "are too short."
            )
        )
    return notes
