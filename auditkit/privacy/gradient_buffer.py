"""Where the noisy gradients of all parameters lie: one after the other, so that noise is made in one go."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class GradientBuffer:
    """One flat tensor and its parts in the shapes of parameters.

    Attributes:
        flat: At least single precision, where the parameters are.
        parts: Views of it, one per parameter.
        on_cpu: Its values as an array; another place in memory where the parameters are not on the CPU.
    """

    flat: Tensor
    parts: list[Tensor]
    on_cpu: Any

    @classmethod
    def like(cls, parameters: Sequence[nn.Parameter]) -> "GradientBuffer":
        """Not initialised; in double precision where a parameter is, else single."""
        double = any(parameter.dtype == torch.float64 for parameter in parameters)
        size = sum(parameter.numel() for parameter in parameters)
        dtype, device = torch.float64 if double else torch.float32, parameters[0].device
        flat = torch.empty(size, dtype=dtype, device=device)
        ends = accumulate(parameter.numel() for parameter in parameters)
        parts = [
            flat[end - parameter.numel() : end].view(parameter.shape)
            for end, parameter in zip(ends, parameters, strict=True)
        ]
        on_cpu = flat if device.type == "cpu" else torch.empty(size, dtype=dtype)
        return cls(flat, parts, on_cpu.numpy())

    def to_device(self) -> None:
        """Take the values on the CPU over."""
        if self.flat.device.type != "cpu":
            self.flat.copy_(torch.from_numpy(self.on_cpu))

    def to_cpu(self) -> None:
        """Copy the values to the CPU."""
        if self.flat.device.type != "cpu":
            torch.from_numpy(self.on_cpu).copy_(self.flat)

    def gradients(self, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """The parts in the precision of the parameters; views where that is the buffer's."""
        return [
            part if part.dtype == parameter.dtype else part.to(parameter.dtype)
            for part, parameter in zip(self.parts, parameters, strict=True)
        ]
