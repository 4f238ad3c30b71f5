"""Layers that mix rows, or keep something of those they saw, exchanged for ones that do not.

Batch normalisation becomes group normalisation (Wu and He 2018, arXiv:1803.08494), which reads one row alone.
"""

import math
from collections.abc import Iterator

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from auditkit.records import Message

GROUPS = range(16, 33)
FEWEST_TOGETHER, FEWEST_OF_VECTORS = 4, 8
"""Channels to a group at least: a group of a few numbers tells little but their order."""


def keep_rows_apart(module: nn.Module) -> tuple[nn.Module, tuple[Message, ...]]:
    """Exchange what can be exchanged, in place; weights and names of parameters stay.

    Returns:
        The module, which is another one where it was itself a layer to be exchanged; and every change.
    """
    changes: list[Message] = []
    for name, layer in list(module.named_modules()):
        if isinstance(layer, _BatchNorm):
            module = _without_batch(module, name, layer, changes)
        else:
            changes += _changed(name, layer)
    silent = [layer for layer in module.modules() if getattr(layer, "inplace", None) is True]
    for layer in silent:
        setattr(layer, "inplace", False)  # noqa: B010 - whatever kind of layer it is
    if silent:
        changes.append(
            Message(text="{n} layers no longer change their input in place.", values={"n": len(silent)})
        )
    return module, tuple(changes)


def group_norm_of(layer: _BatchNorm) -> nn.GroupNorm | None:
    """The group norm with the weights of a batch norm; ``None`` for a single number per row."""
    channels = layer.num_features
    fewest = FEWEST_TOGETHER if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d) else FEWEST_OF_VECTORS
    if channels == 0 or (channels == 1 and fewest == FEWEST_OF_VECTORS):
        return None
    divisors = {math.gcd(groups, channels) for groups in GROUPS}
    groups = max((one for one in divisors if channels >= fewest * one), default=1)
    norm = nn.GroupNorm(groups, channels, eps=layer.eps, affine=False)
    norm.affine = layer.weight is not None
    norm.weight, norm.bias = layer.weight, layer.bias
    return norm.train(layer.training)


def _without_batch(module: nn.Module, name: str, layer: _BatchNorm, changes: list[Message]) -> nn.Module:
    norm = group_norm_of(layer)
    if norm is None:
        return module
    changes.append(
        Message(
            text="Layer '{layer}': {type} over {channels} channels became GroupNorm of {groups} groups.",
            values={
                "layer": name,
                "type": type(layer).__name__,
                "channels": norm.num_channels,
                "groups": norm.num_groups,
            },
        )
    )
    if module is layer:
        return norm
    for owner in module.modules():
        for key, child in owner._modules.items():
            if child is layer:
                owner._modules[key] = norm
    return module


def _changed(name: str, layer: nn.Module) -> Iterator[Message]:
    if isinstance(layer, _InstanceNorm) and layer.track_running_stats:
        layer.track_running_stats = False
        layer.running_mean = layer.running_var = layer.num_batches_tracked = None
        yield Message(
            text="Layer '{layer}' no longer keeps statistics of the rows it saw.", values={"layer": name}
        )
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        if layer.max_norm is not None:
            layer.max_norm = None
            yield Message(
                text="Layer '{layer}' no longer bounds its vectors (max_norm).", values={"layer": name}
            )
        if layer.scale_grad_by_freq:
            layer.scale_grad_by_freq = False
            yield Message(
                text="Layer '{layer}' no longer divides gradients by how often a token is in the batch.",
                values={"layer": name},
            )
