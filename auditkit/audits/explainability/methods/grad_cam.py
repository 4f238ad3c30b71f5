"""Grad-CAM: where the last convolution sees what speaks for the class, drawn at the size of the picture."""

from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.call_rules import Call
from auditkit.audits.explainability.methods.method import AttributionMethod, with_gradients
from auditkit.audits.explainability.methods.watched_calls import PROBED, Watch, unseen_layer, watched_scores
from auditkit.data.dataset import FloatArray
from auditkit.records import Message

_PICTURES = 4
"""Dimensions of a batch of pictures: rows, channels, height, width."""


class _Convolutions(Watch):
    """Keeps the shape that the first convolution sees and what the last one gives.

    Convolutions of width 1 mix channels and see no surroundings; one is the last only where all are such, so
    that the shortcut of a residual block is not mistaken for its convolutions.
    """

    def __init__(self) -> None:
        super().__init__()
        self.picture_shape: tuple[int, int] | None = None
        self.last: Tensor | None = None
        self.is_wide = False

    def answer(self, call: Call) -> Any:
        made = call.made()
        if call.name not in {"conv2d", "convolution"} or made.ndim != _PICTURES:
            return made
        if self.picture_shape is None:
            height, width = call.carriers[0].shape[-2:]
            self.picture_shape = (int(height), int(width))
        kernel = call.given(1, "weight")
        is_wide = kernel is not None and kernel.shape[-2:].numel() > 1
        if is_wide or not self.is_wide:
            self.last, self.is_wide = made, is_wide
        return made


def class_activation(rows: ExplainedRows, inputs: Tensor, target: Tensor) -> Tensor:
    """Maps of the pictures, not negative, shape ``(b, height, width)``."""
    watch = _Convolutions()
    scores, _ = watched_scores(rows, inputs, target, watch)
    if watch.last is None or watch.picture_shape is None:
        raise ValueError("grad-cam: no convolution was called; ask its obstacle first")
    (gradient,) = torch.autograd.grad(scores.sum(), watch.last)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    seen = torch.relu((weights * watch.last.detach()).sum(dim=1, keepdim=True))
    return functional.interpolate(seen, watch.picture_shape, mode="bilinear", align_corners=False).squeeze(1)


def _grad_cam(rows: ExplainedRows, _rng: torch.Generator) -> FloatArray:
    parts = [
        class_activation(rows, rows.inputs[part], rows.target[part]).flatten(1).double().cpu().numpy()
        for part in (slice(at, at + rows.batch_size) for at in range(0, len(rows.inputs), rows.batch_size))
    ]
    return np.where(rows.present, np.concatenate(parts), 0.0)


def _obstacle(rows: ExplainedRows) -> Message | None:
    reason = unseen_layer(rows)
    if reason is not None:
        return reason
    watch = _Convolutions()
    scores, _ = watched_scores(rows, rows.inputs[:PROBED], rows.target[:PROBED], watch)
    if watch.last is None or watch.picture_shape is None:
        return Message(text="the model has no convolution of pictures, whose maps grad-cam draws")
    height, width = watch.picture_shape
    elements = torch.arange(rows.unit_of.numel(), device=rows.unit_of.device)
    if height * width != rows.n_units or not torch.equal(rows.unit_of.flatten(), elements % rows.n_units):
        return Message(
            text="the first convolution sees pictures of {height} × {width}, and a row has {n} units",
            values={"height": height, "width": width, "n": rows.n_units},
        )
    gradient = torch.autograd.grad(scores.sum(), watch.last, allow_unused=True)[0]
    if gradient is not None:
        return None
    return Message(text="the score does not depend on the last convolution of the model")


GRAD_CAM: Final = AttributionMethod(
    name="grad-cam",
    attribute=_grad_cam,
    obstacle=with_gradients(_obstacle),
    signed=False,
    sources=("Selvaraju et al. (2017), Grad-CAM, arXiv:1610.02391, section 3",),
)
