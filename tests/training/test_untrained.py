"""What a training leaves as it was is told apart from what it moves without training it."""

import torch
from torch import nn

from auditkit.training.untrained import fixed_values, untrained_names


class Moving(nn.Module):
    """A frozen front, one statistic that moves and one that stays, and a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Linear(2, 2).requires_grad_(False)
        self.head = nn.Linear(2, 2)
        self.register_buffer("scale", torch.ones(2))
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("seen", torch.tensor(0))


def test_frozen_weights_and_buffers_that_stayed_are_named():
    module = Moving()
    before = fixed_values(module)
    assert sorted(before) == ["front.bias", "front.weight", "mean", "scale"]
    with torch.no_grad():
        module.head.weight.add_(1)
        module.front.bias.add_(1)
        module.mean.add_(1)
    assert untrained_names(module, before) == ["front.weight", "scale"]
