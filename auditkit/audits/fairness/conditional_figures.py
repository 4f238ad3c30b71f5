"""Measurements of gaps among rows that are alike in the control features."""

import math

from auditkit.audits.fairness.conditional_counts import Strata
from auditkit.audits.fairness.conditional_pairs import ConditionalGaps, PairGap
from auditkit.audits.fairness.groupings import Grouping
from auditkit.records import Better, Interval, Measurement, Message

NO_CONTROL = Message(text="The data names no control features, so no rows are known to be alike.")
UNDECIDED = Message(text="There are more than two classes and no positive label; set positive in data.")

SUFFIXES: tuple[tuple[str, Better], ...] = (
    ("difference.conditional", "zero"),
    ("odds_ratio.conditional", "one"),
    ("reversals", "lower"),
)
"""The figures of each rate, with the direction that is good."""


def absent_measurements(metric: str, grouping: Grouping, n: int, reason: Message) -> list[Measurement]:
    """The places of one rate's figures where there are none."""
    return [
        Measurement(
            metric=f"{metric}.{suffix}",
            value=None,
            n=n,
            better=better,
            across=grouping.attributes,
            missing=reason,
        )
        for suffix, better in SUFFIXES
    ]


def conditional_measurements(gaps: ConditionalGaps) -> list[Measurement]:
    """Largest gap within strata, the common odds ratio furthest from 1, and reversals."""
    rows = int(gaps.strata.cells.n.sum())
    if not gaps.pairs:
        reason = Message(
            text="No two known groups of {attribute} have such rows that are alike in the control features.",
            values={"attribute": gaps.strata.grouping.title},
        )
        return absent_measurements(gaps.metric.name, gaps.strata.grouping, rows, reason)
    return [_difference(gaps), _odds_ratio(gaps), _reversals(gaps)]


def incomparable_measurement(strata: Strata) -> Measurement:
    """Share of rows that have no counterpart in another group."""
    left_out, rows = strata.incomparable()
    name, across = "incomparable_share", strata.grouping.attributes
    if not rows:
        reason = Message(text="No row has a known group.")
        return Measurement(metric=name, value=None, n=0, better="lower", across=across, missing=reason)
    return Measurement(
        metric=name,
        value=left_out / rows,
        n=rows,
        better="lower",
        across=across,
        interval=Interval.exact(left_out / rows),
        note=Message(
            text="{left_out} of {rows} rows are in strata with one known group only, or have an unknown "
            "control feature.",
            values={"left_out": left_out, "rows": rows},
        ),
    )


def _difference(gaps: ConditionalGaps) -> Measurement:
    pair = gaps.pairs[gaps.largest]
    joint = [one.conditional[0].interval for one in gaps.pairs]
    single = [one.conditional[1].interval for one in gaps.pairs]
    return Measurement(
        metric=f"{gaps.metric.name}.difference.conditional",
        value=abs(pair.conditional[0].value),
        n=int(pair.tables.rows.sum()),
        better="zero",
        across=gaps.strata.grouping.attributes,
        interval=Interval(
            low=max(0.0, *(max(one.low, -one.high) for one in joint)),
            high=max(max(one.high, -one.low) for one in single),
            confidence=gaps.confidence,
            method="simultaneous-stratified-miettinen-nurminen",
        ),
        note=_difference_note(gaps, pair),
    )


def _difference_note(gaps: ConditionalGaps, pair: PairGap) -> Message:
    higher, lower = names_of(gaps, pair)
    sign = 1 if pair.conditional[0].value >= 0 else -1
    values: dict[str, str | int | float] = {
        "higher": higher,
        "lower": lower,
        "raw": f"{100 * sign * pair.raw[0]:+.1f}",
        "strata": len(pair.tables.strata),
        "compared": f"{100 * compared_share(pair):.0f}",
    }
    if not gaps.apart:
        return Message(
            text="{higher} minus {lower}; over all rows it is {raw} points. {strata} strata hold both "
            "groups, with {compared} % of their rows.",
            values=values,
        )
    labels = gaps.strata.grouping.labels
    return Message(
        text="{higher} minus {lower}; over all rows it is {raw} points. {strata} strata hold both groups, "
        "with {compared} % of their rows. Pairs that share no stratum: {apart}.",
        values={**values, "apart": "; ".join(f"{labels[a]} / {labels[b]}" for a, b in gaps.apart)},
    )


def _odds_ratio(gaps: ConditionalGaps) -> Measurement:
    name = f"{gaps.metric.name}.odds_ratio.conditional"
    across = gaps.strata.grouping.attributes
    found = [(pair, pair.odds_ratio) for pair in gaps.pairs if pair.odds_ratio is not None]
    if not found:
        return Measurement(
            metric=name,
            value=None,
            n=int(sum(pair.tables.rows.sum() for pair in gaps.pairs)),
            better="one",
            across=across,
            missing=Message(
                text="In the strata that two groups share, one group has one outcome only: the odds ratio is "
                "0, infinite or undefined."
            ),
        )
    pair, ratios = max(found, key=lambda one: abs(math.log(one[1][0][0])))
    joint = [one[1][0][1] for one in found]
    single = [one[1][1][1] for one in found]
    first, second = (gaps.strata.grouping.labels[group] for group in pair.tables.groups)
    lower, higher = (first, second) if ratios[0][0] <= 1 else (second, first)
    return Measurement(
        metric=name,
        value=min(ratios[0][0], 1 / ratios[0][0]),
        n=int(pair.tables.rows.sum()),
        better="one",
        across=across,
        interval=Interval(
            low=min(min(one.low, 1 / one.high) for one in single),
            high=min(1.0, *(min(one.high, 1 / one.low) if _excludes_one(one) else 1.0 for one in joint)),
            confidence=gaps.confidence,
            method="simultaneous-robins-breslow-greenland",
        ),
        note=Message(text="Odds of {lower} against {higher}.", values={"lower": lower, "higher": higher}),
    )


def _excludes_one(interval: Interval) -> bool:
    return interval.low > 1 or interval.high < 1


def _reversals(gaps: ConditionalGaps) -> Measurement:
    number = len(gaps.reversals)
    named = "; ".join(" / ".join(names_of(gaps, pair)) for pair in gaps.reversals)
    return Measurement(
        metric=f"{gaps.metric.name}.reversals",
        value=float(number),
        n=int(sum(pair.tables.rows.sum() for pair in gaps.pairs)),
        better="lower",
        across=gaps.strata.grouping.attributes,
        interval=Interval.exact(float(number)),
        note=Message(
            text="Pairs whose gap over all rows and whose gap among alike rows are both beyond chance, in "
            "opposite directions: {pairs}.",
            values={"pairs": named},
        )
        if number
        else None,
    )


def names_of(gaps: ConditionalGaps, pair: PairGap) -> tuple[str, str]:
    """Group with the higher and with the lower rate among alike rows."""
    first, second = (gaps.strata.grouping.labels[group] for group in pair.tables.groups)
    return (first, second) if pair.conditional[0].value >= 0 else (second, first)


def compared_share(pair: PairGap) -> float:
    """Share of the rows of two groups that are in strata which hold both."""
    return float(pair.tables.rows.sum()) / pair.tables.rows_in_all
