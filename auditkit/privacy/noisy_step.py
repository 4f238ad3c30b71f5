"""One step of the mechanism: sampled rows, clipped gradient sum, Gaussian noise, a fixed divisor."""

from collections.abc import Sequence

import numpy as np
import torch

from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.draws import Draws


def noisy_gradients(
    clipped: ClippedGradients,
    inputs: torch.Tensor,
    targets: torch.Tensor,
    mechanism: Mechanism,
    draws: Draws,
) -> list[torch.Tensor]:
    """One step of the mechanism: the clipped sum of one batch plus noise, over the fixed divisor.

    Sum and noise are added in double precision.
    """
    rows = draws.poisson_rows(len(inputs), mechanism.sample_rate)
    index = torch.from_numpy(rows).to(inputs.device)
    total = clipped.clipped_sum(inputs[index], targets[index])
    scale = mechanism.noise_multiplier * mechanism.max_grad_norm
    noise = _like(draws.normal(sum(part.numel() for part in total)) * scale, total)
    return [
        ((part.double() + more) / mechanism.normaliser).to(part.dtype)
        for part, more in zip(total, noise, strict=True)
    ]


def _like(flat: np.ndarray, tensors: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Cut a flat array into float64 tensors of the shapes of ``tensors``."""
    parts = torch.split(torch.from_numpy(flat), [tensor.numel() for tensor in tensors])
    return [part.view(tensor.shape).to(tensor.device) for part, tensor in zip(parts, tensors, strict=True)]
