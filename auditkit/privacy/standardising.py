"""Which convolutions feed a norm, found by passing rows, and their weights standardised."""

from collections.abc import Collection
from typing import Any, Literal

import torch
from torch import Tensor, nn

from auditkit.models.standardised import can_be_standardised, standardise
from auditkit.privacy.preflight.random_rows import RandomRows, outputs_of
from auditkit.privacy.preflight.state import state_kept
from auditkit.records import Message

StandardisedBefore = Literal["exchanged", "all", "none"]
"""Before which group norms weights are standardised: those exchanged for batch norms, any, or none."""


def group_norms(module: nn.Module) -> frozenset[nn.Module]:
    """All group norms of ``module``."""
    return frozenset(layer for layer in module.modules() if isinstance(layer, nn.GroupNorm))


def standardise_before(
    module: nn.Module, norms: Collection[nn.Module], rows: RandomRows
) -> tuple[Message, ...]:
    """Standardise the weights of the convolutions that feed ``norms``, in place; weights and names stay.

    Args:
        module: A network.
        norms: Some of its layers.
        rows: To be passed; the state of ``module`` stays as it was.

    Returns:
        Every change.
    """
    feeding = _feeding(module, norms, rows) if norms else frozenset()
    named = {
        name: layer
        for name, layer in module.named_modules()
        if layer in feeding and can_be_standardised(layer)
    }
    standardise(module, list(named))
    return tuple(_told(name, layer) for name, layer in named.items())


def _feeding(module: nn.Module, norms: Collection[nn.Module], rows: RandomRows) -> frozenset[nn.Module]:
    """Convolutions whose very output goes into one of ``norms``."""
    made: list[tuple[Tensor, nn.Module]] = []
    found: set[nn.Module] = set()

    def keep(layer: nn.Module, _given: Any, output: Any) -> None:
        made.append((output, layer))

    def look(_norm: nn.Module, given: Any) -> None:
        found.update(layer for output, layer in made if any(output is value for value in given))

    hooks = [layer.register_forward_hook(keep) for layer in module.modules() if can_be_standardised(layer)]
    hooks += [norm.register_forward_pre_hook(look) for norm in norms]
    try:
        with torch.no_grad(), state_kept(module):
            outputs_of(module, rows.inputs)
    except Exception:  # whatever the forward of a user raises: the pre-flight, which is next, says what
        return frozenset()
    finally:
        for hook in hooks:
            hook.remove()
    return frozenset(found)


def _told(name: str, layer: nn.Module) -> Message:
    weight = layer.get_parameter("weight")
    return Message(
        text="Layer '{layer}': the weights of each of its {channels} output channels are standardised to "
        "mean 0 and variance 1/{fan_in} before they are used.",
        values={"layer": name, "channels": len(weight), "fan_in": weight[0].numel()},
    )
