"""From text to token ids and back. A tokenizer is a value: it is stored with the checkpoint it belongs to.

In every tokenizer of this file id 0 fills rows up to a common length and id 1 stands for what is unknown.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

PADDING, UNKNOWN_TOKEN = 0, 1
SPECIAL = ("<pad>", "<unknown>")
MOST_WORDS = 20_000
_WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")


class _Tokenizer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    @property
    def padding(self) -> int:
        """The id that fills rows up."""
        return PADDING


class WordTokenizer(_Tokenizer):
    """Words and punctuation marks, in lower case; ``words[i]`` has the id ``i + 2``."""

    kind: Literal["word"] = "word"
    words: tuple[str, ...]

    @classmethod
    def fit(cls, texts: Iterable[str], *, min_count: int = 2) -> "WordTokenizer":
        """The words that occur at least ``min_count`` times, the most frequent first, at most 20,000."""
        counts = Counter(word for text in texts for word in words_of(text))
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls(words=tuple(word for word, n in ranked[:MOST_WORDS] if n >= min_count))

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The text of every id."""
        return (*SPECIAL, *self.words)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.vocabulary)}

    def ids(self, text: str) -> list[int]:
        """One id per word."""
        index = self._index
        return [index.get(word, UNKNOWN_TOKEN) for word in words_of(text)]


class CharacterTokenizer(_Tokenizer):
    """Single characters; ``characters[i]`` has the id ``i + 2``."""

    kind: Literal["character"] = "character"
    characters: tuple[str, ...]

    @classmethod
    def fit(cls, texts: Iterable[str]) -> "CharacterTokenizer":
        """Every character that occurs, in order of its code point."""
        return cls(characters=tuple(sorted({character for text in texts for character in text})))

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The text of every id."""
        return (*SPECIAL, *self.characters)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {character: index for index, character in enumerate(self.vocabulary)}

    def ids(self, text: str) -> list[int]:
        """One id per character."""
        index = self._index
        return [index.get(character, UNKNOWN_TOKEN) for character in text]


class ByteTokenizer(_Tokenizer):
    """The bytes of UTF-8: no text in any script is unknown. Byte ``b`` has the id ``b + 2``."""

    kind: Literal["byte"] = "byte"

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The text of every id; bytes that are no character of their own in hexadecimal."""
        return (*SPECIAL, *(chr(b) if 32 <= b < 127 else f"\\x{b:02x}" for b in range(256)))

    def ids(self, text: str) -> list[int]:
        """One id per byte."""
        return [byte + 2 for byte in text.encode()]


Tokenizer = Annotated[WordTokenizer | CharacterTokenizer | ByteTokenizer, Field(discriminator="kind")]


def words_of(text: str) -> list[str]:
    """Words and punctuation marks in lower case. Scripts without spaces give long runs: use bytes."""
    return _WORD.findall(text.casefold())


def padded(rows: Sequence[Sequence[int]], length: int, padding: int) -> list[list[int]]:
    """Every row cut or filled up on the right to ``length`` ids."""
    return [[*row[:length], *[padding] * (length - len(row))] for row in rows]
