"""Methods that average gradients over draws: SmoothGrad and GradientSHAP.

The draws of a row are taken for each row on its own, so that they do not depend on how rows are put together.
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.gradient import gradients
from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.data.dataset import FloatArray

N_DRAWS: Final = 32
"""Draws of a row."""

NOISE: Final = 0.15
"""Standard deviation of the noise per range of a row; the source calls 0.1 to 0.2 good (section 3.2)."""


def noise_scale(rows: ExplainedRows, inputs: Tensor) -> Tensor:
    """Standard deviation of the noise of each row, shape ``(b,)``: of its range, the baseline's included."""
    both = torch.cat([inputs, rows.baseline.expand_as(inputs)], dim=1).flatten(1)
    return NOISE * (both.amax(dim=1) - both.amin(dim=1))


def mean_gradients(rows: ExplainedRows, points: Tensor, target: Tensor) -> Tensor:
    """Mean over draws of the gradients at ``points`` of shape ``(b, draws, *d)``, shape ``(b, *d)``."""
    n, draws = points.shape[:2]
    flat, wanted = points.flatten(0, 1), target.repeat_interleave(draws, dim=0)
    parts = [
        gradients(rows, flat[at : at + rows.batch_size], wanted[at : at + rows.batch_size]).double()
        for at in range(0, n * draws, rows.batch_size)
    ]
    return torch.cat(parts).view(n, draws, *points.shape[2:]).mean(dim=1)


def _rows_at_once(rows: ExplainedRows) -> int:
    return max(1, rows.batch_size // N_DRAWS)


def _smooth_gradient(rows: ExplainedRows, rng: torch.Generator) -> FloatArray:
    parts = []
    for start in range(0, len(rows.inputs), _rows_at_once(rows)):
        part = slice(start, start + _rows_at_once(rows))
        inputs, target = rows.inputs[part], rows.target[part]
        shape = (N_DRAWS, *inputs.shape[1:])
        noise = torch.stack([torch.randn(shape, generator=rng) for _ in inputs]).to(inputs)
        scale = noise_scale(rows, inputs).view(-1, 1, *(1,) * (inputs.ndim - 1))
        found = mean_gradients(rows, inputs.unsqueeze(1) + scale * noise, target)
        parts.append(rows.pooled(found.abs()).cpu().numpy())
    return np.where(rows.present, np.concatenate(parts), 0.0)


def _gradient_shap(rows: ExplainedRows, rng: torch.Generator) -> FloatArray:
    """One draw in every stretch of the path, so that the mean has less noise than of draws anywhere."""
    parts = []
    stretches = torch.arange(N_DRAWS)
    for start in range(0, len(rows.inputs), _rows_at_once(rows)):
        part = slice(start, start + _rows_at_once(rows))
        inputs, target = rows.inputs[part], rows.target[part]
        drawn = [(stretches + torch.rand(N_DRAWS, generator=rng)) / N_DRAWS for _ in inputs]
        found = between(rows, inputs, target, torch.stack(drawn))
        parts.append(rows.pooled(found).cpu().numpy())
    return np.where(rows.present, np.concatenate(parts), 0.0)


def between(rows: ExplainedRows, inputs: Tensor, target: Tensor, shares: Tensor) -> Tensor:
    """Mean gradient at points of the path times the path, shape of ``inputs``.

    Args:
        rows: Whose score and baseline.
        inputs: Shape ``(b, *d)``.
        target: Of those rows.
        shares: How far along the path each point lies, shape ``(b, draws)``, in ``[0, 1]``.
    """
    path = inputs - rows.baseline
    along = shares.to(inputs).view(*shares.shape, *(1,) * (inputs.ndim - 1))
    points = rows.baseline.unsqueeze(1) + along * path.unsqueeze(1)
    return mean_gradients(rows, points, target) * path


SMOOTHGRAD: Final = AttributionMethod(
    name="smoothgrad",
    attribute=_smooth_gradient,
    signed=False,
    sources=("Smilkov et al. (2017), SmoothGrad, arXiv:1706.03825",),
)

GRADIENT_SHAP: Final = AttributionMethod(
    name="gradient-shap",
    attribute=_gradient_shap,
    sources=(
        "Lundberg and Lee (2017), A Unified Approach to Interpreting Model Predictions, arXiv:1705.07874",
        "Erion et al. (2021), Improving Performance of Deep Learning Models with Axiomatic Attribution "
        "Priors and Expected Gradients, arXiv:1906.10670",
    ),
)
