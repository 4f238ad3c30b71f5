"""What an audit sees of a model: predictions for rows and, where it has them, gradients and layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from auditkit.data.dataset import BoolArray, Dataset, FloatArray, IntArray
from auditkit.data.preprocessing import Preprocessing
from auditkit.errors import UsageError
from auditkit.records import SubjectCard

Capability = Literal[
    "predictions", "probabilities", "losses", "gradients", "layers", "recipe", "generative", "values"
]
"""What can be asked of a subject: labels, their probabilities, the loss of a row, gradients, layers, to be
trained again, tokens of a language, numbers. A subject that foretells numbers has no labels."""


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a subject says about each row.

    Attributes:
        log_probabilities: Natural logarithms, shape ``(n, k)``, float64; ``-inf`` never occurs.
    """

    log_probabilities: FloatArray

    @property
    def probabilities(self) -> FloatArray:
        """Shape ``(n, k)``; rows sum to one."""
        return np.exp(self.log_probabilities)

    @property
    def y_pred(self) -> IntArray:
        """Most probable class, shape ``(n,)``; the first of equals."""
        return np.asarray(self.log_probabilities.argmax(axis=1), dtype=np.int64)

    def loss(self, y_true: IntArray) -> FloatArray:
        """Cross-entropy of each row in nats, shape ``(n,)``."""
        return -self.log_probabilities[np.arange(len(y_true)), y_true]


@dataclass(frozen=True, slots=True)
class TokenLosses:
    """What a model of language says about each token of each row.

    Attributes:
        nats: Minus the log-probability of the token that came, shape ``(n, length)``; 0 where not counted.
        counted: Whether the position has a token to be foretold; padding has none.
        foretold: Whether the most probable token was the one that came.
    """

    nats: FloatArray
    counted: BoolArray
    foretold: BoolArray

    @property
    def of_rows(self) -> FloatArray:
        """Mean over the tokens of each row, shape ``(n,)``."""
        return np.asarray(self.nats.sum(axis=1) / self.counted.sum(axis=1))


@runtime_checkable
class Subject(Protocol):
    """The model under audit. Must be picklable, so that an executor can send it to a worker."""

    @property
    def card(self) -> SubjectCard:
        """Its identity."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What can be asked of it; computed from the object, not typed by hand."""
        ...

    def predict(self, data: Dataset, *, batch_size: int) -> Predictions:
        """Predictions for every row, in evaluation mode, without keeping gradients."""
        ...


@runtime_checkable
class Generative(Subject, Protocol):
    """A subject with the capability ``generative``: it foretells the tokens of a language."""

    def token_losses(self, data: Dataset, *, batch_size: int) -> TokenLosses:
        """The loss of every token, in evaluation mode, without keeping gradients."""
        ...


@runtime_checkable
class Valued(Subject, Protocol):
    """A subject with the capability ``values``: it foretells a number for every row."""

    def predict_values(self, data: Dataset, *, batch_size: int) -> FloatArray:
        """Shape ``(n,)``, float64, finite, in the unit of the target; in evaluation mode."""
        ...


@runtime_checkable
class WhiteBox(Subject, Protocol):
    """A subject with a torch module inside: capabilities ``gradients`` and ``layers``."""

    @property
    def module(self) -> nn.Module:
        """The module in evaluation mode. Audits must leave it as they found it."""
        ...

    @property
    def device(self) -> torch.device:
        """Where its parameters are."""
        ...

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Unnormalised log-probabilities, shape ``(n, k)``, differentiable in ``inputs``."""
        ...

    def state(self) -> Mapping[str, torch.Tensor]:
        """Parameters and buffers by name."""
        ...


def row_losses(subject: Subject, data: Dataset, *, batch_size: int) -> FloatArray:
    """Loss of every row in nats, shape ``(n,)``: of its label, or the mean over its tokens.

    Raises:
        UsageError: The subject lacks the capability ``losses``.
    """
    if "losses" not in subject.capabilities:
        raise UsageError(f"{subject.card.name}: gives labels without probabilities, so rows have no loss")
    if "generative" in subject.capabilities and isinstance(subject, Generative):
        return subject.token_losses(data, batch_size=batch_size).of_rows
    return subject.predict(data, batch_size=batch_size).loss(data.y_true)


def values_of(subject: Subject, data: Dataset, *, batch_size: int) -> FloatArray:
    """What ``subject`` foretells for every row, shape ``(n,)``, in the unit of the target.

    Raises:
        UsageError: The subject lacks the capability ``values``, or the data have no outcomes.
    """
    if "values" not in subject.capabilities or not isinstance(subject, Valued):
        raise UsageError(f"{subject.card.name}: tells labels, not numbers")
    return subject.predict_values(data, batch_size=batch_size)


def no_labels(title: str) -> UsageError:
    """What a subject says that foretells numbers and is asked for labels."""
    return UsageError(f"{title}: foretells numbers (data.task: regression); it has no labels")


def preprocessing_of(subject: Subject) -> Preprocessing | None:
    """How raw rows become the inputs of ``subject``, where it has an own way."""
    found: Preprocessing | None = getattr(subject, "preprocessing", None)
    return found
