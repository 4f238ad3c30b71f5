"""Sums along paths from zero, ours and an independent one."""

import numpy as np
import torch

from auditkit.audits.explainability.integrated_gradients import Precision, integrated_gradients
from auditkit.audits.explainability.straight_path.points import StraightPath


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def summed(score, inputs, *, batch_size=64, **precision):
    path = StraightPath(
        score,
        inputs,
        torch.zeros_like(inputs[:1]),
        torch.zeros(len(inputs), dtype=torch.int64),
        lambda attributions: attributions.flatten(1),
        batch_size,
    )
    return integrated_gradients(path, Precision(**precision))


def fixed_steps(score, inputs, steps=8192):
    """Independent: so many midpoints for every row, in plain gradients."""
    places = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    found = []
    for row in inputs:
        at = (places.view(-1, *[1] * row.ndim) * row.double()).float().requires_grad_(True)
        (gradients,) = torch.autograd.grad(score(at, None).sum(), at)
        found.append((gradients.double() * row.double()).mean(dim=0).flatten().numpy())
    return np.array(found)
