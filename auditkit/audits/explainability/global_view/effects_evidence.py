"""Curves, dots and tables behind the effects of features."""

from collections.abc import Sequence

import numpy as np

from auditkit.audits.explainability.global_view.effect_curves import Effect
from auditkit.audits.explainability.global_view.effect_range import curve_bounds
from auditkit.audits.explainability.global_view.effects_figures import NO_ORDER, FeatureEffect, Figure
from auditkit.audits.explainability.global_view.importance_figures import ALONE
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Bars, Curve, Dots, Estimate, Mark, Message, Series, Table, Unit

SLIGHT = 0.02
"""Of the largest range: a spread between rows below this is not worth a sentence."""

STEADY = 0.05
"""Share of its range by which a curve may turn back and still count as rising or falling."""


def range_bars(found: Sequence[FeatureEffect], what: str, unit: Unit, *, shown: int) -> Bars:
    """How far the mean score moves with each feature, the largest first."""
    return Bars(
        title=_lead(found, what),
        caption=Message(
            text="Highest minus lowest mean of {what} when all rows are given the same value; {shown} of "
            "{total} features",
            values={"what": what, "shown": min(shown, len(found)), "total": len(found)},
        ),
        axis=Message(text="range of the partial dependence"),
        marks=tuple(
            Mark(label=one.feature.name, estimate=_estimate(one.range, unit)) for one in found[:shown]
        ),
    )


def _lead(found: Sequence[FeatureEffect], what: str) -> Message:
    first = found[0]
    if first.range.interval is None or not first.range.interval.low > 0:
        return Message(text="No feature is shown to move {what}", values={"what": what})
    return Message(
        text="{feature} moves {what} most: by {change} from its lowest to its highest point",
        values={"feature": first.feature.name, "what": what, "change": _number(first.range.value)},
    )


def effects_table(found: Sequence[FeatureEffect], unit: Unit) -> Table:
    """All features with both ranges and their heterogeneity."""
    return Table(
        title=_interactions(found),
        caption=Message(
            text="Differs between rows: standard deviation across rows of the curves of single rows, each "
            "less its own mean (ICE); 0 where a feature acts alike on every row. Accumulated effects (ALE) "
            "ask only about values near a row's own."
        ),
        columns=(
            Message(text="Feature"),
            Message(text="Range, partial dependence"),
            Message(text="Range, accumulated effects"),
            Message(text="Differs between rows"),
        ),
        rows=tuple(
            (
                one.feature.name,
                _estimate(one.range, unit),
                _estimate(one.local_range, unit),
                _estimate(one.spread, unit),
            )
            for one in found
        ),
    )


def _interactions(found: Sequence[FeatureEffect]) -> Message:
    """For which feature the mean curve hides most."""
    hiding = max(found, key=lambda one: one.spread.value)
    named: dict[str, str | int | float] = {"feature": hiding.feature.name}
    largest = max(one.range.value for one in found)
    seen = hiding.spread.interval is not None and hiding.spread.interval.low > SLIGHT * largest
    if not seen:
        return Message(text="Every feature acts much alike on all rows")
    if hiding.spread.value > hiding.range.value:
        text = "What {feature} does differs more between rows than its mean effect is large"
        return Message(text=text, values=named)
    return Message(text="The effect of {feature} differs most between rows", values=named)


def _estimate(figure: Figure | Message, unit: Unit) -> Estimate:
    if isinstance(figure, Message):
        short = Message(text="no order") if figure == NO_ORDER else figure
        return Estimate(value=None, unit=unit, missing=short)
    if figure.interval is None:
        return Estimate(value=None, n=figure.n, unit=unit, missing=ALONE)
    interval = figure.interval
    return Estimate(value=figure.value, low=interval.low, high=interval.high, n=figure.n, unit=unit)


def effect_chart(
    one: FeatureEffect, what: str, unit: Unit, *, persons: IntArray | None, confidence: float
) -> Curve | Dots:
    """Lines over the values of a number, dots for the levels of a category."""
    if one.feature.kind != "number":
        return _levels(one, what, unit, persons, confidence)
    series = [_series(Message(text="PDP"), one.dependence, 0.0, persons, confidence)]
    if isinstance(one.local, Effect):
        # Lifted to the height of the other line: accumulated effects themselves have mean 0.
        lift = float(
            one.dependence.curve.mean()
            - np.interp(one.dependence.points, one.local.points, one.local.curve).mean()
        )
        series.append(_series(Message(text="ALE"), one.local, lift, persons, confidence))
    return Curve(
        title=_movement(one, what),
        caption=Message(
            text="PDP: mean when all rows are given the same value. ALE: small steps from the rows' own "
            "values, added up; the safer reading where the lines part. Bands are {percent} % intervals over "
            "rows.",
            values={"percent": round(100 * confidence)},
        ),
        x_axis=Message(text="{feature}", values={"feature": one.feature.name}),
        y_axis=Message(text="{what}", values={"what": what}),
        series=tuple(series),
    )


def _series(
    name: Message, effect: Effect, lift: float, persons: IntArray | None, confidence: float
) -> Series:
    own = None if persons is None else persons[effect.rows]
    bounds = curve_bounds(effect.curve, effect.influence, persons=own, confidence=confidence)
    return Series(
        name=name,
        x=tuple(effect.points.tolist()),
        y=_lifted(effect.curve, lift),
        low=() if bounds is None else _lifted(bounds[0], lift),
        high=() if bounds is None else _lifted(bounds[1], lift),
    )


def _lifted(curve: FloatArray, lift: float) -> tuple[float, ...]:
    return tuple((curve + lift).tolist())


def _levels(one: FeatureEffect, what: str, unit: Unit, persons: IntArray | None, confidence: float) -> Dots:
    effect = one.dependence
    bounds = curve_bounds(effect.curve, effect.influence, persons=persons, confidence=confidence)
    low, high = bounds if bounds is not None else (None, None)
    order = np.argsort(-effect.curve, kind="stable")
    marks = [
        Mark(
            label=one.feature.levels[int(effect.points[place])],
            estimate=Estimate(
                value=float(effect.curve[place]),
                low=None if low is None else float(low[place]),
                high=None if high is None else float(high[place]),
                n=len(effect.rows),
                unit=unit,
            ),
        )
        for place in order
    ]
    return Dots(
        title=_movement(one, what),
        axis=Message(
            text="{what} when every row has this {feature}",
            values={"what": what, "feature": one.feature.name},
        ),
        marks=tuple(marks),
    )


def _movement(one: FeatureEffect, what: str) -> Message:
    """Where the score goes with the feature, as one sentence."""
    effect, curve = one.dependence, one.dependence.curve
    named: dict[str, str | int | float] = {"feature": one.feature.name, "what": what}
    if one.range.interval is None or not one.range.interval.low > 0:
        return Message(text="{feature} is not shown to move {what}", values=named)
    lowest, highest = int(curve.argmin()), int(curve.argmax())
    named |= {
        "change": _number(one.range.value),
        "lowest": _value(one, effect.points[lowest]),
        "highest": _value(one, effect.points[highest]),
    }
    steps = np.diff(curve)
    back = STEADY * one.range.value
    if one.feature.kind == "number" and (steps > -back).all() and curve[-1] > curve[0]:
        text = "{what} rises by {change} as {feature} goes from {lowest} to {highest}"
    elif one.feature.kind == "number" and (steps < back).all() and curve[-1] < curve[0]:
        text = "{what} falls by {change} as {feature} goes from {highest} to {lowest}"
    else:
        text = "{what} is lowest at {feature} = {lowest}, and higher by {change} at {highest}"
    return Message(text=text, values=named)


def _value(one: FeatureEffect, point: float) -> str:
    return one.feature.levels[int(point)] if one.feature.levels else _number(float(point))


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e3 else f"{value:.3g}"
