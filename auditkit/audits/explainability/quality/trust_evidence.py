"""The trust table: every metric, its threshold, and on which side of it the interval lies."""

from collections.abc import Sequence

from auditkit.audits.explainability.quality.checks import Check, Condition, Side, sides
from auditkit.records import Estimate, Message, Table
from auditkit.records.evidence import Cell

SIDES: dict[Side, Message] = {
    "good": Message(text="on the good side"),
    "bad": Message(text="on the bad side"),
    "open": Message(text="open: the interval holds the threshold"),
    "unknown": Message(text="not shown"),
}
_DECIDED = Message(text="decided")
_NEVER = Message(text="cannot be told")


def trust_table(method: str, checks: Sequence[Check], confidence: float) -> Table:
    """All checks of one method; the title says what they come to."""
    found = sides(checks, confidence)
    counts: dict[str, str | float] = {side: found.count(side) for side in SIDES}
    return Table(
        title=Message(
            text="Trust in {method}: of {shown} checks {good} lie on the good side of their threshold, "
            "{bad} on the bad side, {open} are open",
            values={**counts, "method": method, "shown": len(found) - found.count("unknown")},
        ),
        caption=Message(
            text="Intervals hold with {percent} % confidence one by one; the side is told with Holm's "
            "adjustment over all checks of the method, so that it is wrong for any of them with a chance "
            "of {error} % at most. In random order: the same attributions, exchanged among the units of "
            "each row. Thresholds are parameters of the audit.",
            values={"percent": round(100 * confidence, 1), "error": round(100 * (1 - confidence), 1)},
        ),
        columns=(
            Message(text="Check"),
            Message(text="Measured"),
            Message(text="In random order"),
            Message(text="Threshold"),
            Message(text="Side"),
            Message(text="Would decide"),
        ),
        rows=tuple(_row(check, side, confidence) for check, side in zip(checks, found, strict=True)),
    )


def _row(check: Check, side: Side, confidence: float) -> tuple[Cell, ...]:
    if check.absent is not None or not check.conditions:
        absent = Estimate(value=None, missing=check.absent)
        return (check.name, absent, None, _threshold(check.conditions), SIDES[side], None)
    first = check.conditions[0]
    interval = first.interval(confidence)
    low, high = (interval.low, interval.high) if interval else (None, None)
    return (
        check.name,
        Estimate(value=first.value, low=low, high=high, n=first.n),
        None if check.by_chance is None else Estimate(value=check.by_chance),
        _threshold(check.conditions),
        SIDES[side],
        _needed(check, side, confidence),
    )


def _threshold(conditions: Sequence[Condition]) -> Message | None:
    if not conditions:
        return None
    first = conditions[0]
    if first.at_least is not None:
        return Message(text="at least {limit}", values={"limit": first.at_least})
    return Message(text="at most {limit}", values={"limit": first.at_most or 0.0})


def _needed(check: Check, side: Side, confidence: float) -> Message | None:
    if side == "unknown":
        return None
    if side != "open":
        return _DECIDED
    needed = check.needed(confidence)
    if needed is None:
        return _NEVER
    count, condition = needed
    if condition.counts_models:
        return Message(text="{n} models", values={"n": count})
    return Message(text="{n} rows", values={"n": count})
