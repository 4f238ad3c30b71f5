"""The trust table: every metric, its threshold, and on which side of it the interval lies."""

from collections.abc import Sequence

from auditkit.audits.explainability.quality.checks import Check, Condition, Placed, Side, placed
from auditkit.records import Estimate, Message, Table
from auditkit.records.evidence import Cell

SIDES: dict[Side, Message] = {
    "good": Message(text="passes"),
    "bad": Message(text="fails"),
    "open": Message(text="inconclusive"),
    "unknown": Message(text="not shown"),
}


def trust_table(method: str, checks: Sequence[Check], confidence: float) -> Table:
    """All checks of one method; the title says what they come to."""
    found = placed(checks, confidence)
    sides = [one.side for one in found]
    counts: dict[str, str | float] = {side: sides.count(side) for side in SIDES if side != "unknown"}
    return Table(
        title=Message(
            text="{method}: {good} of {shown} checks pass, {bad} fail, {open} inconclusive",
            values={**counts, "method": method, "shown": sum(side != "unknown" for side in sides)},
        ),
        caption=Message(
            text="Each interval holds with {percent} % confidence; an outcome is told after Holm's "
            "adjustment over all checks of the method. In random order: the same attributions, exchanged "
            "among the units of each row. Order of removal: minus that in random order. Infidelity must be "
            "below that in random order, too. Thresholds are parameters of the audit.",
            values={"percent": f"{100 * confidence:g}"},
        ),
        columns=(
            Message(text="Check"),
            Message(text="Measured"),
            Message(text="In random order"),
            Message(text="Threshold"),
            Message(text="Outcome"),
        ),
        rows=tuple(_row(check, one, confidence) for check, one in zip(checks, found, strict=True)),
    )


def _row(check: Check, one: Placed, confidence: float) -> tuple[Cell, ...]:
    if check.absent is not None or not check.conditions:
        absent = Estimate(value=None, missing=check.absent)
        return (check.name, absent, None, _threshold(check.conditions), SIDES[one.side])
    first = check.conditions[0]
    interval = first.interval(confidence)
    low, high = (interval.low, interval.high) if interval else (None, None)
    return (
        check.name,
        Estimate(value=first.value, low=low, high=high, n=first.n),
        None if check.by_chance is None else Estimate(value=check.by_chance),
        _threshold(check.conditions),
        _side(check, one),
    )


def _side(check: Check, one: Placed) -> Message:
    """The side, and for an open check how many rows or models would settle it."""
    needed = check.needed(one.confidence) if one.side == "open" else None
    if needed is None:
        return SIDES[one.side]
    count, condition = needed
    if condition.counts_models:
        return Message(text="inconclusive; {n} models would decide", values={"n": count})
    return Message(text="inconclusive; {n} rows would decide", values={"n": count})


def _threshold(conditions: Sequence[Condition]) -> Message | None:
    if not conditions:
        return None
    first = conditions[0]
    if first.at_least is not None:
        return Message(text="at least {limit}", values={"limit": first.at_least})
    return Message(text="at most {limit}", values={"limit": first.at_most or 0.0})
