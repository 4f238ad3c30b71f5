"""Whether what a model says of a row is about that row, and the same whenever it is asked."""

from typing import Final

import numpy as np

from auditkit.data.dataset import Dataset, FloatArray
from auditkit.records import Message
from auditkit.subjects.subject import Subject, WhiteBox, values_of

TOGETHER: Final = 32
"""Rows that are asked about at once."""

ALONE: Final = 4
"""Of these, asked about one by one afterwards."""

_ROUNDED: Final = 0.02
"""Change of an answer, relative to the size of answers, that rounding may make: numbers of half precision and
integers that are scaled by what else is in the batch keep two digits."""

UNSTEADY: Final = Message(
    text="asked about each row alone, the model answers otherwise: it draws at random, keeps a state or "
    "mixes rows"
)


def unsteady(subject: Subject, data: Dataset) -> Message | None:
    """Why nothing can be said of rows one by one, or ``None`` where a torch module answers steadily.

    What only answers was tried when it was taken in.
    """
    if not isinstance(subject, WhiteBox) or len(data) == 0:
        return None
    first = np.arange(min(len(data), TOGETHER), dtype=np.int64)
    together = _answers(subject, data.take(first), TOGETHER)[:ALONE]
    # beside itself, as a model that norms over rows refuses a single one
    alone = _answers(subject, data.take(np.repeat(first[:ALONE], 2)), 2)[::2]
    allowed = _ROUNDED * float(np.abs(np.where(np.isfinite(together), together, 0)).mean())
    # differing infinities give infinity, equal ones are equal
    differ = (together != alone) & ~(np.abs(together - alone) <= allowed + _ROUNDED * np.abs(together))
    return UNSTEADY if bool(differ.any()) else None


def _answers(subject: Subject, rows: Dataset, batch_size: int) -> FloatArray:
    if rows.task == "regression":
        return values_of(subject, rows, batch_size=batch_size)
    return subject.predict(rows, batch_size=batch_size).log_probabilities
