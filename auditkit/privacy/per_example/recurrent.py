"""The rules of recurrent layers: the same function as the fused kernel, with every step's sums in sight.

The gradient of a recurrent weight is a sum over steps of outer products: what went into the step, and the
gradient of the sum that the step's gates are made from. The fused kernel shows neither. Here all steps' sums
from inputs are one matrix product, each step adds one of the state, and going back a step is one product
again: every other factor is worked out for all steps at once (formulas of the layers' documentation).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from auditkit.privacy.per_example.cells import GruSteps, LstmSteps, RnnSteps, Trace
from auditkit.privacy.per_example.notes import NoRuleError, Notes, Parts
from auditkit.privacy.per_example.parts import Products, Summed


@dataclass(frozen=True, slots=True)
class _Cell:
    """What differs between the kinds: the function over all steps, and whether both biases are in one sum."""

    run: Callable[..., Any]
    biases_add_up: bool


def _layers(
    cell: _Cell,
    notes: Notes,
    input: Tensor,
    start: Any,
    weights: Any,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, ...]:
    """All levels and directions; gives the outputs and the final states stacked."""
    if not isinstance(has_biases, bool):
        raise NoRuleError("recurrent layer on packed sequences")
    per_pass, n_directions = (4 if has_biases else 2), (2 if bidirectional else 1)
    if len(weights) != per_pass * num_layers * n_directions:
        raise NoRuleError("recurrent layer with projections")
    starts = start if isinstance(start, (tuple, list)) else (start,)
    steps = input.transpose(0, 1) if batch_first else input
    finals: list[tuple[Tensor, ...]] = []
    for level in range(num_layers):
        outputs = []
        for direction in range(n_directions):
            index = level * n_directions + direction
            own = weights[index * per_pass : (index + 1) * per_pass]
            state = tuple(part[index] for part in starts)
            output, *final = _one_pass(cell, notes, steps.flip(0) if direction else steps, state, own)
            outputs.append(output.flip(0) if direction else output)
            finals.append((output[-1], *final))
        steps = torch.cat(outputs, dim=2) if bidirectional else outputs[0]
        if dropout and train and level + 1 < num_layers:
            steps = functional.dropout(steps, dropout)
    stacked = tuple(torch.stack(parts) for parts in zip(*finals, strict=True))
    return (steps.transpose(0, 1) if batch_first else steps, *stacked)


def _one_pass(
    cell: _Cell, notes: Notes, steps: Tensor, state: tuple[Tensor, ...], weights: Any
) -> tuple[Tensor, ...]:
    weight_ih, weight_hh = weights[:2]
    bias_ih, bias_hh = weights[2:] if len(weights) == 4 else (None, None)
    notes.expect_rows(steps.shape[1], weight_ih)
    first = bias_ih + bias_hh if cell.biases_add_up and bias_ih is not None else bias_ih
    steps = steps.contiguous()
    sums = functional.linear(steps, weight_ih, first)
    trace, inputs = Trace(), steps.detach()

    def parts_of(gradient: Tensor) -> Parts:
        of_inputs = notes.steps(gradient)
        of_states = of_inputs if trace.of_states is None else notes.steps(trace.of_states)
        parts: Parts = [
            (weight_ih, Products(notes.steps(inputs), of_inputs, weight_ih.shape)),
            (weight_hh, Products(notes.steps(trace.states), of_states, weight_hh.shape)),
        ]
        if bias_ih is not None and bias_hh is not None:
            parts += [(bias_ih, Summed(of_inputs)), (bias_hh, Summed(of_states))]
        return [(parameter, part) for parameter, part in parts if notes.watches(parameter)]

    sums = notes.note(sums, weight_hh, parts_of, inputs)
    found: tuple[Tensor, ...] = cell.run(
        sums, weight_hh.detach(), None if bias_hh is None else bias_hh.detach(), state, trace
    )
    return found


def _run_lstm(
    sums: Tensor, weight: Tensor, _: Tensor | None, state: tuple[Tensor, ...], trace: Trace
) -> tuple[Tensor, ...]:
    found: tuple[Tensor, ...] = LstmSteps.apply(sums, weight, *state, trace)  # type: ignore[no-untyped-call]
    return found


def _run_gru(
    sums: Tensor, weight: Tensor, bias: Tensor | None, state: tuple[Tensor, ...], trace: Trace
) -> tuple[Tensor, ...]:
    return (GruSteps.apply(sums, weight, bias, state[0], trace),)  # type: ignore[no-untyped-call]


def _run_rnn(
    curve: str, sums: Tensor, weight: Tensor, _: Tensor | None, state: tuple[Tensor, ...], trace: Trace
) -> tuple[Tensor, ...]:
    return (RnnSteps.apply(sums, weight, state[0], curve, trace),)  # type: ignore[no-untyped-call]


lstm = partial(_layers, _Cell(_run_lstm, biases_add_up=True))
"""``torch.lstm``."""
gru = partial(_layers, _Cell(_run_gru, biases_add_up=False))
"""``torch.gru``."""
rnn_tanh = partial(_layers, _Cell(partial(_run_rnn, "tanh"), biases_add_up=True))
"""``torch.rnn_tanh``."""
rnn_relu = partial(_layers, _Cell(partial(_run_rnn, "relu"), biases_add_up=True))
"""``torch.rnn_relu``."""
