"""Where in a row, and at which tokens, a model of language is wrong."""

from collections.abc import Iterator

import numpy as np

from auditkit.data.dataset import BoolArray, Dataset, FloatArray, IntArray
from auditkit.data.token_text import visible
from auditkit.records import Curve, Estimate, Interval, Message, Series, Table, Unit
from auditkit.statistics.ratios import ratio_of_totals
from auditkit.subjects.subject import TokenLosses

MOST_POINTS = 32
"""Points of a curve; further positions are taken together, the later the more of them."""

TOKENS_SHOWN = 8


def loss_by_position(losses: TokenLosses, data: Dataset, confidence: float) -> Curve:
    """Mean loss against how many tokens of the row had been read, with intervals for each point alone."""
    series, ends = _series(Message(text="loss"), losses, data, confidence)
    return Curve(
        title=_takeaway(series, ends),
        caption=_CAPTION,
        x_axis=Message(text="tokens read before"),
        y_axis=Message(text="nats per token"),
        series=(series,),
    )


def loss_by_position_of_two(
    before: TokenLosses, after: TokenLosses, data: Dataset, confidence: float
) -> Curve:
    """The same of baseline and variant."""
    first, _ = _series(Message(text="baseline"), before, data, confidence)
    second, _ = _series(Message(text="variant"), after, data, confidence)
    return Curve(
        title=Message(text="Loss along the row, baseline and variant"),
        caption=_CAPTION,
        x_axis=Message(text="tokens read before"),
        y_axis=Message(text="nats per token"),
        series=(first, second),
    )


_CAPTION = Message(
    text="Mean over rows. Each interval holds for its point alone, not for the line as a whole."
)


def _series(
    name: Message, losses: TokenLosses, data: Dataset, confidence: float
) -> tuple[Series, list[Interval | None]]:
    points, intervals = [], []
    for start, end in _spans(losses.counted):
        span = slice(start, end)
        sizes = losses.counted[:, span].sum(axis=1)
        totals = losses.nats[:, span].sum(axis=1)
        if not (sizes * _weights(data)).any():
            continue
        value, interval = ratio_of_totals(totals, sizes, weights=data.sample_weight, confidence=confidence)
        intervals.append(interval)
        low, high = (value, value) if interval is None else (max(0.0, interval.low), interval.high)
        points.append(((start + 1 + end) / 2, value, low, high))
    x, y, low_ends, high_ends = (tuple(column) for column in zip(*points, strict=True))
    has_band = any(interval is not None for interval in intervals)
    return Series(
        name=name, x=x, y=y, low=low_ends if has_band else (), high=high_ends if has_band else ()
    ), intervals


def _spans(counted: BoolArray) -> Iterator[tuple[int, int]]:
    """Positions taken together: each its own in short rows, growing groups in long ones."""
    length = counted.shape[1]
    steps = np.geomspace(1, length + 1, MOST_POINTS) if length > MOST_POINTS else np.arange(1, length + 2)
    edges = np.unique(np.round(steps).astype(np.int64)) - 1
    return zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def _takeaway(series: Series, intervals: list[Interval | None]) -> Message:
    first, last = intervals[0], intervals[-1]
    if len(series.y) > 1 and first is not None and last is not None and first.low > last.high:
        return Message(
            text="The more has been read, the better: {first} nats per token at the start of a row, {last} "
            "at its end",
            values={"first": _short(series.y[0]), "last": _short(series.y[-1])},
        )
    return Message(text="It is not shown that reading more of a row helps")


def costly_tokens(losses: TokenLosses, targets: IntArray, data: Dataset, confidence: float) -> Table:
    """The tokens that take the largest part of all loss, the largest first."""
    weight = np.broadcast_to(_weights(data)[:, None], targets.shape)[losses.counted]
    came = targets[losses.counted]
    totals = np.bincount(came, weights=losses.nats[losses.counted] * weight, minlength=len(data.classes))
    order = np.argsort(-totals, kind="stable")
    rows = [
        _token_row(visible(data.classes[token]), targets == token, losses, data, confidence)
        for token in order[:TOKENS_SHOWN].tolist()
        if totals[token] > 0
    ]
    return Table(
        title=_costly_title(rows),
        caption=Message(
            text="{shown} of {total} tokens; a frequent token takes a large part though it is foretold well.",
            values={"shown": len(rows), "total": len(np.unique(came))},
        ),
        columns=(
            Message(text="Token"),
            Message(text="Occurrences"),
            Message(text="Part of all loss"),
            Message(text="Loss when it came"),
            Message(text="Foretold"),
        ),
        rows=tuple(rows),
    )


TokenRow = tuple[str, int, Estimate, Estimate, Estimate]


def _costly_title(rows: list[TokenRow]) -> Message:
    if not rows:
        return Message(text="No token takes any loss")
    part = rows[0][2].value or 0.0
    return Message(
        text="“{token}” takes {percent} % of all loss",
        values={"token": rows[0][0], "percent": float(f"{100 * part:.2g}")},
    )


def _token_row(name: str, came: BoolArray, losses: TokenLosses, data: Dataset, confidence: float) -> TokenRow:
    sizes, n = came.sum(axis=1), int(came.sum())
    nats = np.where(came, losses.nats, 0.0).sum(axis=1)
    hits = (came & losses.foretold).sum(axis=1)

    def ratio(totals: FloatArray | IntArray, of: FloatArray | IntArray) -> tuple[float, Interval | None]:
        return ratio_of_totals(totals, of, weights=data.sample_weight, confidence=confidence)

    part = ratio(nats, losses.nats.sum(axis=1))
    share, of_share = ratio(hits, sizes)
    return (
        name,
        n,
        _estimate(*part, n, most=1.0, unit="1"),
        _estimate(*ratio(nats, sizes), n, most=None, unit="nat"),
        # without a miss or a hit the rows show no spread, which is not certainty
        _estimate(share, None if share in (0.0, 1.0) else of_share, n, most=1.0, unit="1"),
    )


def _estimate(value: float, interval: Interval | None, n: int, *, most: float | None, unit: Unit) -> Estimate:
    if interval is None:
        return Estimate(value=value, n=n, unit=unit)
    high = interval.high if most is None else min(most, interval.high)
    return Estimate(value=value, low=max(0.0, interval.low), high=high, n=n, unit=unit)


def _weights(data: Dataset) -> FloatArray:
    return np.ones(len(data)) if data.sample_weight is None else data.sample_weight


def _short(value: float) -> float:
    return float(f"{value:.3g}")
