"""The figures of the effects of features, and one feature with all that was found of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from auditkit.audits.explainability.global_view.effect_curves import Effect, heterogeneity
from auditkit.audits.explainability.global_view.effect_range import ROUNDING, curve_range
from auditkit.audits.explainability.global_view.importance_figures import ALONE
from auditkit.audits.explainability.global_view.table_features import TableFeature
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Interval, Measurement, Message, Unit
from auditkit.statistics.clustered import variance_of_sum

RANGE = "partial_dependence_range"
LOCAL_RANGE = "accumulated_effects_range"
SPREAD = "effect_heterogeneity"

NO_ORDER = Message(text="Levels of a category have no order along which effects could add up.")
NO_STEPS = Message(text="Too few different values to take steps between.")


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its interval; ``None`` for a single row or person."""

    value: float
    interval: Interval | None
    n: int


@dataclass(frozen=True, slots=True)
class FeatureEffect:
    """One feature and how the score moves with it.

    Attributes:
        feature: Which one.
        dependence: Partial dependence.
        local: Accumulated local effects, or why there are none.
        range: Highest minus lowest partial dependence.
        local_range: The same of accumulated effects, or why there is none.
        spread: How much the effect differs between rows.
    """

    feature: TableFeature
    dependence: Effect
    local: Effect | Message
    range: Figure
    local_range: Figure | Message
    spread: Figure


def range_figure(
    effect: Effect, *, persons: IntArray | None, confidence: float, rng: np.random.Generator
) -> Figure:
    """How far a curve moves."""
    own = None if persons is None else persons[effect.rows]
    value, interval = curve_range(effect.curve, effect.influence, persons=own, confidence=confidence, rng=rng)
    return Figure(value, interval, len(effect.rows))


def spread_figure(curves: FloatArray, *, persons: IntArray | None, confidence: float) -> Figure:
    """Heterogeneity, with Student's interval of its square over rows (persons).

    Args:
        curves: Of single rows, shape ``(n, n_points)``.
        persons: Which rows belong to one person, or ``None``.
        confidence: Of the interval.
    """
    value, squares = heterogeneity(curves)
    n_units = len(squares) if persons is None else len(np.unique(persons))
    if n_units < 2:
        return Figure(value, None, len(squares))
    variance = variance_of_sum((squares - squares.mean()) / len(squares), persons)
    reach = float(t.ppf((1 + confidence) / 2, n_units - 1)) * variance**0.5
    low, high = (max(0.0, float(squares.mean()) + side * reach) ** 0.5 for side in (-1, 1))
    if value <= ROUNDING * float(np.abs(curves).max()):
        low = 0.0
    interval = Interval(low=min(low, value), high=max(high, value), confidence=confidence, method="t")
    return Figure(value, interval, len(squares))


def effect_measurements(found: Sequence[FeatureEffect], unit: Unit) -> list[Measurement]:
    """Ranges and heterogeneity of each feature."""
    return [
        _measurement(metric, figure, unit, {"feature": one.feature.name})
        for one in found
        for metric, figure in ((RANGE, one.range), (LOCAL_RANGE, one.local_range), (SPREAD, one.spread))
    ]


def _measurement(metric: str, figure: Figure | Message, unit: Unit, group: dict[str, str]) -> Measurement:
    if isinstance(figure, Message) or figure.interval is None:
        return Measurement(
            metric=metric,
            value=None,
            unit=unit,
            n=0 if isinstance(figure, Message) else figure.n,
            better="neither",
            group=group,
            missing=figure if isinstance(figure, Message) else ALONE,
        )
    return Measurement(
        metric=metric,
        value=figure.value,
        unit=unit,
        n=figure.n,
        better="neither",
        group=group,
        interval=figure.interval,
    )


def all_missing(reason: Message) -> list[Measurement]:
    """The figures that cannot be given, with the reason."""
    return [
        Measurement(metric=metric, value=None, n=0, better="neither", missing=reason)
        for metric in (RANGE, LOCAL_RANGE, SPREAD)
    ]
