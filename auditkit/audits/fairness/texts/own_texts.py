"""The user's own texts with the people they name exchanged for others."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.texts.bounded_means import bounded_mean
from auditkit.audits.fairness.texts.classified import Classifier
from auditkit.audits.fairness.texts.unknown_tokens import unknown_id
from auditkit.data.dataset import BoolArray, Dataset, FloatArray, IntArray
from auditkit.data.detokenized import text_of
from auditkit.data.identity_terms import SWAPS
from auditkit.data.tokenizers import Tokenizer
from auditkit.records import Measurement, Message
from auditkit.statistics.intervals import rate

RATE, CHANGE = "own_texts_flip_rate", "own_texts_score_change"


@dataclass(frozen=True, slots=True)
class Exchanged:
    """Texts in which a word for people was exchanged.

    Attributes:
        axis: What each text's word is about.
        row: Which row of the data each comes from.
        ids: Token ids of the texts as they are read after the exchange.
        n_unreadable: Rows whose text cannot be told from its tokens.
        n_unknown: Exchanges left out because the model does not know the other word.
    """

    axis: list[str]
    row: list[int]
    ids: list[list[int]]
    n_unreadable: int
    n_unknown: int


@dataclass(frozen=True, slots=True)
class OwnFlips:
    """What exchanging words does; one entry per row with such a word.

    Attributes:
        axis: What the word is about; empty for all axes together.
        rows: Which rows of the data.
        flipped: Whether any exchange changes the predicted class.
        moved: Mean absolute change of the score over the exchanges, or ``None`` without scores.
    """

    axis: str
    rows: IntArray
    flipped: BoolArray
    moved: FloatArray | None


def exchanged(data: Dataset, tokenizer: Tokenizer, length: int) -> Exchanged:
    """Every text with each word for people exchanged for each of its counterparts, one at a time.

    Args:
        data: Rows of token ids.
        tokenizer: What they were made with.
        length: Tokens that the model reads; what is pushed beyond it is cut, as it is in any text.
    """
    unknown = unknown_id(tokenizer)
    axes: list[str] = []
    rows: list[int] = []
    ids: list[list[int]] = []
    n_unreadable = n_unknown = 0
    for row, tokens in enumerate(data.inputs.tolist()):
        text = text_of(tokens, tokenizer)
        if text is None:
            n_unreadable += 1
            continue
        n_before = tokens.count(unknown)
        for axis, other in _exchanges(text):
            new = tokenizer.ids(other)
            if unknown is not None and new.count(unknown) > n_before:
                n_unknown += 1
                continue
            axes.append(axis)
            rows.append(row)
            ids.append(new[:length])
    return Exchanged(axes, rows, ids, n_unreadable, n_unknown)


def own_flips(found: Exchanged, data: Dataset, classifier: Classifier) -> list[OwnFlips]:
    """All axes together, then each axis that occurs."""
    if not found.ids:
        return []
    rows, owner = np.unique(np.array(found.row, dtype=np.int64), return_inverse=True)
    padding = classifier.steps.tokenizer.padding
    originals = [[token for token in data.inputs[row].tolist() if token != padding] for row in rows.tolist()]
    # Originals go the same way as the others, so that nothing but the word can tell them apart.
    said = classifier.says([*originals, *found.ids])
    before, after = said.classes[: len(rows)], said.classes[len(rows) :]
    changed = after != before[owner]
    moved = (
        None if said.scores is None else np.abs(said.scores[len(rows) :] - said.scores[: len(rows)][owner])
    )
    axes = np.array(found.axis, dtype=object)
    table = _Table(rows, owner, changed, moved)
    everything = table.of("", np.ones(len(axes), dtype=np.bool_))
    return [everything, *(table.of(axis, axes == axis) for axis in sorted(set(found.axis)))]


def own_measurements(
    found: list[OwnFlips], *, n_rows: int, fewest: int, confidence: float
) -> list[Measurement]:
    """Flip rate and score change per axis and overall; absent where too few rows have such a word."""
    if not found:
        found = [OwnFlips("", np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_), None)]
    measured = []
    for one in found:
        group, n = ({"axis": one.axis} if one.axis else {}), len(one.rows)
        few = too_few(n, n_rows, fewest)
        flipped = int(one.flipped.sum())
        measured.append(
            Measurement(
                metric=RATE,
                value=None if n < fewest else flipped / n,
                n=n,
                better="lower",
                group=group,
                interval=None if n < fewest else rate(flipped, n, confidence=confidence),
                missing=few if n < fewest else None,
            )
        )
        if one.moved is None or n < fewest:
            continue
        value, interval = bounded_mean(one.moved, low=0.0, high=1.0, confidence=confidence)
        measured.append(
            Measurement(metric=CHANGE, value=value, n=n, better="lower", group=group, interval=interval)
        )
    return measured


def too_few(n: int, n_rows: int, fewest: int) -> Message:
    """Why no rate is given."""
    return Message(
        text="{n} of {total} rows hold a word that can be exchanged; {fewest} are needed.",
        values={"n": n, "total": n_rows, "fewest": fewest},
    )


@dataclass(frozen=True, slots=True)
class _Table:
    """One entry per exchange: which of ``rows`` it comes from, and what it changes."""

    rows: IntArray
    owner: IntArray
    changed: BoolArray
    moved: FloatArray | None

    def of(self, axis: str, chosen: BoolArray) -> OwnFlips:
        """The rows that have exchanges among the chosen ones."""
        owner, n = self.owner[chosen], len(self.rows)
        totals = np.bincount(owner, minlength=n)
        present = totals > 0
        flipped = np.bincount(owner, weights=self.changed[chosen], minlength=n) > 0
        if self.moved is None:
            return OwnFlips(axis, self.rows[present], flipped[present], None)
        sums = np.bincount(owner, weights=self.moved[chosen], minlength=n)
        moved = np.clip(sums[present] / totals[present], 0.0, 1.0)
        return OwnFlips(axis, self.rows[present], flipped[present], moved)


def _exchanges(text: str) -> Iterator[tuple[str, str]]:
    """The text with all occurrences of one word exchanged for one counterpart, and the axis of the word."""
    lowered = text.casefold()
    for axis, sets in SWAPS.items():
        for words in sets:
            for word in words:
                if word not in lowered:
                    continue
                pattern = _pattern(word)
                if pattern.search(text) is None:
                    continue
                for other in words:
                    if other != word:
                        yield axis, pattern.sub(_in_case_of(other), text)


def _pattern(word: str) -> re.Pattern[str]:
    """The word on its own; in a script without spaces wherever it stands."""
    if not word.isascii():
        return re.compile(re.escape(word))
    return re.compile(rf"(?<![\w-]){re.escape(word)}(?![\w-])", re.IGNORECASE)


def _in_case_of(other: str) -> Callable[[re.Match[str]], str]:
    """Writes ``other`` with a capital where the word had one."""
    return lambda found: other.capitalize() if found.group()[:1].isupper() else other
