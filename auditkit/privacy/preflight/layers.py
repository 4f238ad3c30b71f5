"""Layers known by their type to mix rows or to keep something of them; subclasses included."""

from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from auditkit.privacy.preflight.report import Check, refused, warned
from auditkit.records import Message

FIX = "--fix does that."


def layer_problems(module: nn.Module) -> Iterator[Check]:
    """One check for each layer that is known to be unsuitable.

    Args:
        module: In the mode in which it would be trained.
    """
    for name, layer in module.named_modules():
        text = _problem(layer)
        if text is None:
            continue
        values: dict[str, str | int | float] = {"layer": name, "type": type(layer).__name__}
        if isinstance(layer, _BatchNorm) and _is_fixed(layer):
            yield warned("layers", Message(text=_FIXED, values=values))
        else:
            yield refused("layers", "layer '{layer}' ({type}): " + text, **values)


_FIXED = (
    "layer '{layer}' ({type}) shifts and scales by means and variances of rows it saw elsewhere; epsilon "
    "covers the training rows only if none of them was among those"
)


def _is_fixed(layer: _BatchNorm) -> bool:
    """Whether it shifts and scales by constants that nothing changes."""
    trains = any(parameter.requires_grad for parameter in layer.parameters())
    return not layer.training and layer.running_mean is not None and not trains


def _problem(layer: nn.Module) -> str | None:
    if isinstance(layer, _BatchNorm):
        return (
            "it normalises each row by the others in its batch, frozen or not. Use GroupNorm or LayerNorm; "
            + FIX
        )
    if isinstance(layer, _InstanceNorm) and layer.track_running_stats:
        return "it keeps statistics of the rows it saw. Use track_running_stats=False; " + FIX
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        if layer.max_norm is not None:
            return "max_norm rewrites the weights in each pass. Leave max_norm out; " + FIX
        if layer.scale_grad_by_freq:
            return (
                "scale_grad_by_freq divides gradients by how often a token is in the batch. Leave it out; "
                + FIX
            )
    return None
