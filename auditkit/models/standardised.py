"""Convolutions whose weights are standardised before they are used.

Source: Qiao, Wang, Liu, Shen and Yuille (2019), arXiv:1903.10520; divided by the root of the fan-in, as De et
al. (2022), arXiv:2204.13650, have it in networks that they train privately.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

EPS = 1e-5
"""Added to the squared length of a centred kernel, so that one whose weights are all equal gives zeros."""

FEWEST_WEIGHTS = 4
"""Weights of an output channel at least: of fewer, standardising leaves little but their order."""


def standardised_weight(weight: Tensor) -> Tensor:
    """Every output channel with mean 0 and variance ``1 / fan_in``.

    Functions of torch that are watched are watched here as well, so that what sees a convolution may know
    what its weight was made from.

    Args:
        weight: Shape ``(channels, *rest)``; the fan-in is the number of elements of ``rest``.

    Returns:
        The same shape; each channel has squared length ``q / (q + EPS)``, where ``q`` is that of the channel
        less its mean.
    """
    if has_torch_function_unary(weight):
        result: Tensor = handle_torch_function(standardised_weight, (weight,), weight)
        return result
    centred, scale = centred_and_scale(weight)
    return centred * scale


def centred_and_scale(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Factors of :func:`standardised_weight`, of shapes ``(channels, *rest)`` and ``(channels, 1, ...)``."""
    rest = tuple(range(1, weight.ndim))
    centred = weight - weight.mean(dim=rest, keepdim=True)
    return centred, torch.rsqrt(centred.square().sum(dim=rest, keepdim=True) + EPS)


class StandardisedConv1d(nn.Conv1d):
    """``nn.Conv1d`` with :func:`standardised_weight` of its weight."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output: Tensor = super()._conv_forward(input, standardised_weight(weight), bias)
        return output


class StandardisedConv2d(nn.Conv2d):
    """``nn.Conv2d`` with :func:`standardised_weight` of its weight."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output: Tensor = super()._conv_forward(input, standardised_weight(weight), bias)
        return output


class StandardisedConv3d(nn.Conv3d):
    """``nn.Conv3d`` with :func:`standardised_weight` of its weight."""

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output: Tensor = super()._conv_forward(input, standardised_weight(weight), bias)
        return output


_STANDARDISED: dict[type, type] = {
    nn.Conv1d: StandardisedConv1d,
    nn.Conv2d: StandardisedConv2d,
    nn.Conv3d: StandardisedConv3d,
}
_PLAIN = {standardised: plain for plain, standardised in _STANDARDISED.items()}


def can_be_standardised(layer: nn.Module) -> bool:
    """Whether ``layer`` is a plain convolution with enough weights; what a subclass does is not known."""
    if type(layer) not in _STANDARDISED or "forward" in vars(layer):
        return False
    weight = layer._parameters.get("weight")
    return weight is not None and weight[:1].numel() >= FEWEST_WEIGHTS


def standardise(module: nn.Module, names: Sequence[str]) -> list[str]:
    """Standardise the weights of the convolutions called ``names``, in place.

    Weights, their names and hooks stay, and so does the layer itself: it is of another class afterwards.

    Returns:
        Those of ``names`` that are no plain convolution, or have fewer than ``FEWEST_WEIGHTS`` to a channel.
    """
    layers = dict(module.named_modules(remove_duplicate=False))
    named = {name: layers.get(name) for name in names}
    wrong = [name for name, layer in named.items() if layer is None or not can_be_standardised(layer)]
    for layer in {layer for name, layer in named.items() if layer is not None and name not in wrong}:
        layer.__class__ = _STANDARDISED[type(layer)]
    return wrong


def standardised_names(module: nn.Module) -> tuple[str, ...]:
    """Convolutions whose weights are standardised, each under its first name."""
    return tuple(name for name, layer in module.named_modules() if type(layer) in _PLAIN)


def fold(module: nn.Module) -> None:
    """Write standardised weights into their convolutions, in place: plain ones that give the same outputs."""
    for name in standardised_names(module):
        layer = module.get_submodule(name)
        weight = layer.get_parameter("weight")
        with torch.no_grad():
            weight.copy_(standardised_weight(weight))
        layer.__class__ = _PLAIN[type(layer)]
