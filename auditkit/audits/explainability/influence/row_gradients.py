"""Gradients of the loss of single rows with respect to all parameters, many rows at once.

They are never kept: a row leaves behind its inner products with a few others, and its length.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from auditkit.audits.explainability.explained_rows import differentiable_kernels
from auditkit.data.dataset import IntArray
from auditkit.errors import UsageError
from auditkit.models.losses import per_row_loss
from auditkit.privacy.per_example.book_keeping import Recorder, squared_norms
from auditkit.privacy.per_example.parts import Part
from auditkit.records import Message
from auditkit.subjects.subject import WhiteBox

_MOST_ROWS = 128
_NUMBERS_AT_ONCE = 2**24
"""Numbers in the gradients that are formed at a time: 64 MiB in single precision."""

_PROBED, _COMPARED = 8, 3
"""Rows in a batch, and how many of them are compared with a backward pass of their own."""

_NEARLY = 1e-3
"""Of the longest gradient: what single precision may differ by between one row and a batch."""

_ERRORS = (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError, UsageError)
"""What a module or a transformation of it may raise."""


class _Answers(nn.Module):
    """The logits of a subject as a module, whatever the subject does with its own module's outputs."""

    def __init__(self, subject: WhiteBox) -> None:
        super().__init__()
        self.inner = subject.module
        self._subject = subject

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape ``(n, k)``."""
        return self._subject.logits(inputs)


@dataclass(frozen=True, slots=True)
class Batch:
    """The gradients of some rows in sequence, in whatever form they are cheapest to keep.

    Attributes:
        start: Number of the first row.
        n: How many rows.
        parts: By parameter; a parameter that took no part has none.
        losses: Shape ``(n,)``.
    """

    start: int
    n: int
    parts: dict[Tensor, Part]
    losses: Tensor

    def squared_lengths(self) -> Tensor:
        """Of every row's gradient, shape ``(n,)``, float64, on the CPU."""
        return squared_norms(self.parts.values(), self.n, self.losses)[0].double().cpu()

    def of(self, parameter: Tensor) -> Tensor | None:
        """Gradients of one parameter, shape ``(n, parameter.numel())``; ``None`` where they are zero."""
        part = self.parts.get(parameter)
        return None if part is None else part.per_example().flatten(1)


@dataclass(frozen=True)
class RowGradients:
    """Gradients of rows of one subject; make it by :func:`row_gradients`.

    Attributes:
        subject: In evaluation mode; left as it was.
        parameters: Those with ``requires_grad``, in the order of the module.
    """

    subject: WhiteBox
    parameters: Sequence[Tensor] = field(repr=False)
    _recorder: Recorder = field(repr=False)

    @property
    def n_parameters(self) -> int:
        """Numbers in one gradient."""
        return sum(parameter.numel() for parameter in self.parameters)

    def batches(self, inputs: Tensor, labels: IntArray) -> Iterator[Batch]:
        """Gradients of the cross-entropy of ``labels``, batch by batch.

        Batches have a size that hangs on the model alone.
        """
        step = max(1, min(_MOST_ROWS, _NUMBERS_AT_ONCE // self.n_parameters))
        targets = torch.from_numpy(labels)
        for start in range(0, len(inputs), step):
            yield self._batch(start, inputs[start : start + step], targets[start : start + step])

    def _batch(self, start: int, inputs: Tensor, targets: Tensor) -> Batch:
        place = self.subject.device
        with differentiable_kernels(self.subject):
            losses, parts = self._recorder.parts(inputs.to(place), targets.to(place), None)
        return Batch(start, len(inputs), parts, losses)

    def problem(self, inputs: Tensor, labels: IntArray) -> Message | None:
        """Why gradients of rows in a batch are not those of the rows alone; ``None`` where they are."""
        rows, targets = inputs[:_PROBED], torch.from_numpy(labels[:_PROBED])
        try:
            batch = self._batch(0, rows, targets)
            alone = [self._alone(rows[one : one + 1], targets[one : one + 1]) for one in range(len(rows))]
        except _ERRORS as error:
            return Message(
                text="There are no gradients of single rows ({error}).",
                values={"error": (str(error).splitlines() or [type(error).__name__])[0]},
            )
        allowed = _NEARLY * max(_length(gradients) for gradients in alone)
        together = [batch.of(parameter) for parameter in self.parameters]
        for row, gradients in enumerate(alone[:_COMPARED]):
            apart = [
                minus(None if whole is None else whole[row], own)
                for whole, own in zip(together, gradients, strict=True)
            ]
            if not _length(apart) <= allowed:
                return Message(
                    text="The gradient of a row in a batch is not that of the row alone: the model mixes "
                    "rows, or rows are not in the first dimension of its inputs."
                )
        return None

    def _alone(self, inputs: Tensor, targets: Tensor) -> list[Tensor | None]:
        place = self.subject.device
        with torch.enable_grad(), differentiable_kernels(self.subject):
            loss = per_row_loss(self.subject.logits(inputs.to(place)), targets.to(place)).sum()
            gradients: Sequence[Tensor | None] = torch.autograd.grad(loss, self.parameters, allow_unused=True)
        return [None if one is None else one.to_dense().flatten() for one in gradients]


def row_gradients(subject: WhiteBox, inputs: Tensor, labels: IntArray) -> RowGradients | Message:
    """Gradients of rows, tried on the first ones; or why there are none.

    Args:
        subject: Any with a module.
        inputs: Rows, at least one.
        labels: Their classes, shape ``(n,)``.
    """
    recorder = Recorder(_Answers(subject))
    if not recorder.parameters:
        return Message(text="No parameter of the model can be trained, so no row has a gradient.")
    gradients = RowGradients(subject, recorder.parameters, recorder)
    return gradients.problem(inputs, labels) or gradients


def minus(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    """The difference of two gradients, either of which may be absent where it is zero."""
    if one is None or other is None:
        return one if other is None else -other
    return one - other


def _length(gradients: Sequence[Tensor | None]) -> float:
    return math.sqrt(sum(float(one.double().square().sum()) for one in gradients if one is not None))
