"""Linear layers and activations one after the other, without a graph and with as few calls as may be.

Small networks spend as long on calling functions as on arithmetic. What is computed is the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as every_module

from auditkit.privacy.per_example.parts import squared_lengths

_ACTIVATIONS = frozenset(
    (
        nn.Dropout,
        nn.ELU,
        nn.GELU,
        nn.LeakyReLU,
        nn.ReLU,
        nn.Sigmoid,
        nn.SiLU,
        nn.Softplus,
        nn.Tanh,
    )
)
"""Functions of single numbers without parameters."""

_SINGLE_OR_DOUBLE = (torch.float32, torch.float64)

_relu_backward = torch.ops.aten.threshold_backward.grad_input

LossGradients = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From outputs to losses of rows, shape ``(rows,)``, and the gradient of their sum."""


def layers_of_chain(module: nn.Module, inputs: Tensor) -> list[nn.Module] | None:
    """The layers that ``module`` calls one after the other; ``None`` where it may do anything else.

    Layers with hooks or changed methods do something else, and so do those that share a parameter or make it
    from others.

    Args:
        module: As it is now.
        inputs: Rows that it is to be called with.
    """
    if inputs.dtype not in _SINGLE_OR_DOUBLE or torch.is_autocast_enabled(inputs.device.type):
        return None
    layers: list[nn.Module] = []
    parameters: list[int] = []
    hooked = every_module._has_any_global_hook()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    if hooked or not _collect(module, layers, parameters):
        return None
    if len(set(parameters)) < len(parameters) or not layers:
        return None
    if type(layers[0]) is nn.Flatten:
        del layers[0]
    elif inputs.ndim != 2:
        return None
    return layers


def _collect(module: nn.Module, layers: list[nn.Module], parameters: list[int]) -> bool:
    """Append the layers of ``module`` and the ``id`` of their parameters; whether all are known."""
    own, kind = module.__dict__, type(module)
    if own["_forward_hooks"] or own["_forward_pre_hooks"] or "forward" in own:
        return False
    if own["_backward_hooks"] or own["_backward_pre_hooks"]:
        return False
    if kind is nn.Sequential:
        return all(_collect(layer, layers, parameters) for layer in own["_modules"].values())
    layers.append(module)
    if kind is nn.Linear:
        found = [parameter for parameter in own["_parameters"].values() if parameter is not None]
        parameters += map(id, found)
        return "weight" in own["_parameters"] and all(type(parameter) is nn.Parameter for parameter in found)
    if kind is nn.Flatten:
        return len(layers) == 1 and own["start_dim"] == 1 and own["end_dim"] == -1
    return kind in _ACTIVATIONS and not own.get("inplace", False)


@dataclass(frozen=True, slots=True)
class _Use:
    """One call of a linear layer with a vector per row.

    Attributes:
        inputs: Shape ``(n, d)``.
        outputs: Gradients of what came out, shape ``(n, p)``.
        weight: Its place among the parameters; ``None`` where it is not trained.
        bias: Likewise.
    """

    inputs: Tensor
    outputs: Tensor
    weight: int | None
    bias: int | None


@dataclass(frozen=True, slots=True)
class ChainGradients:
    """See :class:`UnitGradients`; every row is a unit."""

    losses: Tensor
    uses: list[_Use]

    def squared_norms(self) -> tuple[Tensor, None]:
        """See :class:`UnitGradients`."""
        total = torch.zeros_like(self.losses)
        for use in self.uses:
            squared = squared_lengths(use.outputs)
            if use.bias is not None:
                total.add_(squared)
            if use.weight is not None:
                total.addcmul_(squared, squared_lengths(use.inputs))
        return total, None

    def add_to(self, total: Sequence[Tensor], weights: Tensor) -> None:
        """See :class:`UnitGradients`."""
        for use in self.uses:
            outputs = use.outputs.t()
            if use.bias is not None:
                total[use.bias].addmv_(outputs, weights)
            if use.weight is not None:
                total[use.weight].addmm_(outputs * weights, use.inputs)


def chain_gradients(
    layers: Sequence[nn.Module], inputs: Tensor, losses_of: LossGradients, places: Mapping[int, int]
) -> ChainGradients:
    """Losses of rows and their gradients.

    Args:
        layers: See :func:`layers_of_chain`.
        inputs: Rows; all dimensions but the first are flattened.
        losses_of: The loss.
        places: Where the trained parameters, by ``id``, are among all.
    """
    with torch.no_grad():
        outputs, kept = _forward(layers, inputs if inputs.ndim == 2 else inputs.flatten(1))
        losses, gradient = losses_of(outputs)
        return ChainGradients(losses, _backward(layers, kept, gradient, places))


_Kept = tuple[Tensor, ...]
"""What the gradient of a layer needs."""


def _forward(layers: Sequence[nn.Module], values: Tensor) -> tuple[Tensor, list[_Kept]]:
    kept: list[_Kept] = []
    before: nn.Module | None = None
    for layer in layers:
        if type(layer) is nn.Linear:
            kept.append((values,))
            values = functional.linear(values, layer.weight, layer.bias)
        elif type(layer) is nn.ReLU:
            # Nothing else needs what a linear layer puts out.
            values = values.relu_() if type(before) is nn.Linear else values.relu()
            kept.append((values,))
        else:
            given = values.detach().requires_grad_()
            with torch.enable_grad():
                put_out = layer(given)
            kept.append((given, put_out))
            values = put_out.detach()
        before = layer
    return values, kept


def _backward(
    layers: Sequence[nn.Module], kept: Sequence[_Kept], gradient: Tensor, places: Mapping[int, int]
) -> list[_Use]:
    uses: list[_Use] = []
    n_left = len(places)
    for layer, of_layer in zip(reversed(layers), reversed(kept), strict=True):
        if type(layer) is nn.Linear:
            weight, bias = places.get(id(layer.weight)), places.get(id(layer.bias))
            uses.append(_Use(of_layer[0], gradient, weight, bias))
            n_left -= (weight is not None) + (bias is not None)
            if not n_left:
                break
            gradient = gradient.mm(layer.weight)
        elif type(layer) is nn.ReLU:
            _relu_backward(gradient, of_layer[0], 0, grad_input=gradient)
        else:
            (gradient,) = torch.autograd.grad(of_layer[1], of_layer[0], gradient)
    return uses
