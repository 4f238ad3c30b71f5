"""How much of a text a model's vocabulary lacks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from auditkit.data.tokenizers import UNKNOWN_TOKEN, ByteTokenizer, FolderTokenizer, Tokenizer
from auditkit.records import Interval, Measurement, Message


@dataclass(frozen=True, slots=True)
class UnknownTokens:
    """Of ``n`` tokens ``unknown`` are not in the vocabulary."""

    unknown: int
    n: int

    @classmethod
    def of(cls, tokenizer: Tokenizer, rows: Iterable[Sequence[int]]) -> "UnknownTokens":
        """Counted over rows of token ids, those around a text left out."""
        special, unknown = special_ids(tokenizer), unknown_id(tokenizer)
        tokens = np.array([token for row in rows for token in row if token not in special], dtype=np.int64)
        return cls(0 if unknown is None else int((tokens == unknown).sum()), len(tokens))

    @property
    def share(self) -> float:
        """Of all tokens; 0 without tokens."""
        return self.unknown / self.n if self.n else 0.0

    def measurement(self, group: dict[str, str]) -> Measurement:
        """The share as a figure; it has no sampling error."""
        missing = None if self.n else Message(text="There are no tokens.")
        return Measurement(
            metric="unknown_tokens",
            value=self.share if self.n else None,
            n=self.n,
            better="lower",
            group=group,
            interval=Interval.exact(self.share) if self.n else None,
            missing=missing,
        )

    def refusal(self, most: float) -> Message | None:
        """Why figures on such texts would not be about them; ``None`` where enough is known."""
        if self.share <= most:
            return None
        return Message(
            text="{share} % of the tokens are unknown to the model's vocabulary, more than {most} %; what it "
            "says of them would not be about these sentences.",
            values={"share": f"{100 * self.share:.1f}", "most": f"{100 * most:g}"},
        )


def unknown_id(tokenizer: Tokenizer) -> int | None:
    """The id of what is unknown; ``None`` where nothing can be."""
    if isinstance(tokenizer, FolderTokenizer):
        return tokenizer.special("unk")
    return None if isinstance(tokenizer, ByteTokenizer) else UNKNOWN_TOKEN


def special_ids(tokenizer: Tokenizer) -> frozenset[int]:
    """Ids that stand for no text. That of unknown words stands for text."""
    if not isinstance(tokenizer, FolderTokenizer):
        return frozenset({tokenizer.padding})
    unknown = tokenizer.special("unk")
    return tokenizer.special_ids - (frozenset() if unknown is None else frozenset({unknown}))
