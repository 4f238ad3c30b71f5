"""Gradients of every unit by vectorising the whole model over units, where a function has no rule."""

import warnings
from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from auditkit.privacy.per_example.parts import Formed, Part

_VALUES_AT_ONCE = 1 << 25
"""Every unit's gradient is formed; so many numbers are worked on at a time."""

LossOf = Callable[[Tensor, Tensor], Tensor]
"""From outputs and targets of rows to their losses, shape ``(rows,)``."""


def whole_gradients(
    module: nn.Module,
    names: Sequence[str],
    loss_of: LossOf,
    units: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, dict[str, Part]]:
    """Losses of the units, shape ``(units,)``, and their gradients of the parameters called ``names``.

    Args:
        module: Called with the rows of one unit at a time, as ``torch.func.vmap`` sees it.
        names: Of trainable parameters.
        loss_of: The loss of each row.
        units: Inputs, targets and weights of rows, each of shape ``(units, rows, ...)``.
    """
    parameters = dict(module.named_parameters())
    trained = {name: parameters[name].detach() for name in names}

    def loss(values: dict[str, Tensor], inputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        return (loss_of(functional_call(module, values, (inputs,)), targets) * weights).sum()

    size = sum(value.numel() for value in trained.values())
    of_units = vmap(
        grad_and_value(loss),
        in_dims=(None, 0, 0, 0),
        randomness="different",
        chunk_size=max(1, _VALUES_AT_ONCE // max(1, size)),
    )
    with warnings.catch_warnings():
        # Functions that torch cannot vectorise are called unit by unit, which changes no figure.
        warnings.filterwarnings("ignore", message="There is a performance drop")
        gradients, losses = of_units(trained, *units)
    return losses.detach(), {name: Formed(gradient) for name, gradient in gradients.items()}


def needed(module: nn.Module) -> list[str]:
    """Names of the trainable parameters, each once."""
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]
