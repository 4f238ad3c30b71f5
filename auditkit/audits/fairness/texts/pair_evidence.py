"""Chart, table and notes of preferences between paired sentences."""

from collections.abc import Sequence

from auditkit.audits.fairness.texts.pair_figures import NONE_DECIDED, TIE_NATS, Kind
from auditkit.audits.fairness.texts.pair_tokens import PairTokens
from auditkit.data.crows_pairs import SentencePairs
from auditkit.records import Cell, Dots, Estimate, Mark, Message, Table

SMALL = 30
"""Kinds with fewer decided pairs are marked as small."""

_LEVEL = 0.05


def preference_chart(found: Sequence[Kind], confidence: float) -> Dots:
    """One dot with its interval for all pairs and for every bias type, against one half."""
    shown = [found[0], *(one for one in found if "bias_type" in one.group)]
    return Dots(
        title=_title(found),
        axis=Message(text="Share of pairs in which the more stereotyping sentence is the more probable"),
        marks=tuple(
            Mark(label=_label(one), estimate=_estimate(one, confidence), small=one.decided < SMALL)
            for one in shown
        ),
        reference=0.5,
        reference_label=Message(text="prefers neither"),
        low=0.0,
        high=1.0,
    )


def preference_table(found: Sequence[Kind], confidence: float) -> Table:
    """Every kind with its counts, share and p-values."""
    rows: list[tuple[Cell, ...]] = [
        (
            _label(one),
            one.decided + one.ties,
            one.ties,
            one.wins,
            _estimate(one, confidence),
            _p(one.p),
            "–" if one.p_adjusted is None else _p(one.p_adjusted),
        )
        for one in found
    ]
    return Table(
        title=Message(
            text="{n} pairs were scored, {ties} of them without a preference",
            values={"n": found[0].decided + found[0].ties, "ties": found[0].ties},
        ),
        columns=(
            Message(text="Pairs"),
            Message(text="Scored"),
            Message(text="Tied"),
            Message(text="Stereotyping sentence preferred"),
            Message(text="Share of decided pairs"),
            Message(text="p"),
            Message(text="p, adjusted"),
        ),
        rows=tuple(rows),
        caption=Message(
            text="p: exact binomial test against one half, two-sided; adjusted by Holm over the bias types. "
            "Tied: scores less than {tie} nats apart.",
            values={"tie": TIE_NATS},
        ),
    )


def notes(pairs: SentencePairs, tokens: PairTokens, *, both_sides: bool, n_read: int) -> list[Message]:
    """How the pairs were scored, and which were not."""
    how = (
        "{pairs}: each token that both sentences share was masked on its own and scored given all others; "
        "{n} rows were read."
        if both_sides
        else "{pairs}: each token that both sentences share was scored given what stands before it; tokens "
        "before the first difference cannot tell the sentences apart. {n} rows were read."
    )
    found = [
        *pairs.statements,
        Message(text=how, values={"pairs": pairs.name, "n": n_read}),
        Message(
            text="{n} of {total} tokens ({share} %) are unknown to the model's vocabulary.",
            values={
                "n": tokens.unknown.unknown,
                "total": tokens.unknown.n,
                "share": f"{100 * tokens.unknown.share:.1f}",
            },
        ),
    ]
    texts = (
        "{n} of {total} pairs were left out: a sentence is longer than what the model reads at once.",
        "{n} of {total} pairs were left out: both sentences are the same tokens to the model, which does not "
        "know the words that tell them apart.",
        "{n} of {total} pairs were left out: they share no token whose probability could differ.",
    )
    for text, n in zip(texts, tokens.left_out.values(), strict=True):
        if n:
            found.append(Message(text=text, values={"n": n, "total": len(pairs)}))
    return found


def _title(found: Sequence[Kind]) -> Message:
    everything = found[0]
    if everything.share is None:
        return Message(text="No pair has a sentence that the model prefers")
    apart = [one for one in found if one.p_adjusted is not None and one.p_adjusted < _LEVEL and one.share]
    values: dict[str, str | int | float] = {
        "share": f"{100 * everything.share:.0f}",
        "n": everything.decided,
    }
    if not apart:
        text = (
            "The more stereotyping sentence is preferred in {share} % of {n} pairs; no bias type is shown to "
            "differ from one half"
        )
        return Message(text=text, values=values)
    furthest = max(apart, key=lambda one: abs((one.share or 0.5) - 0.5))
    text = (
        "The more stereotyping sentence is preferred in {share} % of {n} pairs; furthest from one half is "
        "{type} with {most} %"
    )
    most = f"{100 * (furthest.share or 0.0):.0f}"
    return Message(text=text, values={**values, "type": _label(furthest), "most": most})


def _label(kind: Kind) -> str:
    return next(iter(kind.group.values()), "all pairs")


def _estimate(kind: Kind, confidence: float) -> Estimate:
    interval = kind.interval(confidence)
    if interval is None:
        return Estimate(value=None, n=0, missing=NONE_DECIDED)
    return Estimate(value=kind.share, low=interval.low, high=interval.high, n=kind.decided)


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"
