"""The architectures by name. A name and its parameters are enough to build the same module again."""

from importlib import import_module

import torch
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from torch import nn

from auditkit.config.model import Architecture
from auditkit.errors import ConfigError, Problem, closest
from auditkit.models.architecture import ArchitectureKind, Parameters
from auditkit.randomness import global_generators_seeded

ARCHITECTURES = {
    "mlp": "auditkit.models.mlp:MLP",
    "tabular-mlp": "auditkit.models.tabular_mlp:TABULAR_MLP",
}
"""Where each architecture is defined; imported when it is asked for."""

_KEY = ("subject", "architecture")


def build_module(
    architecture: Architecture,
    *,
    rng: torch.Generator,
    n_inputs: int | None = None,
    n_classes: int | None = None,
) -> nn.Module:
    """A module with initial values drawn from ``rng``; the global generators stay as they were.

    Args:
        architecture: Name and parameters.
        rng: Advanced by one draw. The same state gives the same values.
        n_inputs: Numbers per row, where ``architecture`` leaves it open.
        n_classes: Outputs, where ``architecture`` leaves it open.

    Raises:
        ConfigError: The name or a parameter is unknown or out of range, or a size contradicts the data.
    """
    kind, parameters = _sized(architecture, n_inputs, n_classes)
    seed = int(torch.randint(2**62, (1,), generator=rng, device=rng.device).item())
    with global_generators_seeded(seed):
        return kind.build(parameters)


def skeleton(
    architecture: Architecture, *, n_inputs: int | None = None, n_classes: int | None = None
) -> nn.Module:
    """The module on torch's meta device: names and shapes, no memory and no values.

    Raises:
        ConfigError: As :func:`build_module`.
    """
    kind, parameters = _sized(architecture, n_inputs, n_classes)
    with torch.device("meta"):
        return kind.build(parameters)


def complete(
    architecture: Architecture, *, n_inputs: int | None = None, n_classes: int | None = None
) -> Architecture:
    """``architecture`` with every parameter written out, defaults and sizes included.

    Raises:
        ConfigError: As :func:`build_module`.
    """
    _, parameters = _sized(architecture, n_inputs, n_classes)
    return Architecture.model_validate({"name": architecture.name, **parameters.model_dump(mode="json")})


def check_architecture(architecture: Architecture) -> list[Problem]:
    """What is wrong with a name or its parameters, with the closest known ones; empty when nothing is."""
    if architecture.name not in ARCHITECTURES:
        message = f"no architecture {architecture.name!r}. {closest(architecture.name, ARCHITECTURES)}"
        return [Problem(message, (*_KEY, "name"))]
    kind = _kind(architecture.name)
    try:
        kind.parameters.model_validate(architecture.parameters)
    except ValidationError as error:
        return [_problem(item, kind.parameters) for item in error.errors(include_url=False)]
    return []


def _kind(name: str) -> ArchitectureKind:
    module, attribute = ARCHITECTURES[name].split(":")
    kind: ArchitectureKind = getattr(import_module(module), attribute)
    return kind


def _problem(item: ErrorDetails, parameters: type[Parameters]) -> Problem:
    path = (*_KEY, *item["loc"])
    if item["type"] == "extra_forbidden":
        name = str(item["loc"][-1])
        return Problem(f"unknown parameter {name!r}. {closest(name, parameters.model_fields)}", path)
    text = str(item["msg"])
    return Problem(f"{text[0].lower()}{text[1:]}, got {item['input']!r}", path)


def _sized(
    architecture: Architecture, n_inputs: int | None, n_classes: int | None
) -> tuple[ArchitectureKind, Parameters]:
    problems = check_architecture(architecture)
    if problems:
        raise ConfigError(problems)
    kind = _kind(architecture.name)
    written = kind.parameters.model_validate(architecture.parameters)
    sizes = {"n_inputs": n_inputs, "n_classes": n_classes}
    problems = [
        problem
        for key, given in sizes.items()
        for problem in _size_problems(key, getattr(written, key), given)
    ]
    if problems:
        raise ConfigError(problems)
    known = {key: given for key, given in sizes.items() if given is not None}
    return kind, kind.parameters.model_validate({**written.model_dump(), **known})


def _size_problems(key: str, written: int | None, given: int | None) -> list[Problem]:
    if written is None and given is None:
        return [Problem(f"is not known; write {key}: NUMBER", (*_KEY, key))]
    if written is not None and given is not None and written != given:
        return [Problem(f"is {written}, but the data have {given}; leave it out or correct it", (*_KEY, key))]
    return []
