"""The architectures by name. A name and its parameters are enough to build the same module again."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

import torch
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from torch import nn

from auditkit.config.model import Architecture
from auditkit.errors import ConfigError, Problem, closest
from auditkit.models.architecture import SIZES, ArchitectureKind, Parameters
from auditkit.models.own_class import call_problems, is_own, own_class, own_kind
from auditkit.models.rows_apart import keep_rows_apart
from auditkit.models.standardised import FEWEST_WEIGHTS, standardise
from auditkit.randomness import global_generators_seeded

ARCHITECTURES = {
    "bert": "auditkit.models.bert:BERT",
    "cnn": "auditkit.models.cnn:CNN",
    "gpt": "auditkit.models.gpt:GPT",
    "hf-encoder": "auditkit.models.hf_encoder:HF_ENCODER",
    "hf-language-model": "auditkit.models.hf_language_model:HF_LANGUAGE_MODEL",
    "mlp": "auditkit.models.mlp:MLP",
    "mlp-plain": "auditkit.models.mlp_plain:MLP_PLAIN",
    "net": "auditkit.models.net:NET",
    "resnet": "auditkit.models.resnet:RESNET",
    "rnn": "auditkit.models.rnn:RNN",
    "scattering": "auditkit.models.scattering:SCATTERING",
    "tabular-mlp": "auditkit.models.tabular_mlp:TABULAR_MLP",
    "transformer-lm": "auditkit.models.transformer_lm:TRANSFORMER_LM",
    "vgg": "auditkit.models.vgg:VGG",
    "wavenet": "auditkit.models.wavenet:WAVENET",
    "xor": "auditkit.models.xor:XOR",
}
"""Where each architecture is defined; imported when it is asked for."""

_KEY = ("subject", "architecture")


def build_module(architecture: Architecture, *, rng: torch.Generator, **sizes: int | None) -> nn.Module:
    """A module with initial values drawn from ``rng``; the global generators stay as they were.

    Args:
        architecture: Name and parameters.
        rng: Advanced by one draw. The same state gives the same values.
        sizes: What the data say of the sizes that ``architecture`` leaves open; see ``architecture.SIZES``.
            Those that it does not have are passed over.

    Raises:
        ConfigError: The name or a parameter is unknown or out of range, or a size contradicts the data.
    """
    kind, parameters = _sized(architecture, sizes)
    seed = int(torch.randint(2**62, (1,), generator=rng, device=rng.device).item())
    with global_generators_seeded(seed):
        return _built(architecture, kind, parameters)


def skeleton(architecture: Architecture, **sizes: int | None) -> nn.Module:
    """The module on torch's meta device: names and shapes, no memory and no values.

    A class of the user whose constructor needs values is made on the CPU.

    Raises:
        ConfigError: As :func:`build_module`.
    """
    kind, parameters = _sized(architecture, sizes)
    try:
        with torch.device("meta"):
            return _built(architecture, kind, parameters)
    except ConfigError:
        if not is_own(architecture.name):
            raise
        with global_generators_seeded(0):
            return _built(architecture, kind, parameters)


def complete(architecture: Architecture, **sizes: int | None) -> Architecture:
    """``architecture`` with every parameter written out, defaults and sizes included.

    Raises:
        ConfigError: As :func:`build_module`.
    """
    _, parameters = _sized(architecture, sizes)
    return Architecture.model_validate(
        {
            "name": architecture.name,
            "rows_apart": architecture.rows_apart,
            "weights_standardised": architecture.weights_standardised,
            **parameters.model_dump(mode="json"),
        }
    )


def check_architecture(architecture: Architecture, folders: Sequence[Path] = ()) -> list[Problem]:
    """What is wrong with a name or its parameters, with the closest known ones; empty when nothing is.

    A class of the user is looked for in ``folders`` first.
    """
    if is_own(architecture.name):
        try:
            cls = own_class(architecture.name, folders)
        except ConfigError as error:
            return list(error.problems)
        wrong = call_problems(cls, architecture.name, architecture.parameters)
        if wrong:
            return [Problem(text, _KEY) for text in wrong]
    elif architecture.name not in ARCHITECTURES:
        message = (
            f"no architecture {architecture.name!r}. {closest(architecture.name, ARCHITECTURES)} "
            "A class of your own is written package.module:Class"
        )
        return [Problem(message, (*_KEY, "name"))]
    kind = kind_of(architecture)
    try:
        kind.parameters.model_validate(architecture.parameters)
    except ValidationError as error:
        return [_problem(item, kind.parameters) for item in error.errors(include_url=False)]
    return []


def pretrained_folder(architecture: Architecture) -> Path | None:
    """The transformers folder whose weights a module starts from; ``None`` where all of them are drawn.

    Raises:
        ConfigError: The name or a parameter is unknown or out of range.
    """
    problems = check_architecture(architecture)
    if problems:
        raise ConfigError(problems)
    kind = kind_of(architecture)
    return kind.pretrained(kind.parameters.model_validate(architecture.parameters))


def require_value_model(architecture: Architecture) -> None:
    """Refuse architectures that only tell classes.

    Raises:
        ConfigError: With those that can foretell a number.
    """
    if is_own(architecture.name) or kind_of(architecture).foretells_values:
        return
    able = [name for name in ARCHITECTURES if kind_of(Architecture(name=name)).foretells_values]
    message = (
        f"{architecture.name!r} tells classes, and data.task is regression. These foretell a number: "
        f"{', '.join(able)}, or a class of your own with one output"
    )
    raise ConfigError([Problem(message, (*_KEY, "name"))])


def kind_of(architecture: Architecture) -> ArchitectureKind:
    """The architecture behind a known name, or the class that a name with a colon tells."""
    if is_own(architecture.name):
        return own_kind(architecture.name, tuple(architecture.parameters))
    module, attribute = ARCHITECTURES[architecture.name].split(":")
    kind: ArchitectureKind = getattr(import_module(module), attribute)
    return kind


def _built(architecture: Architecture, kind: ArchitectureKind, parameters: Parameters) -> nn.Module:
    module = kind.build(parameters)
    if architecture.rows_apart:
        module, _ = keep_rows_apart(module)
    wrong = standardise(module, architecture.weights_standardised)
    if wrong:
        message = (
            f"{', '.join(map(repr, wrong))} of {architecture.name!r} cannot be standardised; expected names "
            f"of plain convolutions with at least {FEWEST_WEIGHTS} weights to an output channel. Correct "
            "the names or leave them out"
        )
        raise ConfigError([Problem(message, (*_KEY, "weights_standardised"))])
    return module


def _problem(item: ErrorDetails, parameters: type[Parameters]) -> Problem:
    path = (*_KEY, *item["loc"])
    if item["type"] == "extra_forbidden":
        name = str(item["loc"][-1])
        return Problem(f"unknown parameter {name!r}. {closest(name, parameters.model_fields)}", path)
    text = str(item["msg"])
    return Problem(f"{text[0].lower()}{text[1:]}, got {item['input']!r}", path)


def _sized(
    architecture: Architecture, sizes: Mapping[str, int | None]
) -> tuple[ArchitectureKind, Parameters]:
    problems = check_architecture(architecture)
    if problems:
        raise ConfigError(problems)
    kind = kind_of(architecture)
    written = kind.parameters.model_validate(architecture.parameters)
    own = [key for key in SIZES if key in kind.parameters.model_fields]
    problems = [
        problem for key in own for problem in _size_problems(key, getattr(written, key), sizes.get(key))
    ]
    if problems:
        raise ConfigError(problems)
    known = {key: sizes[key] for key in own if sizes.get(key) is not None}
    try:
        return kind, kind.parameters.model_validate({**written.model_dump(), **known})
    except ValidationError as error:
        details = error.errors(include_url=False)
        raise ConfigError([_problem(item, kind.parameters) for item in details]) from None


def _size_problems(key: str, written: int | None, given: int | None) -> list[Problem]:
    if written is None and given is None:
        return [Problem(f"is not known; write {key}: NUMBER", (*_KEY, key))]
    if written is not None and given is not None and written != given:
        return [Problem(f"is {written}, but the data have {given}; leave it out or correct it", (*_KEY, key))]
    return []
