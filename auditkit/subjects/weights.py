"""Putting tensors from a file into a module, or saying what does not fit."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from auditkit.config.model import Architecture
from auditkit.errors import CheckpointError
from auditkit.models.zoo import skeleton

Tensors = Mapping[str, torch.Tensor]

WRAPPER_PREFIXES = ("module.", "_orig_mod.", "_module.")
"""What DataParallel, torch.compile and Opacus put before every parameter name."""

_SHOWN = 6


def fill_module(
    architecture: Architecture,
    tensors: Tensors,
    where: Path,
    **sizes: int | None,
) -> nn.Module:
    """The module of ``architecture`` with ``tensors`` as its parameters and buffers.

    The shapes are compared before any memory is taken for the module.

    Raises:
        CheckpointError: A tensor is missing, left over, of another shape or type, or not finite.
        ConfigError: The architecture itself is wrong.
    """
    module = skeleton(architecture, **sizes)
    expected = module.state_dict()
    problems = [*_misfits(expected, tensors), *not_finite(tensors)]
    if problems:
        raise CheckpointError(
            f"{where}: the weights do not fit the architecture {architecture.name!r}: "
            + "; ".join(problems[:_SHOWN])
            + ("; and more" if len(problems) > _SHOWN else "")
            + ". Correct the architecture's parameters, or save the weights again"
        )
    own = {name: tensor.detach().clone() for name, tensor in tensors.items()}
    module.load_state_dict(own, strict=True, assign=True)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    return module


def renamed(
    architecture: Architecture, tensors: Tensors, **sizes: int | None
) -> dict[str, torch.Tensor] | None:
    """``tensors`` under the names of ``architecture``, matched by shape; ``None`` unless that is unambiguous.

    Other code gives the layers of the same network other names. Where every shape occurs once, the shapes
    alone tell which tensor is which; where two are alike, nothing is guessed.
    """
    expected = skeleton(architecture, **sizes).state_dict()
    shapes = Counter(tuple(tensor.shape) for tensor in expected.values())
    found = {tuple(tensor.shape): tensor for tensor in tensors.values()}
    if max(shapes.values(), default=0) > 1 or len(tensors) != len(expected) or set(found) != set(shapes):
        return None
    return {name: found[tuple(tensor.shape)] for name, tensor in expected.items()}


def without_wrapper(tensors: Tensors) -> dict[str, torch.Tensor]:
    """The tensors without a prefix that wrapping a module put before every name."""
    plain = dict(tensors)
    for prefix in WRAPPER_PREFIXES:
        if plain and all(name.startswith(prefix) for name in plain):
            plain = {name.removeprefix(prefix): tensor for name, tensor in plain.items()}
    return plain


def _misfits(expected: Tensors, tensors: Tensors) -> list[str]:
    missing = [f"{name} {tuple(expected[name].shape)} is missing" for name in expected if name not in tensors]
    extra = [
        f"{name} {tuple(tensors[name].shape)} is not part of it" for name in tensors if name not in expected
    ]
    differing = [
        f"{name} is {_described(tensors[name])}, expected {_described(expected[name])}"
        for name in expected
        if name in tensors and _described(tensors[name]) != _described(expected[name])
    ]
    return [*missing, *extra, *differing]


def _described(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"


def not_finite(tensors: Tensors) -> list[str]:
    """Which tensors hold values that no network computes with, one phrase each."""
    return [
        f"{name} holds {int((~torch.isfinite(tensor)).sum())} values that are NaN or infinite"
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]
