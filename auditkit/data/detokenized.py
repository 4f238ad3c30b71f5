"""Token ids as text again, where that text gives the same ids."""

from collections.abc import Sequence

from auditkit.data.tokenizers import (
    PADDING,
    UNKNOWN_TOKEN,
    ByteTokenizer,
    FolderTokenizer,
    Tokenizer,
    WordTokenizer,
)

_STAND_IN = "\ufffd"
"""The replacement character: a mark that is in no vocabulary of words or letters."""

_FIRST_BYTE = 2


def text_of(ids: Sequence[int], tokenizer: Tokenizer) -> str | None:
    """A text that the tokenizer turns into ``ids``, padding left out; ``None`` where there is none.

    An unknown token becomes the replacement character, which is unknown too.
    """
    kept = [int(token) for token in ids if int(token) != tokenizer.padding]
    text = _decoded(kept, tokenizer)
    return text if text is not None and tokenizer.ids(text) == kept else None


def _decoded(ids: Sequence[int], tokenizer: Tokenizer) -> str | None:
    if isinstance(tokenizer, ByteTokenizer):
        raw = bytes(token - _FIRST_BYTE for token in ids if token >= _FIRST_BYTE)
        return raw.decode(errors="replace")
    if isinstance(tokenizer, FolderTokenizer):
        return tokenizer.text(ids)
    pieces = [
        _STAND_IN if token in (PADDING, UNKNOWN_TOKEN) else tokenizer.vocabulary[token] for token in ids
    ]
    return (" " if isinstance(tokenizer, WordTokenizer) else "").join(pieces)
