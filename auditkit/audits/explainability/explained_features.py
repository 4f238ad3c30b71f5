"""Features by name and how much each moves the score."""

from dataclasses import dataclass

import numpy as np

from auditkit.data.dataset import FeatureSpace, FloatArray
from auditkit.records import Interval
from auditkit.statistics.intervals import mean_interval


def feature_names(features: FeatureSpace, n_columns: int) -> tuple[str, ...]:
    """Names of the features; columns without names are numbered from 1."""
    return features.names or tuple(f"input {column + 1}" for column in range(n_columns))


@dataclass(frozen=True, slots=True)
class Importance:
    """How much one feature moves the score, over rows.

    Attributes:
        feature: Its name.
        mean: Mean absolute attribution.
        interval: Of the mean; ``None`` for a single row.
        share: Of the sum over features; ``None`` where no feature has any attribution.
        share_interval: Of the share.
    """

    feature: str
    mean: float
    interval: Interval | None
    share: float | None
    share_interval: Interval | None


def importances(
    attributions: FloatArray, names: tuple[str, ...], confidence: float
) -> tuple[Importance, ...]:
    """Importance of every feature, the largest first; equals in the order of the features.

    Args:
        attributions: Per feature, shape ``(n, n_features)``.
        names: Of the features.
        confidence: Of the intervals.
    """
    size = np.abs(attributions)
    total = size.sum(axis=1)
    order = np.argsort(-size.mean(axis=0), kind="stable")
    return tuple(_importance(names[j], size[:, j], total, confidence) for j in order)


def _importance(name: str, size: FloatArray, total: FloatArray, confidence: float) -> Importance:
    mean, mean_total = float(size.mean()), float(total.mean())
    interval = _within(mean_interval(size, confidence=confidence), 0.0, None)
    if mean_total == 0:
        return Importance(name, mean, interval, None, None)
    share = mean / mean_total
    # linearised ratio of means: its mean is the share, its spread that of the share
    linear = share + (size - share * total) / mean_total
    return Importance(
        name, mean, interval, share, _within(mean_interval(linear, confidence=confidence), 0.0, 1.0)
    )


def _within(interval: Interval | None, low: float, high: float | None) -> Interval | None:
    """The interval cut to the values that are possible."""
    if interval is None:
        return None
    top = interval.high if high is None else min(interval.high, high)
    return interval.model_copy(update={"low": max(interval.low, low), "high": top})
