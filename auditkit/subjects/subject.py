"""What an audit sees of a model: predictions for rows and, where it has them, gradients and layers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from auditkit.data.dataset import Dataset, FloatArray, IntArray
from auditkit.records import SubjectCard

Capability = Literal["predictions", "gradients", "layers", "recipe", "generative"]


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
