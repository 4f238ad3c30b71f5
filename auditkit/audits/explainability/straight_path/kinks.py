"""Layers with kinks, differentiated on the average over a stretch of a path instead of at a point.

The derivative of a rectifier is a step. Taken at points, it tells of a kink between two of them only that
there is one; but where the values before the layer are straight, two of them tell where along the path the
kink lies, and so for which part of it the derivative has which value. With one layer of kinks gradients then
add up exactly, however few they are; with several, up to what kinks of different layers in the same place do
to one another.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional

RECTIFIERS: Final = (functional.relu, torch.relu, Tensor.relu, torch.relu_, Tensor.relu_, functional.relu_)
_OTHERS: Final = frozenset(
    {
        "abs",
        "absolute",
        "amax",
        "amin",
        "aminmax",
        "ceil",
        "clamp",
        "clamp_max",
        "clamp_min",
        "clip",
        "fake_quantize_per_channel_affine",
        "fake_quantize_per_tensor_affine",
        "floor",
        "fmax",
        "fmin",
        "fmod",
        "fractional_max_pool2d",
        "fractional_max_pool3d",
        "frac",
        "hardshrink",
        "hardsigmoid",
        "hardswish",
        "heaviside",
        "kthvalue",
        "lp_pool1d",
        "lp_pool2d",
        "lp_pool3d",
        "max",
        "max_pool1d_with_indices",
        "max_pool2d_with_indices",
        "max_pool3d_with_indices",
        "maximum",
        "median",
        "min",
        "minimum",
        "nanmedian",
        "nanquantile",
        "prelu",
        "quantile",
        "remainder",
        "round",
        "rrelu",
        "sign",
        "softshrink",
        "sort",
        "threshold",
        "topk",
        "trunc",
        "where",
    }
)
"""Functions of torch with kinks or steps that are not averaged here."""

_ADAPTIVE_POOLS: Final = (
    functional.adaptive_max_pool1d,
    functional.adaptive_max_pool2d,
    functional.adaptive_max_pool3d,
)
IN_PLACE: Final = (torch.relu_, Tensor.relu_, functional.relu_)


@dataclass(frozen=True, slots=True)
class Bends:
    """A function of one number that is straight but at some places.

    Attributes:
        values: The function, element by element.
        places: Where it bends, rising.
        slopes: Before, between and after the places; none is negative.
    """

    values: Callable[[Tensor], Tensor]
    places: tuple[float, ...]
    slopes: tuple[float, ...]

    def slope_times(self, gradient: Tensor, at: Tensor) -> Tensor:
        """The slope, on average over the part of the path around each point, times ``gradient``.

        All have the shape of ``at``.
        """
        product = self.slopes[0] * gradient if self.slopes[0] else None
        for place, (before, after) in zip(self.places, pairwise(self.slopes), strict=True):
            part = part_above(at - place if place else at).mul_(gradient)
            if after - before != 1:
                part = part.mul_(after - before)
            product = part if product is None else product.add_(part)
        return torch.zeros_like(gradient) if product is None else product


RECTIFIED: Final = Bends(torch.relu, (0.0,), (0.0, 1.0))


def part_above(values: Tensor) -> Tensor:
    """Which part of the path around each point lies above zero, in ``[0, 1]``.

    Args:
        values: Of pairs of points, shape ``(2 s, *)``: straight along the path, so that each stands for as
            much of it as lies between the two.
    """
    pairs = values.view(-1, 2, *values.shape[1:])
    moved = (pairs[:, 1:] - pairs[:, :1]).abs_()
    above = torch.add(pairs, moved, alpha=0.5)
    # what is zero and stays zero is not above it
    return above.div_(moved.clamp_(min=torch.finfo(values.dtype).tiny)).clamp_(0, 1).reshape(values.shape)


class _Bent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, before: Tensor, values: Callable[[Tensor], Tensor], bends: Bends) -> Tensor:
        ctx.save_for_backward(before)
        ctx.bends = bends
        return values(before)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (before,) = ctx.saved_tensors
        return ctx.bends.slope_times(gradients[0], before), None, None


def bent(before: Tensor, bends: Bends) -> Tensor:
    """``bends.values(before)``, for pairs of points."""
    return _Bent.apply(before, bends.values, bends)  # type: ignore[no-any-return, no-untyped-call]  # not annotated


def yet_to_be_bent(before: Tensor, bends: Bends) -> Tensor:
    """Stands for :func:`bent` without its numbers: of its shape, and differentiated like it."""
    return _Bent.apply(before, _nothing, bends)  # type: ignore[no-any-return, no-untyped-call]  # not annotated


def _nothing(like: Tensor) -> Tensor:
    return like.new_full((), torch.nan).expand(like.shape)


def bends_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bends | None:
    """Of a function of torch called with these arguments; ``None`` where it is no rectifier."""
    if func in RECTIFIERS:
        return RECTIFIED
    if func is functional.leaky_relu:
        slope = float(_given(args, kwargs, 1, "negative_slope", 0.01))
        leaky = partial(functional.leaky_relu, negative_slope=slope)
        return Bends(leaky, (0.0,), (slope, 1.0)) if slope >= 0 else None
    if func is functional.relu6:
        return Bends(functional.relu6, (0.0, 6.0), (0.0, 1.0, 0.0))
    if func is functional.hardtanh:
        low = float(_given(args, kwargs, 1, "min_val", -1.0))
        high = float(_given(args, kwargs, 2, "max_val", 1.0))
        return Bends(partial(torch.clamp, min=low, max=high), (low, high), (0.0, 1.0, 0.0))
    return None


def has_other_kinks(func: Any) -> bool:
    """Whether a function of torch bends in a way that is not averaged here."""
    return func in _ADAPTIVE_POOLS or str(getattr(func, "__name__", "")).strip("_") in _OTHERS


def has_numbers(args: Iterable[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether there is anything to differentiate; lengths, places and masks have no derivative."""
    return any(isinstance(value, Tensor) and value.is_floating_point() for value in (*args, *kwargs.values()))


def _given(args: tuple[Any, ...], kwargs: dict[str, Any], index: int, name: str, default: Any) -> Any:
    return args[index] if len(args) > index else kwargs.get(name, default)
