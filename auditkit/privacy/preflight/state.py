"""What a forward pass changes: such a state carries rows past every noise."""

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from auditkit.privacy.preflight.random_rows import RandomRows, outputs_of
from auditkit.privacy.preflight.report import Check, passed, refused, warned
from auditkit.records import Message

_DRIFT = 1e-6
_OF_EVERY_MODULE = frozenset(vars(nn.Module()))
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class _Place:
    """A tensor or a plain value that a module holds."""

    owner: nn.Module
    name: str
    full_name: str
    kind: str


@contextmanager
def state_kept(module: nn.Module) -> Iterator[None]:
    """Put parameters, buffers and plain attributes back as they were."""
    before = _snapshot(module)
    tensors = {place: _held(place) for place in before if place.kind != "attribute"}
    try:
        yield
    finally:
        now = _snapshot(module)
        with torch.no_grad():
            for place, held in tensors.items():
                if held is not _held(place):
                    setattr(place.owner, place.name, held)
                if isinstance(held, Tensor) and not _same(before[place], now.get(place)):
                    held.copy_(before[place])
        for place, value in before.items():
            if place.kind == "attribute" and not _same(value, now.get(place, _ABSENT)):
                setattr(place.owner, place.name, value)


def state_checks(module: nn.Module, rows: RandomRows) -> Iterator[Check]:
    """Pass the same rows twice and others between; nothing may be different for it."""
    with state_kept(module), torch.no_grad():
        start = _snapshot(module)
        first = outputs_of(module, rows.inputs)
        warm = _snapshot(module)
        outputs_of(module, rows.others)
        again = outputs_of(module, rows.inputs)
        end = _snapshot(module)
    rewritten = [place for place in start if place.kind == "parameter" and _moved(place, start, end)]
    running = [
        place
        for place in start
        if place.kind == "buffer" and _moved(place, start if _is_saved(place) else warm, end)
    ]
    counted = [
        place
        for place in warm
        if place.kind == "attribute" and _is_of_rows(warm[place]) and _moved(place, warm, end)
    ]
    drifts = first.shape != again.shape or not torch.allclose(first, again, rtol=_DRIFT, atol=_DRIFT)
    if rewritten:
        yield refused("state", _REWRITTEN, names=_names(rewritten))
    if running:
        yield refused("state", _RUNNING, names=_names(running))
    if drifts and not (rewritten or running):
        yield refused("state", _DRIFTS, names=f" ({_names(counted)} changes)" if counted else "")
    elif counted:
        yield warned("state", Message(text=_COUNTED, values={"names": _names(counted)}))
    if not (rewritten or running or drifts):
        yield passed("state", Message(text="a pass changed no running state"))


_REWRITTEN = (
    "a forward pass rewrites {names}, so that weights change without noise. Change weights by the "
    "optimiser alone"
)
_RUNNING = (
    "a forward pass changes {names}, which no noise protects. Use layers without running state: GroupNorm or "
    "LayerNorm, weight_norm in place of spectral_norm, track_running_stats=False"
)
_DRIFTS = (
    "the same rows with the same random numbers give other outputs after another pass{names}: it keeps "
    "something of the rows it saw, or draws from a generator of its own. Keep nothing between passes; draw "
    "from torch's global generator"
)
_COUNTED = (
    "a forward pass changes {names}, which is no weight: outputs did not depend on it, and it must not be "
    "given away with the weights"
)


def _names(places: list[_Place], shown: int = 4) -> str:
    names = [repr(place.full_name) for place in places[:shown]]
    return ", ".join(names) + (" and others" if len(places) > shown else "")


def _is_saved(place: _Place) -> bool:
    return place.name not in place.owner._non_persistent_buffers_set


def _snapshot(module: nn.Module) -> dict[_Place, Any]:
    """Copies of all parameters, buffers and plain attributes."""
    found: dict[_Place, Any] = {}
    for prefix, owner in module.named_modules():
        stem = f"{prefix}." if prefix else ""
        for kind, values in (("parameter", owner._parameters), ("buffer", owner._buffers)):
            for name, tensor in values.items():
                if tensor is not None:
                    found[_Place(owner, name, stem + name, kind)] = tensor.detach().clone()
        for name, value in vars(owner).items():
            if name not in _OF_EVERY_MODULE:
                copied = _plain(value)
                if copied is not _ABSENT:
                    found[_Place(owner, name, stem + name, "attribute")] = copied
    return found


def _held(place: _Place) -> Tensor | None:
    found: Tensor | None = getattr(place.owner, place.name, None)
    return found


def _plain(value: Any) -> Any:
    """A copy of numbers, tensors and collections of them; ``_ABSENT`` for anything else."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, list | tuple | deque):
        items = [_plain(item) for item in value]
        return _ABSENT if any(item is _ABSENT for item in items) else type(value)(items)
    if isinstance(value, dict):
        pairs = {key: _plain(item) for key, item in value.items()}
        return _ABSENT if any(item is _ABSENT for item in pairs.values()) else pairs
    return _ABSENT


def _moved(place: _Place, before: Mapping[_Place, Any], after: Mapping[_Place, Any]) -> bool:
    return place in before and not _same(before[place], after.get(place, _ABSENT))


def _is_of_rows(value: Any) -> bool:
    """Whether it may accumulate: numbers, tensors and collections, but not switches and names."""
    return not isinstance(value, bool | str) and value is not None


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.shape == other.shape and bool(torch.equal(one, other) or _both_nan(one, other))
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return bool(np.array_equal(one, other))
    if isinstance(one, list | tuple | deque) and type(one) is type(other):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return type(one) is type(other) and bool(one == other)


def _both_nan(one: Tensor, other: Tensor) -> bool:
    return one.is_floating_point() and bool(torch.equal(one.nan_to_num(), other.nan_to_num()))
