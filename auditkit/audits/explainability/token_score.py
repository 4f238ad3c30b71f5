"""The score of a text as a function of the vectors of its tokens.

Source: Sundararajan, Taly and Yan (2017), arXiv:1703.01365, section 6.3, where the path runs through the
embedding space, too.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from auditkit.audits.explainability.explained_score import LogitScore, LogOddsScore
from auditkit.audits.explainability.token_embedding import TokenEmbedding, vectors_in_place
from auditkit.records import Message
from auditkit.subjects.subject import WhiteBox

PROBED: Final = 4
"""Rows with which it is seen whether padding counts: those that end first."""

PROBED_WORDS: Final = 8
"""Rows with which it is seen whether words count but for their vectors."""

ROUNDING: Final = 1e-5
"""Of scores, relative to the largest: what may change where padding, or which words stand there, does not
count."""


@dataclass(frozen=True, slots=True)
class PathScore:
    """A score as a function of token vectors. ``target`` holds the class, then the ids of the row."""

    score: LogitScore | LogOddsScore
    embedding: TokenEmbedding

    def __call__(self, vectors: Tensor, target: Tensor) -> Tensor:
        """Scores, shape ``(n,)``; what the model makes of the ids besides looking them up stays as it is."""
        ids = target[:, 1:]
        with vectors_in_place(self.embedding, ids, vectors):
            return self.score(ids, target[:, 0])


def token_obstacle(subject: WhiteBox, embedding: TokenEmbedding, ids: Tensor) -> Message | None:
    """Why no gradient reaches the vectors of the tokens, or ``None``. ``ids`` has shape ``(n, length)``."""
    with torch.enable_grad():
        vectors = embedding.vectors(ids).requires_grad_(True)
        with vectors_in_place(embedding, ids, vectors):
            total = subject.logits(ids).sum()
        if total.requires_grad and torch.autograd.grad(total, vectors, allow_unused=True)[0] is not None:
            return None
    return Message(text="the outputs of the model are cut off from its tokens, so no gradient reaches them")


def kinds_of_texts(score: PathScore, vectors: Tensor, target: Tensor) -> Tensor | None:
    """Numbers of rows, shape ``(n,)``: those of one kind have the same score at the same vectors.

    They have the same class, and padding in the same places. That is enough for models that use ids to look
    up vectors and to see where padding is; for one that looks for certain words, too, there is no answer.
    Should it look for a word that no row asked about has, scores on the way disagree with that of the
    baseline, and rows with it are not said to be done.

    Args:
        score: Of the rows.
        vectors: Of their tokens, shape ``(n, length, width)``.
        target: As ``score`` takes it, shape ``(n, 1 + length)``.
    """
    is_padding = target[:, 1:] == score.embedding.padding
    few, wanted, is_real = vectors[:PROBED_WORDS], target[:PROBED_WORDS], ~is_padding[:PROBED_WORDS]
    words, others = wanted[:, 1:][is_real], wanted.clone()
    # one word everywhere, so that every other one is missed
    others[:, 1:][is_real] = words[:1].expand_as(words)
    with torch.no_grad():
        own = score(few, wanted)
        try:
            exchanged = score(few, others)
        except (RuntimeError, ValueError, IndexError):  # of one that takes some words alone
            return None
    if not bool(((own - exchanged).abs() <= ROUNDING * own.abs().amax()).all()):
        return None
    alike = torch.cat([target[:, :1], is_padding.to(target.dtype)], dim=1)
    kinds: Tensor = torch.unique(alike, dim=0, return_inverse=True)[1]
    return kinds.cpu()


def lengths_that_count(score: PathScore, vectors: Tensor, target: Tensor) -> Tensor | None:
    """How many of the first places of each row are not padding, shape ``(n,)``, if the others do not count.

    A model may well look at padding, or take rows of one length alone; then there is no answer.

    Args:
        score: Of the rows.
        vectors: Of their tokens, shape ``(n, length, width)``.
        target: As ``score`` takes it, shape ``(n, 1 + length)``.
    """
    is_real = target[:, 1:] != score.embedding.padding
    places = torch.arange(1, vectors.shape[1] + 1, device=vectors.device)
    lengths = (is_real * places).amax(dim=1).clamp(min=1)
    first = lengths.argsort(stable=True)[:PROBED]
    longest = int(lengths[first].max())
    if longest == vectors.shape[1]:
        return None
    few = vectors[first]
    others = torch.where(is_real[first].unsqueeze(2), few, few[:, :1])  # anything may stand where padding is
    with torch.no_grad():
        whole = score(others, target[first])
        try:
            cut = score(few[:, :longest], target[first, : 1 + longest])
        except (RuntimeError, ValueError, IndexError):  # of a model that takes rows of one length alone
            return None
    is_same = bool(((whole - cut).abs() <= ROUNDING * whole.abs().amax()).all())
    return lengths.cpu() if is_same else None
