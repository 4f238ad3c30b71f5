"""What every architecture of the zoo has: validated parameters and a function that builds the module."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from torch import nn

MOST_UNITS = 1_000_000
"""A width above this is a damaged file or a slip, not a model."""


class Parameters(BaseModel):
    """Base of all parameters. The sizes of input and output come from the data where they are left open."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    n_inputs: int | None = Field(None, ge=1, le=MOST_UNITS)
    n_classes: int | None = Field(None, ge=2, le=MOST_UNITS)


def _as_sequence(value: Any) -> Any:
    return (value,) if isinstance(value, int) else value


Units = Annotated[int, Field(ge=1, le=MOST_UNITS)]
Widths = Annotated[tuple[Units, ...], Field(max_length=64), BeforeValidator(_as_sequence)]
"""Units per hidden layer; one number is one layer."""

Dropout = Annotated[float, Field(ge=0, lt=1)]
"""Probability with which a hidden unit is silenced in training."""


@dataclass(frozen=True, slots=True)
class ArchitectureKind:
    """One architecture: the class of its parameters and how a module is built from them.

    ``build`` is called with sizes filled in and draws initial values from torch's global generator.
    """

    parameters: type[Parameters]
    build: Callable[[Any], nn.Module]
