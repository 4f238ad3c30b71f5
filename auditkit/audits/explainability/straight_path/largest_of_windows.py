"""Maximum pooling, differentiated on average over the part of a path around each point."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from auditkit.audits.explainability.straight_path.kinks import part_above
from auditkit.audits.explainability.straight_path.pooling import Along, Pooling, Windows, windows_of


def largest_of_windows(values: Tensor, n_dims: int, how: Pooling) -> Tensor:
    """Maximum pooling over the last ``n_dims`` dimensions."""
    windows = windows_of(values.shape[-n_dims:], how)
    if windows.padded:
        around = [size for ends in reversed(windows.margins) for size in ends]
        lowest = torch.finfo(values.dtype).min / 4  # differences stay finite
        values = functional.pad(values, around, value=lowest)
    return _Largest.apply(values, windows)  # type: ignore[no-any-return, no-untyped-call]  # not annotated


class _Largest(torch.autograd.Function):
    """The largest number of each window: first of each line of it along one dimension, then of these lines.

    Channels are moved behind the dimensions of windows, so that whole runs of numbers are compared with one
    another. Of equal numbers the first counts, as in torch.
    """

    @staticmethod
    def forward(ctx: Any, values: Tensor, windows: Windows) -> Tensor:
        ctx.shape, ctx.windows = values.shape, windows
        largest, leads = _channels_last(values, len(windows.along)), []
        for dim, along in reversed(list(enumerate(windows.along, start=1))):
            largest, of_dim = _largest_along(largest, dim, along)
            leads += of_dim
        ctx.save_for_backward(*leads)
        counts = [along.count for along in windows.along]
        # a model may view it in another shape
        return _channels_first(largest).reshape(*values.shape[: -len(counts)], *counts).contiguous()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        along, leads = ctx.windows.along, list(ctx.saved_tensors)
        lengths = ctx.shape[-len(along) :]
        shares = _channels_last(gradients[0], len(along))
        for dim, (windows, length) in enumerate(zip(along, lengths, strict=True), start=1):
            of_dim = [leads.pop() for _ in range(windows.size - 1)]
            shares = _dealt_out(shares, of_dim, dim, windows, length)
        return _channels_first(shares).reshape(ctx.shape), None


def _channels_last(values: Tensor, n_dims: int) -> Tensor:
    """Shape ``(n, *w, c)``, whatever was between ``n`` and the last ``n_dims`` dimensions before."""
    return values.reshape(len(values), -1, *values.shape[-n_dims:]).movedim(1, -1).contiguous()


def _channels_first(values: Tensor) -> Tensor:
    return values.movedim(-1, 1)


def _largest_along(values: Tensor, dim: int, along: Along) -> tuple[Tensor, list[Tensor]]:
    """The largest of each window, and what the second number is above the first, the third above both, ..."""
    largest, *others = _numbers(values, dim, along)
    leads = []
    for other in others:
        leads.append(other - largest)
        largest = torch.maximum(largest, other)
    return largest, leads


def _dealt_out(shares: Tensor, leads: Sequence[Tensor], dim: int, along: Along, length: int) -> Tensor:
    """What the numbers along a dimension of this length get of the shares of their windows.

    Args:
        shares: Of the windows; what is left of them in the end is that of the first numbers.
        leads: Of the last number above those before, of the last but one, and so on.
        dim: Along which windows lie.
        along: How.
        length: Of the dimension.
    """
    shape = (*shares.shape[:dim], length, *shares.shape[dim + 1 :])
    dealt = shares.new_empty(shape) if along.tile(length) else shares.new_zeros(shape)
    first, *others = _numbers(dealt, dim, along)
    if along.overlap:
        for lead, other in zip(leads, reversed(others), strict=True):
            share = part_above(lead).mul_(shares)
            other.add_(share)
            shares = shares - share
        first.add_(shares)
        return dealt
    for lead, other in zip(leads, reversed(others), strict=True):
        share = torch.mul(part_above(lead), shares, out=other)
        shares = torch.sub(shares, share, out=first)
    if not leads:
        first.copy_(shares)
    return dealt


def _numbers(values: Tensor, dim: int, along: Along) -> list[Tensor]:
    """The first of all windows, the second, and so on."""
    return [values[(*[slice(None)] * dim, part)] for part in along.slices()]
