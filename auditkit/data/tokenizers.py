"""From text to token ids and back. A tokenizer is a value: it is stored with the checkpoint it belongs to.

In a tokenizer made here id 0 fills rows up to a common length and id 1 stands for what is unknown; one that
came with a model keeps the ids of that model.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from auditkit.data.json_files import read_json
from auditkit.errors import CheckpointError, MissingExtraError

TOKENIZERS = ("word", "character", "byte")
"""Those that need nothing but the training rows."""

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


TOKENIZER_FILE = "tokenizer.json"
_BESIDE = ("tokenizer_config.json", "special_tokens_map.json")


class FolderTokenizer(_Tokenizer):
    """The tokenizer of a transformers folder, with the special tokens that its model puts around a text.

    Its file is data alone: rules and a vocabulary, no code. A vocabulary without a padding token of its own
    (one that means nothing else) gets one more id at its end, which a model must not be shown.
    """

    kind: Literal["folder"] = "folder"
    folder: str
    sha256: str

    @classmethod
    def read(cls, folder: Path) -> "FolderTokenizer":
        """The tokenizer in ``folder``.

        Raises:
            CheckpointError: It has no ``tokenizer.json``, or a damaged one.
            MissingExtraError: The package ``tokenizers`` is not installed.
        """
        tokenizer = cls(folder=str(folder), sha256=_digest_of(folder / TOKENIZER_FILE))
        _ = tokenizer.vocabulary
        return tokenizer

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """The text of every id."""
        return self._own_vocabulary if self._own_padding is not None else (*self._own_vocabulary, SPECIAL[0])

    @property
    def padding(self) -> int:
        """The id that fills rows up."""
        return len(self._own_vocabulary) if self._own_padding is None else self._own_padding

    def ids(self, text: str) -> list[int]:
        """The ids that the model reads, special tokens included; padding spelt out in the text is dropped."""
        found: list[int] = self._engine.encode(text).ids
        return [token for token in found if token != self._own_padding]

    def text(self, ids: Sequence[int]) -> str:
        """The text that the ids stand for, special tokens left out; spaces may differ from the original."""
        found: str = self._engine.decode(list(ids), skip_special_tokens=True)
        return found

    def special(self, role: str) -> int | None:
        """The id of the special token in a role, such as ``mask`` or ``sep``; ``None`` without one."""
        for name in _BESIDE:
            path = Path(self.folder) / name
            content = read_json(path) if path.is_file() else {}
            token = content.get(f"{role}_token") if isinstance(content, dict) else None
            token = token.get("content") if isinstance(token, dict) else token
            found = self._engine.token_to_id(token) if isinstance(token, str) else None
            if found is not None:
                return int(found)
        return None

    @property
    def n_own(self) -> int:
        """How many ids the model itself must know."""
        return len(self._own_vocabulary)

    @cached_property
    def special_ids(self) -> frozenset[int]:
        """The ids that stand for no text."""
        added = self._engine.get_added_tokens_decoder()
        return frozenset(int(index) for index, token in added.items() if token.special)

    @cached_property
    def _own_padding(self) -> int | None:
        """The padding token of the model, unless it means something else too."""
        padding = self.special("pad")
        others = {self.special(role) for role in ("eos", "bos", "unk", "sep", "cls", "mask")}
        return None if padding in others else padding

    @cached_property
    def _own_vocabulary(self) -> tuple[str, ...]:
        by_id = {index: token for token, index in self._engine.get_vocab(with_added_tokens=True).items()}
        return tuple(by_id.get(index, f"<unused {index}>") for index in range(max(by_id) + 1))

    @cached_property
    def _engine(self) -> Any:
        path = Path(self.folder) / TOKENIZER_FILE
        if _digest_of(path) != self.sha256:
            raise CheckpointError(
                f"{path}: not the tokenizer that the model was made with (sha256 differs); put it back"
            )
        try:
            engine_class = import_module("tokenizers").Tokenizer
        except ModuleNotFoundError:
            raise MissingExtraError(f"the tokenizer in {self.folder}", "hf") from None
        try:
            engine = engine_class.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # the parser raises plain exceptions
            raise CheckpointError(f"{path}: damaged: {error}; copy or save it again") from None
        engine.no_truncation()
        engine.no_padding()
        if engine.get_vocab_size() == 0:
            raise CheckpointError(f"{path}: the vocabulary is empty; save the tokenizer again")
        return engine


Tokenizer = Annotated[
    WordTokenizer | CharacterTokenizer | ByteTokenizer | FolderTokenizer, Field(discriminator="kind")
]


def fit_tokenizer(name: str, texts: Sequence[str]) -> Tokenizer:
    """The tokenizer called ``name`` for training texts, or the ready one in the folder ``name``."""
    if name == "word":
        return WordTokenizer.fit(texts)
    if name == "character":
        return CharacterTokenizer.fit(texts)
    return ByteTokenizer() if name == "byte" else FolderTokenizer.read(Path(name))


def _digest_of(path: Path) -> str:
    """sha256 of a tokenizer's file, which is checked to be JSON of a bearable size."""
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such file; write it with transformers: "
            "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
        )
    read_json(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def words_of(text: str) -> list[str]:
    """Words and punctuation marks in lower case. Scripts without spaces give long runs: use bytes."""
    return _WORD.findall(text.casefold())


def padded(rows: Sequence[Sequence[int]], length: int, padding: int) -> list[list[int]]:
    """Every row cut or filled up on the right to ``length`` ids."""
    return [[*row[:length], *[padding] * (length - len(row))] for row in rows]
