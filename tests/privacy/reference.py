"""Plain, slow versions of what the package computes with engines."""

import math

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from auditkit.models.losses import per_row_loss


def gaussian_epsilon(noise_multiplier: float, delta: float, steps: int = 1) -> float:
    """Exact epsilon of the composed Gaussian mechanism without subsampling (Balle and Wang 2018)."""
    mu = math.sqrt(steps) / noise_multiplier

    def excess(epsilon: float) -> float:
        tail = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
        return tail - delta

    return brentq(excess, 0.0, 200.0)


def discretised_epsilon(
    noise_multiplier: float, sample_rate: float, steps: int, delta: float, *, direction: str
) -> float:
    """Epsilon from the loss distribution on a fine grid, composed by FFT, for one of the two neighbours.

    The loss is rounded to the nearest grid point: an estimate within about 0.005 here, not a bound.
    """
    reach, step = 40.0, 5e-4
    n = 2 * round(reach / step)
    edges = (np.arange(-n // 2, n // 2 + 1) - 0.5) * step
    masses = np.diff(_loss_cdf(edges, noise_multiplier, sample_rate, direction))
    spectrum = np.fft.rfft(np.fft.ifftshift(masses))
    composed = np.fft.fftshift(np.fft.irfft(spectrum**steps, n))
    losses = np.arange(-n // 2, n // 2) * step

    def excess(epsilon: float) -> float:
        above = losses > epsilon
        return float((composed[above] * -np.expm1(epsilon - losses[above])).sum()) - delta

    return brentq(excess, 0.0, reach - 1)


def _loss_cdf(t: np.ndarray, sigma: float, q: float, direction: str) -> np.ndarray:
    """Distribution of the privacy loss of one step.

    ``remove``: drawn from the mixture, against N(0, sigma^2). ``add``: the other way round.
    """
    sign = 1 if direction == "remove" else -1
    with np.errstate(invalid="ignore", divide="ignore"):
        x = sigma**2 * np.log((np.exp(sign * t) - (1 - q)) / q) + 0.5
    possible = np.exp(sign * t) > 1 - q
    if direction == "remove":
        cdf = (1 - q) * norm.cdf(x / sigma) + q * norm.cdf((x - 1) / sigma)
        return np.where(possible, cdf, 0.0)
    return np.where(possible, norm.sf(x / sigma), 1.0)


def clipped_sum_one_by_one(
    module: torch.nn.Module, inputs: torch.Tensor, targets: torch.Tensor, max_grad_norm: float
) -> list[torch.Tensor]:
    """A backward pass per row, clipped in double precision, added up."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    total = [torch.zeros_like(p, dtype=torch.float64) for p in parameters]
    for row in range(len(inputs)):
        loss = per_row_loss(module(inputs[row : row + 1]), targets[row : row + 1]).sum()
        gradients = [g.double() for g in torch.autograd.grad(loss, parameters)]
        length = math.sqrt(sum(float((g**2).sum()) for g in gradients))
        factor = min(1.0, max_grad_norm / length) if length else 1.0
        for part, gradient in zip(total, gradients, strict=True):
            part.add_(factor * gradient)
    return total


def clipped_together(gradients: list[torch.Tensor], max_grad_norm: float) -> list[torch.Tensor]:
    """Rows clipped and added up in double precision; gradients of shape ``(n, *parameter)``."""
    doubled = [gradient.double() for gradient in gradients]
    squared = torch.stack([part.flatten(1).square().sum(dim=1) for part in doubled]).sum(dim=0)
    factors = (max_grad_norm / squared.sqrt()).clamp(max=1.0)
    return [torch.einsum("n,n...->...", factors, part) for part in doubled]


def length(tensors: list[torch.Tensor]) -> float:
    """Euclidean norm over all tensors together."""
    return math.sqrt(sum(float((t.double() ** 2).sum()) for t in tensors))
