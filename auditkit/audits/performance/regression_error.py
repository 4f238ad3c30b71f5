"""How far off are the numbers that the subject foretells?"""

from collections.abc import Callable
from typing import ClassVar

import numpy as np
from pydantic import Field

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput, PairedAudit
from auditkit.audits.foretold import figure_measurement, foretold_rows, notes_on_rows, shown
from auditkit.audits.performance.regression_error_evidence import errors_by_prediction
from auditkit.data.dataset import Dataset
from auditkit.records import Better, Message
from auditkit.statistics.regression import (
    Figure,
    Foretold,
    mean_absolute_error,
    mean_change,
    mean_error,
    r_squared,
    root_mean_squared_error,
)
from auditkit.subjects.subject import Subject

METRICS: dict[str, tuple[Callable[[Foretold], Figure | None], Better]] = {
    "mean_absolute_error": (mean_absolute_error, "lower"),
    "root_mean_squared_error": (root_mean_squared_error, "lower"),
    "r2": (r_squared, "higher"),
    "bias": (mean_error, "zero"),
}


class RegressionError(PairedAudit):
    """Size and direction of the errors of a regression on rows that it has not seen.

    A reader may conclude how far off predictions are on rows drawn as these were. They may not conclude how
    far off a single one is.

    Attributes:
        bins: Parts of equal size into which predictions are divided for the chart.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="regression-error",
        version=1,
        area="performance",
        question="How far off are the numbers that it foretells?",
        requires=frozenset({"values"}),
        limits=(
            "Figures hold for rows drawn as these were, not for rows of another kind, place or time.",
            "Errors are in the unit of the target; they do not compare with errors of another target.",
            "The root of the mean squared error rests on the largest errors: with few rows and long tails "
            "its interval is too short.",
            "R2 depends on how much outcomes vary: the same errors give a lower one where they vary less.",
        ),
        sources=(
            "Willmott and Matsuura (2005), Climate Research 30:79-82",
            "Efron and Tibshirani (1993), An Introduction to the Bootstrap, chapter 11",
        ),
    )

    bins: int = Field(10, ge=2, le=100)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """All figures of one subject."""
        rows, _ = foretold_rows(subject, data, batch_size=context.batch_size)
        spread = float(np.sqrt(rows.mean((rows.outcome - rows.mean(rows.outcome)) ** 2)))
        notes = {
            "root_mean_squared_error": Message(
                text="Always foretelling the mean of these outcomes would be off by {spread}.",
                values={"spread": shown(spread)},
            ),
            "bias": Message(text="Above 0 it foretells too much on average, below 0 too little."),
        }
        measurements = [
            figure_measurement(
                metric, better, rows, compute(rows), confidence=self.confidence, note=notes.get(metric)
            )
            for metric, (compute, better) in METRICS.items()
        ]
        chart = errors_by_prediction(rows, bins=self.bins, confidence=self.confidence)
        return AuditOutput(measurements, [chart] if chart else [], notes_on_rows(data, rows))

    def compare(
        self, baseline: Subject, variant: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Paired changes of the absolute and the signed error, row by row."""
        before, _ = foretold_rows(baseline, data, batch_size=context.batch_size)
        after, _ = foretold_rows(variant, data, batch_size=context.batch_size)
        changes = {
            "mean_absolute_error.change": np.abs(after.error) - np.abs(before.error),
            "bias.change": after.error - before.error,
        }
        return AuditOutput(
            [
                figure_measurement(
                    metric,
                    "zero" if metric.startswith("bias") else "lower",
                    before,
                    mean_change(before, change),
                    confidence=self.confidence,
                )
                for metric, change in changes.items()
            ],
            notes=notes_on_rows(data, before),
        )
