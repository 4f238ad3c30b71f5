"""The last linear layer as a model of its own: what it reads of every row, and what it answers."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auditkit.data.dataset import Dataset, FloatArray, IntArray
from auditkit.models.losses import class_logits
from auditkit.records import Message
from auditkit.subjects.subject import WhiteBox

ROWS_AT_ONCE = 256
"""Rows in one evaluation: fixed, so that ranks of nearly equal rows do not hang on the user's batch size."""

_LOOKED_AT, _ALONE = 16, 3
_NEARLY = 1e-3
"""How far log-probabilities made from the layer's outputs may lie from those of the model."""


@dataclass(frozen=True, slots=True)
class LayerRows:
    """What the layer reads and answers, row by row; everything that its gradients are made of.

    Attributes:
        features: What the layer multiplies, with a last column of ones where it has a bias, ``(n, d)``.
        probabilities: Of the classes, shape ``(n, k)``.
        n_outputs: Outputs of the layer: ``k``, or 1 where it gives the logit of the second class.
    """

    features: FloatArray
    probabilities: FloatArray
    n_outputs: int

    @property
    def chances(self) -> FloatArray:
        """Probabilities of the classes that have an output, shape ``(n, n_outputs)``."""
        return self.probabilities[:, -self.n_outputs :]

    def residuals(self, labels: IntArray) -> FloatArray:
        """Gradients of the cross-entropy with respect to the outputs, shape ``(n, n_outputs)``.

        The gradient of the weights of a row is the outer product of its residuals and its features.
        """
        hit = np.arange(self.probabilities.shape[1]) == labels[:, None]
        return np.asarray((self.probabilities - hit)[:, -self.n_outputs :])

    @property
    def n_parameters(self) -> int:
        """Weights and biases of the layer."""
        return self.n_outputs * int(self.features.shape[1])


def last_linear(subject: WhiteBox, data: Dataset) -> nn.Linear | Message:
    """The linear layer whose outputs are the logits, or why there is none. The subject is left as it was."""
    calls: list[nn.Module] = []

    def note(layer: nn.Module, _arguments: tuple[Any, ...]) -> None:
        calls.append(layer)

    with ExitStack() as hooks, torch.no_grad():
        for part in subject.module.modules():
            if any(parameter.ndim > 1 for parameter in part.parameters(recurse=False)):
                hooks.callback(part.register_forward_pre_hook(note).remove)
        subject.logits(data.inputs[:_LOOKED_AT].to(subject.device))
    if _mixes_rows(subject, data):
        return Message(
            text="The answer for a row in a batch is not that for the row alone: the model mixes rows, or "
            "rows are not in the first dimension of its inputs."
        )
    if not calls or not isinstance(calls[-1], nn.Linear) or calls.count(calls[-1]) != 1:
        return Message(
            text="The last layer with weights is not a linear one that is called once for each row."
        )
    rows = layer_rows(subject, calls[-1], data.take(np.arange(min(len(data), _LOOKED_AT))))
    return rows if isinstance(rows, Message) else calls[-1]


def _mixes_rows(subject: WhiteBox, data: Dataset) -> bool:
    """Whether the first rows get other answers alone than among others."""
    rows = data.inputs[:_LOOKED_AT].to(subject.device)
    with torch.no_grad():
        together = torch.log_softmax(subject.logits(rows), dim=1)[:_ALONE]
        # twice, as a model that norms over rows refuses a single one
        twice = [subject.logits(torch.stack([row, row]))[:1] for row in rows[:_ALONE]]
        alone = torch.log_softmax(torch.cat(twice), dim=1)
    return alone.shape != together.shape or not _are_near(alone, together)


def _are_near(one: Tensor, other: Tensor) -> bool:
    return bool(((one - other).abs() <= _NEARLY * (1 + other.abs())).all())


def layer_rows(subject: WhiteBox, layer: nn.Linear, data: Dataset) -> LayerRows | Message:
    """Evaluate all rows and keep what ``layer`` reads; a reason where its outputs are not the logits."""
    features, probabilities = [], []
    with _watched(layer) as seen, torch.no_grad():
        for start in range(0, len(data), ROWS_AT_ONCE):
            batch = data.inputs[start : start + ROWS_AT_ONCE].to(subject.device)
            seen.clear()
            said = torch.log_softmax(subject.logits(batch).double(), dim=1)
            if len(seen) != 1 or not _makes(seen[0][1], said):
                return Message(text="The answers of the model are not the outputs of its last linear layer.")
            features.append(seen[0][0].double().cpu().numpy())
            probabilities.append(said.exp().cpu().numpy())
    read = np.concatenate(features)
    if layer.bias is not None:
        read = np.column_stack([read, np.ones(len(read))])
    return LayerRows(read, np.concatenate(probabilities), layer.out_features)


def _makes(outputs: Tensor, said: Tensor) -> bool:
    """Whether the outputs of the layer are logits of the log-probabilities that the model gives."""
    if outputs.ndim != 2 or len(outputs) != len(said):
        return False
    own = torch.log_softmax(class_logits(outputs.double()), dim=1)
    return own.shape == said.shape and _are_near(own, said)


@contextmanager
def _watched(layer: nn.Linear) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Inputs and outputs of the layer, call by call."""
    seen: list[tuple[Tensor, Tensor]] = []

    def note(_layer: nn.Module, arguments: tuple[Any, ...], output: Tensor) -> None:
        seen.append((arguments[0].detach(), output.detach()))

    handle = layer.register_forward_hook(note)
    try:
        yield seen
    finally:
        handle.remove()
