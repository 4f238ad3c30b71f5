"""Maximum pooling: what its arguments say of its windows."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, Final, NamedTuple

from torch.nn import functional

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
class Along:
    """Windows along one dimension.

    Attributes:
        size: Numbers in one.
        stride: From one to the next.
        dilation: From one number to the next.
        count: Windows.
    """

    size: int
    stride: int
    dilation: int
    count: int

    @property
    def overlap(self) -> bool:
        """Whether a number may be in several."""
        return self.dilation != 1 or self.stride < self.size

    def tile(self, length: int) -> bool:
        """Whether each of so many numbers is in one."""
        return not self.overlap and self.stride == self.size and self.count * self.size == length

    def slices(self) -> list[slice]:
        """Of the first numbers of all windows, of the second, and so on."""
        reach = (self.count - 1) * self.stride + 1
        starts = [number * self.dilation for number in range(self.size)]
        return [slice(start, start + reach, self.stride) for start in starts]


@dataclass(frozen=True, slots=True)
class Windows:
    """Of pooling, along the last dimensions.

    Attributes:
        along: Each of them.
        margins: What is added before and behind, so that all windows are full.
    """

    along: tuple[Along, ...]
    margins: tuple[tuple[int, int], ...]

    @property
    def n_numbers(self) -> int:
        """In one window."""
        return prod(along.size for along in self.along)

    @property
    def padded(self) -> bool:
        """Whether anything is added."""
        return any(any(ends) for ends in self.margins)

    @property
    def overlap(self) -> bool:
        """Whether a number may be in several."""
        return any(along.overlap for along in self.along)

    def places(self) -> Iterator[tuple[Any, ...]]:
        """Of the first numbers of all windows, of the second, and so on."""
        for slices in product(*[along.slices() for along in self.along]):
            yield (..., *slices)


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
    along = tuple(map(Along, sizes, strides, dilations, counts))
    return Windows(along, tuple(zip(paddings, behind, strict=True)))


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
