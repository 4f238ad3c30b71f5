"""Where in a model concepts are looked for: what its last layer reads, or what a named layer gives."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from auditkit.errors import closest
from auditkit.records import Message
from auditkit.subjects.subject import WhiteBox


@dataclass(frozen=True, slots=True)
class Place:
    """One place in a model.

    Attributes:
        name: Full name of the layer.
        layer: Left as it was.
        side: Whether its input or its output is looked at.
    """

    name: str
    layer: nn.Module
    side: Literal["input", "output"]

    @property
    def channels_first(self) -> bool:
        """Whether positions come after channels in three dimensions."""
        return isinstance(self.layer, nn.Conv1d | nn.BatchNorm1d | nn.MaxPool1d | nn.AvgPool1d)


@dataclass(slots=True)
class Tap:
    """What passed a place, and the leaf that stood in for it."""

    values: Tensor | None = None
    calls: int = 0
    failed: bool = field(default=False)


def places_of(subject: WhiteBox, names: tuple[str, ...], probe: Tensor) -> list[Place | Message]:
    """The named layers, or without names the input of the last one; a reason where one cannot be used.

    Args:
        subject: Left as it was.
        names: Full names of layers.
        probe: Some inputs, shape ``(n, *d)``.
    """
    if not names:
        last = _last_layer(subject, probe)
        return [_usable(subject, last, probe) if isinstance(last, Place) else last]
    known = {name: layer for name, layer in subject.module.named_modules() if name}
    return [
        _usable(subject, Place(name, known[name], "output"), probe)
        if name in known
        else Message(
            text="the model has no layer {layer}. {closest}",
            values={"layer": name, "closest": closest(name, known)},
        )
        for name in names
    ]


def _last_layer(subject: WhiteBox, probe: Tensor) -> Place | Message:
    """The input of the layer with weights that is called last."""
    calls: list[tuple[str, nn.Module]] = []
    with ExitStack() as hooks, torch.no_grad():
        for name, layer in subject.module.named_modules():
            if any(parameter.ndim > 1 for parameter in layer.parameters(recurse=False)):

                def note(one: nn.Module, _arguments: tuple[Any, ...], name: str = name) -> None:
                    calls.append((name, one))

                hooks.callback(layer.register_forward_pre_hook(note).remove)
        subject.logits(probe)
    if not calls:
        return Message(text="no layer with weights is called")
    name, layer = calls[-1]
    return Place(name or type(layer).__name__, layer, "input")


def _usable(subject: WhiteBox, place: Place, probe: Tensor) -> Place | Message:
    with torch.no_grad(), tapped(place, with_gradient=False) as tap:
        subject.logits(probe)
    if tap.calls != 1:
        return Message(
            text="layer {layer} is called {n} times for a row, where one call can be examined",
            values={"layer": place.name, "n": tap.calls},
        )
    if tap.values is None or tap.values.shape[0] != len(probe):
        return Message(text="layer {layer} does not hold one block per row", values={"layer": place.name})
    return place


@contextmanager
def tapped(place: Place, *, with_gradient: bool) -> Iterator[Tap]:
    """Within the block note what passes ``place``; the hook is gone after it, also when it raises.

    Args:
        place: Where.
        with_gradient: Let a leaf that takes a gradient stand in for what passes.
    """
    tap = Tap()

    def seen(values: object) -> Tensor | None:
        tap.calls += 1
        if not isinstance(values, Tensor) or not values.is_floating_point():
            tap.failed = True
            return None
        tap.values = values.detach()
        if not with_gradient:
            return None
        tap.values.requires_grad_(True)
        # a copy, because the next layer may write into what it gets
        return tap.values.clone()

    def before(_layer: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        leaf = seen(arguments[0] if arguments else None)
        return None if leaf is None else (leaf, *arguments[1:])

    def after(_layer: nn.Module, _arguments: tuple[Any, ...], output: Any) -> Any:
        if not isinstance(output, tuple):
            return seen(output)
        leaf = seen(output[0])
        return None if leaf is None else (leaf, *output[1:])

    handle = (
        place.layer.register_forward_pre_hook(before)
        if place.side == "input"
        else place.layer.register_forward_hook(after)
    )
    try:
        yield tap
    finally:
        handle.remove()
