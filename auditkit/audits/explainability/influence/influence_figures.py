"""The figures of influence: how concentrated it is, which labels stand out, whether two methods agree."""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np

from auditkit.audits.explainability.influence.influences import Influences, Method
from auditkit.audits.explainability.rank_agreement import spearman_by_row
from auditkit.data.dataset import BoolArray, FloatArray, IntArray
from auditkit.records import Better, Interval, Measurement, Message
from auditkit.statistics.intervals import mean_interval, rate

TOP_SHARE: Final = "top_hundredth_share"
DISAGREEMENT: Final = "training_disagreement"
IN_TOP_TENTH: Final = "training_disagreement.top_tenth"
AGREEMENT: Final = "rank_agreement"

_SINGLE = Message(text="one prediction has no spread, so no interval can be given")


def figures(
    found: Mapping[Method, Influences | Message],
    contradicted: BoolArray,
    *,
    n_measured: int,
    confidence: float,
) -> list[Measurement]:
    """All figures.

    Args:
        found: By method.
        contradicted: Training rows whose label is not the predicted class, shape ``(n,)``.
        n_measured: So many explained predictions count, from the first.
        confidence: Of the intervals.
    """
    shares, tops = [], []
    for method, one in found.items():
        group: dict[str, str] = {"method": method}
        if isinstance(one, Message):
            shares.append(_missing(TOP_SHARE, one, group))
            tops.append(_missing(IN_TOP_TENTH, one, group))
            continue
        of_predictions = top_shares(one.on_predictions[:n_measured])
        shares.append(_mean(TOP_SHARE, of_predictions, (0.0, 1.0), confidence, group))
        top = contradicted[top_tenth(one.on_itself)]
        tops.append(_share_of_rows(IN_TOP_TENTH, top, confidence, group))
    everywhere = _share_of_rows(DISAGREEMENT, contradicted, confidence)
    return [*shares, _agreement(found, n_measured, confidence), everywhere, *tops]


def top_shares(influence: FloatArray) -> FloatArray:
    """Share of the absolute influence on each prediction that the top hundredth of rows carries.

    Args:
        influence: Shape ``(m, n)``. At least one row counts as the top hundredth.

    Returns:
        Shape ``(m,)``; NaN where no row has any influence.
    """
    size = np.sort(np.abs(influence), axis=1)[:, ::-1]
    total = size.sum(axis=1)
    with np.errstate(invalid="ignore"):
        share = size[:, : n_in_top(size.shape[1], 100)].sum(axis=1) / total
    return np.asarray(np.where(total > 0, share.clip(max=1.0), np.nan))


def top_tenth(on_itself: FloatArray) -> IntArray:
    """The tenth of rows with the largest self-influence, the largest first; among equals the first rows."""
    return np.argsort(-on_itself, kind="stable")[: n_in_top(len(on_itself), 10)]


def n_in_top(n: int, parts: int) -> int:
    """Rows in the top one of ``parts`` equal parts, at least 1."""
    return math.ceil(n / parts)


def _share_of_rows(
    metric: str, hits: BoolArray, confidence: float, group: dict[str, str] | None = None
) -> Measurement:
    n_hits, n = int(hits.sum()), len(hits)
    return Measurement(
        metric=metric,
        value=n_hits / n,
        n=n,
        better=_BETTER[metric],
        group=group or {},
        interval=rate(n_hits, n, confidence=confidence),
    )


def _mean(
    metric: str, values: FloatArray, limits: tuple[float, float], confidence: float, group: dict[str, str]
) -> Measurement:
    """Mean over the predictions for which there is a value."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return _missing(metric, Message(text="no training row has any influence"), group)
    interval = mean_interval(defined, confidence=confidence)
    left_out = len(values) - len(defined)
    note = _SINGLE if interval is None else None
    if left_out and interval is not None:
        note = Message(
            text="{n} predictions left out, on which no training row has any influence",
            values={"n": left_out},
        )
    return Measurement(
        metric=metric,
        value=float(np.clip(defined.mean(), *limits)),
        n=len(defined),
        better=_BETTER[metric],
        group=group,
        interval=_within(interval, limits),
        note=note,
    )


def _agreement(
    found: Mapping[Method, Influences | Message], n_measured: int, confidence: float
) -> Measurement:
    """Mean rank correlation over training rows of the influence by both methods."""
    orders = [one.on_predictions[:n_measured] for one in found.values() if not isinstance(one, Message)]
    if len(orders) < 2:
        return _missing(AGREEMENT, Message(text="there are no two methods to compare"), {})
    return _mean(AGREEMENT, spearman_by_row(orders[0], orders[1]), (-1.0, 1.0), confidence, {})


def _within(interval: Interval | None, limits: tuple[float, float]) -> Interval | None:
    if interval is None:
        return None
    low, high = np.clip([interval.low, interval.high], *limits)
    return interval.model_copy(update={"low": float(low), "high": float(high)})


def _missing(metric: str, reason: Message, group: dict[str, str]) -> Measurement:
    return Measurement(metric=metric, value=None, n=0, better=_BETTER[metric], missing=reason, group=group)


_BETTER: Final[Mapping[str, Better]] = {
    TOP_SHARE: "neither",
    DISAGREEMENT: "lower",
    IN_TOP_TENTH: "lower",
    AGREEMENT: "higher",
}
