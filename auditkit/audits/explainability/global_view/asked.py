"""Asking a subject about rows that were changed, and what its answers cost."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch

from auditkit.audits.explainability.global_view.table_features import is_table
from auditkit.data.dataset import Dataset, FloatArray, IntArray
from auditkit.records import Message, Unit
from auditkit.subjects.predictions_table import PredictionsTable
from auditkit.subjects.subject import Subject, values_of
from auditkit.subjects.values import ValueTable

AT_ONCE = 4_000_000
"""Numbers of changed inputs that are held at once: 16 MB in single precision."""

TABLE_ROWS = 4096
"""Rows of a table that a subject sees at once at least: they are narrow, and calls cost more than rows."""

LEAST = float(np.finfo(np.float64).tiny)
"""Probabilities below count as this much, so that their logarithm is finite."""

Cost = Literal["cross_entropy", "brier", "squared_error"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A subject and the rows it is asked about, whose inputs may be exchanged for others.

    Attributes:
        subject: Under audit.
        rows: Whose inputs are changed; all else about a row stays, for subjects that look it up.
        batch_size: Rows that the subject sees at once.
        cost: What a wrong answer costs: cross-entropy; half the squared distance of labels (the error rate
            of single answers) where there are no probabilities; in a regression the squared error, as a
            share of the variance of the outcomes.
    """

    subject: Subject
    rows: Dataset
    batch_size: int
    cost: Cost

    @classmethod
    def about(cls, subject: Subject, rows: Dataset, *, batch_size: int) -> "Asked | Message":
        """Ready to ask, or why the subject cannot be asked about changed rows."""
        if isinstance(subject, PredictionsTable | ValueTable):
            return Message(text="The predictions come from a table: it cannot be asked about changed rows.")
        if "generative" in subject.capabilities or rows.task == "language-modelling":
            return Message(text="A model of language has no features to exchange.")
        if is_table(rows):
            batch_size = max(batch_size, TABLE_ROWS)
        if rows.task == "regression":
            return cls(subject, rows, batch_size, "squared_error")
        has_losses = "losses" in subject.capabilities
        return cls(subject, rows, batch_size, "cross_entropy" if has_losses else "brier")

    @property
    def unit(self) -> Unit:
        """Of the cost."""
        return "nat" if self.cost == "cross_entropy" else "1"

    @property
    def inputs(self) -> torch.Tensor:
        """The rows as they are, one vector each, shape ``(n, width)``."""
        return self.rows.inputs.detach().cpu().reshape(len(self.rows), -1)

    def answers(self, inputs: torch.Tensor, index: IntArray) -> FloatArray:
        """What the subject says of rows ``index`` with other inputs.

        Args:
            inputs: In place of the rows' own, shape ``(m, width)``.
            index: Which row each of them is, shape ``(m,)``.

        Returns:
            Log-probabilities, shape ``(m, k)``; in a regression the numbers foretold, ``(m, 1)``.
        """
        parts = [self._ask(inputs[part], index[part]) for part in self._parts(len(index))]
        return np.concatenate(parts)

    def outputs(self, inputs: torch.Tensor, index: IntArray) -> FloatArray:
        """As :meth:`answers`, as probabilities where they are of classes: what may be averaged."""
        found = self.answers(inputs, index)
        if self.cost == "squared_error":
            return found
        if self.cost == "brier":
            return np.asarray(np.eye(found.shape[1])[found.argmax(axis=1)])
        return np.exp(found)

    def costs(self, outputs: FloatArray, index: IntArray) -> FloatArray:
        """Cost of what was said of rows ``index``; shape of ``outputs`` without its last dimension.

        Args:
            outputs: From :meth:`outputs` or means of them, shape ``(m, ..., k)``.
            index: Which row each of them is, shape ``(m,)``.
        """
        between = (slice(None), *(None for _ in outputs.shape[1:-1]))
        if self.cost == "squared_error" and self.rows.outcome is not None:
            error = outputs[..., 0] - self.rows.outcome[index][between]
            return np.asarray(error**2 / self.rows.outcome.var())
        y_true = self.rows.y_true[index]
        if self.cost == "cross_entropy":
            places = np.broadcast_to(y_true[between], outputs.shape[:-1])[..., None]
            own = np.take_along_axis(outputs, places, axis=-1)[..., 0]
            return np.asarray(-np.log(np.maximum(own, LEAST)))
        truth = np.eye(outputs.shape[-1])[y_true][(*between, slice(None))]
        return np.asarray(((outputs - truth) ** 2).sum(axis=-1) / 2)

    def obstacle(self) -> Message | None:
        """Why costs would mean nothing on these rows, or ``None``."""
        outcome = self.rows.outcome
        if outcome is not None and not float(outcome.std()) > 1e-12 * float(np.abs(outcome).max()):
            return Message(text="The outcomes of these rows do not vary.")
        return None

    def _parts(self, n: int) -> Iterator[slice]:
        step = max(1, AT_ONCE // max(1, self.inputs.shape[1]))
        for start in range(0, n, step):
            yield slice(start, start + step)

    def _ask(self, inputs: torch.Tensor, index: IntArray) -> FloatArray:
        shape = (len(index), *self.rows.inputs.shape[1:])
        # without inputs first: gathering the rows' own only to drop them took a third of the time
        bare = replace(self.rows, inputs=self.inputs[:, :0])
        changed = replace(bare.take(index), inputs=inputs.reshape(shape))
        if self.cost == "squared_error":
            return values_of(self.subject, changed, batch_size=self.batch_size)[:, None]
        return self.subject.predict(changed, batch_size=self.batch_size).log_probabilities


def drawn_rows(data: Dataset, most: int, rng: np.random.Generator) -> Dataset:
    """At most ``most`` rows, drawn without replacement, in their order."""
    if len(data) <= most:
        return data
    return data.take(np.sort(rng.choice(len(data), most, replace=False)).astype(np.int64))


def notes_on_rows(data: Dataset, rows: Dataset) -> list[Message]:
    """Which rows were used, and what weights and persons do."""
    notes = []
    if len(rows) < len(data):
        text = "{n} of {total} rows were drawn at random and used."
        notes.append(Message(text=text, values={"n": len(rows), "total": len(data)}))
    if data.sample_weight is not None:
        notes.append(Message(text="Rows count equally here, whatever their sample weight."))
    if rows.person is not None:
        notes.append(
            Message(
                text="{n} rows belong to {persons} persons; intervals take these, not rows, as independent.",
                values={"n": len(rows), "persons": len(np.unique(rows.person))},
            )
        )
    return notes
