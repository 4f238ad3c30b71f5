"""Layers that are linear, row by row: forth, and back for gradients."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_CONVOLUTIONS: Final = (torch.conv1d, torch.conv2d, torch.conv3d)
_RESHAPES: Final = (
    Tensor.view,
    Tensor.reshape,
    Tensor.flatten,
    Tensor.unflatten,
    Tensor.unsqueeze,
    torch.reshape,
    torch.flatten,
    torch.unflatten,
    torch.unsqueeze,
)
_PICTURE_DIMS: Final = 2

FEW_CHANNELS: Final = 3
"""For so few, the kernels made for many are slow: of one channel, with six behind it, they take five times as
long as :func:`_back_to_few_channels`, of three with 64 four times."""


class Layer(NamedTuple):
    """Linear, row by row.

    Attributes:
        told_by: What tells it from others: with equal numbers and the same tensors it is the same.
        with_bias: From what it takes to what it gives.
        forward: From changes of the one to changes of the other.
        back: From gradients with respect to the latter to such with respect to the former.
    """

    told_by: tuple[Any, ...]
    with_bias: Callable[[Tensor], Tensor]
    forward: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]


def layer_of(values: Tensor, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Layer | None:
    """What ``func`` does to ``values``, of which only the shape is looked at, if that is linear.

    Args:
        values: The first argument, shape ``(n, *d)``.
        func: A function of torch.
        args: Those after ``values``.
        kwargs: Its named arguments.
    """
    taken = values.shape[1:]
    if func in _RESHAPES:
        result = func(values.detach(), *args, **kwargs)
        as_rows = len(result) == len(values) and result.dtype == values.dtype
        return _reshape(taken, tuple(result.shape[1:])) if as_rows else None
    if func is functional.linear:
        return _linear(*args, **kwargs)
    return _convolution(func, taken, *args, **kwargs) if func in _CONVOLUTIONS else None


def _reshape(taken: torch.Size, given: tuple[int, ...]) -> Layer:
    def forward(values: Tensor) -> Tensor:
        return values.reshape(len(values), *given)

    def back(gradients: Tensor) -> Tensor:
        return gradients.reshape(len(gradients), *taken)

    return Layer((tuple(taken), given), forward, forward, back)


def _linear(weight: Tensor, bias: Tensor | None = None) -> Layer:
    def with_bias(values: Tensor) -> Tensor:
        return functional.linear(values, weight, bias)

    def forward(changes: Tensor) -> Tensor:
        return functional.linear(changes, weight)

    def back(gradients: Tensor) -> Tensor:
        return gradients @ weight.detach()

    return Layer((weight, bias), with_bias, forward, back)


def _convolution(
    func: Any, taken: torch.Size, weight: Tensor, bias: Tensor | None = None, *how: Any, **named: Any
) -> Layer | None:
    stride, padding, dilation, groups = _how(*how, **named)
    n_dims = weight.ndim - 2
    # without a dimension of rows the first one would be taken for channels
    if isinstance(padding, str) or len(taken) != n_dims + 1:
        return None
    steps = [_each(number, n_dims) for number in (stride, padding, dilation)]

    def with_bias(values: Tensor) -> Tensor:
        given: Tensor = func(values, weight, bias, *steps, groups)
        return given

    def forward(changes: Tensor) -> Tensor:
        given: Tensor = func(changes, weight, None, *steps, groups)
        return given

    def back(gradients: Tensor) -> Tensor:
        values = gradients.new_empty(len(gradients), *taken)
        weights = weight.detach()
        if n_dims == _PICTURE_DIMS and groups == 1 and taken[0] <= FEW_CHANNELS:
            return _back_to_few_channels(gradients, weights, taken, steps)
        to_values: Tensor = torch.ops.aten.convolution_backward(
            gradients, values, weights, None, *steps, False, [0] * n_dims, groups, [True, False, False]
        )[0]
        return to_values

    return Layer((func, weight, bias, steps, groups), with_bias, forward, back)


def _back_to_few_channels(
    gradients: Tensor, weights: Tensor, taken: torch.Size, steps: Sequence[Sequence[int]]
) -> Tensor:
    """The transpose of a convolution of pictures: one product of matrices, then sums of shifted parts."""
    (stride, padding, dilation), (height, width) = steps, gradients.shape[2:]
    parts = (weights.flatten(1).t() @ gradients.flatten(2)).view(-1, *weights.shape[1:], height, width)
    padded = parts.new_zeros(len(parts), taken[0], taken[1] + 2 * padding[0], taken[2] + 2 * padding[1])
    for row, column in product(range(weights.shape[2]), range(weights.shape[3])):
        top, left = row * dilation[0], column * dilation[1]
        rows = slice(top, top + (height - 1) * stride[0] + 1, stride[0])
        columns = slice(left, left + (width - 1) * stride[1] + 1, stride[1])
        padded[:, :, rows, columns] += parts[:, :, row, column]
    back: Tensor = padded[:, :, padding[0] : taken[1] + padding[0], padding[1] : taken[2] + padding[1]]
    return back


def _how(stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> tuple[Any, Any, Any, int]:
    """The arguments of a convolution after the bias."""
    return stride, padding, dilation, groups


def _each(number: int | Sequence[int], n_dims: int) -> list[int]:
    numbers = [number] if isinstance(number, int) else list(number)
    return numbers * n_dims if len(numbers) == 1 else numbers
