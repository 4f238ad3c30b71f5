"""A score with a ripple: too small to change an answer, too steep for gradients to mean anything."""

from functools import partial

import torch
from torch import nn

from auditkit.randomness import numpy_rng
from auditkit.records import Message
from auditkit.selftest.plant import Plant, Scene
from auditkit.selftest.subjects import rows_of, subject_of

RATE = 200.0
"""Of the ripple, in radians per standard deviation of an input."""


class Rippled(nn.Module):
    """Log-odds are the sum of the inputs, plus a ripple on each of them."""

    def __init__(self, height: float) -> None:
        super().__init__()
        self.height = height
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits, shape ``(n, 2)``."""
        rippled = self.weight * inputs + self.height * torch.sin(RATE * inputs)
        half = rippled.sum(dim=1) / 2
        return torch.stack([-half, half], dim=1)


def rippled_score() -> Plant:
    """The ripple moves a log-odds by 0.02 at most, and its slope by four times that of the input."""

    def scene(height: float) -> Scene:
        inputs = numpy_rng(0, "selftest", "ripple").normal(size=(60, 5))
        return Scene(subject_of(Rippled(height)), rows_of(inputs, inputs.sum(axis=1) > 0))

    return Plant(
        audit="attribution-quality",
        fault=Message(text="a ripple too small to matter turns all gradients"),
        figure="attribution-quality/max_sensitivity[method=saliency]",
        above=0.5,
        faulty=partial(scene, 0.02),
        sound=partial(scene, 0.0),
        parameters={
            "methods": ["saliency"],
            "rows_again": 30,
            "n_subsets": 8,
            "n_noise": 4,
            "n_models": 2,
            "n_bootstrap": 100,
        },
    )
