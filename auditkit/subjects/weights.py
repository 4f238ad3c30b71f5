"""Putting tensors from a file into a module, or saying what does not fit."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import nn

from auditkit.config.model import Architecture
from auditkit.errors import CheckpointError
from auditkit.models.own_class import is_own
from auditkit.models.zoo import build_module, skeleton

Tensors = Mapping[str, torch.Tensor]

WRAPPER_PREFIXES = ("module.", "_orig_mod.", "_module.")
"""What DataParallel, torch.compile and Opacus put before every parameter name."""

_SHOWN, _PIECE = 6, 2**20


def fill_module(
    architecture: Architecture,
    tensors: Tensors,
    where: Path,
    **sizes: int | None,
) -> nn.Module:
    """The module of ``architecture`` with ``tensors`` as its parameters and buffers.

    The shapes are compared before any memory is taken for the module. The tensors become its own and are not
    copied.

    Raises:
        CheckpointError: A tensor is missing, left over, of another shape or type, or not finite.
        ConfigError: The architecture itself is wrong.
    """
    module = check_fit(architecture, tensors, where, **sizes)
    _refuse(architecture, not_finite(tensors), where)
    expected = module.state_dict()
    if is_own(architecture.name) or any(_is_left_out(module, expected)):
        # What a constructor computes and does not save has no values on the meta device.
        module = build_module(architecture, rng=torch.Generator().manual_seed(0), **sizes)
    tied = _tied(module)
    module.load_state_dict({name: tensor.detach() for name, tensor in tensors.items()}, assign=True)
    _tie_again(module, tied, where)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    return module


def check_fit(architecture: Architecture, tensors: Tensors, where: Path, **sizes: int | None) -> nn.Module:
    """The architecture's module without values, when ``tensors`` have its names, shapes and types.

    Raises:
        CheckpointError: A tensor is missing, left over, or of another shape or type.
        ConfigError: The architecture itself is wrong.
    """
    module = skeleton(architecture, **sizes)
    _refuse(architecture, _misfits(module.state_dict(), tensors), where)
    return module


def _refuse(architecture: Architecture, problems: list[str], where: Path) -> None:
    if problems:
        raise CheckpointError(
            f"{where}: the weights do not fit the architecture {architecture.name!r}: "
            + "; ".join(problems[:_SHOWN])
            + ("; and more" if len(problems) > _SHOWN else "")
            + ". Correct the architecture's parameters, or save the weights again"
        )


def _is_left_out(module: nn.Module, saved: Tensors) -> Iterator[bool]:
    return (name not in saved for name, _ in module.named_buffers())


def _tied(module: nn.Module) -> list[list[str]]:
    """Names of the same parameter, for every parameter that has several."""
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def _tie_again(module: nn.Module, groups: list[list[str]], where: Path) -> None:
    """Make one parameter again of those that the file holds under several names."""
    for first, *others in groups:
        parameter = module.get_parameter(first)
        for other in others:
            place, _, attribute = other.rpartition(".")
            if not torch.equal(module.get_parameter(other), parameter):
                raise CheckpointError(
                    f"{where}: {first} and {other} are one parameter of the architecture, but differ in the "
                    "file. Save the weights again"
                )
            setattr(module.get_submodule(place), attribute, parameter)


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
    counts = {name: _n_not_finite(tensor) for name, tensor in tensors.items() if tensor.is_floating_point()}
    return [f"{name} holds {n} values that are NaN or infinite" for name, n in counts.items() if n]


def _n_not_finite(tensor: torch.Tensor) -> int:
    # In pieces, because the comparison takes as much memory as what it compares.
    flat = tensor.detach().reshape(-1)
    starts = range(0, len(flat), _PIECE)
    return sum(int((~torch.isfinite(flat[start : start + _PIECE])).sum()) for start in starts)
