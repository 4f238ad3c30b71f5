"""Methods that need one gradient of each row."""

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.explained_rows import ExplainedRows, differentiable_kernels
from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.data.dataset import FloatArray


def gradients(rows: ExplainedRows, inputs: Tensor, target: Tensor) -> Tensor:
    """Of the score to the elements of ``inputs``, same shape ``(b, *d)``; nothing is written to ``.grad``."""
    with torch.enable_grad(), differentiable_kernels(rows.white_box):
        at = inputs.detach().clone().requires_grad_(True)
        # Rows are independent, so the gradient of the sum holds that of each.
        (found,) = torch.autograd.grad(rows.score(at, target).sum(), at)
    return found


def batchwise(rows: ExplainedRows, of: Callable[[Tensor, Tensor], Tensor]) -> FloatArray:
    """Units' attributions, shape ``(n, m)``, from ``of(inputs, target)`` of shape ``(b, *d)``."""
    parts = [
        rows.pooled(of(rows.inputs[part], rows.target[part]).double()).cpu().numpy()
        for part in (slice(at, at + rows.batch_size) for at in range(0, len(rows.inputs), rows.batch_size))
    ]
    return np.where(rows.present, np.concatenate(parts), 0.0)


def _saliency(rows: ExplainedRows, _rng: torch.Generator) -> FloatArray:
    return batchwise(rows, lambda inputs, target: gradients(rows, inputs, target).abs())


def _input_x_gradient(rows: ExplainedRows, _rng: torch.Generator) -> FloatArray:
    return batchwise(rows, lambda inputs, target: gradients(rows, inputs, target) * (inputs - rows.baseline))


SALIENCY: Final = AttributionMethod(
    name="saliency",
    attribute=_saliency,
    signed=False,
    sources=("Simonyan, Vedaldi and Zisserman (2013), Deep Inside Convolutional Networks, arXiv:1312.6034",),
)

INPUT_X_GRADIENT: Final = AttributionMethod(
    name="input-x-gradient",
    attribute=_input_x_gradient,
    sources=("Shrikumar et al. (2016), Not Just a Black Box, arXiv:1605.01713",),
)
