"""Do changes of the inputs that nobody would notice change decisions?"""

from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from pydantic import Field

from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
from auditkit.data.dataset import Dataset
from auditkit.records import Dots, Estimate, Mark, Measurement, Message
from auditkit.statistics.intervals import rate
from auditkit.subjects.subject import Subject


class SmallChanges(Audit):
    """The share of rows whose predicted class changes when every numeric input moves a little.

    A reader may conclude that so many decisions hang on differences below the step. They may not conclude
    that the others withstand larger or chosen changes.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="small-changes",
        version=1,
        area="robustness",
        question="Do changes of the inputs that nobody would notice change decisions?",
        requires=frozenset({"predictions"}),
        limits=(
            "Moves are random; an opponent who chooses them flips more rows.",
            "Inputs with at most two values are taken for categories and left as they are.",
        ),
        sources=(
            "Hendrycks and Dietterich (2019), arXiv:1903.12261, section 3: stability under perturbation",
        ),
    )

    step: float = Field(0.01, gt=0, description="Size of a move, in standard deviations of the input")
    draws: int = Field(4, ge=1, description="Random directions; each is tried both ways")
    confidence: float = Field(0.95, gt=0, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """Count the rows that flip, in all and by predicted class."""
        if not data.inputs.is_floating_point():
            reason = Message(text="The inputs are not numbers that can be moved a little.")
            return AuditOutput([self._figure(0, 0, reason)])
        before = subject.predict(data, batch_size=context.batch_size).y_pred
        flipped = np.zeros(len(data), dtype=bool)
        for inputs in self._moved(data, context):
            moved = replace(data, inputs=inputs)
            flipped |= subject.predict(moved, batch_size=context.batch_size).y_pred != before
        return AuditOutput(
            [self._figure(int(flipped.sum()), len(data))], [self._chart(data, before, flipped)]
        )

    def _moved(self, data: Dataset, context: AuditContext) -> Iterator[torch.Tensor]:
        inputs = data.inputs.double()
        numeric = torch.tensor([len(column.unique()) > 2 for column in inputs.flatten(1).T])
        spread = torch.where(numeric, inputs.flatten(1).std(dim=0, correction=0), 0.0)
        for draw in range(self.draws):
            rng = context.numpy_rng("directions", str(draw))
            signs = torch.from_numpy(rng.choice([-1.0, 1.0], size=tuple(inputs.flatten(1).shape)))
            move = (self.step * spread * signs).reshape(inputs.shape)
            yield (inputs + move).to(data.inputs.dtype)
            yield (inputs - move).to(data.inputs.dtype)

    def _figure(self, flips: int, n: int, missing: Message | None = None) -> Measurement:
        return Measurement(
            metric="flip_rate",
            value=None if missing else flips / n,
            n=n,
            better="lower",
            interval=None if missing else rate(flips, n, confidence=self.confidence),
            missing=missing,
        )

    def _chart(self, data: Dataset, before: np.ndarray, flipped: np.ndarray) -> Dots:
        marks = []
        for index, label in enumerate(data.classes):
            rows = flipped[before == index]
            if len(rows):
                shown = rate(int(rows.sum()), len(rows), confidence=self.confidence)
                estimate = Estimate(value=float(rows.mean()), low=shown.low, high=shown.high, n=len(rows))
            else:
                estimate = Estimate(value=None, missing=Message(text="never predicted"))
            marks.append(Mark(label=label, estimate=estimate))
        return Dots(
            title=Message(text="Rows that change their class, by predicted class"),
            axis=Message(text="share of rows"),
            marks=tuple(marks),
            low=0,
        )
