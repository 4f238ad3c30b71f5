"""Leaving no trace: after an audit, even one that raises, subject and process are what they were before."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from auditkit.randomness import global_generators_seeded
from auditkit.subjects.subject import Subject, WhiteBox

_LAYERS = ("_modules",)
_WEIGHTS = ("_parameters", "_buffers")
_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


@dataclass(slots=True)
class Watch:
    """What an audit changed, one phrase each; filled when the block ends."""

    violations: list[str] = field(default_factory=list)


@contextmanager
def unchanged(*subjects: Subject, seed: int) -> Iterator[Watch]:
    """Run a block with seeded global generators and put everything back afterwards.

    Restores layers, weights, ``requires_grad``, gradients, training flags and hooks of each subject, the
    global generators and torch's gradient mode and default type. What had changed is reported in the watch.
    """
    watch = Watch()
    snapshots = [_Snapshot.take(subject.module) for subject in subjects if isinstance(subject, WhiteBox)]
    gradients, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        with global_generators_seeded(seed):
            yield watch
    finally:
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)
        for snapshot in snapshots:
            watch.violations += [what for what in snapshot.restore() if what not in watch.violations]


@dataclass(frozen=True, slots=True)
class _TensorState:
    """A parameter or buffer as it was: its storage, a copy of its values, and what autograd knows of it."""

    tensor: torch.Tensor
    data: torch.Tensor
    values: torch.Tensor
    requires_grad: bool
    gradient: torch.Tensor | None
    gradient_values: torch.Tensor | None
    hooks: dict[int, Any]

    @classmethod
    def take(cls, tensor: torch.Tensor) -> "_TensorState":
        gradient = tensor.grad if tensor.is_leaf else None
        return cls(
            tensor,
            tensor.detach(),
            tensor.detach().clone(),
            tensor.requires_grad,
            gradient,
            None if gradient is None else gradient.clone(),
            dict(tensor._backward_hooks or {}),
        )

    def restore(self) -> Iterator[str]:
        if self._restore_values():
            yield "weights"
        if self.tensor.requires_grad != self.requires_grad:
            self.tensor.requires_grad_(self.requires_grad)
            yield "requires_grad flags"
        if self._restore_gradient():
            yield "gradients"
        hooks: dict[int, Any] = self.tensor._backward_hooks or {}
        if dict(hooks) != self.hooks:
            hooks.clear()
            hooks.update(self.hooks)
            yield "hooks"

    def _restore_values(self) -> bool:
        """Whether storage, type or values had changed. A type is changed by exchanging the storage."""
        moved = self.tensor.dtype != self.data.dtype or self.tensor.data_ptr() != self.data.data_ptr()
        if not moved and _same(self.tensor.detach(), self.values):
            return False
        if moved:
            self.tensor.data = self.data
        if not _same(self.data, self.values):
            self.data.copy_(self.values)
        return True

    def _restore_gradient(self) -> bool:
        if self.gradient is None or self.gradient_values is None:
            changed = self.tensor.is_leaf and self.tensor.grad is not None
            if changed:
                self.tensor.grad = None
            return changed
        same = self.tensor.grad is self.gradient and _same(self.gradient, self.gradient_values)
        if not same:
            self.gradient.copy_(self.gradient_values)
            self.tensor.grad = self.gradient
        return not same


@dataclass(frozen=True, slots=True)
class _PartState:
    """One layer as it was: which tensors and layers it holds, its hooks, its training flag."""

    part: nn.Module
    tables: dict[str, dict[Any, object]]
    training: bool

    @classmethod
    def take(cls, part: nn.Module) -> "_PartState":
        names = (*_LAYERS, *_WEIGHTS, *_HOOKS)
        return cls(part, {name: dict(getattr(part, name)) for name in names}, part.training)

    def restore(self) -> Iterator[str]:
        for what, names in (("layers", _LAYERS), ("weights", _WEIGHTS), ("hooks", _HOOKS)):
            if self._put_back(names):
                yield what
        if self.part.training != self.training:
            self.part.training = self.training
            yield "training flags"

    def _put_back(self, names: Sequence[str]) -> bool:
        changed = False
        for name in names:
            now, before = getattr(self.part, name), self.tables[name]
            if _identities(now) != _identities(before):
                # a module may cache a buffer at its first call: undone, but no fault of the audit
                changed |= name != "_buffers" or not _identities(before) <= _identities(now)
                now.clear()
                now.update(before)
        return changed


@dataclass(frozen=True, slots=True)
class _Snapshot:
    parts: tuple[_PartState, ...]
    tensors: tuple[_TensorState, ...]

    @classmethod
    def take(cls, module: nn.Module) -> "_Snapshot":
        tensors = {id(tensor): tensor for tensor in [*module.parameters(), *module.buffers()]}
        return cls(
            tuple(_PartState.take(part) for part in module.modules()),
            tuple(_TensorState.take(tensor) for tensor in tensors.values()),
        )

    def restore(self) -> list[str]:
        """Put the module back and say what had changed."""
        with torch.no_grad():
            found = [what for part in self.parts for what in part.restore()]
            found += [what for tensor in self.tensors for what in tensor.restore()]
        return list(dict.fromkeys(found))


def _identities(table: dict[Any, object]) -> set[tuple[Any, int]]:
    return {(key, id(value)) for key, value in table.items()}


def _same(now: torch.Tensor, before: torch.Tensor) -> bool:
    """Equal in every element; NaN equals NaN."""
    if torch.equal(now, before) or not now.is_floating_point():
        return torch.equal(now, before)
    return torch.equal(now.isnan(), before.isnan()) and torch.equal(now.nan_to_num(), before.nan_to_num())
