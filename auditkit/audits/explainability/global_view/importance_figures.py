"""The figures of the importance of features to the whole model."""

from collections.abc import Sequence
from dataclasses import dataclass

from auditkit.audits.explainability.global_view.permutation import Permuted
from auditkit.audits.explainability.global_view.sage import SageDraws
from auditkit.records import Interval, Measurement, Message, Unit

PERMUTATION = "permutation_importance"
CONDITIONAL = "permutation_importance.conditional"
SAGE = "sage_value"
GAIN = "cost_reduction"
GAP = "sage_efficiency_gap"
PRECISION = "sage_precision"

ALONE = Message(text="One row or one person alone does not tell how sure this figure is.")
NO_STRATA = Message(text="No two rows are alike in the control features.")


@dataclass(frozen=True, slots=True)
class Ranked:
    """One feature with all its importances.

    Attributes:
        name: Of the feature.
        sage: Its SAGE value.
        sage_interval: Of it; ``None`` for a single row.
        permuted: Its permutation importance.
        conditional: The same within strata of the control features; ``None`` where there are none.
    """

    name: str
    sage: float
    sage_interval: Interval | None
    permuted: Permuted
    conditional: Permuted | Message | None


def ranked_measurements(ranked: Sequence[Ranked], unit: Unit, n: int) -> list[Measurement]:
    """SAGE value and permutation importance of each feature."""
    found = []
    for one in ranked:
        group = {"feature": one.name}
        found.append(_figure(SAGE, one.sage, one.sage_interval, n=n, unit=unit, group=group))
        found.append(_permuted(PERMUTATION, one.permuted, unit, group))
        if one.conditional is not None:
            found.append(_permuted(CONDITIONAL, one.conditional, unit, group))
    return found


def _permuted(metric: str, found: Permuted | Message, unit: Unit, group: dict[str, str]) -> Measurement:
    if isinstance(found, Message):
        return Measurement(
            metric=metric, value=None, n=0, unit=unit, better="neither", group=group, missing=found
        )
    return _figure(metric, found.value, found.interval, n=found.n, unit=unit, group=group)


def _figure(
    metric: str, value: float, interval: Interval | None, *, n: int, unit: Unit, group: dict[str, str]
) -> Measurement:
    return Measurement(
        metric=metric,
        value=None if interval is None else value,
        n=n,
        unit=unit,
        better="neither",
        group=group,
        interval=interval,
        missing=ALONE if interval is None else None,
    )


def overall_measurements(
    draws: SageDraws, gain: Interval | None, unit: Unit, *, stop: float, confidence: float
) -> list[Measurement]:
    """What all features together gain, and whether SAGE adds up to it and is precise.

    Args:
        draws: Of SAGE.
        gain: Interval of the gain over rows.
        unit: Of the cost.
        stop: Precision at which drawing stops.
        confidence: Of the intervals.
    """
    n = len(draws.full)
    gap, interval = draws.efficiency_gap(confidence)
    return [
        Measurement(
            metric=GAIN,
            value=None if gain is None else draws.gain,
            n=n,
            unit=unit,
            better="higher",
            interval=gain,
            missing=ALONE if gain is None else None,
            note=Message(text="Cost of always giving the mean prediction, minus cost of the model."),
        ),
        Measurement(
            metric=GAP,
            value=gap,
            n=len(draws.index),
            unit=unit,
            better="zero",
            interval=interval,
            note=Message(text="Sum of all SAGE values minus what the features gain; 0 but for chance."),
        ),
        _precision(draws, stop),
    ]


def _precision(draws: SageDraws, stop: float) -> Measurement:
    values: dict[str, str | int | float] = {"n": len(draws.index), "stop": stop}
    if draws.precision is None:
        missing = Message(text="All SAGE values are equal.")
        return Measurement(metric=PRECISION, value=None, n=len(draws.index), better="lower", missing=missing)
    text = (
        "Drawing stopped after {n} orders of the features, below {stop}."
        if draws.is_precise
        else "The budget ended after {n} orders of the features, before {stop} was reached; raise "
        "max_evaluations."
    )
    return Measurement(
        metric=PRECISION,
        value=draws.precision,
        n=len(draws.index),
        better="lower",
        interval=Interval.exact(draws.precision),
        note=Message(text=text, values=values),
    )


def all_missing(reason: Message) -> list[Measurement]:
    """The figures that cannot be given, with the reason."""
    return [
        Measurement(metric=metric, value=None, n=0, better=better, missing=reason)
        for metric, better in ((GAIN, "higher"), (GAP, "zero"), (PRECISION, "lower"))
    ]
