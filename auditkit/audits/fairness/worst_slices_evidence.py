"""Chart and tables of the slices that were tested."""

from collections.abc import Sequence

from auditkit.audits.fairness.slice_confirmation import Tested
from auditkit.audits.fairness.slice_items import Items
from auditkit.records import Cell, Dots, Estimate, Interval, Mark, Message, Table

NO_ROWS = Message(text="No confirming row lies inside.")


def gap_chart(items: Items, tested: Sequence[Tested]) -> Dots:
    """One dot with its interval per tested slice; confirmed ones come first."""
    marks = tuple(
        Mark(label=items.label(one.items), estimate=_estimate(one.gap, one.interval, one.n)) for one in tested
    )
    return Dots(
        title=_title(items, tested),
        axis=Message(text="Error rate of the slice minus that of the rest"),
        marks=marks,
        reference=0.0,
        reference_label=Message(text="as in the rest"),
        caption=Message(
            text="{confirmed} of {tested} slices are confirmed, the first ones. All intervals hold together.",
            values={"confirmed": sum(one.confirmed for one in tested), "tested": len(tested)},
        ),
    )


def slice_table(items: Items, tested: Sequence[Tested], n: int) -> Table:
    """Every tested slice with its figures."""
    rows: list[tuple[Cell, ...]] = [
        (
            items.label(one.items),
            one.n,
            f"{100 * one.n / n:.1f} %",
            _estimate(one.error_rate, one.rate_interval, one.n),
            _estimate(one.rest_rate, None, one.n_rest),
            _estimate(one.gap, one.interval, one.n),
            _p(one.p),
            _p(one.p_adjusted),
            Message(text="yes") if one.confirmed else Message(text="no"),
        )
        for one in tested
    ]
    return Table(
        title=Message(
            text="{tested} slices were tested on {n} rows that had no part in finding them",
            values={"tested": len(tested), "n": n},
        ),
        columns=(
            Message(text="Slice"),
            Message(text="Rows"),
            Message(text="Share of rows"),
            Message(text="Error rate"),
            Message(text="Error rate of the rest"),
            Message(text="Difference"),
            Message(text="p"),
            Message(text="p, adjusted"),
            Message(text="Confirmed"),
        ),
        rows=tuple(rows),
        caption=Message(
            text="p: Fisher's exact test, doubled; adjusted by Holm over the slices tested. "
            "A bin of a number holds its upper edge and not its lower."
        ),
    )


def contribution_table(items: Items, confirmed: Sequence[Tested]) -> Table:
    """What each condition adds to the gap of its slice."""
    several = [one for one in confirmed if len(one.items) > 1]
    rows: list[tuple[Cell, ...]] = []
    shares: list[tuple[float, str, str]] = []
    for one in several:
        label = items.label(one.items)
        for item, part in zip(one.items, one.contributions, strict=True):
            rows.append((label, items.label((item,)), Estimate(value=part)))
            shares.append((part, items.label((item,)), label))
    _, largest, of = max(shares, key=lambda share: share[0])
    return Table(
        title=Message(
            text="{item} contributes most to a gap, that of {slice}", values={"item": largest, "slice": of}
        ),
        columns=(Message(text="Slice"), Message(text="Condition"), Message(text="Contribution to the gap")),
        rows=tuple(rows),
        caption=Message(
            text="Shapley values in the confirming half: what a condition adds to the gap, averaged over the "
            "orders in which the conditions may be set. They add up to the gap and have no interval."
        ),
    )


def _title(items: Items, tested: Sequence[Tested]) -> Message:
    confirmed = [one for one in tested if one.confirmed]
    first = confirmed[0] if confirmed else None
    if first is None or first.error_rate is None or first.rest_rate is None:
        return Message(
            text="None of {tested} slices is shown to be wrong more often than the rest",
            values={"tested": len(tested)},
        )
    digits = 0 if round(100 * first.error_rate) != round(100 * first.rest_rate) else 1
    return Message(
        text="{slice}: {high} % are predicted wrong, against {low} % of the rest",
        values={
            "slice": items.label(first.items),
            "high": f"{100 * first.error_rate:.{digits}f}",
            "low": f"{100 * first.rest_rate:.{digits}f}",
        },
    )


def _estimate(value: float | None, interval: Interval | None, n: int) -> Estimate:
    if value is None:
        return Estimate(value=None, n=n, missing=NO_ROWS)
    ends = (None, None) if interval is None else (interval.low, interval.high)
    return Estimate(value=value, low=ends[0], high=ends[1], n=n)


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"
