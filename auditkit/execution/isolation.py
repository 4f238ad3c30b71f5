"""Leaving no trace: after an audit, even one that raises, subject and process are what they were before."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn

from auditkit.randomness import global_generators_seeded
from auditkit.subjects.subject import Subject, WhiteBox

_HOOK_TABLES = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_load_state_dict_pre_hooks",
)


@dataclass(slots=True)
class Watch:
    """What an audit changed, one sentence each; filled when the block ends."""

    violations: list[str] = field(default_factory=list)


@contextmanager
def unchanged(*subjects: Subject, seed: int) -> Iterator[Watch]:
    """Run a block with seeded global generators and put everything back afterwards.

    Restores weights, ``requires_grad``, gradients, training flags and hooks of each subject, the global
    generators and torch's gradient mode and default type. What had changed is reported in the watch.
    """
    watch = Watch()
    modules = [subject.module for subject in subjects if isinstance(subject, WhiteBox)]
    snapshots = [_Snapshot.take(module) for module in modules]
    gradients, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    try:
        with global_generators_seeded(seed):
            yield watch
    finally:
        torch.set_grad_enabled(gradients)
        torch.set_default_dtype(dtype)
        for module, snapshot in zip(modules, snapshots, strict=True):
            watch.violations += snapshot.restore(module)


@dataclass(frozen=True, slots=True)
class _Snapshot:
    weights: dict[str, torch.Tensor]
    requires_grad: dict[str, bool]
    gradients: dict[str, torch.Tensor | None]
    training: dict[str, bool]
    hooks: dict[str, tuple[dict[int, object], ...]]

    @classmethod
    def take(cls, module: nn.Module) -> "_Snapshot":
        named = dict(module.named_parameters())
        return cls(
            {name: tensor.detach().clone() for name, tensor in module.state_dict().items()},
            {name: parameter.requires_grad for name, parameter in named.items()},
            {name: parameter.grad for name, parameter in named.items()},
            {name: part.training for name, part in module.named_modules()},
            {name: _hooks(part) for name, part in module.named_modules()},
        )

    def restore(self, module: nn.Module) -> list[str]:
        """Put ``module`` back and say what had changed."""
        checks = {
            "weights": self._restore_weights,
            "requires_grad flags": self._restore_requires_grad,
            "gradients": self._restore_gradients,
            "training flags": self._restore_training,
            "hooks": self._restore_hooks,
        }
        return [what for what, check in checks.items() if check(module)]

    def _restore_weights(self, module: nn.Module) -> bool:
        state = module.state_dict()
        changed = False
        with torch.no_grad():
            for name, before in self.weights.items():
                if name not in state or not _same(state[name], before):
                    changed = True
                    if name in state and state[name].shape == before.shape:
                        state[name].copy_(before)
        return changed

    def _restore_requires_grad(self, module: nn.Module) -> bool:
        changed = False
        for name, parameter in module.named_parameters():
            before = self.requires_grad.get(name, parameter.requires_grad)
            changed |= parameter.requires_grad != before
            parameter.requires_grad_(before)
        return changed

    def _restore_gradients(self, module: nn.Module) -> bool:
        changed = False
        for name, parameter in module.named_parameters():
            before = self.gradients.get(name)
            changed |= parameter.grad is not before
            parameter.grad = before
        return changed

    def _restore_training(self, module: nn.Module) -> bool:
        changed = False
        for name, part in module.named_modules():
            before = self.training.get(name, part.training)
            changed |= part.training != before
            part.training = before
        return changed

    def _restore_hooks(self, module: nn.Module) -> bool:
        changed = False
        for name, part in module.named_modules():
            for table, before in zip(_HOOK_TABLES, self.hooks.get(name, _hooks(part)), strict=True):
                now = getattr(part, table)
                if dict(now) != before:
                    changed = True
                    now.clear()
                    now.update(before)
        return changed


def _hooks(part: nn.Module) -> tuple[dict[int, object], ...]:
    return tuple(dict(getattr(part, table)) for table in _HOOK_TABLES)


def _same(now: torch.Tensor, before: torch.Tensor) -> bool:
    return now.shape == before.shape and now.dtype == before.dtype and bool(torch.equal(now, before))
