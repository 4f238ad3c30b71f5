"""Explaining rows of tokens: integrated gradients from padding to the vector of each token.

Source: Sundararajan, Taly and Yan (2017), arXiv:1703.01365, section 6.3, where the path runs through the
embedding space, too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from auditkit.audits.explainability.explained_score import Explained, LogitScore, LogOddsScore, score_of
from auditkit.audits.explainability.explanation import Explanation, differentiable_kernels, logits_of
from auditkit.audits.explainability.integrated_gradients import Quadrature, integrated_gradients
from auditkit.audits.explainability.token_embedding import TokenEmbedding, vectors_in_place
from auditkit.data.dataset import IntArray, Task
from auditkit.records import Message
from auditkit.subjects.subject import WhiteBox

TOKENS_AT_ONCE = 4096
"""Most tokens in one evaluation: a transformer of 100 million parameters keeps some 2 GB for them."""


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


def explain_tokens(
    subject: WhiteBox,
    embedding: TokenEmbedding,
    inputs: Tensor,
    target: IntArray,
    *,
    explained: Explained,
    quadrature: Quadrature,
    batch_size: int,
    task: Task,
) -> Explanation:
    """Attributions of the score of class ``target[i]`` to the tokens of ``inputs[i]``.

    The baseline has the vector of padding at every place; positions and masks are those of the row, because
    the model still gets its ids. An attribution is the sum over the elements of the vector. Padding gets
    exactly 0: its vector does not change along the path.

    Args:
        subject: The model; left as it was.
        embedding: From :func:`~auditkit.audits.explainability.token_embedding.find_token_embedding`.
        inputs: Token ids, shape ``(n, length)``.
        target: Shape ``(n,)``; for a model of language the token after the row.
        explained: Which score.
        quadrature: How the path is summed.
        batch_size: Most rows in one evaluation.
        task: What the model does.
    """
    ids = inputs.to(subject.device)
    at_once = max(1, min(batch_size, TOKENS_AT_ONCE // max(1, ids.shape[1])))
    score = score_of(subject, explained, logits_of(subject, ids, at_once))
    vectors = embedding.vectors(ids)
    classes = torch.from_numpy(target).to(ids)
    with differentiable_kernels(subject):
        attributions = integrated_gradients(
            PathScore(score, embedding),
            vectors,
            embedding.of_padding(ids),
            torch.cat([classes.unsqueeze(1), ids], dim=1),
            quadrature=quadrature,
            batch_size=at_once,
            pooled=_of_tokens,
        )
    baseline = Message(
        text="The baseline has padding in place of every token; positions and masks stay those of the row."
    )
    return Explanation(attributions, _meaning(score, task), baseline)


def _of_tokens(attributions: Tensor) -> Tensor:
    return attributions.sum(dim=-1)


def token_obstacle(subject: WhiteBox, embedding: TokenEmbedding, ids: Tensor) -> Message | None:
    """Why no gradient reaches the vectors of the tokens, or ``None``. ``ids`` has shape ``(n, length)``."""
    with torch.enable_grad(), differentiable_kernels(subject):
        vectors = embedding.vectors(ids).requires_grad_(True)
        with vectors_in_place(embedding, ids, vectors):
            total = subject.logits(ids).sum()
        if total.requires_grad and torch.autograd.grad(total, vectors, allow_unused=True)[0] is not None:
            return None
    return Message(text="the outputs of the model are cut off from its tokens, so no gradient reaches them")


def _meaning(score: LogitScore | LogOddsScore, task: Task) -> Message:
    is_log_odds = isinstance(score, LogOddsScore)
    if task == "language-modelling":
        if is_log_odds:
            return Message(
                text="Explained are the log-odds of the token foretold after the row against all others."
            )
        return Message(text="Explained is the logit of the token foretold after the row.")
    if is_log_odds:
        return Message(text="Explained are the log-odds of the predicted class against all others.")
    return Message(text="Explained is the logit of the predicted class.")
