"""How much of the baseline's resources a variant takes: quotients, measured in pairs."""

from collections.abc import Sequence

import numpy as np

from auditkit.data.dataset import FloatArray
from auditkit.energy.balance import EnergyBalance
from auditkit.energy.flops import FlopCount
from auditkit.records import Interval, Measurement, Message
from auditkit.statistics.medians import median_interval
from auditkit.subjects.subject import Subject

RATIO = ".ratio"


def count_ratio(
    metric: str, before: float | None, after: float | None, note: Message | None = None
) -> Measurement:
    """Quotient of two counts."""
    if before is None or after is None:
        return _missing(metric, Message(text="the figure is missing for one of the two"))
    if before <= 0:
        return _missing(metric, Message(text="the figure of the baseline is 0"))
    value = after / before
    return Measurement(
        metric=metric + RATIO,
        value=value,
        n=1,
        better="lower",
        provenance="derived",
        interval=Interval.exact(value),
        note=note,
    )


def flops_ratio(metric: str, before: FlopCount | None, after: FlopCount | None) -> Measurement:
    """Quotient of FLOPs, only where both are complete: that of two lower bounds bounds nothing."""
    if before is not None and after is not None and (before.unknown or after.unknown):
        return _missing(metric, Message(text="the FLOPs of one of the two are only a lower bound"))
    return count_ratio(
        metric, None if before is None else before.flops, None if after is None else after.flops
    )


def duration_ratio(metric: str, seconds: FloatArray, confidence: float) -> Measurement:
    """Median quotient of paired durations, shape ``(n, 2)``, baseline first."""
    ratios = seconds[:, 1] / np.maximum(seconds[:, 0], np.finfo(np.float64).tiny)
    return Measurement(
        metric=metric + RATIO,
        value=float(np.median(ratios)),
        n=len(ratios),
        better="lower",
        interval=median_interval(ratios, confidence=confidence),
        note=Message(text="median of {n} pairs run in turns on this machine", values={"n": len(ratios)}),
    )


def energy_ratio(
    metric: str, pairs: Sequence[tuple[EnergyBalance, EnergyBalance]], confidence: float
) -> Measurement:
    """Median quotient of the energy of paired windows, baseline first.

    Unknown factors (watts per CPU, watts per gigabyte) are the same for both models. Whatever they are, the
    quotient of the totals lies between the smallest and the largest quotient of a part.
    """
    quotients = [_quotients(before, after) for before, after in pairs]
    found = np.array([quotient for quotient in quotients if quotient is not None])
    if len(found) < len(pairs) or not len(found):
        missing = next((balance.missing for pair in pairs for balance in pair if balance.missing), None)
        return _missing(
            metric,
            missing or Message(text="the energy of one window is zero or unknown, or the devices differ"),
        )
    low = median_interval(found[:, 0], confidence=confidence)
    high = median_interval(found[:, 2], confidence=confidence)
    estimated = pairs[0][0].total is None or pairs[0][0].total.provenance == "estimated"
    return Measurement(
        metric=metric + RATIO,
        value=float(np.median(found[:, 1])),
        n=len(found),
        better="lower",
        provenance="estimated" if estimated else "measured",
        interval=None if low is None or high is None else low.model_copy(update={"high": high.high}),
        note=Message(text="median of {n} pairs run in turns on this machine", values={"n": len(found)}),
    )


def _quotients(before: EnergyBalance, after: EnergyBalance) -> tuple[float, float, float] | None:
    """Lowest, best and highest quotient of one pair; ``None`` where their parts cannot be compared."""
    if before.total is None or after.total is None or min(p.energy.value for p in before.parts) <= 0:
        return None
    if [part.component for part in before.parts] != [part.component for part in after.parts]:
        return None
    total = after.total.value / before.total.value
    if before.total.provenance == "measured":
        return total, total, total
    parts = [b.energy.value / a.energy.value for a, b in zip(before.parts, after.parts, strict=True)]
    return min(parts), total, max(parts)


def training_ratio(metric: str, baseline: Subject, variant: Subject) -> Measurement:
    """Quotient of the recorded durations of training."""
    before, after = baseline.card.training, variant.card.training
    return count_ratio(
        metric,
        None if before is None else before.duration_s,
        None if after is None else after.duration_s,
        Message(text="quotient of the recorded durations, taking the power as the same in both"),
    )


def _missing(metric: str, reason: Message) -> Measurement:
    return Measurement(
        metric=metric + RATIO, value=None, n=0, better="lower", provenance="derived", missing=reason
    )
