"""Recurrent cells over all steps, forth and back, without gradients of weights.

Each function takes the sums from inputs, shape ``(steps, rows, gates * h)``, and writes over them: they are
the caller's own, and nothing else reads them. Loops hold as few calls as can be, on tensors cut beforehand.
"""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import Function, once_differentiable


class Trace:
    """What one pass leaves for the gradients of its weights.

    Attributes:
        states: Hidden state before each step, shape ``(steps, rows, h)``.
        of_states: Gradients of the sums from states where they differ from those of the sums from inputs.
    """

    __slots__ = ("of_states", "states")

    states: Tensor
    of_states: Tensor | None

    def __init__(self) -> None:
        self.of_states = None


class LstmSteps(Function):
    """Sums, recurrent weight, start and :class:`Trace` to the hidden states and the last cell state."""

    @staticmethod
    def forward(
        ctx: Any, sums: Tensor, weight: Tensor, hidden: Tensor, cell: Tensor, trace: Trace
    ) -> tuple[Tensor, Tensor]:
        """Gates are, in order: let in, forget, candidate, let out."""
        ctx.set_materialize_grads(False)
        gates = sums.detach()
        steps, rows, size = len(gates), gates.shape[1], hidden.shape[1]
        states, cells = gates.new_empty(steps + 1, rows, size), gates.new_empty(steps + 1, rows, size)
        curved = gates.new_empty(steps, rows, size)
        states[0], cells[0] = hidden, cell
        each = gates.view(steps, rows, 4, size)
        cuts = zip(
            gates.unbind(), each[:, :, :2].unbind(), *(gate.unbind() for gate in each.unbind(2)), strict=True
        )
        turned = weight.T
        state_at, cell_at, curved_at = states.unbind(), cells.unbind(), curved.unbind()
        for t, (gate, two, let_in, forget, candidate, let_out) in enumerate(cuts):
            gate.addmm_(state_at[t], turned)
            two.sigmoid_()
            candidate.tanh_()
            let_out.sigmoid_()
            torch.mul(forget, cell_at[t], out=cell_at[t + 1])
            cell_at[t + 1].addcmul_(let_in, candidate)
            torch.tanh(cell_at[t + 1], out=curved_at[t])
            torch.mul(let_out, curved_at[t], out=state_at[t + 1])
        trace.states = states[:-1]
        ctx.kept = (each, weight, cells, curved)
        return states[1:], cells[-1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_states: Tensor | None, of_cell: Tensor | None) -> tuple[Any, ...]:
        """Backwards through time; the gradient of the sums is all that a weight's gradient needs."""
        each, weight, cells, curved = ctx.kept
        let_in, forget, candidate, let_out = each.unbind(2)
        steps, rows, size = curved.shape
        found = torch.empty_like(each)
        torch.mul(let_in * (1 - let_in), candidate, out=found[:, :, 0])
        torch.mul(forget * (1 - forget), cells[:-1], out=found[:, :, 1])
        torch.mul(1 - candidate * candidate, let_in, out=found[:, :, 2])
        torch.mul(let_out * (1 - let_out), curved, out=found[:, :, 3])
        through = curved.square_().neg_().add_(1).mul_(let_out)
        flat = found.flatten(2).unbind()
        into_cell, out_of_cell = found[:, :, :3].unbind(), found[:, :, 3].unbind()
        through_at, forget_at = through.unbind(), forget.unbind()
        given = (
            curved.new_zeros(1, rows, size).expand(steps, -1, -1) if of_states is None else of_states
        ).unbind()
        cell = curved.new_zeros(rows, size) if of_cell is None else of_cell.clone()
        hidden = given[-1].clone()
        wide = cell.unsqueeze(1)
        for t in range(steps - 1, -1, -1):
            cell.addcmul_(hidden, through_at[t])
            into_cell[t].mul_(wide)
            out_of_cell[t].mul_(hidden)
            cell.mul_(forget_at[t])
            if t:
                torch.addmm(given[t - 1], flat[t], weight, out=hidden)
            else:
                torch.mm(flat[t], weight, out=hidden)
        return found.flatten(2), None, hidden, cell, None


class GruSteps(Function):
    """Sums from inputs, recurrent weight and bias, start and :class:`Trace` to the hidden states."""

    @staticmethod
    def forward(
        ctx: Any, sums: Tensor, weight: Tensor, bias: Tensor | None, hidden: Tensor, trace: Trace
    ) -> Tensor:
        """Gates are, in order: reset, update, candidate."""
        gates = sums.detach()
        steps, rows, size = len(gates), gates.shape[1], hidden.shape[1]
        states = gates.new_empty(steps + 1, rows, size)
        states[0] = hidden
        remembered = gates.new_empty(steps, rows, size)
        turned, width = weight.T, 2 * size
        shift = gates.new_zeros(3 * size) if bias is None else bias
        cuts = zip(
            gates[:, :, :width].unbind(), gates[:, :, width:].unbind(), remembered.unbind(), strict=True
        )
        state_at = states.unbind()
        for t, (two, candidate, kept) in enumerate(cuts):
            from_state = torch.addmm(shift, state_at[t], turned)
            two.add_(from_state[:, :width]).sigmoid_()
            kept.copy_(from_state[:, width:])
            candidate.addcmul_(two[:, :size], kept).tanh_()
            torch.lerp(candidate, state_at[t], two[:, size:], out=state_at[t + 1])
        trace.states = states[:-1]
        ctx.kept = (gates.view(steps, rows, 3, size), weight, states, remembered, trace)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_states: Tensor) -> tuple[Any, ...]:
        """Backwards through time; sums from states and from inputs have gradients of their own."""
        each, weight, states, remembered, trace = ctx.kept
        reset, update, candidate = each.unbind(2)
        steps, rows, size = remembered.shape
        found = each.new_empty(steps, rows, 4, size)  # reset, update, candidate of states, of inputs
        torch.mul(1 - update, 1 - candidate * candidate, out=found[:, :, 3])
        torch.mul(found[:, :, 3], reset, out=found[:, :, 2])
        torch.mul(found[:, :, 2], (1 - reset) * remembered, out=found[:, :, 0])
        torch.mul(update * (1 - update), states[:-1] - candidate, out=found[:, :, 1])
        found_at, back_at = found.unbind(), found[:, :, :3].flatten(2).unbind()
        given, update_at = of_states.unbind(), update.unbind()
        hidden = given[-1].clone()
        for t in range(steps - 1, -1, -1):
            found_at[t].mul_(hidden.unsqueeze(1))
            hidden.mul_(update_at[t]).add_(back_at[t] @ weight)
            if t:
                hidden.add_(given[t - 1])
        trace.of_states = found[:, :, :3].flatten(2)
        of_sums = torch.cat([found[:, :, :2], found[:, :, 3:]], dim=2).flatten(2)
        return of_sums, None, None, hidden, None


class RnnSteps(Function):
    """Sums, recurrent weight, start, the curve and :class:`Trace` to the hidden states."""

    @staticmethod
    def forward(ctx: Any, sums: Tensor, weight: Tensor, hidden: Tensor, curve: str, trace: Trace) -> Tensor:
        """``curve`` is ``tanh`` or ``relu``."""
        sums = sums.detach()
        states = torch.cat([hidden.unsqueeze(0), sums])
        bend, turned, state_at = (torch.tanh_ if curve == "tanh" else torch.relu_), weight.T, states.unbind()
        for before, now in pairwise(state_at):
            bend(now.addmm_(before, turned))
        trace.states = states[:-1]
        ctx.kept = (states, weight, curve)
        return states[1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_states: Tensor) -> tuple[Any, ...]:
        """Backwards through time."""
        states, weight, curve = ctx.kept
        after = states[1:]
        found = 1 - after * after if curve == "tanh" else (after > 0).to(after.dtype)
        found_at, given = found.unbind(), of_states.unbind()
        hidden = given[-1].clone()
        for t in range(len(found_at) - 1, -1, -1):
            found_at[t].mul_(hidden)
            if t:
                torch.addmm(given[t - 1], found_at[t], weight, out=hidden)
            else:
                torch.mm(found_at[t], weight, out=hidden)
        return found, None, hidden, None, None
