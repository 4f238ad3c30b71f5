"""What the subject says of changed rows, until the time is up."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from auditkit.audits.explainability.counterfactuals.features import FeatureTable
from auditkit.data.dataset import BoolArray, Dataset, FloatArray, IntArray
from auditkit.subjects.subject import Subject, WhiteBox

ROWS_AT_ONCE = 512
"""Rows of one question. Fixed, whatever the batch size: the last digits of an answer hang on how many rows
are
asked about together, and a search turns last digits into other counterfactuals."""

LEAD = 1e-5
"""Nats by which the wanted class must lead, so that rounding does not turn the decision back."""


class TimeIsUpError(Exception):
    """The time budget is spent; caught inside the search."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment after which nothing is asked any more."""

    end_s: float
    clock: Callable[[], float] = time.monotonic

    @classmethod
    def after(cls, seconds: float, clock: Callable[[], float] = time.monotonic) -> "Deadline":
        """So many seconds from now."""
        return cls(clock() + seconds, clock)

    def check(self) -> None:
        """Do nothing before the moment.

        Raises:
            TimeIsUpError: It has come.
        """
        if self.clock() >= self.end_s:
            raise TimeIsUpError


@dataclass(frozen=True, slots=True)
class Judge:
    """Asks the subject about changed rows.

    Attributes:
        subject: Whom to ask.
        data: The rows as they are.
        table: Their features.
        own: Their values, shape ``(n, f)``.
        own_inputs: Their inputs, shape ``(n, d)``.
        target: Class that each should get, shape ``(n,)``.
        deadline: When to stop asking.
    """

    subject: Subject
    data: Dataset
    table: FeatureTable
    own: FloatArray
    own_inputs: FloatArray
    target: IntArray
    deadline: Deadline

    def inputs_of(self, values: FloatArray, rows: IntArray) -> FloatArray:
        """Changed rows as the subject reads them, shape ``(m, d)``."""
        return self.table.encode(values, self.own[rows], self.own_inputs[rows])

    def lead(self, values: FloatArray, rows: IntArray) -> FloatArray:
        """Nats by which the wanted class leads all others, shape ``(m,)``.

        Args:
            values: Of changed rows, shape ``(m, f)``.
            rows: Which rows they were, shape ``(m,)``.

        Raises:
            TimeIsUpError: The time budget is spent.
        """
        parts = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            self.deadline.check()
            some = rows[start : start + ROWS_AT_ONCE]
            parts.append(self._ask(self.inputs_of(values[start : start + ROWS_AT_ONCE], some), some))
        return np.concatenate(parts) if parts else np.zeros(0)

    def turns(self, values: FloatArray, rows: IntArray) -> BoolArray:
        """Whether the wanted class leads clearly, shape ``(m,)``."""
        return self.is_turned(self.lead(values, rows))

    @staticmethod
    def is_turned(lead: FloatArray) -> BoolArray:
        """Whether leads are clear."""
        return np.asarray(lead >= LEAD)

    def _ask(self, inputs: FloatArray, rows: IntArray) -> FloatArray:
        asked = replace(self.data.take(rows), inputs=torch.from_numpy(inputs).to(self.data.inputs.dtype))
        said = self.subject.predict(asked, batch_size=ROWS_AT_ONCE).log_probabilities
        return lead_of(said, self.target[rows])

    def slope(self, inputs: FloatArray, rows: IntArray) -> tuple[FloatArray, FloatArray]:
        """Lead of the wanted class and its gradient, shapes ``(m,)`` and ``(m, d)``.

        Args:
            inputs: They need not be rows that exist: a level may be set in part.
            rows: Which rows they were.

        Raises:
            TimeIsUpError: The time budget is spent.
        """
        self.deadline.check()
        if not isinstance(self.subject, WhiteBox):
            raise TypeError(f"{self.subject.card.name}: has no gradients")
        with torch.enable_grad():
            place = torch.from_numpy(inputs).to(self.data.inputs.dtype).to(self.subject.device)
            place.requires_grad_(True)
            logits = self.subject.logits(place)
            column = torch.from_numpy(self.target[rows]).to(logits.device)[:, None]
            others = logits.scatter(1, column, -torch.inf).amax(dim=1)
            lead = logits.gather(1, column)[:, 0] - others
            (slope,) = torch.autograd.grad(lead.sum(), place)
        return (
            np.nan_to_num(lead.detach().double().cpu().numpy()),
            np.nan_to_num(slope.detach().double().cpu().numpy(), posinf=0.0, neginf=0.0),
        )


def lead_of(log_probabilities: FloatArray, target: IntArray) -> FloatArray:
    """Log-probability of the target minus the largest other one, shape ``(n,)``."""
    rows = np.arange(len(target))
    others = log_probabilities.copy()
    others[rows, target] = -np.inf
    return np.asarray(log_probabilities[rows, target] - others.max(axis=1))
