"""Explaining a model that only answers: its score is what it says of rows whose units are replaced."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.as_read_baseline import as_read_baseline
from auditkit.audits.explainability.explained_rows import ExplainedRows, explained_rows, without_tokens
from auditkit.audits.explainability.explained_score import Baseline, Explained, baseline_of
from auditkit.audits.explainability.explained_units import units_of
from auditkit.audits.explainability.words import word_numbers
from auditkit.data.dataset import Dataset, IntArray
from auditkit.data.preprocessing import TextPreprocessing
from auditkit.data.tokenizers import ByteTokenizer
from auditkit.errors import UsageError
from auditkit.records import Message
from auditkit.subjects.predictions_table import PredictionsTable
from auditkit.subjects.subject import Subject, WhiteBox, preprocessing_of

ONLY_ANSWERS = Message(text="the model only answers and has no gradients; a method that asks it is needed")
FROM_TABLE = Message(text="the predictions were read from a table, which cannot be asked about other rows")
LABELS_ALONE = Message(text="the model gives labels without probabilities, so there is no score to explain")
ONE_CLASS = Message(text="there is one class alone, so there are no odds to explain")


CERTAIN: Final = 18.0
"""Log-odds from which on an answer is taken as certain. Forests and neighbours answer 0 or 1, whose odds have
no end: where such answers are cut would decide attributions, not the model."""


@dataclass(frozen=True, slots=True)
class AnswerScore:
    """The log-odds of the target class against all others, or its probability, as the subject answers.

    Attributes:
        subject: Asked.
        rows: What its rows are like.
        as_probability: Whether it is the probability.
    """

    subject: Subject
    rows: Dataset
    as_probability: bool = False

    def __call__(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Scores, shape ``(n,)``, float64; tokens that follow a replaced one move up.

        ``target`` holds the class, then the number of the row: what else is known of it stays as it is.
        """
        classes, numbers = target[:, 0], target[:, 1].numpy()
        asked = Dataset(
            name=self.rows.name,
            source=self.rows.source,
            split=self.rows.split,
            inputs=self._moved_up(inputs),
            y_true=classes.numpy(),
            classes=self.rows.classes,
            target=self.rows.target,
            positive=self.rows.positive,
            features=self.rows.features,
            sensitive_features={
                name: column.take(numbers) for name, column in self.rows.sensitive_features.items()
            },
            task=self.rows.task,
        )
        answers = self.subject.predict(asked, batch_size=len(inputs)).log_probabilities
        logarithms = torch.from_numpy(np.array(answers, dtype=np.float64))
        column = classes.unsqueeze(1)
        own = logarithms.gather(1, column).squeeze(1)
        if self.as_probability:
            return own.exp()
        return own - logarithms.scatter(1, column, -torch.inf).logsumexp(dim=1)

    def _moved_up(self, inputs: Tensor) -> Tensor:
        """Rows of tokens have padding at their end alone, as the model knows them."""
        if self.rows.features.tokens is None:
            return inputs
        is_padding = (inputs == self.rows.features.tokens.padding).to(torch.int8)
        return inputs.gather(1, is_padding.argsort(dim=1, stable=True))


def asked_rows(
    subject: Subject, rows: Dataset, target: IntArray, *, explained: Explained, batch_size: int
) -> ExplainedRows | Message:
    """The rows of any subject: with gradients where they reach the inputs, else as it answers.

    Args:
        subject: The model; left as it was.
        rows: To explain; of texts those :func:`~auditkit.audits.explainability.explained_rows.with_tokens`.
        target: Class of each row that is explained, shape ``(n,)``.
        explained: Which score; of answers it is the log-odds, or the probability where some are certain.
        batch_size: Most rows in one evaluation.
    """
    reason = ONLY_ANSWERS
    if isinstance(subject, WhiteBox) and "gradients" in subject.capabilities:
        found = explained_rows(subject, rows, target, explained=explained, batch_size=batch_size)
        if not isinstance(found, Message):
            return found
        reason = found
    return black_box_rows(subject, rows, target, batch_size=batch_size, reason=reason)


def black_box_rows(
    subject: Subject,
    rows: Dataset,
    target: IntArray,
    *,
    batch_size: int,
    reason: Message = ONLY_ANSWERS,
) -> ExplainedRows | Message:
    """Rows whose score is asked of the subject, or why there is none.

    Args:
        subject: Asked; nothing else is used of it.
        rows: To explain.
        target: Class of each row that is explained, shape ``(n,)``; for a model of language the token after
            the row.
        batch_size: Most rows in one question.
        reason: Why there are no gradients.
    """
    missing = _no_score(subject, rows) or without_tokens(rows)
    if missing is not None:
        return missing
    tokens = rows.features.tokens
    inputs = rows.inputs.detach().cpu()
    unit_of = units_of(rows.features, inputs[0])
    n_units = int(unit_of.max()) + 1
    present = np.ones((len(rows), n_units), dtype=np.bool_)
    if tokens is not None:
        present = (inputs != tokens.padding).numpy()
    baseline = _baseline(subject, rows, inputs)
    targets = torch.from_numpy(np.column_stack([target, np.arange(len(rows))]).astype(np.int64))
    score = AnswerScore(subject, rows)
    try:
        as_probability = _is_certain(score, inputs, baseline.values, targets, batch_size)
    except UsageError:
        if reason is ONLY_ANSWERS:
            raise
        return reason  # without an answer at the baseline nothing stands in for gradients
    return ExplainedRows(
        score=replace(score, as_probability=as_probability),
        inputs=inputs,
        baseline=baseline.values,
        target=targets,
        unit_of=unit_of,
        present=present,
        batch_size=batch_size,
        score_meaning=_meaning(rows, as_probability=as_probability),
        baseline_meaning=baseline.meaning,
        subject=subject,
        features=rows.features,
        no_gradients=reason,
        together=word_numbers(inputs) if _reads_bytes(subject) else None,
        unit="1" if as_probability else "nat",
    )


def _no_score(subject: Subject, rows: Dataset) -> Message | None:
    if isinstance(subject, PredictionsTable):
        return FROM_TABLE
    if "losses" not in subject.capabilities:
        return LABELS_ALONE
    return ONE_CLASS if len(rows.classes) < 2 else None


def _baseline(subject: Subject, rows: Dataset, inputs: Tensor) -> Baseline:
    if rows.features.tokens is not None:
        return Baseline(
            torch.full_like(inputs[:1], rows.features.tokens.padding),
            Message(text="The baseline is a row without tokens; those after a replaced one move up."),
        )
    if rows.features.levels or not inputs.is_floating_point():
        return as_read_baseline(inputs, rows.features)
    return baseline_of(subject, inputs)


def _reads_bytes(subject: Subject) -> bool:
    """Whether the subject is asked about texts, of which the bytes are only the way they are kept."""
    preprocessing = preprocessing_of(subject)
    is_white = isinstance(subject, WhiteBox)
    return (
        not is_white
        and isinstance(preprocessing, TextPreprocessing)
        and isinstance(preprocessing.tokenizer, ByteTokenizer)
    )


def _is_certain(
    score: AnswerScore, inputs: Tensor, baseline: Tensor, target: Tensor, batch_size: int
) -> bool:
    """Whether an answer about a row or about the baseline is certain."""
    for start in range(0, len(inputs), batch_size):
        wanted = target[start : start + batch_size]
        rows = inputs[start : start + batch_size]
        for asked in (rows, baseline.expand_as(rows)):
            if bool((score(asked, wanted).abs() > CERTAIN).any()):
                return True
    return False


def _meaning(rows: Dataset, *, as_probability: bool) -> Message:
    if as_probability:
        return Message(
            text="Explained is the probability of the class, because some answers are certain, and certainty "
            "has no odds."
        )
    if rows.task == "language-modelling":
        return Message(
            text="Explained are the log-odds of the token foretold after the row against all others."
        )
    return Message(text="Explained are the log-odds of the predicted class against all others.")
