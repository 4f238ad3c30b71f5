"""What the last layer of a torch module reads: the model's own summary of a row."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auditkit.data.dataset import Dataset, FloatArray
from auditkit.records import Message
from auditkit.subjects.subject import Predictions, Subject, WhiteBox

MOST_COLUMNS = 512
"""A wider layer is projected on so many random directions, which keep distances nearly as they are."""

LOOKED_AT = 16
"""Rows on which the last layer is found."""


@dataclass(slots=True)
class _Seen:
    """What a layer was called with, batch by batch."""

    parts: list[Tensor] = field(default_factory=list)
    failed: bool = False


@dataclass(frozen=True, slots=True)
class LayerOutputs:
    """Predictions of all rows, and what the last layer read for them.

    Attributes:
        predictions: As the subject gives them.
        columns: Shape ``(n, d)``, or why there are none.
        width: Numbers per row before any projection.
    """

    predictions: Predictions
    columns: FloatArray | Message
    width: int = 0


def penultimate(
    subject: Subject, data: Dataset, *, batch_size: int, rng: np.random.Generator
) -> LayerOutputs:
    """Predict all rows and note what the last layer with weights is called with.

    Positions of a sequence or picture are averaged. The subject is left as it was.

    Args:
        subject: Any; one without layers gives a reason.
        data: The rows.
        batch_size: Rows at once.
        rng: Draws the directions a wide layer is projected on.
    """
    if "layers" not in subject.capabilities or not isinstance(subject, WhiteBox):
        reason = Message(text="Its layers cannot be seen: it only answers.")
        return LayerOutputs(subject.predict(data, batch_size=batch_size), reason)
    layer = _last_layer(subject, data)
    if layer is None:
        reason = Message(text="No layer with weights is called exactly once for each row.")
        return LayerOutputs(subject.predict(data, batch_size=batch_size), reason)
    with _watched(layer) as seen:
        predictions = subject.predict(data, batch_size=batch_size)
    columns = _rows_of(seen, len(data), batch_size)
    if columns is None:
        reason = Message(
            text="The last layer is not called once for each batch, so rows cannot be told apart."
        )
        return LayerOutputs(predictions, reason)
    inputs = data.inputs.detach().cpu().reshape(len(data), -1)
    if columns.shape == inputs.shape and np.allclose(columns, inputs.numpy(), rtol=1e-5, atol=1e-6):
        return LayerOutputs(
            predictions, Message(text="There is no hidden layer: the last one reads the inputs.")
        )
    width = columns.shape[1]
    if width > MOST_COLUMNS:
        columns = columns @ (rng.normal(size=(width, MOST_COLUMNS)) / MOST_COLUMNS**0.5)
    return LayerOutputs(predictions, columns, width)


def _last_layer(subject: WhiteBox, data: Dataset) -> nn.Module | None:
    """The layer with own weights that is called last; ``None`` where it is called more than once."""
    calls: list[nn.Module] = []

    def note(layer: nn.Module, _arguments: tuple[Any, ...], _named: dict[str, Any]) -> None:
        calls.append(layer)

    with ExitStack() as hooks, torch.inference_mode():
        for part in subject.module.modules():
            if any(parameter.ndim > 1 for parameter in part.parameters(recurse=False)):
                hooks.callback(part.register_forward_pre_hook(note, with_kwargs=True).remove)
        subject.logits(data.inputs[:LOOKED_AT].to(subject.device))
    if not calls or calls.count(calls[-1]) != 1:
        return None
    return calls[-1]


@contextmanager
def _watched(layer: nn.Module) -> Iterator[_Seen]:
    seen = _Seen()

    def note(_layer: nn.Module, arguments: tuple[Any, ...]) -> None:
        if arguments and isinstance(arguments[0], Tensor) and arguments[0].is_floating_point():
            seen.parts.append(_flat(arguments[0].detach()).to("cpu", torch.float64))
        else:
            seen.failed = True

    handle = layer.register_forward_pre_hook(note)
    try:
        yield seen
    finally:
        handle.remove()


def _flat(values: Tensor) -> Tensor:
    """One vector per row: channels of pictures and features of sequences, averaged over their positions."""
    if values.ndim == 4:
        return values.mean(dim=(2, 3))
    if values.ndim == 3:
        return values.mean(dim=1)
    return values.reshape(len(values), -1)


def _rows_of(seen: _Seen, n: int, batch_size: int) -> FloatArray | None:
    """The parts side by side, each cut to the rows of its batch, which may have been filled up."""
    sizes = [min(batch_size, n - start) for start in range(0, n, batch_size)]
    fits = len(seen.parts) == len(sizes) and all(
        len(part) >= size for part, size in zip(seen.parts, sizes, strict=False)
    )
    if seen.failed or not fits:
        return None
    found = torch.cat([part[:size] for part, size in zip(seen.parts, sizes, strict=True)]).numpy()
    return np.asarray(found, dtype=np.float64) if np.isfinite(found).all() else None
