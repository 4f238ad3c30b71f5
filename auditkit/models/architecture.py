"""What every architecture of the zoo has: validated parameters and a function that builds the module."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch import nn

from auditkit.data.dataset import Task

MOST_UNITS = 1_000_000
"""A width above this is a damaged file or a slip, not a model."""


Takes = Literal["numbers", "pictures", "tokens", "anything"]
"""What a row of inputs is: a flat row of numbers, a picture laid out flat, or token ids."""

Size = Annotated[int, Field(ge=1, le=MOST_UNITS)]


class Parameters(BaseModel):
    """Base of all parameters. The sizes that the data decide may be left open."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class VectorParameters(Parameters):
    """Of classifiers that take a row of numbers; rows of any shape are flattened."""

    n_inputs: Size | None = None
    n_classes: int | None = Field(None, ge=2, le=MOST_UNITS)


class ValueParameters(VectorParameters):
    """Of models that may also foretell a number: ``n_classes`` is 1 then."""

    n_classes: int | None = Field(None, ge=1, le=MOST_UNITS)


class PictureParameters(Parameters):
    """Of classifiers of grey pictures."""

    height: Size | None = None
    width: Size | None = None
    n_classes: int | None = Field(None, ge=2, le=MOST_UNITS)


class TextParameters(Parameters):
    """Of classifiers of token ids."""

    vocabulary_size: Size | None = None
    length: Size | None = None
    n_classes: int | None = Field(None, ge=2, le=MOST_UNITS)


class LanguageParameters(Parameters):
    """Of models that foretell the next token."""

    vocabulary_size: Size | None = None
    length: Size | None = None


SIZES = ("n_inputs", "n_classes", "height", "width", "vocabulary_size", "length")
"""Parameters that the data decide when they are left open."""


def _as_sequence(value: Any) -> Any:
    return (value,) if isinstance(value, int) else value


Units = Annotated[int, Field(ge=1, le=MOST_UNITS)]
Widths = Annotated[tuple[Units, ...], Field(max_length=64), BeforeValidator(_as_sequence)]
"""Units per hidden layer; one number is one layer."""

Dropout = Annotated[float, Field(ge=0, lt=1)]
"""Probability with which a hidden unit is silenced in training."""


def _from_fresh_weights(_: Any) -> Path | None:
    return None


@dataclass(frozen=True, slots=True)
class ArchitectureKind:
    """One architecture: the class of its parameters and how a module is built from them.

    ``build`` is called with sizes filled in and draws initial values from torch's global generator. The
    module takes a batch of rows and gives logits, shape ``(n, n_classes)``; with the task language modelling
    it takes token ids ``(n, length)`` and gives logits ``(n, length, vocabulary_size)``. With
    ``foretells_values`` it can also be built with ``n_classes`` 1 and then gives a number, shape ``(n, 1)``.
    ``pretrained`` tells the folder whose weights the module starts from, ``None`` where all are drawn.
    """

    parameters: type[Parameters]
    build: Callable[[Any], nn.Module]
    takes: Takes = "numbers"
    task: Task = "classification"
    foretells_values: bool = False
    pretrained: Callable[[Any], Path | None] = _from_fresh_weights
