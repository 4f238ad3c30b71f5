"""Layers whose author registered a grad sampler with Opacus: the last resort.

Where no rule knows what a layer does with its parameters, and the module cannot be vectorised either, the
author may still have said what the gradients of rows are. A sampler gives those of the parameters that are
the layer's own, from what went into the layer and the gradient of what came out (Yousefpour et al. 2021,
arXiv:2109.12298, section 3). Samplers that come with Opacus are not asked: their layers have rules here.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn

from auditkit.privacy.per_example.notes import Notes, Parts, UnsuitableLayerError
from auditkit.privacy.per_example.parts import Formed

Sampler = Callable[[nn.Module, list[Tensor], Tensor], Mapping[Tensor, Tensor]]
"""Called with the layer, what it was given and the gradient of what it gave; rows are the first dimension."""


@dataclass(frozen=True, slots=True)
class RegisteredLayer:
    """A layer, its own trainable parameters, and its sampler."""

    layer: Any
    parameters: Sequence[nn.Parameter]
    sampler: Sampler

    def parts(self, notes: Notes, given: list[Tensor], gradient: Tensor) -> Parts:
        """The units' gradients of the parameters.

        Raises:
            UnsuitableLayerError: The sampler leaves one out, or gives something else than one for each row.
        """
        found = self.sampler(self.layer, given, gradient)
        parts: Parts = []
        for parameter in self.parameters:
            values = found.get(parameter)
            expected = (notes.n_rows, *parameter.shape)
            if values is None or tuple(values.shape) != expected:
                shown = "none" if values is None else f"one of shape {tuple(values.shape)}"
                raise UnsuitableLayerError(
                    f"the grad sampler registered for {type(self.layer).__name__} gives {shown} for "
                    f"{notes.names.get(id(parameter), 'a parameter')!r}, expected shape {expected}: a "
                    "gradient for each row"
                )
            parts.append((parameter, Formed(notes.per_unit(values))))
        return parts


def registered_layers(module: nn.Module) -> list[RegisteredLayer]:
    """Layers with trainable parameters of their own for whose very class a user registered a sampler."""
    found = []
    for layer in module.modules():
        sampler = GradSampleModule.GRAD_SAMPLERS.get(type(layer))
        own = [parameter for parameter in layer.parameters(recurse=False) if parameter.requires_grad]
        if own and sampler is not None and not sampler.__module__.startswith("opacus."):
            found.append(RegisteredLayer(layer, own, sampler))
    return found


@contextmanager
def sampled(layers: Sequence[RegisteredLayer], notes: Notes) -> Iterator[None]:
    """Note the calls of ``layers`` as a whole, and not what they do with parameters of their own inside."""
    try:
        for one in layers:
            one.layer.forward = _noted(one, notes, one.layer.forward)
        yield
    finally:
        for one in layers:
            vars(one.layer).pop("forward", None)


def _noted(one: RegisteredLayer, notes: Notes, forward: Callable[..., Any]) -> Callable[..., Tensor]:
    def call(*arguments: Any, **options: Any) -> Tensor:
        with notes.looking_away(one.parameters):
            output = forward(*arguments, **options)
        if not isinstance(output, Tensor):
            raise UnsuitableLayerError(
                f"{type(one.layer).__name__} gives a {type(output).__name__}, and its registered grad "
                "sampler is asked about one tensor; have it give that alone"
            )
        if not torch.is_grad_enabled():
            return output
        notes.expect_rows(len(output), one.parameters[0])
        given = [value.detach() for value in arguments if isinstance(value, Tensor)]
        read = given[0] if given else None
        return notes.note(output, one.parameters[0], lambda gradient: one.parts(notes, given, gradient), read)

    return call
