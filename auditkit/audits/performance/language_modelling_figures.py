"""The figures of a model of language: totals over tokens, with rows as what was sampled."""

import math

import numpy as np

from auditkit.data.dataset import Dataset, FloatArray, IntArray
from auditkit.data.token_text import visible
from auditkit.records import Better, Interval, Measurement, Message, Provenance, Unit
from auditkit.statistics.intervals import clopper_pearson, effective_n
from auditkit.statistics.paired import tango
from auditkit.statistics.ratios import ratio_of_totals
from auditkit.subjects.subject import TokenLosses

PERPLEXITY = "perplexity"
LOSS = "loss"
BITS = "bits_per_token"
ACCURACY = "accuracy"

_MOST_EXPONENT = 700.0
"""Beyond it a perplexity is no longer a number of double precision."""


def of_subject(losses: TokenLosses, targets: IntArray, data: Dataset, confidence: float) -> list[Measurement]:
    """Perplexity, loss, bits and accuracy.

    Args:
        losses: Of every token.
        targets: The tokens that came, shape ``(n, length)``.
        data: The rows.
        confidence: Of the intervals.
    """
    sizes = losses.counted.sum(axis=1)
    value, interval = ratio_of_totals(
        losses.nats.sum(axis=1), sizes, weights=data.sample_weight, confidence=confidence
    )
    n = int(sizes.sum())
    return [
        _exponential(PERPLEXITY, value, interval, n, _perplexity_note(losses, targets, data)),
        _figure(LOSS, value, interval, n, "lower", unit="nat", note=_rows_note(data)),
        _figure(BITS, *_divided(value, interval, math.log(2)), n, "lower", unit="bit", provenance="derived"),
        _accuracy(losses, targets, data, confidence),
    ]


def of_pair(before: TokenLosses, after: TokenLosses, data: Dataset, confidence: float) -> list[Measurement]:
    """Change of the loss and the accuracy, and the quotient of the perplexities, paired by row."""
    sizes, weights = before.counted.sum(axis=1), data.sample_weight
    n = int(sizes.sum())
    change, interval = ratio_of_totals(
        (after.nats - before.nats).sum(axis=1), sizes, weights=weights, confidence=confidence
    )
    moved = after.foretold.astype(np.float64) - before.foretold
    hits, of_hits = ratio_of_totals(
        np.where(before.counted, moved, 0.0).sum(axis=1), sizes, weights=weights, confidence=confidence
    )
    if not moved[before.counted].any():
        of_hits = tango(0, 0, _rows(data), confidence=confidence)
    return [
        _exponential(PERPLEXITY + ".ratio", change, interval, n, None),
        _figure(LOSS + ".change", change, interval, n, "lower", unit="nat"),
        _figure(ACCURACY + ".change", hits, _within(of_hits, -1.0, 1.0), n, "higher"),
    ]


def _accuracy(losses: TokenLosses, targets: IntArray, data: Dataset, confidence: float) -> Measurement:
    """Share of tokens that were the most probable one.

    Where all or none were, rows show no spread; the exact interval of as many rows stands in, the widest that
    dependence within rows allows.
    """
    sizes, hits = losses.counted.sum(axis=1), (losses.foretold & losses.counted).sum(axis=1)
    value, interval = ratio_of_totals(hits, sizes, weights=data.sample_weight, confidence=confidence)
    if value in (0.0, 1.0):
        rows = _rows(data)
        interval = clopper_pearson(value * rows, rows, confidence=confidence)
    shares = _token_shares(losses, targets, data)
    most = int(shares.argmax())
    note = Message(
        text="Always foretelling “{token}”, the most frequent token, would reach {share}.",
        values={"token": visible(data.classes[most]), "share": round(float(shares[most]), 4)},
    )
    return _figure(ACCURACY, value, _within(interval, 0.0, 1.0), int(sizes.sum()), "higher", note=note)


def _perplexity_note(losses: TokenLosses, targets: IntArray, data: Dataset) -> Message:
    shares = _token_shares(losses, targets, data)
    known = shares[shares > 0]
    return Message(
        text="Guessing evenly among all tokens gives {tokens}; knowing how frequent each token is in these "
        "rows, and nothing else, gives {unigram}.",
        values={
            "tokens": len(data.classes),
            "unigram": float(f"{math.exp(-float((known * np.log(known)).sum())):.3g}"),
        },
    )


def _token_shares(losses: TokenLosses, targets: IntArray, data: Dataset) -> FloatArray:
    """Share of each token among those to be foretold, weighted as the rows are."""
    counted = losses.counted
    weights = np.ones(len(data)) if data.sample_weight is None else data.sample_weight
    totals = np.bincount(
        targets[counted],
        weights=np.broadcast_to(weights[:, None], targets.shape)[counted],
        minlength=len(data.classes),
    )
    return np.asarray(totals / totals.sum())


def _rows_note(data: Dataset) -> Message:
    if _rows(data) < 2:
        return Message(text="A single row gives no interval.")
    return Message(
        text="from {n} rows, whose tokens are taken as dependent within a row", values={"n": len(data)}
    )


def _rows(data: Dataset) -> float:
    """How many rows there are, or how many equally weighted ones would carry as much."""
    return float(len(data)) if data.sample_weight is None else effective_n(data.sample_weight)


def _exponential(
    metric: str, value: float, interval: Interval | None, n: int, note: Message | None
) -> Measurement:
    """The exponential of a figure and of both ends of its interval."""
    if max(value, value if interval is None else interval.high) > _MOST_EXPONENT:
        return Measurement(
            metric=metric,
            value=None,
            n=n,
            better="lower",
            missing=Message(
                text="a loss of {loss} nats per token gives a perplexity too large to be written",
                values={"loss": float(f"{value:.4g}")},
            ),
        )
    ends = None if interval is None else {"low": math.exp(interval.low), "high": math.exp(interval.high)}
    of_ends = None if interval is None else interval.model_copy(update=ends)
    return _figure(metric, math.exp(value), of_ends, n, "lower", note=note)


def _divided(value: float, interval: Interval | None, by: float) -> tuple[float, Interval | None]:
    ends = None if interval is None else {"low": interval.low / by, "high": interval.high / by}
    return value / by, None if interval is None else interval.model_copy(update=ends)


def _within(interval: Interval | None, low: float, high: float) -> Interval | None:
    if interval is None:
        return None
    return interval.model_copy(update={"low": max(low, interval.low), "high": min(high, interval.high)})


def _figure(
    metric: str,
    value: float,
    interval: Interval | None,
    n: int,
    better: Better,
    *,
    unit: Unit = "1",
    note: Message | None = None,
    provenance: Provenance = "measured",
) -> Measurement:
    return Measurement(
        metric=metric,
        value=value,
        unit=unit,
        n=n,
        better=better,
        interval=interval,
        note=note,
        provenance=provenance,
    )
