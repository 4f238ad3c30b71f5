"""What a model does before anything bends, done once per path instead of at every point of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional
from torch.overrides import TorchFunctionMode

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
        with_bias: From what it takes to what it gives.
        forward: From changes of the one to changes of the other.
        back: From gradients with respect to the latter to such with respect to the former.
    """

    with_bias: Callable[[Tensor], Tensor]
    forward: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class _Reached:
    """Values that change along a path as straight as the inputs do.

    Attributes:
        values: At all points, shape ``(k, *e)``.
        edge: With respect to which gradients are taken: that of ``values`` before a model changes them in
            place.
        at_start: At the baseline, shape ``(1, *e)``.
        changes: From there to the end of each path, shape ``(r, *e)``.
        layers: From the inputs to here.
    """

    values: Tensor
    edge: GradientEdge
    at_start: Tensor
    changes: Tensor
    layers: tuple[Layer, ...]


class AffineStart(TorchFunctionMode):
    """While entered, leading linear layers and convolutions run on baseline and changes alone.

    Args:
        baseline: Shape ``(1, *d)``.
        changes: From there to the end of each path, shape ``(r, *d)``.
        path_of: Of each group of points, shape ``(g,)``.
        places: How far along its path each point of a group is, shape ``(g, p)``.
    """

    def __init__(self, baseline: Tensor, changes: Tensor, path_of: Tensor, places: Tensor) -> None:
        super().__init__()
        self._path_of = path_of
        self._places = places.to(changes.dtype)
        self._shape = changes.shape[1:]
        self._reached = [self._reach(baseline, changes, ())]

    @property
    def points(self) -> Tensor:
        """What the model is to be given: the points of one group after those of another, ``(g * p, *d)``."""
        return self._reached[0].values

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        before = next((found for found in self._reached if args and args[0] is found.values), None)
        following = None if before is None else self._following(before, func, args, kwargs)
        if following is None:
            return func(*args, **kwargs)
        self._reached.append(following)
        return following.values

    def summed_gradients(self, total: Tensor) -> Tensor:
        """Of a score with respect to the inputs, summed over the points of each group.

        Args:
            total: Sum of the scores at all points; points do not depend on one another.

        Returns:
            Shape ``(g, *d)``.
        """
        gradients = torch.autograd.grad(total, [reached.edge for reached in self._reached], allow_unused=True)
        summed = total.new_zeros(len(self._path_of), *self._shape)
        for reached, gradient in zip(self._reached, gradients, strict=True):
            if gradient is not None:
                of_group = gradient.view(*self._places.shape, *gradient.shape[1:]).sum(dim=1)
                for layer in reversed(reached.layers):
                    of_group = layer.back(of_group)
                summed = summed + of_group
        return summed

    def _following(
        self, before: _Reached, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> _Reached | None:
        layer = None if before.values._version else _layer(before, func, args[1:], kwargs)
        if layer is None:
            return None
        with torch.no_grad():
            at_start = layer.with_bias(before.at_start)
            return self._reach(at_start, layer.forward(before.changes), (*before.layers, layer))

    def _reach(self, at_start: Tensor, changes: Tensor, layers: tuple[Layer, ...]) -> _Reached:
        part = self._places.view(-1, *[1] * (changes.ndim - 1))
        change = changes.index_select(0, self._path_of.repeat_interleave(self._places.shape[1]))
        with torch.enable_grad():
            # that it has a gradient of its own makes the values inner ones of the graph
            start = at_start.detach().requires_grad_(True)
            values = torch.addcmul(start, part, change)
        return _Reached(values, get_gradient_edge(values), at_start, changes, layers)


def _layer(before: _Reached, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Layer | None:
    """What ``func`` does to values that were reached, if that is linear; ``args`` are those after them."""
    taken = before.at_start.shape[1:]
    if func in _RESHAPES:
        result = func(before.values.detach(), *args, **kwargs)
        as_rows = len(result) == len(before.values) and result.dtype == before.values.dtype
        return _reshape(taken, tuple(result.shape[1:])) if as_rows else None
    if func is functional.linear:
        return _linear(*args, **kwargs)
    return _convolution(func, taken, *args, **kwargs) if func in _CONVOLUTIONS else None


def _reshape(taken: torch.Size, given: tuple[int, ...]) -> Layer:
    def forward(values: Tensor) -> Tensor:
        return values.reshape(len(values), *given)

    def back(gradients: Tensor) -> Tensor:
        return gradients.reshape(len(gradients), *taken)

    return Layer(forward, forward, back)


def _linear(weight: Tensor, bias: Tensor | None = None) -> Layer:
    def with_bias(values: Tensor) -> Tensor:
        return functional.linear(values, weight, bias)

    def forward(changes: Tensor) -> Tensor:
        return functional.linear(changes, weight)

    def back(gradients: Tensor) -> Tensor:
        return gradients @ weight.detach()

    return Layer(with_bias, forward, back)


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

    return Layer(with_bias, forward, back)


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
