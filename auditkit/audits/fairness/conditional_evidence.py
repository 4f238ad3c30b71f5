"""The chart and the table behind gaps among alike rows."""

import numpy as np

from auditkit.audits.fairness.conditional_figures import compared_share, names_of
from auditkit.audits.fairness.conditional_pairs import ConditionalGaps, PairGap
from auditkit.audits.fairness.group_evidence import AXES
from auditkit.records import Cell, Dots, Estimate, Interval, Mark, Message, Table
from auditkit.statistics.comparisons import newcombe_bounds

MOST_STRATA = 12
"""Strata drawn: the largest ones."""

MOST_ROWS = 40
"""Pairs in the table: those with the largest gaps among alike rows."""


def conditional_chart(gaps: ConditionalGaps, *, small_group: int) -> Dots:
    """The gap of the pair to show: over all rows, among alike rows, and in the largest strata."""
    pair = gaps.pairs[gaps.clearest]
    sign = 1 if pair.conditional[0].value >= 0 else -1
    rows = int(pair.tables.rows.sum())
    raw, inner = pair.raw, pair.conditional[1]
    marks = [
        Mark(label="all_rows", estimate=_turned(raw[0], raw[2], sign, pair.tables.rows_in_all)),
        Mark(label="alike_rows", estimate=_turned(inner.value, inner.interval, sign, rows)),
        *_strata_marks(gaps, pair, sign, small_group),
    ]
    higher, lower = names_of(gaps, pair)
    return Dots(
        title=_title(gaps, pair),
        caption=Message(
            text="Rate of {higher} minus rate of {lower}: over all rows, among rows alike in {control}, and "
            "in the largest strata.",
            values={"higher": higher, "lower": lower, "control": " × ".join(gaps.strata.control)},
        ),
        axis=AXES[gaps.metric.name],
        marks=tuple(marks),
        reference=0.0,
        reference_label=Message(text="no gap"),
    )


def pair_table(found: list[ConditionalGaps]) -> Table:
    """Every pair and rate: gap over all rows, among alike rows, odds ratio and tests."""
    listed = sorted(
        ((gaps, index) for gaps in found for index in range(len(gaps.pairs))),
        key=lambda one: -abs(one[0].pairs[one[1]].conditional[0].value),
    )
    total = len(listed)
    reversed_pairs = sum(len(gaps.reversals) for gaps in found)
    return Table(
        title=Message(
            text="{pairs} comparisons of two groups among alike rows; {reversals} turn round",
            values={"pairs": total, "reversals": reversed_pairs},
        ),
        caption=Message(
            text="The {shown} largest gaps, of {total}. Gaps and odds ratios are those of the first group "
            "minus, or against, the second. p-values are adjusted for the number of pairs (Holm): “alike” "
            "tests that alike rows fare alike, “one ratio” that all strata have the same odds ratio.",
            values={"shown": min(total, MOST_ROWS), "total": total},
        ),
        columns=(
            Message(text="Rate"),
            Message(text="Groups"),
            Message(text="Gap, all rows"),
            Message(text="Gap, alike rows"),
            Message(text="Common odds ratio"),
            Message(text="p, alike"),
            Message(text="p, one ratio"),
            Message(text="Strata"),
            Message(text="Rows compared, %"),
        ),
        rows=tuple(_row(gaps, index) for gaps, index in listed[:MOST_ROWS]),
    )


def _row(gaps: ConditionalGaps, index: int) -> tuple[Cell, ...]:
    pair = gaps.pairs[index]
    first, second = (gaps.strata.grouping.labels[group] for group in pair.tables.groups)
    rows = int(pair.tables.rows.sum())
    odds = pair.odds_ratio
    return (
        gaps.metric.name,
        f"{first} / {second}",
        _turned(pair.raw[0], pair.raw[1], 1, pair.tables.rows_in_all),
        _turned(pair.conditional[0].value, pair.conditional[0].interval, 1, rows),
        Estimate(value=None, n=rows, missing=Message(text="One group has one outcome only."))
        if odds is None
        else _turned(odds[0][0], odds[0][1], 1, rows),
        _p_value(gaps.dependence[index]),
        _p_value(gaps.homogeneity[index]),
        len(pair.tables.strata),
        f"{100 * compared_share(pair):.0f}",
    )


def _p_value(p_value: float | None) -> str:
    if p_value is None:
        return "–"
    return f"{p_value:.2g}" if p_value >= 1e-4 else "< 0.0001"


def _turned(value: float, interval: Interval, sign: int, n: int) -> Estimate:
    ends = sorted((sign * interval.low, sign * interval.high))
    return Estimate(value=sign * value, low=ends[0], high=ends[1], n=n)


def _strata_marks(gaps: ConditionalGaps, pair: PairGap, sign: int, small_group: int) -> list[Mark]:
    tables = pair.tables
    shown = np.argsort(-tables.rows.sum(axis=0), kind="stable")[:MOST_STRATA]
    x, n = np.minimum(tables.successes, tables.n)[:, shown], tables.n[:, shown]
    low, high = newcombe_bounds(x[0], n[0], x[1], n[1], confidence=gaps.confidence)
    differences = x[0] / n[0] - x[1] / n[1]
    marks = []
    for place, stratum in enumerate(shown):
        interval = Interval(
            low=float(low[place]), high=float(high[place]), confidence=gaps.confidence, method="newcombe"
        )
        rows = int(tables.rows[:, stratum].sum())
        marks.append(
            Mark(
                label=", ".join(gaps.strata.names[int(tables.strata[stratum])]),
                estimate=_turned(float(differences[place]), interval, sign, rows),
                small=int(tables.rows[:, stratum].min()) < small_group,
            )
        )
    return marks


def _title(gaps: ConditionalGaps, pair: PairGap) -> Message:
    higher, lower = names_of(gaps, pair)
    values: dict[str, str | int | float] = {"higher": higher, "lower": lower}
    if pair.is_reversed:
        return Message(
            text="Over all rows {lower} have the higher rate, among alike rows {higher}: the order turns "
            "round",
            values=values,
        )
    inner, raw = pair.conditional[0].interval, pair.raw[1]
    points = {**values, "points": f"{100 * abs(pair.conditional[0].value):.1f}"}
    if inner.low > 0 or inner.high < 0:
        return Message(
            text="Among alike rows the rates of {higher} and {lower} still differ by {points} points",
            values=points,
        )
    if raw.low > 0 or raw.high < 0:
        return Message(
            text="The rates of {higher} and {lower} differ over all rows; among alike rows no gap "
            "beyond chance is shown",
            values=values,
        )
    return Message(
        text="Neither over all rows nor among alike rows is a gap between {higher} and {lower} shown beyond "
        "chance",
        values=values,
    )
