"""The score of a text as a function of the vectors of its tokens.

Source: Sundararajan, Taly and Yan (2017), arXiv:1703.01365, section 6.3, where the path runs through the
embedding space, too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditkit.audits.explainability.explained_score import LogitScore, LogOddsScore
from auditkit.audits.explainability.token_embedding import TokenEmbedding, vectors_in_place
from auditkit.records import Message
from auditkit.subjects.subject import WhiteBox


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
