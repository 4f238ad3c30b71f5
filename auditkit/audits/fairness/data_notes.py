"""What several audits of groups say of the data in the same words."""

from auditkit.data.dataset import Dataset
from auditkit.records import Message


def note_on_label(data: Dataset) -> list[Message]:
    """Which label was taken for the favourable one, where none of two is declared."""
    if data.positive is not None or len(data.classes) != 2:
        return []
    return [
        Message(
            text="No positive label is declared; {label}, the second class, is taken.",
            values={"label": data.classes[1]},
        )
    ]


def note_on_weights(data: Dataset) -> list[Message]:
    """What weights mean for the intervals of rates."""
    if data.sample_weight is None:
        return []
    return [
        Message(
            text="Rates are weighted; intervals rest on the effective number of rows, which assumes that "
            "weights and outcomes are unrelated."
        )
    ]
