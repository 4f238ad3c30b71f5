"""One rule per type of layer: from what went in and the gradient of what came out to the rows' gradients."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.nn import functional

from auditkit.privacy.per_example.parts import Formed, Lookups, Part, Products

Parts = list[tuple[Tensor, Part]]
"""Parameters with their gradients per row."""


@dataclass(frozen=True, slots=True)
class Use:
    """One call of a layer: what went in, and the gradient of the rows' losses by what came out.

    Both have one entry per row in the first dimension.
    """

    inputs: Tensor
    outputs: Tensor


Rule = Callable[[Any, Use], Parts]
"""Called with a layer of the type it is for."""


def linear(layer: Any, use: Use) -> Parts:
    """``nn.Linear`` on rows with any number of positions."""
    return affine(layer.weight, layer.bias, by_position(use.inputs), by_position(use.outputs))


def affine(weight: Tensor, bias: Tensor | None, inputs: Tensor, outputs: Tensor) -> Parts:
    """``inputs @ weight.T + bias`` at every position; ``(n, positions, d)`` in, ``(n, positions, p)`` out."""
    parts: Parts = [(weight, Products(inputs, outputs, weight.shape))]
    if bias is not None:
        parts.append((bias, Formed(outputs.sum(dim=1))))
    return parts


def embedding(layer: Any, use: Use) -> Parts:
    """``nn.Embedding``; the padding entry gets no gradient."""
    ids = use.inputs.flatten(1)
    outputs = use.outputs.reshape(*ids.shape, -1)
    if layer.padding_idx is not None:
        outputs = outputs * (ids != layer.padding_idx).unsqueeze(2)
    return [(layer.weight, Lookups(ids, outputs, layer.num_embeddings))]


def convolution(layer: Any, use: Use) -> Parts:
    """``nn.Conv1d`` and ``nn.Conv2d`` without groups: a linear layer on patches."""
    if layer.groups != 1 or layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return any_layer(layer, use)
    inputs, sides = use.inputs, layer.kernel_size
    strides, paddings, dilations = layer.stride, layer.padding, layer.dilation
    if isinstance(layer, nn.Conv1d):
        inputs = inputs.unsqueeze(2)
        sides, strides, paddings, dilations = (1, *sides), (1, *strides), (0, *paddings), (1, *dilations)
    patches = functional.unfold(inputs, sides, dilation=dilations, padding=paddings, stride=strides)
    outputs = use.outputs.flatten(2).transpose(1, 2)
    return affine(layer.weight, layer.bias, patches.transpose(1, 2), outputs)


def layer_norm(layer: Any, use: Use) -> Parts:
    """``nn.LayerNorm``: the normalised inputs times the gradients, summed over positions."""
    shape = layer.normalized_shape
    normal = functional.layer_norm(use.inputs, shape, eps=layer.eps)
    positions = tuple(range(1, use.inputs.ndim - len(shape)))
    return _scale_and_shift(layer, normal * use.outputs, use.outputs, positions)


def group_norm(layer: Any, use: Use) -> Parts:
    """``nn.GroupNorm``: as layer norm, with one scale per channel."""
    normal = functional.group_norm(use.inputs, layer.num_groups, eps=layer.eps)
    positions = tuple(range(2, use.inputs.ndim))
    return _scale_and_shift(layer, normal * use.outputs, use.outputs, positions)


def any_layer(layer: nn.Module, use: Use) -> Parts:
    """Any layer without layers inside: its backward pass, vectorised over rows (``torch.func``)."""
    own = dict(layer.named_parameters(recurse=False))

    def of_row(row: Tensor, gradient: Tensor) -> dict[str, Tensor]:
        def call(values: dict[str, Tensor]) -> Tensor:
            output: Tensor = functional_call(layer, values, (row.unsqueeze(0),))
            return output.squeeze(0)

        pull_back = vjp(call, {name: parameter.detach() for name, parameter in own.items()})[1]
        (found,) = pull_back(gradient)
        return dict(found)

    gradients = vmap(of_row, randomness="error")(use.inputs, use.outputs)
    return [(parameter, Formed(gradients[name])) for name, parameter in own.items()]


RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: linear,
    nn.Embedding: embedding,
    nn.Conv1d: convolution,
    nn.Conv2d: convolution,
    nn.LayerNorm: layer_norm,
    nn.GroupNorm: group_norm,
}
"""By exact type: a subclass may compute something else."""


def rule_for(layer: nn.Module) -> Rule:
    """The rule of a layer's type, else the one for any layer."""
    return RULES.get(type(layer), any_layer)


def by_position(values: Tensor) -> Tensor:
    """``(n, d)`` or ``(n, ..., d)`` as ``(n, positions, d)``."""
    return values.reshape(len(values), -1, values.shape[-1])


def _scale_and_shift(layer: nn.Module, scale: Tensor, shift: Tensor, positions: tuple[int, ...]) -> Parts:
    parts: Parts = []
    for name, values in (("weight", scale), ("bias", shift)):
        parameter = getattr(layer, name, None)
        if isinstance(parameter, nn.Parameter):
            parts.append((parameter, Formed(values.sum(dim=positions) if positions else values)))
    return parts


def all_parts(layer: nn.Module, use: Use) -> Parts:
    """The rows' gradients of the trainable parameters of ``layer``."""
    with torch.no_grad():
        return [(p, part) for p, part in rule_for(layer)(layer, use) if p.requires_grad]
