"""Which way a set of rows is explained: by their numbers, or by the vectors of their tokens."""

from collections.abc import Callable
from dataclasses import dataclass

from auditkit.audits.explainability.explained_score import Explained, obstacle
from auditkit.audits.explainability.explanation import Explanation, explain
from auditkit.audits.explainability.integrated_gradients import Quadrature
from auditkit.audits.explainability.token_embedding import find_token_embedding
from auditkit.audits.explainability.token_explanation import explain_tokens, token_obstacle
from auditkit.data.dataset import Dataset, IntArray, TokenSpace
from auditkit.records import Message
from auditkit.subjects.subject import WhiteBox

PROBED = 8
"""Rows with which the layer that reads tokens is looked for."""

Explainer = Callable[[IntArray], Explanation]
"""Explains the score of one class per row."""


@dataclass(frozen=True, slots=True)
class Method:
    """How rows are explained, the same for every subject."""

    explained: Explained
    quadrature: Quadrature
    batch_size: int


def explainer_of(subject: WhiteBox, rows: Dataset, method: Method) -> Explainer | Message:
    """A function that explains ``rows``, or why that cannot be done."""
    if rows.features.tokens is not None:
        return _of_tokens(subject, rows, rows.features.tokens, method)
    reason = obstacle(subject, rows.inputs[:1].to(subject.device))
    if reason is not None:
        return reason
    return lambda target: explain(
        subject,
        rows.inputs,
        target,
        explained=method.explained,
        quadrature=method.quadrature,
        batch_size=method.batch_size,
    )


def _of_tokens(subject: WhiteBox, rows: Dataset, tokens: TokenSpace, method: Method) -> Explainer | Message:
    if not bool((rows.inputs != tokens.padding).any()):
        return Message(text="no row has any token")
    probed = rows.inputs[:PROBED].to(subject.device)
    embedding = find_token_embedding(subject, probed, tokens.padding)
    if isinstance(embedding, Message):
        return embedding
    reason = token_obstacle(subject, embedding, probed)
    if reason is not None:
        return reason
    return lambda target: explain_tokens(
        subject,
        embedding,
        rows.inputs,
        target,
        explained=method.explained,
        quadrature=method.quadrature,
        batch_size=method.batch_size,
        task=rows.task,
    )


def with_tokens(rows: Dataset) -> Dataset:
    """The rows that have anything to explain: those with a token, or all where rows are not of tokens."""
    tokens = rows.features.tokens
    if tokens is None:
        return rows
    has_any = (rows.inputs != tokens.padding).any(dim=1)
    return rows if bool(has_any.all()) or not bool(has_any.any()) else rows.take(has_any.numpy())
