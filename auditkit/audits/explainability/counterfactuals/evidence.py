"""Charts and tables behind counterfactuals: what changes, examples chosen by rule, and groups."""

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np

from auditkit.audits.explainability.counterfactuals.features import Feature, LevelFeature
from auditkit.audits.explainability.counterfactuals.found import Found
from auditkit.audits.explainability.counterfactuals.groups import Recourse
from auditkit.data.dataset import IntArray
from auditkit.records import Cell, Dots, Estimate, Evidence, Mark, Measurement, Message, Table
from auditkit.statistics.intervals import rate

SHOWN = 12
"""Features in the chart."""

SMALL_GROUP = 30
"""Counterfactuals of a group below which its mark is faint."""

_GROUPED_FROM: Final = 10_000
"""Numbers from here on have their thousands set apart."""

Rule = Literal["median", "nearest", "farthest"]


def changes(found: Found, confidence: float) -> Dots:
    """How often each feature changes."""
    n = int(found.has.sum())
    counts = found.changed[found.has].sum(axis=0)
    order = np.argsort(-counts, kind="stable")[:SHOWN]
    marks = []
    for j in order[counts[order] > 0]:
        interval = rate(int(counts[j]), n, confidence=confidence)
        estimate = Estimate(value=counts[j] / n, low=interval.low, high=interval.high, n=n)
        marks.append(Mark(label=found.table.names[j], estimate=estimate))
    first = int(order[0])
    return Dots(
        title=Message(
            text="{feature} changes in {percent} % of the counterfactuals",
            values={"feature": found.table.names[first], "percent": round(100 * counts[first] / n)},
        ),
        caption=Message(
            text="{n} counterfactuals; {shown} of {total} features are changed in some of them and shown",
            values={"n": n, "shown": len(marks), "total": len(counts)},
        ),
        axis=Message(text="share of counterfactuals in which the feature changes"),
        marks=tuple(marks),
        low=0.0,
        high=1.0,
    )


def example_rows_of(found: Found) -> tuple[tuple[int, Rule], ...]:
    """The rows at the (lower) median, the smallest and the largest distance, each once."""
    rows: IntArray = np.flatnonzero(found.has)
    ordered = rows[np.argsort(found.distance[rows], kind="stable")]
    farthest = rows[found.distance[rows].argmax()]
    chosen: dict[int, Rule] = {}
    for row, rule in (
        (ordered[(len(ordered) - 1) // 2], "median"),
        (ordered[0], "nearest"),
        (farthest, "farthest"),
    ):
        chosen.setdefault(int(row), rule)  # type: ignore[arg-type]  # the three rules above
    return tuple(chosen.items())


def example(found: Found, row: int, rule: Rule, *, gives_probabilities: bool) -> Table:
    """One row now and as its counterfactual, the features that change, the largest share first."""
    changed = np.flatnonzero(found.changed[row])
    order = changed[np.argsort(-found.parts[row, changed], kind="stable")]
    classes, target = found.data.classes, int(found.target[row])
    rows: list[tuple[Cell, ...]] = [
        (
            found.table.names[j],
            written(found.table.features[j], found.own[row, j]),
            written(found.table.features[j], found.values[row, j]),
            Estimate(value=float(found.parts[row, j])),
        )
        for j in order
    ]
    values: dict[str, str | int | float] = {
        "n": len(order),
        "now": classes[int(found.before[row].argmax())],
        "then": classes[target],
        "feature": found.table.names[order[0]],
        "distance": float(f"{found.distance[row]:.3g}"),
    }
    return Table(
        title=Message(text=(_ONE_CHANGE if len(order) == 1 else _CHANGES)[rule], values=values),
        caption=_caption(found, row, target) if gives_probabilities else None,
        columns=(
            Message(text="Feature"),
            Message(text="Now"),
            Message(text="Counterfactual"),
            Message(text="Distance"),
        ),
        rows=tuple(rows),
    )


_ONE_CHANGE: Final[Mapping[Rule, str]] = {
    "median": "At the median distance, {feature} alone turns {now} into {then}",
    "nearest": "At the smallest distance, {feature} alone turns {now} into {then}",
    "farthest": "At the largest distance, {feature} alone turns {now} into {then}",
}

_CHANGES: Final[Mapping[Rule, str]] = {
    "median": "At the median distance, {n} changes turn {now} into {then}",
    "nearest": "At the smallest distance, {n} changes turn {now} into {then}",
    "farthest": "At the largest distance, {n} changes turn {now} into {then}",
}


def _caption(found: Found, row: int, target: int) -> Message:
    before, after = np.exp(found.before[row, target]), np.exp(found.after[row, target])
    return Message(
        text="Probability of {label}: {before} now, {after} with the changes. "
        "All other features stay as they are.",
        values={
            "label": found.data.classes[target],
            "before": round(float(before), 3),
            "after": round(float(after), 3),
        },
    )


def written(feature: Feature, value: float) -> str:
    """A value as a reader writes it."""
    if np.isnan(value):
        return "–"
    if isinstance(feature, LevelFeature):
        return feature.levels[int(value)]
    digits = "8g" if feature.decimals is None else f"{feature.decimals}f"
    # four digits may be a year, which nobody writes so
    grouping = "," if abs(value) >= _GROUPED_FROM else ""
    return f"{value:{grouping}.{digits}}".replace("-", "\N{MINUS SIGN}")


def by_group(one: Recourse, overall: Measurement) -> list[Evidence]:
    """Mean distances of the groups, against that of all rows."""
    own = [figure for figure in one.measurements if figure.metric == "distance" and figure.value is not None]
    if len(own) < 2:
        return []
    return [
        Dots(
            title=_title(one),
            axis=Message(text="mean distance to the counterfactual, in deviations"),
            marks=tuple(_mark(figure, figure.group[one.attribute]) for figure in own),
            reference=overall.value,
            reference_label=Message(text="all rows"),
            low=0.0,
        )
    ]


def _mark(figure: Measurement, label: str) -> Mark:
    interval = figure.interval
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    estimate = Estimate(value=figure.value, low=low, high=high, n=figure.n)
    return Mark(label=label, estimate=estimate, small=figure.n < SMALL_GROUP)


def _title(one: Recourse) -> Message:
    gap = one.gap
    if gap is None or gap.interval.low <= 0:
        return Message(
            text="Between groups of {attribute} no difference in distance is clear",
            values={"attribute": one.attribute},
        )
    nearer, farther = (one.compared[place] for place in gap.clearest)
    return Message(
        text="Counterfactuals lie farther away for {farther} than for {nearer}",
        values={"farther": farther, "nearer": nearer},
    )


def evidence_of(
    found: Found,
    groups: Sequence[Recourse],
    overall: Measurement,
    confidence: float,
    *,
    gives_probabilities: bool,
) -> list[Evidence]:
    """Everything there is to show; nothing where no counterfactual was found."""
    if not found.has.any():
        return []
    examples = [
        example(found, row, rule, gives_probabilities=gives_probabilities)
        for row, rule in example_rows_of(found)
    ]
    charts = [chart for one in groups for chart in by_group(one, overall)]
    return [changes(found, confidence), *examples, *charts]
