"""The rules of convolutions: a linear layer on patches."""

from collections.abc import Callable, Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from auditkit.privacy.per_example.notes import NoRuleError, Notes, Parts
from auditkit.privacy.per_example.parts import ChannelsLast, Formed, Part, Products, forming_is_cheaper

_PATCH_VALUES_AT_ONCE = 1 << 19
"""Patches repeat every input value; so many are laid out at a time."""

_MEMORY = 2.0
"""Times that formed gradients may take the patches, which are let go once the gradients are formed."""

Sizes = int | Sequence[int]


def convolution(
    function: Callable[..., Tensor],
    notes: Notes,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """Convolutions over one, two or three dimensions."""
    output = function(input, weight, bias, stride, padding, dilation, groups)
    n_axes = weight.ndim - 2
    if input.ndim != weight.ndim:
        raise NoRuleError("convolution of a single row")
    strides, dilations = _each(stride, n_axes), _each(dilation, n_axes)
    sides = tuple(weight.shape[2:])
    margins = _margins(padding, sides, dilations)

    def weight_part(inputs: Tensor, gradient: Tensor) -> Part:
        return _correlations(
            notes, functional.pad(inputs, margins), gradient, weight, (strides, dilations), groups
        )

    return _noted(notes, input, output, (weight, bias), weight_part)


def transposed_convolution(
    function: Callable[..., Tensor],
    notes: Notes,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """Transposed convolutions: input and gradient of the output change places."""
    output = function(input, weight, bias, stride, padding, output_padding, groups, dilation)
    n_axes = weight.ndim - 2
    if input.ndim != weight.ndim:
        raise NoRuleError("convolution of a single row")
    strides, dilations = _each(stride, n_axes), _each(dilation, n_axes)
    margins = _margins(padding, tuple(weight.shape[2:]), dilations)

    def weight_part(inputs: Tensor, gradient: Tensor) -> Part:
        return _correlations(
            notes, functional.pad(gradient, margins), inputs, weight, (strides, dilations), groups
        )

    return _noted(notes, input, output, (weight, bias), weight_part)


def _noted(
    notes: Notes,
    input: Tensor,
    output: Tensor,
    parameters: tuple[Tensor, Tensor | None],
    weight_part: Callable[[Tensor, Tensor], Part],
) -> Tensor:
    weight, bias = parameters
    trained = notes.watches(weight)
    notes.expect_rows(len(input), weight if trained else bias)
    inputs = input.detach() if trained else None

    def parts_of(gradient: Tensor) -> Parts:
        parts: Parts = []
        if inputs is not None:
            parts.append((weight, weight_part(inputs, gradient)))
        if bias is not None and notes.watches(bias):
            summed = gradient.flatten(2).sum(dim=2)
            parts.append((bias, Formed(notes.per_unit(summed))))
        return parts

    return notes.note(output, weight if trained or bias is None else bias, parts_of, inputs)


def _correlations(
    notes: Notes,
    wide: Tensor,
    narrow: Tensor,
    weight: Tensor,
    moves: tuple[tuple[int, ...], tuple[int, ...]],
    groups: int,
) -> Part:
    """Products of patches of ``wide`` with the values of ``narrow`` at their places, summed over places."""
    places = tuple(narrow.shape[2:])
    n_places = narrow[0, 0].numel()
    p, d = weight.shape[0], weight[0].numel()
    values = narrow.flatten(2)
    if groups == 1 and not forming_is_cheaper(n_places * notes.rows_per_unit, d, p, memory=_MEMORY):
        laid_out = _patches(wide, weight.shape[2:], moves, places, 1).squeeze(1)
        return Products(notes.positions(laid_out), notes.positions(values.transpose(1, 2)), weight.shape)
    channels_last = groups == 1 and weight.shape[1] > 1
    lay_out = _patches_channels_last if channels_last else _patches
    at_once = max(1, _PATCH_VALUES_AT_ONCE // (d * groups * n_places))
    formed = torch.empty(len(wide), p, d, dtype=wide.dtype, device=wide.device)
    for start in range(0, len(wide), at_once):
        rows = slice(start, start + at_once)
        laid_out = lay_out(wide[rows], weight.shape[2:], moves, places, groups)
        grouped = values[rows].reshape(-1, groups, p // groups, n_places)
        torch.matmul(grouped, laid_out, out=formed[rows].view(-1, groups, p // groups, d))
    summed = notes.per_unit(formed)
    if channels_last:
        return ChannelsLast(summed.view(-1, p, *weight.shape[2:], weight.shape[1]))
    return Formed(summed.view(-1, *weight.shape))


def _patches(
    wide: Tensor,
    sides: Sequence[int],
    moves: tuple[tuple[int, ...], tuple[int, ...]],
    places: Sequence[int],
    groups: int,
) -> Tensor:
    """Shape ``(rows, groups, places, channels of a group * sides)``."""
    windows = wide
    for axis, (side, stride, dilation, n) in enumerate(zip(sides, *moves, places, strict=True), start=2):
        windows = windows.unfold(axis, (side - 1) * dilation + 1, stride)[..., ::dilation]
        windows = windows.narrow(axis, 0, n)
    n_axes = len(sides)
    grouped = windows.view(len(wide), groups, -1, *windows.shape[2:])
    order = (0, 1, *range(3, 3 + n_axes), 2, *range(3 + n_axes, 3 + 2 * n_axes))
    return grouped.permute(order).reshape(len(wide), groups, prod(places), -1)


def _patches_channels_last(
    wide: Tensor,
    sides: Sequence[int],
    moves: tuple[tuple[int, ...], tuple[int, ...]],
    places: Sequence[int],
    _groups: int,
) -> Tensor:
    """Shape ``(rows, 1, places, sides * channels)``: channels lie together: a third of the time."""
    windows = wide.movedim(1, -1).contiguous()
    for axis, (side, stride, dilation, n) in enumerate(zip(sides, *moves, places, strict=True), start=1):
        windows = windows.unfold(axis, (side - 1) * dilation + 1, stride)[..., ::dilation]
        windows = windows.narrow(axis, 0, n)
    n_axes = len(sides)
    order = (*range(1 + n_axes), *range(2 + n_axes, 2 + 2 * n_axes), 1 + n_axes)
    return windows.permute(order).reshape(len(wide), 1, prod(places), -1)


def _each(sizes: Sizes, n_axes: int) -> tuple[int, ...]:
    if isinstance(sizes, int):
        return (sizes,) * n_axes
    return tuple(sizes) * (n_axes if len(sizes) == 1 else 1)


def _margins(padding: Sizes | str, sides: tuple[int, ...], dilations: tuple[int, ...]) -> list[int]:
    """For ``functional.pad``: before and after each axis, the last axis first."""
    if padding == "same":
        totals = [(side - 1) * dilation for side, dilation in zip(sides, dilations, strict=True)]
        pairs = [(total // 2, total - total // 2) for total in totals]
    else:
        widths = _each(0 if isinstance(padding, str) else padding, len(sides))
        pairs = [(width, width) for width in widths]
    return [width for pair in reversed(pairs) for width in pair]
