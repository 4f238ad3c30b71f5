"""The figures of attributions: completeness, importance of features, agreement of two explanations."""

from collections.abc import Sequence

import numpy as np

from auditkit.audits.explainability.explained_features import Importance
from auditkit.audits.explainability.integrated_gradients import Attributions
from auditkit.audits.explainability.methods.safe_front import Attributed
from auditkit.data.dataset import FloatArray
from auditkit.records import Better, Interval, Measurement, Message, Unit
from auditkit.statistics.intervals import mean_interval, rate
from auditkit.statistics.medians import median_interval

WITHIN = "convergence_delta.share_within"
MEDIAN = "convergence_delta.median"
IMPORTANCE = "importance"
SHARE = "importance_share"
AGREEMENT = "rank_agreement"

_SINGLE_ROW = Message(text="one row has no spread, so no interval can be given")


def completeness(attributions: Attributions, confidence: float) -> tuple[Measurement, Measurement]:
    """Share of rows whose attributions add up to the change of the score, and the median relative gap.

    Integrated gradients promise the sum, so a gap is an error of the summation, or of a model that is not
    differentiable along the path. The gap is relative to the row's change plus the spread of changes. Rows
    whose attributions still move when the steps are halved do not count as within, even if they add up.

    Source:
        Sundararajan, Taly and Yan (2017), arXiv:1703.01365, proposition 1.
    """
    n, complete = len(attributions.change), int(attributions.complete.sum())
    within = Measurement(
        metric=WITHIN,
        value=complete / n,
        n=n,
        better="higher",
        interval=rate(complete, n, confidence=confidence),
        note=_effort(attributions),
    )
    return within, _median_gap(attributions, confidence, {})


def completeness_of_method(found: Attributed, confidence: float, *, named: bool) -> list[Measurement]:
    """The same two figures of another method, or that it does not promise to add up.

    Args:
        found: What the method gave.
        confidence: Of the intervals.
        named: Whether the figures carry the name of the method; those of the first method do not.
    """
    group = {"method": found.method.name} if named else {}
    if found.change is None:
        reason = Message(
            text="attributions of {method} do not promise to add up", values={"method": found.method.name}
        )
        return [] if named else unmeasured(reason, (WITHIN, MEDIAN))
    n, complete = len(found.change), int(found.complete.sum())
    within = Measurement(
        metric=WITHIN,
        value=complete / n,
        n=n,
        better="higher",
        group=group,
        interval=rate(complete, n, confidence=confidence),
        note=Message(text="tolerance {tolerance}", values={"tolerance": found.precision.tolerance}),
    )
    return [within, _median_gap(found, confidence, group)]


def refused(method: str, reason: Message) -> Measurement:
    """That a method gives nothing here, and why."""
    return Measurement(
        metric=WITHIN, value=None, n=0, better="higher", group={"method": method}, missing=reason
    )


def _effort(attributions: Attributions) -> Message:
    effort: dict[str, str | float] = {
        "tolerance": attributions.precision.tolerance,
        "mean": round(float(attributions.n_evaluations.mean())),
        "most": int(attributions.n_evaluations.max()),
    }
    if attributions.complete.all():
        return Message(
            text="tolerance {tolerance}, {mean} gradients per row on average, {most} at most", values=effort
        )
    does_not_add_up = attributions.gap > attributions.gap_allowed
    return Message(
        text="tolerance {tolerance}, {mean} gradients per row on average, {most} at most; {gap} rows do not "
        "add up, {moving} others still move when steps are halved",
        values={
            **effort,
            "gap": int(does_not_add_up.sum()),
            "moving": int((~does_not_add_up & ~attributions.complete).sum()),
        },
    )


def _median_gap(
    attributions: Attributions | Attributed, confidence: float, group: dict[str, str]
) -> Measurement:
    scale = attributions.gap_allowed / attributions.precision.tolerance
    defined = scale > 0
    if not defined.any():
        return Measurement(
            metric=MEDIAN,
            value=None,
            n=len(scale),
            better="zero",
            group=group,
            missing=Message(text="the score is the same for every row and for the baseline"),
        )
    gaps = attributions.gap[defined] / scale[defined]
    interval = median_interval(gaps, confidence=confidence)
    return Measurement(
        metric=MEDIAN,
        value=float(np.median(gaps)),
        n=len(gaps),
        better="zero",
        group=group,
        interval=interval,
        note=None if interval else Message(text="too few rows for an interval of the median"),
    )


def importance_measurements(
    ranked: Sequence[Importance], n_rows: int, unit: Unit = "nat", method: str | None = None
) -> list[Measurement]:
    """Mean absolute attribution and share of each feature; ``method`` names one that is not the first."""
    return [figure for entry in ranked for figure in _of_feature(entry, n_rows, unit, method)]


def _of_feature(
    entry: Importance, n_rows: int, unit: Unit, method: str | None
) -> tuple[Measurement, Measurement]:
    group = {"feature": entry.feature} if method is None else {"feature": entry.feature, "method": method}
    mean = Measurement(
        metric=IMPORTANCE,
        value=entry.mean,
        unit=unit,
        n=n_rows,
        better="neither",
        group=group,
        interval=entry.interval,
        note=None if entry.interval else _SINGLE_ROW,
    )
    share = Measurement(
        metric=SHARE,
        value=entry.share,
        n=n_rows,
        better="neither",
        group=group,
        interval=entry.share_interval,
        missing=None if entry.share is not None else Message(text="no feature has any attribution"),
        note=_SINGLE_ROW if entry.share is not None and entry.share_interval is None else None,
    )
    return mean, share


def agreement(correlations: FloatArray, confidence: float) -> Measurement:
    """Mean rank correlation of two explanations of the same rows.

    Args:
        correlations: Of each row, shape ``(n,)``; NaN where one orders nothing.
        confidence: Of the interval.
    """
    defined = correlations[np.isfinite(correlations)]
    left_out = len(correlations) - len(defined)
    if not len(defined):
        return Measurement(
            metric=AGREEMENT,
            value=None,
            n=0,
            better="higher",
            missing=Message(text="no row has attributions that differ between features in both models"),
        )
    return Measurement(
        metric=AGREEMENT,
        value=float(np.clip(defined.mean(), -1.0, 1.0)),
        n=len(defined),
        better="higher",
        interval=_correlation_interval(defined, confidence),
        note=Message(
            text="{n} rows left out, because all their attributions are equal", values={"n": left_out}
        )
        if left_out
        else None,
    )


def _correlation_interval(correlations: FloatArray, confidence: float) -> Interval | None:
    interval = mean_interval(correlations, confidence=confidence)
    if interval is None:
        return None
    low, high = np.clip([interval.low, interval.high], -1.0, 1.0)
    return interval.model_copy(update={"low": float(low), "high": float(high)})


def unmeasured(reason: Message, metrics: Sequence[str]) -> list[Measurement]:
    """The figures that cannot be given, with the reason."""
    return [
        Measurement(metric=metric, value=None, n=0, better=_BETTER[metric], missing=reason)
        for metric in metrics
    ]


_BETTER: dict[str, Better] = {WITHIN: "higher", MEDIAN: "zero", AGREEMENT: "higher"}
