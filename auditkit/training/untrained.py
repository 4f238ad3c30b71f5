"""Which weights and buffers of a module a training leaves as they were."""

from collections.abc import Mapping

import torch
from torch import nn


def fixed_values(module: nn.Module) -> dict[str, torch.Tensor]:
    """Copies of all that is not to be trained: frozen parameters and buffers of floating point."""
    frozen = {name: one for name, one in module.named_parameters() if not one.requires_grad}
    buffers = {name: one for name, one in module.named_buffers() if one.is_floating_point()}
    return {name: one.detach().clone() for name, one in (frozen | buffers).items()}


def untrained_names(module: nn.Module, before: Mapping[str, torch.Tensor]) -> list[str]:
    """Which of the values in ``before`` are still there, bit for bit, when ``module`` is trained."""
    present = dict(module.named_parameters()) | dict(module.named_buffers())
    return sorted(
        name for name, one in before.items() if name in present and torch.equal(present[name].detach(), one)
    )
