"""Chart and table of decisions that change with a sensitive feature alone."""

from collections.abc import Sequence

from auditkit.audits.fairness.attribute_flip_figures import Direction
from auditkit.records import Cell, Dots, Estimate, Evidence, Mark, Measurement, Message, Table

SHOWN = 12
"""Pairs of levels in the table."""


def evidence_of(
    attribute: str, measurements: Sequence[Measurement], pairs: Sequence[Direction], *, small_group: int
) -> list[Evidence]:
    """Whose decisions change, and to whose favour."""
    rates = [one for one in measurements if one.metric == "flip_rate" and one.value is not None]
    overall = next((one for one in rates if one.across), None)
    if overall is None:
        return []
    marks = tuple(
        Mark(
            label=one.group[attribute],
            estimate=Estimate(
                value=one.value,
                low=None if one.interval is None else one.interval.low,
                high=None if one.interval is None else one.interval.high,
                n=one.n,
            ),
            small=one.n < small_group,
        )
        for one in rates
        if one.group
    )
    chart = Dots(
        title=_title(attribute, overall),
        axis=Message(text="Share of rows predicted otherwise under another level"),
        marks=marks,
        reference=overall.value,
        reference_label=Message(text="all rows"),
        low=0.0,
    )
    return [chart, _table(attribute, pairs)] if any(one.gained or one.lost for one in pairs) else [chart]


def _title(attribute: str, overall: Measurement) -> Message:
    if not overall.value:
        return Message(
            text="No decision about {n} rows changes when {attribute} alone is exchanged",
            values={"n": overall.n, "attribute": attribute},
        )
    return Message(
        text="Exchanging {attribute} alone changes {share} % of the decisions",
        values={"attribute": attribute, "share": f"{100 * overall.value:.1f}"},
    )


def _table(attribute: str, pairs: Sequence[Direction]) -> Table:
    ordered = sorted(pairs, key=lambda one: -abs(one.net))
    rows: list[tuple[Cell, ...]] = [
        (
            f"{one.origin} → {one.target}",
            one.n,
            one.gained,
            one.lost,
            Estimate(value=one.net, low=one.interval.low, high=one.interval.high, n=one.n),
            "–" if one.p is None else "< 0.0001" if one.p < 1e-4 else f"{one.p:.2g}",
        )
        for one in ordered[:SHOWN]
    ]
    return Table(
        title=_table_title(attribute, ordered[0]),
        columns=(
            Message(text="Level and the one given"),
            Message(text="Rows"),
            Message(text="Become favourable"),
            Message(text="Favourable no more"),
            Message(text="Net change"),
            Message(text="p, adjusted"),
        ),
        rows=tuple(rows),
        caption=Message(
            text="The {shown} pairs of {n} with the largest net change. p: McNemar's exact test, adjusted by "
            "Holm over all pairs.",
            values={"shown": len(rows), "n": len(pairs)},
        ),
    )


def _table_title(attribute: str, one: Direction) -> Message:
    values: dict[str, str | int | float] = {
        "attribute": attribute,
        "origin": one.origin,
        "target": one.target,
        "points": f"{100 * abs(one.net):.1f}",
    }
    if one.net >= 0:
        text = "Rows of {origin} are favoured {points} points more often when {attribute} says {target}"
        return Message(text=text, values=values)
    text = "Rows of {origin} are favoured {points} points less often when {attribute} says {target}"
    return Message(text=text, values=values)
