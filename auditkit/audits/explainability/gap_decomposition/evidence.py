"""Charts and table of how a gap divides among the inputs."""

import numpy as np

from auditkit.audits.explainability.gap_decomposition.figures import GAP, REST, AttributeFound
from auditkit.records import Bars, Cell, Estimate, Evidence, Mark, Message, Table

SHOWN = 10
"""Features in a chart; the others are one bar."""

MOST_CHARTS = 3
"""Per attribute: the groups with the largest gaps."""


def evidence_of(found: AttributeFound) -> list[Evidence]:
    """One chart per group, the largest gaps first, and a table of all of them."""
    gaps = np.abs(found.differences.values[:, -1])
    largest = [int(group) for group in np.argsort(-gaps, kind="stable")[:MOST_CHARTS]]
    return [*(_bars(found, group) for group in largest), _table(found)]


def _bars(found: AttributeFound, group: int) -> Bars:
    parts = found.parts(group)
    order = [int(index) for index in np.argsort(-np.abs(parts), kind="stable")]
    top, rest = order[:SHOWN], order[SHOWN:]
    marks = [Mark(label=GAP, estimate=_estimate(found, group, -1))]
    marks += [Mark(label=found.names[index], estimate=_estimate(found, group, index)) for index in top]
    if rest:
        others = Estimate(value=float(parts[rest].sum()), unit="nat")
        label = Message(text="others ({n})", values={"n": len(rest)})
        marks.append(Mark(label=label, estimate=others, small=True))
    marks.append(Mark(label=REST, estimate=_estimate(found, group, -2), small=True))
    return Bars(
        title=_title(found, group, order[0]),
        caption=Message(
            text="The bars of the inputs and of what is not attributed add up to the first one, the gap in "
            "mean score. Intervals hold together for all bars of this attribute."
        ),
        axis=Message(text="part of the gap in mean score (nat)"),
        marks=tuple(marks),
    )


def _title(found: AttributeFound, group: int, first: int) -> Message:
    level = list(found.comparison.groups)[group]
    gap, part = float(found.differences.values[group, -1]), float(found.parts(group)[first])
    values: dict[str, str | float] = {
        "group": level,
        "attribute": found.comparison.attribute,
        "gap": f"{abs(gap):.2g}",
        "feature": found.names[first],
        "part": f"{part:+.2g}".replace("-", "−"),
    }
    if not found.is_shown(group, -1):
        text = (
            "{attribute} {group}: the mean score is not shown to differ; {feature} moves it by {part} nat"
            if found.is_shown(group, first)
            else "{attribute} {group}: neither a gap in mean score nor a part of one is shown"
        )
        return _message(text, values)
    if not found.is_shown(group, first):
        text = "{attribute} {group}: no single input is shown to carry the gap in mean score of {gap} nat"
        return _message(text, values)
    if gap < 0:
        return Message(
            text="{attribute} {group} scores {gap} nat lower on average; {feature} alone moves it by "
            "{part} nat",
            values=values,
        )
    return Message(
        text="{attribute} {group} scores {gap} nat higher on average; {feature} alone moves it by {part} nat",
        values=values,
    )


def _message(text: str, values: dict[str, str | float]) -> Message:
    return Message(text=text, values=values)


def _estimate(found: AttributeFound, group: int, column: int) -> Estimate:
    interval = found.interval(group, column)
    return Estimate(
        value=float(found.differences.values[group, column]), low=interval.low, high=interval.high, unit="nat"
    )


def _table(found: AttributeFound) -> Table:
    # With several groups the parts of each are behind its chart: beside one another they are too wide.
    groups = found.comparison.groups if len(found.comparison.groups) == 1 else ()
    by_index = sorted(
        range(len(found.names)),
        key=lambda index: -found.indices[found.names[index]].value if found.indices else index,
    )
    rows: list[tuple[Cell, ...]] = []
    for index in by_index:
        name = found.names[index]
        one = found.indices.get(name)
        facts: tuple[Cell, ...] = (
            ("–", "–", "–")
            if one is None
            else (f"{100 * one.share:.1f} %", f"{one.association:.2f}", f"{one.value:.3f}")
        )
        rows.append((name, *facts, *(_estimate(found, group, index) for group in range(len(groups)))))
    return Table(
        title=_table_title(found, by_index),
        columns=(
            Message(text="Input"),
            Message(text="Share of all attribution"),
            Message(text="Tells the group"),
            Message(text="Proxy index"),
            *(Message(text="Part of the gap of {group}", values={"group": level}) for level in groups),
        ),
        rows=tuple(rows),
        caption=Message(
            text="Proxy index: share of all attribution times how well the input alone tells the group "
            "(Cramér's V of levels, |2 AUC - 1| of numbers)."
        ),
    )


def _table_title(found: AttributeFound, by_index: list[int]) -> Message:
    attribute = found.comparison.attribute
    names = [found.names[index] for index in by_index if found.names[index] != attribute]
    if not found.indices or not names or found.indices[names[0]].value <= 0:
        return Message(text="No input stands in for {attribute}", values={"attribute": attribute})
    return Message(
        text="{feature} stands in for {attribute} most: its proxy index is {value}",
        values={
            "feature": names[0],
            "attribute": attribute,
            "value": f"{found.indices[names[0]].value:.2f}",
        },
    )
