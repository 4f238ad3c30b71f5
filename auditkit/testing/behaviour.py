"""Checks on what an audit does to its surroundings, and what it needs of them."""

import contextlib
import pickle
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
import torch

from auditkit.audits.audit import Audit, PairedAudit, Requirement
from auditkit.data.dataset import Dataset
from auditkit.execution.isolation import unchanged
from auditkit.randomness import global_generators_seeded
from auditkit.records import SubjectCard
from auditkit.runner import unmet_requirements
from auditkit.subjects.subject import Capability, Predictions, Subject, WhiteBox
from auditkit.testing.planted import PredictionsOnly
from auditkit.testing.scene import Scene, differences, offline, require


def leaves_the_subject_unchanged(scene: Scene) -> None:
    """Weights, layers, flags, gradients and hooks are after the audit what they were before."""
    with unchanged(scene.subject, scene.other, seed=0) as watch:
        _perform(scene)
    require(not watch.violations, f"the audit changed the subject: {', '.join(watch.violations)}")


class _PlannedError(Exception):
    """Stands for whatever may go wrong in the middle of an audit."""


def leaves_the_subject_unchanged_when_it_raises(scene: Scene) -> None:
    """Also when the module fails at its first, second or fifth call: undo in ``finally``."""
    if not isinstance(scene.subject, WhiteBox):
        return
    for calls in (0, 1, 4):
        with (
            _failing_after(scene.subject.module, calls),
            unchanged(scene.subject, scene.other, seed=0) as watch,
            contextlib.suppress(_PlannedError),
        ):
            _perform(scene)
        require(
            not watch.violations,
            f"when call {calls + 1} of the module raises, the audit leaves changed: "
            f"{', '.join(watch.violations)}. Undo in `finally`",
        )


@contextlib.contextmanager
def _failing_after(module: torch.nn.Module, calls: int) -> Any:
    seen = 0

    def count(_module: torch.nn.Module, _inputs: Any) -> None:
        nonlocal seen
        seen += 1
        if seen > calls:
            raise _PlannedError

    handle = module.register_forward_pre_hook(count)
    try:
        yield
    finally:
        handle.remove()


def leaves_the_global_generators_alone(scene: Scene) -> None:
    """Run outside the runner's care: no global generator moves, and none decides a figure."""
    found = []
    for seed in (1, 2):
        with global_generators_seeded(seed):
            before = _global_states()
            _perform(scene)
            moved = [name for name, state in _global_states().items() if state != before[name]]
            found.append(scene.stable(scene.run()))
        require(
            not moved,
            f"the audit draws from the global generators of {', '.join(moved)}. Use context.numpy_rng and "
            "context.torch_rng; wrap an engine that cannot take a generator in "
            "auditkit.randomness.global_generators_seeded(context.derive_seed(...))",
        )
    wrong = list(differences(*found))
    require(not wrong, "the state of the global generators changes figures:\n" + "\n".join(wrong))


def _global_states() -> dict[str, object]:
    return {
        "random": random.getstate(),
        "numpy": pickle.dumps(np.random.get_state()),  # noqa: NPY002 - only looks
        "torch": torch.random.get_rng_state().numpy().tobytes(),
    }


def runs_offline(scene: Scene) -> None:
    """No connection and no look-up of a name."""
    with offline():
        scene.run().require_measured("without network")


# --- requirements ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Without:
    """A subject that says it lacks some capabilities, and fails when it is asked for anything."""

    subject: Subject
    lacks: frozenset[Capability]

    @property
    def card(self) -> SubjectCard:
        return self.subject.card

    @property
    def capabilities(self) -> frozenset[Capability]:
        return self.subject.capabilities - self.lacks

    def predict(self, data: Dataset, *, batch_size: int) -> Predictions:
        raise AssertionError(f"asked for predictions of {len(data)} rows, {batch_size} at a time")


_WITHOUT: dict[str, Callable[[Dataset], Dataset]] = {
    "sensitive_features": lambda data: replace(data, sensitive_features={}),
    "members": lambda data: replace(data, is_member=None),
    "positive": lambda data: replace(data, positive=None),
}


def is_refused_before_work(scene: Scene) -> None:
    """Without any one of ``info.requires`` the runner skips it, with the reason, before it does anything."""
    requires = scene.audit.info.requires
    unknown = sorted(requires - set(get_args(Requirement)))
    require(not unknown, f"info.requires names what nothing has: {unknown}")
    unmet = unmet_requirements(scene.audit, scene.subject, scene.data)
    require(
        not unmet, f"the planted scene lacks {unmet}; give audit_checks a subject and data that have them"
    )
    for need in sorted(requires):
        lacking = _scene_without(scene, need)
        require(
            need in unmet_requirements(lacking.audit, lacking.subject, lacking.data),
            f"{need} is required, but its absence goes unnoticed",
        )
        for result in lacking.run().results:
            require(
                result.status == "skipped" and bool(str(result.reason)),
                f"without {need}: {result.status} ({result.reason}), expected skipped",
            )


def _scene_without(scene: Scene, need: Requirement) -> Scene:
    if need in _WITHOUT:
        return scene.on(_WITHOUT[need](scene.data))
    lacks = _SCORES if need == "scores" else frozenset({need})
    return scene.of(*(_Without(subject, lacks) for subject in (scene.subject, scene.other)))  # type: ignore[arg-type]  # all others are capabilities


_SCORES: frozenset[Capability] = frozenset({"probabilities", "gradients"})
_LABELS: frozenset[Capability] = frozenset({"predictions"})
_PROBABILITIES: frozenset[Capability] = frozenset({"probabilities", "losses"})


def needs_no_more_than_it_names(scene: Scene) -> None:
    """Whatever ``info.requires`` does not name may be absent, all of it at once."""
    requires, data = scene.audit.info.requires, scene.data
    for need, remove in _WITHOUT.items():
        data = data if need in requires else remove(data)
    bare = scene.on(data)
    if not requires & {"gradients", "layers", "recipe", "generative", "values", "texts"}:
        answers = _LABELS | {name for name in _PROBABILITIES if {name, "scores"} & requires}
        bare = bare.of(PredictionsOnly(scene.subject, answers), PredictionsOnly(scene.other, answers))
    named = ", ".join(sorted(requires))
    bare.run().require_measured(f"with no more than info.requires names ({named})")


def _perform(scene: Scene) -> None:
    """The audit's own methods, outside the runner."""
    audit: Audit = scene.audit
    audit.measure(scene.subject, scene.rows, scene.context)
    if isinstance(audit, PairedAudit):
        audit.compare(scene.subject, scene.other, scene.rows, scene.context)
