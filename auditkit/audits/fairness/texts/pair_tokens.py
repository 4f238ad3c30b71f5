"""Pairs of sentences as a model reads them: their tokens, and which of them both sentences share."""

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

import numpy as np

from auditkit.audits.fairness.texts.unknown_tokens import UnknownTokens, special_ids
from auditkit.data.crows_pairs import SentencePairs
from auditkit.data.dataset import IntArray
from auditkit.data.preprocessing import LanguagePreprocessing
from auditkit.data.tokenizers import ByteTokenizer, CharacterTokenizer

TOO_LONG = "longer than what the model reads at once"
ALIKE = "the same tokens, because the words that tell them apart are unknown to the model"
NOTHING_SHARED = "no shared token whose probability could differ"
_WORD = re.compile(r"\w+|\W")


@dataclass(frozen=True, slots=True)
class PairTokens:
    """Pairs that can be scored.

    Attributes:
        pairs: Which pairs of the collection these are.
        more: Token ids of the more stereotyping sentence of each pair.
        less: Token ids of the other.
        shared_more: Where in ``more`` the shared tokens stand that are scored.
        shared_less: The same tokens in ``less``.
        left_out: How many pairs cannot be scored, by reason.
        unknown: Tokens of all pairs that the vocabulary lacks.
    """

    pairs: IntArray
    more: list[list[int]]
    less: list[list[int]]
    shared_more: list[list[int]]
    shared_less: list[list[int]]
    left_out: Mapping[str, int]
    unknown: UnknownTokens


@dataclass(frozen=True, slots=True)
class Pieces:
    """Two sentences as pieces, and how many tokens each piece has."""

    more: Sequence[Hashable]
    less: Sequence[Hashable]
    sizes_more: Sequence[int]
    sizes_less: Sequence[int]

    @classmethod
    def of_tokens(cls, more: list[int], less: list[int]) -> "Pieces":
        """Every token a piece."""
        return cls(more, less, [1] * len(more), [1] * len(less))

    @classmethod
    def of_words(cls, more: str, less: str, tokenizer: CharacterTokenizer | ByteTokenizer) -> "Pieces":
        """Whole words: letters that two different words happen to share are not unmodified."""
        words = [_WORD.findall(text) for text in (more, less)]
        sizes = [[len(tokenizer.ids(word)) for word in one] for one in words]
        return cls(words[0], words[1], sizes[0], sizes[1])

    def common(self) -> Iterator[tuple[int, int, int]]:
        """Where runs of tokens begin in both sentences that belong to shared pieces, and their lengths."""
        starts_more, starts_less = (np.cumsum([0, *one]) for one in (self.sizes_more, self.sizes_less))
        for block in SequenceMatcher(None, self.more, self.less, autojunk=False).get_matching_blocks():
            size = int(starts_more[block.a + block.size] - starts_more[block.a])
            yield int(starts_more[block.a]), int(starts_less[block.b]), size


def pair_tokens(pairs: SentencePairs, steps: LanguagePreprocessing, *, both_sides: bool) -> PairTokens:
    """The tokens of all pairs, and what of them can be scored.

    Args:
        pairs: The sentences.
        steps: How the model reads text.
        both_sides: Whether a token is foretold from those on both sides. Else shared tokens before the first
            difference have the same context in both sentences, so that they cannot tell them apart, and are
            not scored; nor is the first token, which nothing precedes.
    """
    tokenizer = steps.tokenizer
    special = special_ids(tokenizer)
    all_more = [tokenizer.ids(text) for text in pairs.more]
    all_less = [tokenizer.ids(text) for text in pairs.less]
    left_out = dict.fromkeys((TOO_LONG, ALIKE, NOTHING_SHARED), 0)
    kept: list[int] = []
    places: list[tuple[list[int], list[int]]] = []
    for index, (more, less) in enumerate(zip(all_more, all_less, strict=True)):
        pieces = (
            Pieces.of_words(pairs.more[index], pairs.less[index], tokenizer)
            if isinstance(tokenizer, CharacterTokenizer | ByteTokenizer)
            else Pieces.of_tokens(more, less)
        )
        found = shared_tokens(more, less, pieces, special, both_sides=both_sides)
        if max(len(more), len(less)) > steps.length + 1:
            left_out[TOO_LONG] += 1
        elif more == less:
            left_out[ALIKE] += 1
        elif not found[0]:
            left_out[NOTHING_SHARED] += 1
        else:
            kept.append(index)
            places.append(found)
    return PairTokens(
        np.array(kept, dtype=np.int64),
        [all_more[index] for index in kept],
        [all_less[index] for index in kept],
        [one for one, _ in places],
        [other for _, other in places],
        left_out,
        UnknownTokens.of(tokenizer, [*all_more, *all_less]),
    )


def shared_tokens(
    more: list[int], less: list[int], pieces: Pieces, special: frozenset[int], *, both_sides: bool
) -> tuple[list[int], list[int]]:
    """Where the tokens stand that two sentences share and that are scored.

    Args:
        more: Token ids of one sentence.
        less: Token ids of the other.
        pieces: What is compared: the tokens, or larger pieces that consist of them.
        special: Ids that stand for no text.
        both_sides: As in :func:`pair_tokens`.

    Source:
        Nangia et al. (2020), CrowS-Pairs, EMNLP, section 3: the unmodified tokens.
    """
    matched = [
        (start_more + step, start_less + step)
        for start_more, start_less, size in pieces.common()
        for step in range(size)
    ]
    differ = (index for index, (one, other) in enumerate(zip(more, less, strict=False)) if one != other)
    first = 0 if both_sides else next(differ, min(len(more), len(less)))
    chosen = [
        (one, other)
        for one, other in matched
        if more[one] not in special and (both_sides or (one > 0 and other > 0 and max(one, other) > first))
    ]
    return [one for one, _ in chosen], [other for _, other in chosen]
