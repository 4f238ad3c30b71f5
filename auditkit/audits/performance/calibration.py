"""When the subject says 80 %, is it right 80 times in 100?"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from auditkit.audits.audit import AuditContext, AuditInfo, AuditOutput, PairedAudit
from auditkit.audits.performance.reliability import reliability_curve, reliability_table
from auditkit.audits.performance.scores import brier_scores, mean_measurement, require_weight
from auditkit.data.dataset import Dataset, FloatArray
from auditkit.records import Interval, Measurement, Message
from auditkit.statistics.bootstrap import bootstrap_rows
from auditkit.statistics.calibration import (
    Bins,
    CalibrationError,
    equal_mass_bins,
    expected_calibration_error,
    n_draws_for,
    resampled_errors,
)
from auditkit.statistics.counts import positive_class
from auditkit.statistics.intervals import mean_interval
from auditkit.subjects.subject import Predictions, Subject


@dataclass(frozen=True, slots=True)
class StatedChances:
    """What the subject stated and what happened; arrays of shape ``(n,)``.

    With two classes the probability of the positive label, with more that of the predicted class.
    """

    score: FloatArray
    outcome: FloatArray

    @classmethod
    def of(cls, predictions: Predictions, data: Dataset, positive: int | None) -> "StatedChances":
        """From the predictions for the rows of ``data``."""
        probabilities = np.clip(predictions.probabilities, 0, 1)
        if positive is not None and len(data.classes) == 2:
            return cls(probabilities[:, positive], (data.y_true == positive).astype(np.float64))
        return cls(probabilities.max(axis=1), (predictions.y_pred == data.y_true).astype(np.float64))


class Calibration(PairedAudit):
    """Expected calibration error over equal-mass bins, what chance alone makes of it, and the Brier score.

    A reader may conclude whether stated probabilities can be taken at their word on average. They may not
    conclude that they can for every kind of row: errors of opposite sign within a bin cancel.

    Attributes:
        bins: Most bins; equal scores share a bin, so there may be fewer.
        confidence: Of all intervals.
    """

    info: ClassVar[AuditInfo] = AuditInfo(
        name="calibration",
        version=1,
        area="performance",
        question="When the subject states a probability, does it come true that often?",
        requires=frozenset({"probabilities"}),
        limits=(
            "Calibration is an average over rows of similar score; errors of opposite sign may cancel.",
            "The error depends on the bins; it does not compare with figures made with other bins.",
            "A finite sample shows an error even if every probability is true: read it against its floor.",
        ),
        sources=(
            "Naeini, Cooper and Hauskrecht (2015), AAAI 29:2901-2907",
            "Guo, Pleiss, Sun and Weinberger (2017), On calibration of modern neural networks, ICML",
            "Brier (1950), Monthly Weather Review 78:1-3",
        ),
    )

    bins: int = Field(15, ge=2, le=1000)
    confidence: float = Field(0.95, ge=0.5, lt=1)

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """All figures of one subject."""
        require_weight(self.info.name, data)
        positive = positive_class(len(data.classes), data.positive_index)
        predictions = subject.predict(data, batch_size=context.batch_size)
        stated = StatedChances.of(predictions, data, positive)
        bins = self._bins(stated, data)
        error = expected_calibration_error(
            stated.score,
            stated.outcome,
            bins,
            rng=context.numpy_rng("calibration-error"),
            weights=data.sample_weight,
            confidence=self.confidence,
        )
        bias = mean_measurement(
            "calibration_in_the_large",
            stated.score - stated.outcome,
            data,
            self.confidence,
            better="zero",
        )
        brier = mean_measurement(
            "brier",
            brier_scores(predictions, data.y_true, positive),
            data,
            self.confidence,
            better="lower",
        )
        evidence = (
            reliability_curve(bins, bias, error, binary=len(data.classes) == 2, confidence=self.confidence),
            reliability_table(bins, confidence=self.confidence),
        )
        return AuditOutput([*_error_measurements(error, len(data)), bias, brier], evidence, _notes(data))

    def compare(
        self, baseline: Subject, variant: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Change of the calibration error, with rows resampled for both alike, and of the Brier score."""
        require_weight(self.info.name, data)
        positive = positive_class(len(data.classes), data.positive_index)
        before, after = (
            subject.predict(data, batch_size=context.batch_size) for subject in (baseline, variant)
        )
        old, new = (StatedChances.of(predictions, data, positive) for predictions in (before, after))
        old_brier, new_brier = (
            brier_scores(predictions, data.y_true, positive) for predictions in (before, after)
        )
        change = new_brier - old_brier
        brier = Measurement(
            metric="brier.change",
            value=float(np.average(change, weights=data.sample_weight)),
            n=len(data),
            better="lower",
            interval=mean_interval(change, weights=data.sample_weight, confidence=self.confidence),
        )
        return AuditOutput([self._error_change(old, new, data, context), brier], notes=_notes(data))

    def _bins(self, stated: StatedChances, data: Dataset) -> Bins:
        return equal_mass_bins(stated.score, stated.outcome, n_bins=self.bins, weights=data.sample_weight)

    def _error_change(
        self, old: StatedChances, new: StatedChances, data: Dataset, context: AuditContext
    ) -> Measurement:
        bins = self._bins(old, data), self._bins(new, data)
        weights = np.ones(len(data)) if data.sample_weight is None else data.sample_weight

        def changes(counts: FloatArray) -> FloatArray:
            first, second = (
                resampled_errors(stated.score, stated.outcome, counts * weights, cut)
                for stated, cut in zip((old, new), bins, strict=True)
            )
            return second - first

        draws = bootstrap_rows(
            changes, len(data), n_draws=n_draws_for(len(data)), rng=context.numpy_rng("change")
        )
        value = bins[1].error - bins[0].error
        tail = (1 - self.confidence) / 2
        # resampling adds noise to both errors; centring takes out what it adds to their difference
        low, high = value + np.quantile(draws - draws.mean(), [tail, 1 - tail])
        return Measurement(
            metric="expected_calibration_error.change",
            value=value,
            n=len(data),
            better="lower",
            interval=None
            if len(data) < 2
            else Interval(
                low=min(float(low), value),
                high=max(float(high), value),
                confidence=self.confidence,
                method="paired-bootstrap",
            ),
            note=Message(text="A single row gives no interval.") if len(data) < 2 else None,
        )


def _error_measurements(error: CalibrationError, n: int) -> list[Measurement]:
    name = "expected_calibration_error"
    return [
        Measurement(metric=name, value=error.error, n=n, better="lower", interval=error.interval),
        Measurement(
            metric=f"{name}.floor",
            value=error.floor,
            n=n,
            better="neither",
            provenance="derived",
            interval=error.floor_interval,
            note=Message(text="What perfectly calibrated probabilities like these would show on average."),
        ),
        Measurement(
            metric=f"{name}.excess",
            value=error.excess,
            n=n,
            better="zero",
            provenance="derived",
            interval=error.excess_interval,
            note=Message(
                text="Error above its floor; miscalibration is shown where the interval is above 0."
            ),
        ),
    ]


def _notes(data: Dataset) -> list[Message]:
    if len(data.classes) > 2:
        return [Message(text="The probability of the predicted class is examined, not those of the others.")]
    return []
