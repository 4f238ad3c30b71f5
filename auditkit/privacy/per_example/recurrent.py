"""Recurrent layers, unrolled: the same function as the fused kernel, with every step's sums in sight.

The gradient of a recurrent weight is a sum over steps of outer products: what went into the step, and the
gradient of the sum that the step's gates are made from. The fused kernel shows neither.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from auditkit.privacy.per_example.rules import Parts, affine

State = tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Pass:
    """One direction of one layer over a sequence, kept for its gradients.

    Attributes:
        names: Of the four parameters, without the kind: ``l0`` or ``l0_reverse``.
        inputs: What went in, shape ``(n, steps, d)``.
        states: The hidden state before each step, shape ``(n, steps, h)``.
        from_inputs: Sums made from the inputs, shape ``(n, steps, gates * h)``; needs a gradient.
        from_states: Sums made from the state, one tensor ``(n, gates * h)`` per step.
    """

    names: str
    inputs: Tensor
    states: Tensor
    from_inputs: Tensor
    from_states: tuple[Tensor, ...]

    @property
    def sums(self) -> tuple[Tensor, ...]:
        """The tensors whose gradients are needed."""
        return (self.from_inputs, *self.from_states)

    def parts(self, layer: nn.RNNBase, gradients: tuple[Tensor, ...]) -> Parts:
        """The rows' gradients of the parameters, from those of ``sums``."""
        of_inputs, of_states = gradients[0], torch.stack(gradients[1:], dim=1)
        get = layer.get_parameter
        bias = layer.bias
        return [
            *affine(
                get(f"weight_ih_{self.names}"),
                get(f"bias_ih_{self.names}") if bias else None,
                self.inputs,
                of_inputs,
            ),
            *affine(
                get(f"weight_hh_{self.names}"),
                get(f"bias_hh_{self.names}") if bias else None,
                self.states,
                of_states,
            ),
        ]


def why_not(layer: nn.RNNBase) -> str | None:
    """Why a layer cannot be unrolled here, or ``None``."""
    if not layer.batch_first:
        return "its rows are not the first dimension; use batch_first=True"
    if layer.proj_size:
        return "it projects its state (proj_size); leave that out"
    return None


def unrolled(
    layer: nn.RNNBase, inputs: Tensor, start: Tensor | tuple[Tensor, Tensor] | None = None
) -> tuple[Tensor, Tensor | tuple[Tensor, Tensor], list[Pass]]:
    """What ``layer(inputs, start)`` gives, and the passes it was made in.

    Args:
        layer: An RNN, GRU or LSTM with rows first.
        inputs: Shape ``(n, steps, d)``.
        start: State before the first step, as torch takes it.
    """
    finals: list[State] = []
    passes: list[Pass] = []
    n_directions = 2 if layer.bidirectional else 1
    for level in range(layer.num_layers):
        outputs = []
        for direction in range(n_directions):
            names = f"l{level}" + ("_reverse" if direction else "")
            state = _start(layer, inputs, start, level * n_directions + direction)
            output, final, kept = _one_pass(layer, names, inputs, state)
            outputs.append(output)
            finals.append(final)
            passes.append(kept)
        inputs = torch.cat(outputs, dim=2)
        if layer.dropout and layer.training and level + 1 < layer.num_layers:
            inputs = nn.functional.dropout(inputs, layer.dropout)
    hidden = torch.stack([final[0] for final in finals])
    if isinstance(layer, nn.LSTM):
        return inputs, (hidden, torch.stack([final[1] for final in finals])), passes
    return inputs, hidden, passes


def _one_pass(layer: nn.RNNBase, names: str, inputs: Tensor, state: State) -> tuple[Tensor, State, Pass]:
    get = layer.get_parameter
    weight_hh = get(f"weight_hh_{names}")
    bias_hh = get(f"bias_hh_{names}") if layer.bias else None
    bias_ih = get(f"bias_ih_{names}") if layer.bias else None
    from_inputs = nn.functional.linear(inputs, get(f"weight_ih_{names}"), bias_ih)
    step, steps = _cell(layer), range(inputs.shape[1])
    states, from_states, outputs = [], [], []
    for t in reversed(steps) if names.endswith("_reverse") else steps:
        states.append(state[0])
        from_states.append(nn.functional.linear(state[0], weight_hh, bias_hh))
        state = step(from_inputs[:, t], from_states[-1], state)
        outputs.append(state[0])
    if names.endswith("_reverse"):
        for kept in (states, from_states, outputs):
            kept.reverse()
    found = Pass(names, inputs.detach(), torch.stack(states, dim=1).detach(), from_inputs, tuple(from_states))
    return torch.stack(outputs, dim=1), state, found


def _start(
    layer: nn.RNNBase, inputs: Tensor, start: Tensor | tuple[Tensor, Tensor] | None, index: int
) -> State:
    if start is None:
        zeros = inputs.new_zeros(len(inputs), layer.hidden_size)
        return (zeros, zeros) if isinstance(layer, nn.LSTM) else (zeros,)
    return tuple(part[index] for part in start) if isinstance(start, tuple) else (start[index],)


Step = Callable[[Tensor, Tensor, State], State]


def _cell(layer: nn.RNNBase) -> Step:
    """One step: from the two sums and the state to the next state (formulas of torch's documentation)."""
    if isinstance(layer, nn.LSTM):
        return _lstm_step
    if isinstance(layer, nn.GRU):
        return _gru_step
    curve = torch.relu if getattr(layer, "nonlinearity", "tanh") == "relu" else torch.tanh
    return lambda from_input, from_state, _: (curve(from_input + from_state),)


def _lstm_step(from_input: Tensor, from_state: Tensor, state: State) -> State:
    let_in, forget, candidate, let_out = (from_input + from_state).chunk(4, dim=1)
    cell = torch.sigmoid(forget) * state[1] + torch.sigmoid(let_in) * torch.tanh(candidate)
    return torch.sigmoid(let_out) * torch.tanh(cell), cell


def _gru_step(from_input: Tensor, from_state: Tensor, state: State) -> State:
    reset_i, update_i, new_i = from_input.chunk(3, dim=1)
    reset_s, update_s, new_s = from_state.chunk(3, dim=1)
    update = torch.sigmoid(update_i + update_s)
    candidate = torch.tanh(new_i + torch.sigmoid(reset_i + reset_s) * new_s)
    return (candidate + update * (state[0] - candidate),)
