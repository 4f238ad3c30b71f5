"""The rule of linear layers, alone: others are made of it."""

import torch
from torch import Tensor
from torch.nn import functional

from auditkit.privacy.per_example.joined import Rows
from auditkit.privacy.per_example.notes import NoRuleError, Notes, Parts
from auditkit.privacy.per_example.outer import Outer, Plain, Vectors
from auditkit.privacy.per_example.parts import Part, Products, Summed

_SINGLE_OR_DOUBLE = (torch.float32, torch.float64)


def linear(notes: Notes, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``functional.linear`` on rows with any number of positions."""
    if notes.watches(input) or weight.ndim != 2 or input.ndim < 2:
        raise NoRuleError("linear that is not of rows with a matrix")
    output = functional.linear(input, weight, bias)
    if input.ndim == 2 and notes.rows_per_unit == 1 and input.dtype in _SINGLE_OR_DOUBLE:
        return _noted_rows(notes, input, output, weight, bias)
    return noted_affine(notes, input, output, (weight, bias))


def _noted_rows(notes: Notes, input: Tensor, output: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The case of most small networks: a row is a unit, and the layer is called on a vector of it."""
    trains_weight, trains_bias = notes.watches(weight), notes.watches(bias)
    parameter = weight if trains_weight or bias is None else bias
    notes.expect_rows(len(input), parameter)
    inputs = input.detach() if trains_weight else None

    def parts_of(gradient: Tensor) -> Parts:
        outputs = Vectors(gradient)
        parts: Parts = []
        if inputs is not None:
            parts.append((weight, Outer(Vectors(inputs), outputs)))
        if bias is not None and trains_bias:
            parts.append((bias, Plain(outputs)))
        return parts

    return notes.note(output, parameter, parts_of, inputs)


def noted_affine(
    notes: Notes,
    input: Tensor,
    output: Tensor,
    parameters: tuple[Tensor, Tensor | None],
    piece: tuple[int, int] | None = None,
) -> Tensor:
    """Note ``input @ weight.T + bias`` and give it back; ``piece`` says of which rows of the parameters."""
    weight, bias = parameters
    trained = notes.watches(weight)
    notes.expect_rows(len(input), weight if trained else bias)
    inputs = input.detach() if trained else None

    def of(part: Part, parameter: Tensor) -> Part:
        return part if piece is None else Rows(part, *piece, len(parameter))

    def parts_of(gradient: Tensor) -> Parts:
        outputs = notes.positions(gradient)
        parts: Parts = []
        if inputs is not None:
            shape = weight.shape if piece is None else weight[slice(*piece)].shape
            parts.append((weight, of(Products(notes.positions(inputs), outputs, shape), weight)))
        if bias is not None and notes.watches(bias):
            parts.append((bias, of(Summed(outputs), bias)))
        return parts

    parameter = weight if trained or bias is None else bias
    return notes.note(output, parameter, parts_of, inputs)
