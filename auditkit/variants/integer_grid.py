"""Values on integer grids, and layers that round their inputs to one.

Sources: Jacob et al. (2018), arXiv:1712.05877; straight-through gradients: Bengio et al. (2013),
arXiv:1308.3432.
"""

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional


def fake_quantise_weight(weight: torch.Tensor, *, bits: int, channel_axis: int = 0) -> torch.Tensor:
    """``weight`` rounded to the symmetric grid of each channel: ``2^bits - 1`` values around zero.

    The largest magnitude of a channel lies on its grid, so nothing is cut off and the error is at most half
    a step. A channel of zeros stays as it is.
    """
    largest = 2 ** (bits - 1) - 1
    rest = [axis for axis in range(weight.ndim) if axis != channel_axis]
    peak = weight.abs().amax(dim=rest, keepdim=True) if rest else weight.abs()
    scale = torch.where(peak > 0, peak / largest, torch.ones_like(peak))
    return torch.clamp(torch.round(weight / scale), -largest, largest) * scale


def fake_quantise_rows(inputs: torch.Tensor, *, bits: int, row_dims: int) -> torch.Tensor:
    """``inputs`` rounded to an asymmetric grid of ``2^bits`` values per row.

    The gradient passes straight through.

    Args:
        inputs: Floating point; its last ``row_dims`` dimensions are one row.
        bits: Of the grid.
        row_dims: 1 for vectors; 3 for pictures with channels.

    Returns:
        Same shape. Zero stays zero, and the error is at most half a step.
    """
    steps = 2**bits - 1
    dims = tuple(range(inputs.ndim - row_dims, inputs.ndim))
    with torch.no_grad():
        low = inputs.amin(dim=dims, keepdim=True).clamp(max=0)
        high = inputs.amax(dim=dims, keepdim=True).clamp(min=0)
        scale = torch.where(high > low, (high - low) / steps, torch.ones_like(high))
        zero = torch.round(-low / scale)
        rounded = (torch.clamp(torch.round(inputs / scale) + zero, 0, steps) - zero) * scale
        shift = rounded - inputs
    return inputs + shift


class RoundsInputs(nn.Module):
    """What a rounding layer adds to the layer it stands for.

    Such a layer computes in double precision. The order of a sum, which changes with the batch size, then
    moves it too little to tip a value over a rounding edge further down.
    """

    row_dims: ClassVar[int]
    input_bits: int
    input_levels: torch.Tensor

    @staticmethod
    def install(layer: nn.Module, rounding: type["RoundsInputs"], bits: int) -> None:
        """Turn ``layer`` into its rounding kind, in place: names, weights and hooks stay.

        The number of levels becomes part of the layer's state, because it decides outputs and must decide the
        digest.
        """
        levels = torch.tensor(2**bits, dtype=torch.int64, device=next(layer.parameters()).device)
        layer.register_buffer("input_levels", levels)
        layer.__class__ = rounding
        vars(layer)["input_bits"] = bits

    def rounded(self, inputs: torch.Tensor) -> torch.Tensor:
        """The inputs on their grid, in double precision."""
        return fake_quantise_rows(inputs.double(), bits=self.input_bits, row_dims=self.row_dims)


class RoundingLinear(RoundsInputs, nn.Linear):
    """A linear layer with a range for each vector."""

    row_dims = 1

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """As ``nn.Linear``, of the rounded inputs."""
        outputs: torch.Tensor = functional.linear(
            self.rounded(inputs), self.weight.double(), _double(self.bias)
        )
        return outputs.to(inputs.dtype)


class RoundingConv1d(RoundsInputs, nn.Conv1d):
    """A convolution over a sequence, with a range for each position.

    With one range for the row, a position would depend on what comes after it, and on padding.
    """

    row_dims = 1

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """As ``nn.Conv1d``, of the rounded inputs."""
        weight, bias = self.weight.double(), _double(self.bias)
        rounded = self.rounded(inputs.transpose(-1, -2)).transpose(-1, -2)
        outputs: torch.Tensor = self._conv_forward(rounded, weight, bias)
        return outputs.to(inputs.dtype)


class RoundingConv2d(RoundsInputs, nn.Conv2d):
    """A convolution with a range for each row."""

    row_dims = 3

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """As ``nn.Conv2d``, of the rounded inputs."""
        weight, bias = self.weight.double(), _double(self.bias)
        outputs: torch.Tensor = self._conv_forward(self.rounded(inputs), weight, bias)
        return outputs.to(inputs.dtype)


def _double(bias: torch.Tensor | None) -> torch.Tensor | None:
    return None if bias is None else bias.double()


ROUNDING: dict[type[nn.Module], type[RoundsInputs]] = {
    nn.Linear: RoundingLinear,
    nn.Conv1d: RoundingConv1d,
    nn.Conv2d: RoundingConv2d,
}
"""Which layers can round their inputs, by exact type: a subclass may compute something else."""
