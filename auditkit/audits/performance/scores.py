"""Figures made of scores and losses rather than of counts."""

import numpy as np

from auditkit.data.dataset import Dataset, FloatArray, IntArray
from auditkit.errors import DataError
from auditkit.records import Better, Measurement, Message, Unit
from auditkit.statistics.auc import auc_delong
from auditkit.statistics.intervals import mean_interval
from auditkit.subjects.subject import Predictions


def require_weight(audit: str, data: Dataset) -> None:
    """Refuse rows that carry no weight at all.

    Raises:
        DataError: Every weight is 0.
    """
    if data.sample_weight is not None and not data.sample_weight.any():
        raise DataError(
            f"{audit}: all {len(data)} rows have weight 0, expected some weight above 0. "
            "Check the weight column, or leave weight out of data."
        )


def mean_measurement(
    name: str, values: FloatArray, data: Dataset, confidence: float, *, better: Better, unit: Unit = "1"
) -> Measurement:
    """The (weighted) mean of one value per row with Student's interval."""
    return Measurement(
        metric=name,
        value=float(np.average(values, weights=data.sample_weight)),
        unit=unit,
        n=len(data),
        better=better,
        interval=mean_interval(values, weights=data.sample_weight, confidence=confidence),
        note=None if len(data) > 1 else Message(text="A single row gives no interval."),
    )


def log_odds(predictions: Predictions, positive: int) -> FloatArray:
    """Log-odds of the positive of two classes; ranks rows also where probabilities round to 0 or 1."""
    scores = predictions.log_probabilities
    return np.asarray(scores[:, positive] - scores[:, 1 - positive])


def auc_measurement(predictions: Predictions, data: Dataset, positive: int, confidence: float) -> Measurement:
    """Chance that a positive row scores above another; rows are not weighted."""
    scores, actual = log_odds(predictions, positive), data.y_true == positive
    if actual.all() or not actual.any():
        return Measurement(metric="auc", value=None, n=len(data), better="higher", missing=one_class(data))
    value, interval = auc_delong(scores[actual], scores[~actual], confidence=confidence)
    return Measurement(metric="auc", value=value, n=len(data), better="higher", interval=interval)


def brier_scores(predictions: Predictions, y_true: IntArray, positive: int | None) -> FloatArray:
    """Squared error of each row's probabilities, shape ``(n,)``.

    Of the positive label with two classes, in ``[0, 1]``; summed over all classes with more, in ``[0, 2]``.

    Source:
        Brier (1950), Monthly Weather Review 78:1-3.
    """
    probabilities = predictions.probabilities
    hit = y_true[:, None] == np.arange(probabilities.shape[1])
    squared = (probabilities - hit) ** 2
    if probabilities.shape[1] == 2 and positive is not None:
        return np.asarray(squared[:, positive])
    return np.asarray(squared.sum(axis=1))


def one_class(data: Dataset) -> Message:
    """Why a figure that needs both classes is missing."""
    return Message(
        text="All rows have the label {label}; both labels are needed.",
        values={"label": data.classes[int(data.y_true[0])]},
    )
