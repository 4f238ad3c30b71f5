"""Stated probability against observed frequency, as a curve and as a table."""

import numpy as np

from auditkit.records import Curve, Estimate, Measurement, Message, Series, Table
from auditkit.statistics.calibration import Bins, CalibrationError
from auditkit.statistics.intervals import FloatArray, rate_bounds


def reliability_curve(
    bins: Bins, bias: Measurement, error: CalibrationError, *, binary: bool, confidence: float
) -> Curve:
    """Observed frequency with its interval over the mean stated probability of each bin."""
    low, high = _bounds(bins, confidence)
    return Curve(
        title=_title(bias, error, binary=binary),
        x_axis=Message(text="Stated probability, mean of the bin"),
        y_axis=Message(text="Share of rows for which it came true"),
        series=(
            Series(
                name=Message(text="observed"),
                x=tuple(bins.score.tolist()),
                y=tuple(bins.outcome.tolist()),
                low=tuple(low.tolist()),
                high=tuple(high.tolist()),
            ),
        ),
        diagonal=True,
    )


def reliability_table(bins: Bins, *, confidence: float) -> Table:
    """The numbers behind the curve."""
    low, high = _bounds(bins, confidence)
    return Table(
        title=Message(text="Rows by stated probability, {k} bins", values={"k": len(bins.n)}),
        columns=(
            Message(text="Rows"),
            Message(text="Stated"),
            Message(text="Observed"),
            Message(text="Observed minus stated"),
        ),
        rows=tuple(
            (
                int(bins.n[index]),
                float(bins.score[index]),
                Estimate(
                    value=float(bins.outcome[index]),
                    low=float(low[index]),
                    high=float(high[index]),
                    n=int(bins.n[index]),
                ),
                float(bins.gap[index]),
            )
            for index in range(len(bins.n))
        ),
    )


def _bounds(bins: Bins, confidence: float) -> tuple[FloatArray, FloatArray]:
    low, high = rate_bounds(bins.outcome * bins.effective_n, bins.effective_n, confidence=confidence)
    # a weighted mean may differ from its bounds by rounding
    return np.minimum(low, bins.outcome), np.maximum(high, bins.outcome)


def _title(bias: Measurement, error: CalibrationError, *, binary: bool) -> Message:
    shown = (
        bias.interval is not None and bias.value is not None and bias.interval.low * bias.interval.high > 0
    )
    if shown and bias.value is not None:
        points = {"points": f"{100 * abs(bias.value):.1f}"}
        if binary:
            if bias.value > 0:
                return Message(
                    text="The positive label is stated {points} points more often than it occurs",
                    values=points,
                )
            return Message(
                text="The positive label is stated {points} points less often than it occurs", values=points
            )
        if bias.value > 0:
            return Message(text="Confidence exceeds accuracy by {points} points", values=points)
        return Message(text="Confidence falls short of accuracy by {points} points", values=points)
    if error.excess_interval.low > 0:
        return Message(
            text="Right on average, but stated probabilities are {points} points off within bins",
            values={"points": f"{100 * error.error:.1f}"},
        )
    return Message(text="No difference between stated and observed frequencies is shown beyond chance")
