"""Which rows are explained, and which decision each should get."""

from dataclasses import dataclass

import numpy as np

from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Message


@dataclass(frozen=True, slots=True)
class Targets:
    """Rows and the class that each should get.

    Attributes:
        rows: Of the data, ascending.
        wanted: Classes, same shape.
        meaning: How the classes were chosen, for the reader.
    """

    rows: IntArray
    wanted: IntArray
    meaning: Message

    def drawn(self, most: int, rng: np.random.Generator) -> "Targets":
        """At most so many rows, in their order."""
        if len(self.rows) <= most:
            return self
        kept = np.sort(rng.choice(len(self.rows), most, replace=False))
        return Targets(self.rows[kept], self.wanted[kept], self.meaning)


def targets_of(
    log_probabilities: FloatArray,
    classes: tuple[str, ...],
    positive: int | None,
    *,
    gives_probabilities: bool,
) -> Targets:
    """Rows decided unfavourably with the favourable class; without one, all rows with the runner-up.

    Args:
        log_probabilities: Of all rows, shape ``(n, k)``.
        classes: Names.
        positive: The favourable class, or ``None``.
        gives_probabilities: Whether there is a runner-up to tell.
    """
    decided = log_probabilities.argmax(axis=1)
    if positive is not None:
        rows = np.flatnonzero(decided != positive)
        meaning = Message(
            text="Rows predicted otherwise than {label} are explained; {label} is what they should get.",
            values={"label": classes[positive]},
        )
        return Targets(rows, np.full(len(rows), positive, dtype=np.int64), meaning)
    rows = np.arange(len(decided))
    if len(classes) == 2:
        text = "No label is declared favourable: every row is explained, and should get the other label."
        return Targets(rows, np.asarray(1 - decided, dtype=np.int64), Message(text=text))
    if gives_probabilities:
        text = "No label is declared favourable: every row should get its second most probable label."
        others = log_probabilities.copy()
        others[rows, decided] = -np.inf
        return Targets(rows, others.argmax(axis=1).astype(np.int64), Message(text=text))
    text = (
        "No label is declared favourable, and the subject states no probabilities: every row should get the "
        "label that is predicted most often besides its own."
    )
    frequent = np.argsort(-np.bincount(decided, minlength=len(classes)), kind="stable")
    wanted = np.where(decided == frequent[0], frequent[1], frequent[0])
    return Targets(rows, wanted.astype(np.int64), Message(text=text))
