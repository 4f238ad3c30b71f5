"""The figures of counterfactuals: how many rows have one, how far, how many changes, how plausible."""

import numpy as np

from auditkit.audits.explainability.counterfactuals.found import Found
from auditkit.audits.explainability.counterfactuals.plausibility import Plausibility
from auditkit.data.dataset import BoolArray, FloatArray
from auditkit.records import Better, Interval, Measurement, Message
from auditkit.statistics.clustered import clustered_mean, clustered_rate
from auditkit.statistics.medians import median_interval

VALIDITY = "validity"
DISTANCE = "distance"
CHANGED = "features_changed"
TO_ROWS = "neighbour_distance"
VIOLATIONS = "constraint_violations"

BETTER: dict[str, Better] = {
    VALIDITY: "higher",
    DISTANCE: "lower",
    CHANGED: "lower",
    TO_ROWS: "lower",
    VIOLATIONS: "zero",
}

NONE_FOUND = Message(text="No row has a counterfactual.")
_SINGLE = Message(text="one counterfactual has no spread, so no interval can be given")


def unmeasured(reason: Message) -> list[Measurement]:
    """The places of the figures where nothing can be measured."""
    return [
        Measurement(metric=metric, value=None, n=0, better=better, missing=reason)
        for metric, better in BETTER.items()
    ]


def overall(found: Found, plausible: Plausibility | Message, confidence: float) -> list[Measurement]:
    """All figures over all explained rows."""
    every = np.ones(len(found), dtype=np.bool_)
    n_changed = found.changed.sum(axis=1).astype(np.float64)
    return [
        validity(found, every, {}, confidence, why_not(found)),
        mean_over(found, DISTANCE, found.distance, rows=every, group={}, confidence=confidence),
        mean_over(found, CHANGED, n_changed, rows=every, group={}, confidence=confidence),
        _to_rows(plausible, confidence),
        _violations(found),
    ]


def why_not(found: Found) -> Message | None:
    """Why rows have no counterfactual; ``None`` where all have one."""
    without = int((~found.has).sum())
    if not without:
        return None
    fixed, unsearched = found.n_fixed, len(found) - found.n_searched
    if fixed == len(found):
        return Message(text="No feature of any row may change under these constraints.")
    return Message(
        text="{n} rows without one: {fixed} in which no feature may change, {unsearched} not searched to the "
        "end before the time was up; for the others none was found.",
        values={"n": without, "fixed": fixed, "unsearched": unsearched},
    )


def validity(
    found: Found, rows: BoolArray, group: dict[str, str], confidence: float, note: Message | None = None
) -> Measurement:
    """Share of explained rows for which a counterfactual was found; more may have one."""
    if not rows.any():
        missing = Message(text="No row of this group is explained.")
        return Measurement(metric=VALIDITY, value=None, n=0, better="higher", group=group, missing=missing)
    units = None if found.data.person is None else found.data.person[rows]
    share, interval = clustered_rate(found.has[rows], units=units, confidence=confidence)
    return Measurement(
        metric=VALIDITY,
        value=share,
        n=int(rows.sum()),
        better="higher",
        kind="lower_bound",
        group=group,
        interval=interval,
        note=note,
    )


def mean_over(
    found: Found,
    metric: str,
    values: FloatArray,
    *,
    rows: BoolArray,
    group: dict[str, str],
    confidence: float,
) -> Measurement:
    """A mean over the counterfactuals of some rows, said to be missing where there are none."""
    kept = found.has & rows
    n = int(kept.sum())
    if not n:
        reason = NONE_FOUND if not group else Message(text="No row of this group has a counterfactual.")
        return Measurement(metric=metric, value=None, n=0, better=BETTER[metric], group=group, missing=reason)
    mean, interval = mean_and_interval(found, values, kept, confidence)
    return Measurement(
        metric=metric,
        value=mean,
        n=n,
        better=BETTER[metric],
        kind="upper_bound" if metric == DISTANCE else "estimate",
        group=group,
        interval=interval,
        note=None if interval else _SINGLE,
    )


def mean_and_interval(
    found: Found, values: FloatArray, rows: BoolArray, confidence: float
) -> tuple[float, Interval | None]:
    """Of a figure that is not negative; rows of one person are not independent."""
    units = None if found.data.person is None else found.data.person[rows]
    mean, interval = clustered_mean(values[rows], units=units, confidence=confidence)
    if interval is None:
        return mean, None
    low = max(0.0, min(interval.low, mean))
    return mean, interval.model_copy(update={"low": low, "high": max(interval.high, mean)})


def _to_rows(plausible: Plausibility | Message, confidence: float) -> Measurement:
    if isinstance(plausible, Message):
        return Measurement(metric=TO_ROWS, value=None, n=0, better="lower", missing=plausible)
    interval = median_interval(plausible.ratios, confidence=confidence)
    return Measurement(
        metric=TO_ROWS,
        value=float(np.median(plausible.ratios)),
        n=len(plausible.ratios),
        better="lower",
        interval=interval,
        note=Message(
            text="Median over counterfactuals; 1 stands for {typical}, the median among {n} rows.",
            values={"typical": float(f"{plausible.typical:.3g}"), "n": plausible.n_rows},
        )
        if interval
        else Message(text="too few counterfactuals for an interval of the median"),
    )


def _violations(found: Found) -> Measurement:
    n = int(found.has.sum())
    if not n:
        return Measurement(metric=VIOLATIONS, value=None, n=0, better="zero", missing=NONE_FOUND)
    count = int(found.broken.sum())
    return Measurement(
        metric=VIOLATIONS,
        value=count,
        unit="count",
        n=n,
        better="zero",
        interval=Interval.exact(count),
    )
