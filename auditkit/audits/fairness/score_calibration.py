"""Whether stated probabilities hold within each group, and whether equal labels get equal scores."""

from collections.abc import Sequence

import numpy as np

from auditkit.audits.fairness.score_figures import (
    NO_OTHERS,
    NO_POSITIVE,
    NO_ROWS,
    Found,
    GroupFigures,
    figure_measurement,
)
from auditkit.audits.fairness.score_groups import GroupScores, Scored
from auditkit.data.dataset import FloatArray
from auditkit.records import Interval, Measurement, Message
from auditkit.statistics.calibration import CalibrationError, equal_mass_bins, expected_calibration_error
from auditkit.statistics.intervals import clopper_pearson, mean_interval
from auditkit.statistics.recalibration import calibration_intercept, calibration_slope, overlapping

FEWEST_FOR_ERROR = 10
"""Rows below which bins of score are not worth the name."""


def mean_score_by_group(groups: GroupScores, *, of_positive: bool, confidence: float) -> GroupFigures:
    """Mean stated probability of the rows with one label: balance for that class where it is the same.

    Source:
        Kleinberg, Mullainathan and Raghavan (2017), Inherent trade-offs in the fair determination of risk
        scores, ITCS.
    """

    def compute(rows: Scored, confidence: float) -> Found | Message:
        if not len(rows):
            return NO_ROWS
        chosen = rows.take(rows.is_positive == of_positive)
        if not len(chosen):
            return NO_POSITIVE if of_positive else NO_OTHERS
        return _mean(chosen.probability, chosen.weight, confidence)

    metric = "mean_score_positive" if of_positive else "mean_score_negative"
    return GroupFigures.of(metric, "neither", groups, compute, confidence=confidence)


def calibration_errors(
    groups: GroupScores, *, bins: int, confidence: float, rng: np.random.Generator
) -> list[CalibrationError | Message]:
    """Calibration error of every group over equal-mass bins, beside what chance alone makes of it."""
    return [_error(rows, bins, confidence, rng) for rows in groups.groups]


def error_measurements(
    groups: GroupScores, errors: Sequence[CalibrationError | Message], *, small_group: int
) -> list[Measurement]:
    """The error of every group, and how far it is beyond chance."""
    name = "expected_calibration_error"
    measurements = []
    for group, rows, error in zip(groups.grouping.groups, groups.groups, errors, strict=True):
        n = len(rows)
        whole, excess = (
            (error, error)
            if isinstance(error, Message)
            else (
                Found(error.error, n, n, error.interval),
                Found(error.excess, n, n, error.excess_interval),
            )
        )
        measurements += [
            figure_measurement(name, "lower", whole, group=group, n=n, small_group=small_group),
            figure_measurement(
                f"{name}.excess", "zero", excess, group=group, n=n, small_group=small_group
            ).model_copy(update={"provenance": "derived"}),
        ]
    return measurements


def intercepts(groups: GroupScores, confidence: float) -> list[Found | Message]:
    """Calibration intercept of every group; above 0 where its probabilities are too low."""
    return [_intercept(rows, confidence) for rows in groups.groups]


def slopes(groups: GroupScores, confidence: float) -> list[Found | Message]:
    """Calibration slope of every group; below 1 where its probabilities are too extreme."""
    return [_slope(rows, confidence) for rows in groups.groups]


def _mean(values: FloatArray, weights: FloatArray | None, confidence: float) -> Found:
    mean = float(np.average(values, weights=weights))
    interval = mean_interval(values, weights=weights, confidence=confidence)
    if interval is not None and np.ptp(values) == 0:
        # equal scores show no spread at all; as many rows as none of n leaves possible may score otherwise
        unseen = clopper_pearson(0, len(values), confidence=confidence).high
        interval = Interval(
            low=mean * (1 - unseen),
            high=mean + (1 - mean) * unseen,
            confidence=confidence,
            method="clopper-pearson",
        )
    if interval is not None:
        ends = {"low": max(0.0, interval.low), "high": min(1.0, interval.high)}
        interval = interval.model_copy(update=ends)
    return Found(mean, len(values), len(values), interval)


def _error(
    rows: Scored, bins: int, confidence: float, rng: np.random.Generator
) -> CalibrationError | Message:
    if not len(rows):
        return NO_ROWS
    if len(rows) < FEWEST_FOR_ERROR:
        return Message(
            text="The group has {n} rows; bins of score need at least {fewest}.",
            values={"n": len(rows), "fewest": FEWEST_FOR_ERROR},
        )
    cut = equal_mass_bins(rows.probability, rows.outcome, n_bins=bins, weights=rows.weight)
    return expected_calibration_error(
        rows.probability, rows.outcome, cut, rng=rng, weights=rows.weight, confidence=confidence
    )


def _one_label(rows: Scored) -> Message | None:
    if not len(rows):
        return NO_ROWS
    if not rows.is_positive.any():
        return NO_POSITIVE
    return NO_OTHERS if rows.is_positive.all() else None


def _intercept(rows: Scored, confidence: float) -> Found | Message:
    refusal = _one_label(rows)
    if refusal is not None:
        return refusal
    found = calibration_intercept(rows.log_odds, rows.outcome, weights=rows.weight, confidence=confidence)
    if found is None:
        return Message(text="The scores are so extreme, or so few, that no one shift fits the labels best.")
    return _fitted(found, rows)


def _slope(rows: Scored, confidence: float) -> Found | Message:
    refusal = _one_label(rows)
    if refusal is not None:
        return refusal
    if not overlapping(rows.log_odds, rows.outcome):
        return Message(
            text="The scores of positive rows and of others do not overlap, so no finite slope fits best."
        )
    found = calibration_slope(rows.log_odds, rows.outcome, weights=rows.weight, confidence=confidence)
    if found is None:
        return Message(text="The rows are too few, or their scores too extreme, for a slope.")
    return _fitted(found, rows)


def _fitted(found: tuple[float, Interval], rows: Scored) -> Found:
    positives = int(rows.is_positive.sum())
    return Found(found[0], len(rows), min(positives, len(rows) - positives), found[1])
