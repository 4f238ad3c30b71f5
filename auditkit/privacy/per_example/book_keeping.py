"""Clipped sums from one forward and one backward pass: gradients of what the layers put out, nothing more."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from auditkit.errors import UsageError
from auditkit.models.losses import per_row_loss
from auditkit.privacy.per_example.parts import Part, together
from auditkit.privacy.per_example.recurrent import Pass, unrolled, why_not
from auditkit.privacy.per_example.rules import Use, all_parts


class UnsuitableLayerError(UsageError):
    """A layer is called in a way that does not tell the gradients of rows apart."""


_IN_PLACE = "inplace"
"""The attribute of activations that write over what the layer before them put out."""


@dataclass(frozen=True, slots=True)
class _Call:
    """One call of a layer in the forward pass; ``version`` tells whether its output was written over."""

    layer: nn.Module
    name: str
    inputs: Tensor
    output: Tensor
    version: int


@dataclass(slots=True)
class Recorder:
    """Notes the calls of all trainable layers of a module while it is switched on."""

    module: nn.Module
    calls: list[_Call] = field(default_factory=list)
    passes: list[tuple[nn.RNNBase, Pass]] = field(default_factory=list)

    @contextmanager
    def recording(self) -> Iterator["Recorder"]:
        """Hooks on the layers inside the block; recurrent layers are unrolled; nothing stays behind."""
        handles: list[RemovableHandle] = []
        replaced: list[nn.Module] = []
        inplace = [layer for layer in self.module.modules() if getattr(layer, _IN_PLACE, False) is True]
        try:
            for layer in inplace:
                setattr(layer, _IN_PLACE, False)
            for name, layer in self.module.named_modules():
                if not any(p.requires_grad for p in layer.parameters(recurse=False)):
                    continue
                if isinstance(layer, nn.RNNBase):
                    layer.forward = self._unrolling(layer)
                    replaced.append(layer)
                else:
                    handles.append(layer.register_forward_hook(self._noting(name)))
            yield self
        finally:
            for handle in handles:
                handle.remove()
            for layer in replaced:
                del layer.forward
            for layer in inplace:
                setattr(layer, _IN_PLACE, True)
            self.calls.clear()
            self.passes.clear()

    def _noting(self, name: str) -> Any:
        def note(layer: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            if len(arguments) != 1 or not isinstance(arguments[0], Tensor) or not isinstance(output, Tensor):
                raise UnsuitableLayerError(
                    f"layer {name!r} ({type(layer).__name__}) is called with more than one tensor"
                )
            self.calls.append(_Call(layer, name, arguments[0].detach(), output, output._version))

        return note

    def _unrolling(self, layer: nn.RNNBase) -> Any:
        def forward(inputs: Any, start: Any = None) -> Any:
            reason = (
                "it is given packed sequences; give padded rows"
                if isinstance(inputs, tuple)
                else why_not(layer)
            )
            if reason is not None:
                raise UnsuitableLayerError(f"{type(layer).__name__}: {reason}")
            output, final, passes = unrolled(layer, inputs, start)
            self.passes.extend((layer, one) for one in passes)
            return output, final

        return forward

    def parts(self, losses: Tensor) -> dict[Tensor, Part]:
        """The rows' gradients of every trainable parameter that took part.

        Raises:
            UnsuitableLayerError: A layer was called with another number of rows, or its output was changed
                in place.
        """
        of_calls = [call.output for call in self.calls]
        of_passes = [total for _, one in self.passes for total in one.sums]
        gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
            losses.sum(), [*of_calls, *of_passes], allow_unused=True
        )
        found: dict[Tensor, list[Part]] = {}
        for call, gradient in zip(self.calls, gradients, strict=False):
            if gradient is None:
                continue
            self._check(call, len(losses))
            for parameter, part in all_parts(call.layer, Use(call.inputs, gradient)):
                found.setdefault(parameter, []).append(part)
        rest = iter(gradients[len(of_calls) :])
        for layer, one in self.passes:
            own = tuple(
                torch.zeros_like(total) if gradient is None else gradient
                for total, gradient in zip(one.sums, rest, strict=False)
            )
            with torch.no_grad():
                for parameter, part in one.parts(layer, own):
                    if parameter.requires_grad:
                        found.setdefault(parameter, []).append(part)
        with torch.no_grad():
            return {parameter: together(parts) for parameter, parts in found.items()}

    def _check(self, call: _Call, n_rows: int) -> None:
        where = f"layer {call.name!r} ({type(call.layer).__name__})"
        if len(call.inputs) != n_rows or len(call.output) != n_rows:
            raise UnsuitableLayerError(
                f"{where} is called with {len(call.inputs)} rows, expected one for each of the {n_rows}"
            )
        if call.output._version != call.version:
            raise UnsuitableLayerError(f"{where}: its output is changed in place; make that a new tensor")


def squared_norms(parts: Sequence[Part], n_rows: int, like: Tensor) -> Tensor:
    """Squared length of each row's whole gradient, shape ``(n,)``."""
    total = torch.zeros(n_rows, dtype=like.dtype, device=like.device)
    for part in parts:
        total += part.squared_norms()
    return total


def losses_of(module: nn.Module, inputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of every row, with gradients on."""
    with torch.enable_grad():
        return per_row_loss(module(inputs), targets)
