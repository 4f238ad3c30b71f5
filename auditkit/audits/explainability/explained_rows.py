"""What a method explains: a score of every row as a function of numbers, from a baseline on.

Tables, pictures and texts look the same from here on.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.explained_score import (
    Explained,
    LogitScore,
    LogOddsScore,
    baseline_of,
    is_recurrent,
    obstacle,
    score_of,
)
from auditkit.audits.explainability.explained_units import units_of
from auditkit.audits.explainability.straight_path.points import Score
from auditkit.audits.explainability.token_embedding import TokenEmbedding, find_token_embedding
from auditkit.audits.explainability.token_score import (
    PathScore,
    kinds_of_texts,
    lengths_that_count,
    token_obstacle,
)
from auditkit.data.dataset import BoolArray, Dataset, FeatureSpace, IntArray, Task, TokenSpace
from auditkit.errors import AuditkitError
from auditkit.records import Message, Unit
from auditkit.subjects.subject import Subject, WhiteBox

PROBED = 8
"""Rows with which the layer that reads tokens is looked for."""

TOKENS_AT_ONCE = 4096
"""Most tokens in one evaluation: a transformer of 100 million parameters keeps some 2 GB for them."""

NO_FEATURES = FeatureSpace(())


@dataclass(frozen=True, slots=True)
class ExplainedRows:
    """A score of each row and the numbers that it is a function of.

    Units are what a reader knows: features of a table (all columns of a one-hot feature together), pixels
    (their channels together), places of tokens (all elements of the vector of a token).

    Attributes:
        score: ``score(inputs[i : i + b], target[i : i + b])`` has shape ``(b,)``, row ``i`` of it depends on
            row ``i`` alone. Its gradients are taken within ``differentiable_kernels(white_box)``.
        inputs: Floating point, shape ``(n, *d)``: encoded rows, pictures, or the vectors of tokens.
        baseline: Where the path to every row starts, shape ``(1, *d)``.
        target: What ``score`` takes besides, shape ``(n, *)``.
        unit_of: The unit that each element of a row belongs to, shape ``(*d)``, values in ``0 ... m - 1``.
        present: Units that a row has, shape ``(n, m)``; padding is none.
        batch_size: Most rows in one evaluation; changes figures by rounding only.
        score_meaning: For the reader.
        baseline_meaning: For the reader.
        subject: Whose score it is; left as it was.
        features: What the elements of a row mean.
        no_gradients: Why ``score`` cannot be differentiated, or ``None`` where it can.
        together: Numbers of units, shape ``(n, m)``; units of a row with the same number make sense only
            together, as the bytes of a word do. ``None`` where each unit makes sense alone.
        unit: Of the score.
        lengths: How many of the first places of a row its score depends on, shape ``(n,)``, and may be cut
            to; ``None`` where it is only known of whole rows.
        kinds: Numbers, shape ``(n,)``: rows of one kind have the same score at the same inputs. ``None``
            where that is only known of rows with the same target.
    """

    score: Score
    inputs: Tensor
    baseline: Tensor
    target: Tensor
    unit_of: Tensor
    present: BoolArray
    batch_size: int
    score_meaning: Message
    baseline_meaning: Message
    subject: Subject
    features: FeatureSpace = NO_FEATURES
    no_gradients: Message | None = None
    together: IntArray | None = None
    unit: Unit = "nat"
    lengths: Tensor | None = None
    kinds: Tensor | None = None

    def take(self, index: IntArray) -> "ExplainedRows":
        """The rows at ``index``, in that order."""
        kept = torch.from_numpy(index)
        on_device = kept.to(self.inputs.device)
        return replace(
            self,
            inputs=self.inputs[on_device],
            target=self.target[on_device],
            present=self.present[index],
            together=None if self.together is None else self.together[index],
            lengths=None if self.lengths is None else self.lengths[kept],
            kinds=None if self.kinds is None else self.kinds[kept],
        )

    @property
    def white_box(self) -> WhiteBox:
        """The subject, as one that can be looked into.

        Raises:
            AuditkitError: It only answers.
        """
        if self.no_gradients is not None or not isinstance(self.subject, WhiteBox):
            raise AuditkitError(
                f"{self.subject.card.name}: has no gradients; choose a method that only asks for predictions"
            )
        return self.subject

    @property
    def n_units(self) -> int:
        """The number m of units of a row."""
        return int(self.present.shape[1])

    @property
    def pooled(self) -> Callable[[Tensor], Tensor]:
        """Sums attributions of elements, shape ``(b, *d)``, over each unit, to shape ``(b, m)``."""
        units, n_units = self.unit_of.flatten(), self.n_units
        if self._has_equal_units:
            return lambda elements: elements.reshape(len(elements), n_units, -1).sum(dim=2)
        return lambda elements: elements.new_zeros(len(elements), n_units).index_add_(
            1, units, elements.flatten(1)
        )

    @property
    def _has_equal_units(self) -> bool:
        """Whether units are as many elements each, one after the other, as the vectors of tokens are."""
        units = self.unit_of.flatten()
        if len(units) % self.n_units:
            return False
        in_order = torch.arange(self.n_units, device=units.device)
        return torch.equal(units, in_order.repeat_interleave(len(units) // self.n_units))

    def imputed(self, inputs: Tensor, kept: Tensor, instead: Tensor | None = None) -> Tensor:
        """Rows whose units that are not ``kept`` are replaced.

        Args:
            inputs: Shape ``(b, *d)``.
            kept: Boolean, shape ``(b, m)`` or ``(1, m)``.
            instead: What stands in place, broadcastable to ``inputs``; default the baseline.
        """
        mask = kept[:, self.unit_of.flatten()].view(len(kept), *inputs.shape[1:])
        return torch.where(mask, inputs, self.baseline if instead is None else instead)


def explained_rows(
    subject: WhiteBox, rows: Dataset, target: IntArray, *, explained: Explained, batch_size: int
) -> ExplainedRows | Message:
    """The score of class ``target[i]`` for row ``i``, or why its gradients cannot be had.

    Args:
        subject: The model; left as it was.
        rows: To explain; of texts those :func:`with_tokens`.
        target: Shape ``(n,)``; for a model of language the token after the row.
        explained: Which score.
        batch_size: Most rows in one evaluation.
    """
    if rows.features.tokens is not None:
        return _of_tokens(
            subject, rows, rows.features.tokens, target, explained=explained, batch_size=batch_size
        )
    reason = obstacle(subject, rows.inputs[:1].to(subject.device))
    if reason is not None:
        return reason
    inputs = rows.inputs.to(subject.device)
    score = score_of(subject, explained, _logits(subject, inputs, batch_size))
    baseline = baseline_of(subject, inputs)
    unit_of = units_of(rows.features, inputs[0])
    return ExplainedRows(
        score=score,
        inputs=inputs,
        baseline=baseline.values,
        target=torch.from_numpy(target).to(subject.device),
        unit_of=unit_of,
        present=np.ones((len(rows), int(unit_of.max()) + 1), dtype=np.bool_),
        batch_size=batch_size,
        score_meaning=_meaning(score, rows.task),
        baseline_meaning=baseline.meaning,
        subject=subject,
        features=rows.features,
    )


def _of_tokens(
    subject: WhiteBox,
    rows: Dataset,
    tokens: TokenSpace,
    target: IntArray,
    *,
    explained: Explained,
    batch_size: int,
) -> ExplainedRows | Message:
    """The baseline has the vector of padding at every place; the model still gets the ids of the row."""
    nothing = without_tokens(rows)
    if nothing is not None:
        return nothing
    ids = rows.inputs.to(subject.device)
    embedding = find_token_embedding(subject, ids[:PROBED], tokens.padding)
    if isinstance(embedding, Message):
        return embedding
    with differentiable_kernels(subject):
        reason = token_obstacle(subject, embedding, ids[:PROBED])
    if reason is not None:
        return reason
    at_once = max(1, min(batch_size, TOKENS_AT_ONCE // max(1, ids.shape[1])))
    score = score_of(subject, explained, _logits(subject, ids, at_once))
    return _between_vectors(subject, rows, embedding, score, target, at_once=at_once)


def _between_vectors(
    subject: WhiteBox,
    rows: Dataset,
    embedding: TokenEmbedding,
    score: LogitScore | LogOddsScore,
    target: IntArray,
    *,
    at_once: int,
) -> ExplainedRows:
    ids = rows.inputs.to(subject.device)
    vectors = embedding.vectors(ids)
    classes = torch.from_numpy(target).to(ids)
    places = torch.arange(ids.shape[1], device=ids.device)
    path_score, wanted = PathScore(score, embedding), torch.cat([classes.unsqueeze(1), ids], dim=1)
    return ExplainedRows(
        score=path_score,
        inputs=vectors,
        baseline=embedding.of_padding(ids),
        target=wanted,
        unit_of=places[:, None].expand(vectors.shape[1:]).contiguous(),
        present=(ids != embedding.padding).cpu().numpy(),
        batch_size=at_once,
        score_meaning=_meaning(score, rows.task),
        baseline_meaning=Message(
            text="The baseline has padding in place of every token; positions and masks stay those of the "
            "row."
        ),
        subject=subject,
        features=rows.features,
        lengths=lengths_that_count(path_score, vectors, wanted),
        kinds=kinds_of_texts(path_score, vectors, wanted),
    )


def without_tokens(rows: Dataset) -> Message | None:
    """That there is nothing to explain where rows are of tokens and none has any; a model need not answer."""
    tokens = rows.features.tokens
    if tokens is None or bool((rows.inputs != tokens.padding).any()):
        return None
    return Message(text="no row has any token")


def with_tokens(rows: Dataset) -> Dataset:
    """The rows that have anything to explain: those with a token, or all where rows are not of tokens."""
    tokens = rows.features.tokens
    if tokens is None:
        return rows
    has_any = (rows.inputs != tokens.padding).any(dim=1)
    return rows if bool(has_any.all()) or not bool(has_any.any()) else rows.take(has_any.numpy())


def differentiable_kernels(subject: WhiteBox) -> AbstractContextManager[None]:
    """Without cuDNN, which refuses the backward pass of recurrent layers in evaluation mode.

    Source:
        meta-pytorch/captum#328.
    """
    if subject.device.type == "cuda" and is_recurrent(subject.module):
        return torch.backends.cudnn.flags(enabled=False)
    return nullcontext()


def _logits(subject: WhiteBox, rows: Tensor, batch_size: int) -> Tensor:
    """Of all rows, shape ``(n, k)``."""
    with torch.no_grad():
        return torch.cat(
            [subject.logits(rows[at : at + batch_size]) for at in range(0, len(rows), batch_size)]
        )


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
