"""Maximum pooling, differentiated on average over the part of a path around each point."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from auditkit.audits.explainability.straight_path.kinks import part_above

POOLS: Final = (functional.max_pool1d, functional.max_pool2d, functional.max_pool3d)
"""By number of dimensions."""


class Pooling(NamedTuple):
    """The arguments of maximum pooling."""

    kernel_size: int | Sequence[int]
    stride: int | Sequence[int] | None
    padding: int | Sequence[int]
    dilation: int | Sequence[int]
    ceil_mode: bool


@dataclass(frozen=True, slots=True)
class Windows:
    """Of pooling, along the last dimensions.

    Attributes:
        sizes: Numbers in one, along each dimension.
        strides: From one to the next.
        dilations: From one number to the next.
        counts: Windows.
        margins: What is added before and behind, so that all windows are full.
    """

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    counts: tuple[int, ...]
    margins: tuple[tuple[int, int], ...]

    @property
    def n_numbers(self) -> int:
        """In one window."""
        return prod(self.sizes)

    @property
    def padded(self) -> bool:
        """Whether anything is added."""
        return any(any(ends) for ends in self.margins)

    @property
    def overlap(self) -> bool:
        """Whether a number may be in several."""
        simple = all(dilation == 1 for dilation in self.dilations)
        return not simple or any(n < size for n, size in zip(self.strides, self.sizes, strict=True))

    def tile(self, shape: torch.Size) -> bool:
        """Whether each number of values of this shape is in one."""
        covered = tuple(size * n for size, n in zip(self.sizes, self.counts, strict=True))
        return not self.overlap and self.strides == self.sizes and covered == shape[-len(covered) :]

    def places(self) -> Iterator[tuple[Any, ...]]:
        """Of the first numbers of all windows, of the second, and so on."""
        for index in product(*[range(size) for size in self.sizes]):
            starts = [number * dilation for number, dilation in zip(index, self.dilations, strict=True)]
            yield (
                ...,
                *[
                    slice(start, start + (n - 1) * stride + 1, stride)
                    for start, n, stride in zip(starts, self.counts, self.strides, strict=True)
                ],
            )


class _Largest(torch.autograd.Function):
    """The largest number of each window: of two the first and what the second is above it, and so on."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, windows: Windows) -> Tensor:
        ctx.shape, ctx.windows = values.shape, windows
        largest, *others = [values[place].contiguous() for place in windows.places()]
        leads = []
        for other in others:
            leads.append(other - largest)
            largest = torch.maximum(largest, other)
        ctx.save_for_backward(*leads)
        return largest

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        rest, shares = gradients[0], []
        for lead in reversed(ctx.saved_tensors):
            shares.append(part_above(lead).mul_(rest))
            rest = rest - shares[-1]
        overlap = ctx.windows.overlap
        to_values = rest.new_empty(ctx.shape) if ctx.windows.tile(ctx.shape) else rest.new_zeros(ctx.shape)
        for place, share in zip(ctx.windows.places(), [rest, *reversed(shares)], strict=True):
            if overlap:
                to_values[place] += share
            else:
                to_values[place] = share
        return to_values, None


def largest_of_windows(values: Tensor, n_dims: int, how: Pooling) -> Tensor:
    """Maximum pooling over the last ``n_dims`` dimensions."""
    windows = windows_of(values.shape[-n_dims:], how)
    if windows.padded:
        around = [size for ends in reversed(windows.margins) for size in ends]
        lowest = torch.finfo(values.dtype).min / 4  # differences stay finite
        values = functional.pad(values, around, value=lowest)
    return _Largest.apply(values, windows)  # type: ignore[no-any-return, no-untyped-call]  # not annotated


def windows_of(lengths: Sequence[int], how: Pooling) -> Windows:
    """Of the last dimensions, which have these lengths."""
    kernel_size, stride, padding, dilation, ceil_mode = how
    n_dims = len(lengths)
    sizes = _each(kernel_size, n_dims)
    strides = sizes if stride is None or stride == [] else _each(stride, n_dims)
    paddings, dilations = _each(padding, n_dims), _each(dilation, n_dims)
    reaches = [dilation * (size - 1) + 1 for size, dilation in zip(sizes, dilations, strict=True)]
    counts = tuple(
        _n_windows(*along, ceil_mode=ceil_mode)
        for along in zip(lengths, reaches, strides, paddings, strict=True)
    )
    behind = [
        max(0, (n - 1) * stride + reach - length - padded)
        for n, stride, reach, length, padded in zip(counts, strides, reaches, lengths, paddings, strict=True)
    ]
    return Windows(sizes, strides, dilations, counts, tuple(zip(paddings, behind, strict=True)))


def pooling(
    kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
) -> Pooling:
    """Of those of a call after what is pooled."""
    return Pooling(kernel_size, stride, padding, dilation, ceil_mode)


def _each(number: int | Sequence[int], n_dims: int) -> tuple[int, ...]:
    numbers = (number,) if isinstance(number, int) else tuple(number)
    return numbers * n_dims if len(numbers) == 1 else numbers


def _n_windows(length: int, reach: int, stride: int, padding: int, *, ceil_mode: bool) -> int:
    room = length + 2 * padding - reach
    n = (-(-room // stride) if ceil_mode else room // stride) + 1
    # as torch has it: no window starts within the padding behind
    return n - 1 if ceil_mode and (n - 1) * stride >= length + padding else n
