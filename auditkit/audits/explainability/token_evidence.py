"""Which tokens move the score, over all rows and in the rows chosen by rule."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from auditkit.audits.explainability.example_rows import ExampleRow, Reason
from auditkit.data.dataset import BoolArray, Dataset, FloatArray, IntArray, TokenSpace
from auditkit.data.token_text import between, in_text, visible
from auditkit.records import Bars, Estimate, Interval, Mark, Message, Table, Token, Tokens, Unit
from auditkit.statistics.ratios import ratio_of_totals

ENOUGH = 5
"""Occurrences below which a mean over a token is mostly chance; left out where there are more frequent."""

SHOWN_IN_TABLE = 15
DECIMALS = 3


@dataclass(frozen=True, slots=True)
class TokenImportance:
    """How much one token moves the score where it occurs.

    Attributes:
        token: Its id.
        n: How often it occurs in the explained rows.
        mean: Mean absolute attribution of an occurrence.
        interval: Of the mean, over rows; ``None`` where it occurs in one row only.
        signed: Mean attribution: positive where it speaks for what is explained.
        share: Part of the absolute attribution of all tokens; ``None`` where there is none.
    """

    token: int
    n: int
    mean: float
    interval: Interval | None
    signed: float
    share: float | None


def token_importances(
    attributions: FloatArray, ids: IntArray, real: BoolArray, confidence: float
) -> tuple[TokenImportance, ...]:
    """Importance of every token that occurs, the largest mean first; equals in the order of their ids.

    Args:
        attributions: Shape ``(n, length)``.
        ids: Same shape.
        real: Which places hold a token, same shape.
        confidence: Of the intervals.
    """
    size, total = np.abs(attributions), float(np.abs(attributions[real]).sum())
    found = []
    for token in np.unique(ids[real]).tolist():
        came = real & (ids == token)
        counts = came.sum(axis=1)
        mean, interval = ratio_of_totals(np.where(came, size, 0.0).sum(axis=1), counts, confidence=confidence)
        if interval is not None:
            interval = interval.model_copy(update={"low": max(0.0, interval.low)})
        part = float(size[came].sum()) / total if total > 0 else None
        found.append(
            TokenImportance(token, int(counts.sum()), mean, interval, float(attributions[came].mean()), part)
        )
    return tuple(sorted(found, key=lambda entry: -entry.mean))


def token_bars(ranked: Sequence[TokenImportance], shown: int, tokens: TokenSpace, unit: Unit = "nat") -> Bars:
    """The tokens that move the score most where they occur; rare ones only where there are no others."""
    frequent = [entry for entry in ranked if entry.n >= ENOUGH]
    entries = (frequent or list(ranked))[:shown]
    return Bars(
        title=_lead(entries, tokens),
        caption=Message(
            text="Mean absolute attribution of an occurrence, tokens that occur at least {least} times. The "
            "largest of many means are partly chance.",
            values={"least": ENOUGH if frequent else 1},
        ),
        axis=Message(text="mean absolute attribution (nat)")
        if unit == "nat"
        else Message(text="mean absolute attribution"),
        marks=tuple(
            Mark(label=visible(tokens.vocabulary[entry.token]), estimate=_mean(entry, unit))
            for entry in entries
        ),
    )


def _lead(entries: Sequence[TokenImportance], tokens: TokenSpace) -> Message:
    if not entries or entries[0].mean == 0:
        return Message(text="No token moves the score")
    first = entries[0]
    name = visible(tokens.vocabulary[first.token])
    if len(entries) > 1:
        second = entries[1]
        if first.interval is None or second.interval is None or first.interval.low <= second.interval.high:
            return Message(
                text="“{token}” and “{second}” move the score most where they occur",
                values={"token": name, "second": visible(tokens.vocabulary[second.token])},
            )
    return Message(text="“{token}” moves the score most where it occurs", values={"token": name})


def token_table(ranked: Sequence[TokenImportance], tokens: TokenSpace, unit: Unit = "nat") -> Table:
    """The tokens that carry the largest part of all attribution, frequent or not."""
    by_share = sorted(ranked, key=lambda entry: -(entry.share or 0.0))
    shares = np.cumsum([entry.share or 0.0 for entry in by_share])
    half = int(np.searchsorted(shares, 0.5)) + 1
    has_any = bool(len(shares)) and float(shares[-1]) > 0
    return Table(
        title=Message(
            text="Half of all attribution lies on {half} of {total} different tokens",
            values={"half": half, "total": len(by_share)},
        )
        if has_any
        else Message(text="No token moves the score"),
        caption=Message(
            text="The {shown} tokens with the largest part. A positive mean speaks for what was predicted.",
            values={"shown": min(SHOWN_IN_TABLE, len(by_share))},
        ),
        columns=(
            Message(text="Token"),
            Message(text="Occurrences"),
            Message(text="Share of all attribution"),
            Message(text="Mean attribution"),
        ),
        rows=tuple(
            (
                visible(tokens.vocabulary[entry.token]),
                entry.n,
                Estimate(value=entry.share, n=entry.n, missing=None if has_any else _NONE),
                Estimate(value=entry.signed, n=entry.n, unit=unit),
            )
            for entry in by_share[:SHOWN_IN_TABLE]
        ),
    )


_NONE = Message(text="no token has any attribution")


def _mean(entry: TokenImportance, unit: Unit) -> Estimate:
    low, high = (None, None) if entry.interval is None else (entry.interval.low, entry.interval.high)
    return Estimate(value=entry.mean, low=low, high=high, n=entry.n, unit=unit)


def example_text(  # noqa: PLR0917 - the unit last, as everywhere here
    example: ExampleRow,
    attributions: FloatArray,
    rows: Dataset,
    tokens: TokenSpace,
    outcome: Mapping[str, str | float],
    unit: Unit = "nat",
    *,
    about: tuple[Message, ...] = (),
) -> Tokens:
    """One row with what spoke for and against the predicted class, padding left out.

    Args:
        example: The row.
        attributions: Of all rows, shape ``(n, length)``.
        rows: The explained rows.
        tokens: What ids mean.
        outcome: What was predicted and what is true.
        unit: Of the attributions.
        about: What is explained and from where.
    """
    ids = rows.inputs[example.row].numpy()
    places = np.flatnonzero(ids != tokens.padding)
    texts = [tokens.vocabulary[token] for token in ids[places].tolist()]
    values = attributions[example.row, places]
    top = float(np.abs(values).max()) if len(values) else 0.0
    # adding zero turns -0.0 into 0.0
    weights = (np.round(values / top, DECIMALS) if top > 0 else np.zeros(len(values))) + 0.0
    heaviest = visible(texts[int(np.abs(values).argmax())]) if top > 0 else ""
    of_language = rows.task == "language-modelling"
    return Tokens(
        title=Message(text=_TITLES[example.reason], values={"token": heaviest})
        if heaviest
        else Message(text="No token moves the score"),
        caption=Message(text=(_NEXT if of_language else _LABELS)[example.reason], values=dict(outcome)),
        notes=about,
        tokens=tuple(
            Token(text=in_text(text), weight=float(w)) for text, w in zip(texts, weights, strict=True)
        ),
        separator=between(tokens.vocabulary),
        scale=Message(
            text="full colour stands for {top} nat, the largest attribution in this text",
            values={"top": float(f"{top:.3g}")},
        )
        if unit == "nat"
        else Message(text="full colour stands for the largest attribution in this text"),
    )


_TITLES: Final[Mapping[Reason, str]] = {
    "typical": "In a typical correct row “{token}” weighs most",
    "confident error": "In the most confident error “{token}” weighs most",
    "uncertain": "In the least certain row “{token}” weighs most",
}

_LABELS: Final[Mapping[Reason, str]] = {
    "typical": "Correct with median confidence: {predicted} with probability {probability}",
    "confident error": "The most confident error: {predicted} with probability {probability}, true is {true}",
    "uncertain": "The least certain prediction: {predicted} with probability {probability}, true is {true}",
}

_NEXT: Final[Mapping[Reason, str]] = {
    "typical": "Next token foretold with median confidence: “{predicted}” with probability {probability}",
    "confident error": (
        "The most confident error: “{predicted}” with probability {probability}; “{true}” came"
    ),
    "uncertain": "The least certain prediction: “{predicted}” with probability {probability}; “{true}” came",
}
