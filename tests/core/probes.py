"""Small audits with known behaviour, and the bench they run on; importable, so that workers can load them."""

import os
import random
import signal
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from auditkit.audits.audit import Audit, AuditInfo, AuditOutput, PairedAudit, ShardedAudit
from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, GroupColumn
from auditkit.errors import DataError
from auditkit.records import Interval, Measurement
from auditkit.runner import Bench
from auditkit.subjects.torch_subject import TorchSubject


def info(name, **more) -> AuditInfo:
    return AuditInfo(name=name, version=1, area="performance", question=f"What does {name} say?", **more)


def figure(value, metric="value", **more) -> Measurement:
    return Measurement(
        metric=metric, value=value, n=1, better="neither", interval=Interval.exact(value), **more
    )


def said(value, metric="value") -> AuditOutput:
    return AuditOutput([figure(float(value), metric)])


class MeanScore(Audit):
    """Mean probability of the second class, times ``scale``."""

    info: ClassVar[AuditInfo] = info("mean-score", limits=("A mean hides the rows.",))
    scale: float = 1.0

    def measure(self, subject, data, context):
        return said(
            self.scale * subject.predict(data, batch_size=context.batch_size).probabilities[:, 1].mean()
        )


class Draw(Audit):
    """A number from the stream of the audit."""

    info: ClassVar[AuditInfo] = info("draw")

    def measure(self, subject, data, context):
        return said(context.numpy_rng("draw").random())


class Counted(Audit):
    """Leaves a line in a file at each call, so that a test can count calls in any process."""

    info: ClassVar[AuditInfo] = info("counted")
    file: str

    def measure(self, subject, data, context):
        with Path(self.file).open("a") as file:
            file.write(subject.card.name + "\n")
        return said(1)


class Raising(Audit):
    info: ClassVar[AuditInfo] = info("raising")
    kind: str = "unforeseen"

    def measure(self, subject, data, context):
        if self.kind == "ours":
            raise DataError("the column is empty")
        if self.kind == "exit":
            raise SystemExit(0)
        raise ZeroDivisionError("by design")


class Dying(Audit):
    """Kills the process it runs in."""

    info: ClassVar[AuditInfo] = info("dying")

    def measure(self, subject, data, context):
        os.kill(os.getpid(), signal.SIGKILL)


class Returning(Audit):
    """Returns something that is not an output."""

    info: ClassVar[AuditInfo] = info("returning")
    what: str = "nothing"

    def measure(self, subject, data, context):
        return {"nothing": None, "text": "0.9", "rubbish": AuditOutput(["0.9"])}[self.what]


class Tampering(Audit):
    """Changes what it must not, then raises if asked to."""

    info: ClassVar[AuditInfo] = info("tampering")
    what: str
    raises: bool = False

    def measure(self, subject, data, context):
        tamper(subject.module, self.what)
        if self.raises:
            raise ZeroDivisionError("after tampering")
        return said(1)


def tamper(module: nn.Module, what: str) -> None:
    """Change ``what`` of a module made by :func:`network`, or of the process."""
    first = module[0]
    changes = {
        "a weight": lambda: first.weight.data.__setitem__((0, 0), 99.0),
        "a buffer": lambda: module[1].running_mean.add_(1),
        "the type of the weights": module.double,
        "a layer": lambda: module.__setitem__(0, nn.Linear(3, 4)),
        "an added layer": lambda: module.append(nn.Linear(2, 2)),
        "a removed parameter": lambda: setattr(first, "bias", None),
        "a training flag": module.train,
        "a requires_grad flag": lambda: first.weight.requires_grad_(False),
        "a gradient": lambda: module(torch.ones(2, 3)).sum().backward(),
        "a forward hook": lambda: first.register_forward_hook(lambda *_: None),
        "a forward pre-hook": lambda: first.register_forward_pre_hook(lambda *_: None),
        "a backward hook": lambda: first.register_full_backward_hook(lambda *_: None),
        "a hook on a tensor": lambda: first.weight.register_hook(lambda gradient: gradient),
        "the generators": draw_from_globals,
        "the gradient mode": lambda: torch.set_grad_enabled(False),
        "the default type": lambda: torch.set_default_dtype(torch.float64),
    }
    changes[what]()


def draw_from_globals() -> tuple[float, float, float]:
    return random.random(), float(np.random.rand()), float(torch.rand(1))  # noqa: NPY002 - as old engines do


def state_of_process() -> tuple:
    """The global generators, torch's gradient mode and default type, in a form that can be compared."""
    _, keys, *rest = np.random.get_state()  # noqa: NPY002 - only looks
    return (
        random.getstate(),
        keys.tobytes(),
        rest,
        torch.random.get_rng_state().numpy().tobytes(),
        torch.is_grad_enabled(),
        torch.get_default_dtype(),
    )


SUBJECT_CHANGES = (
    "a weight",
    "a buffer",
    "the type of the weights",
    "a layer",
    "an added layer",
    "a removed parameter",
    "a training flag",
    "a requires_grad flag",
    "a gradient",
    "a forward hook",
    "a forward pre-hook",
    "a backward hook",
    "a hook on a tensor",
)
PROCESS_CHANGES = ("the generators", "the gradient mode", "the default type")


class SumOfScores(ShardedAudit[tuple[int, float]]):
    """Rows and the sum of scores, by shards."""

    info: ClassVar[AuditInfo] = info("sum-of-scores")

    def partial(self, subject, data, context):
        probabilities = subject.predict(data, batch_size=context.batch_size).probabilities
        return len(data), float(probabilities[:, 1].sum())

    def merge(self, partials):
        return sum(n for n, _ in partials), sum(total for _, total in partials)

    def conclude(self, total, subject, data, context):
        return AuditOutput([figure(float(total[0]), "rows"), figure(total[1], "sum")])


class FailingShard(SumOfScores):
    """Fails on the shard that holds the last row."""

    info: ClassVar[AuditInfo] = info("failing-shard")

    def partial(self, subject, data, context):
        if float(data.inputs[:, 0].max()) > 0.999:
            raise DataError("the last shard is unreadable")
        return super().partial(subject, data, context)


class PairedMean(PairedAudit):
    """Mean score, and its change from the baseline."""

    info: ClassVar[AuditInfo] = info("paired-mean")

    def measure(self, subject, data, context):
        return said(self._mean(subject, data, context))

    def compare(self, baseline, variant, data, context):
        change = self._mean(variant, data, context) - self._mean(baseline, data, context)
        return said(change, "value.change")

    def _mean(self, subject, data, context):
        return subject.predict(data, batch_size=context.batch_size).probabilities[:, 1].mean()


class Needing(Audit):
    """Needs everything that can be needed."""

    info: ClassVar[AuditInfo] = info(
        "needing",
        requires=frozenset(
            {"predictions", "gradients", "recipe", "sensitive_features", "members", "positive"}
        ),
    )

    def measure(self, subject, data, context):
        raise AssertionError("an audit whose needs are unmet must not be started")


class Members(Audit):
    """How many rows it was given, members included."""

    info: ClassVar[AuditInfo] = info("members", requires=frozenset({"predictions", "members"}))

    def measure(self, subject, data, context):
        return said(len(data))


class HeldOut(Audit):
    """How many rows it was given, members left out."""

    info: ClassVar[AuditInfo] = info("held-out")

    def measure(self, subject, data, context):
        return said(len(data))


def network(seed: int = 0) -> nn.Sequential:
    """Three inputs, two classes, with a layer that has buffers; weights from ``seed``."""
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
    return module


def subject(seed: int = 0, name: str = "baseline", module: nn.Module | None = None) -> TorchSubject:
    return TorchSubject.build(
        module or network(seed),
        name=name,
        kind="baseline" if name == "baseline" else "other",
        architecture=Architecture(name="probe"),
        classes=("no", "yes"),
    )


def rows(n: int = 40, *, seed: int = 0, members: int = 0, sensitive: bool = True) -> Dataset:
    rng = np.random.default_rng(seed)
    inputs = torch.from_numpy(rng.random((n, 3)).astype(np.float32))
    return Dataset(
        name="probe",
        source="memory",
        split=None,
        inputs=inputs,
        y_true=rng.integers(0, 2, n),
        classes=("no", "yes"),
        positive="yes",
        sensitive_features={"sex": GroupColumn.from_values([("F", "M")[i % 2] for i in range(n)])}
        if sensitive
        else {},
        is_member=np.arange(n) < members if members else None,
    )


def bench(*audits: Audit, subjects=None, data=None, seed=0, batch_size=256) -> Bench:
    data = rows() if data is None else data
    return Bench(
        subjects=subjects or {"baseline": subject()},
        data=data,
        data_digest=data.digest(),
        held_out=data.held_out(),
        audits={audit.info.name: audit for audit in audits},
        seed=seed,
        batch_size=batch_size,
        device="cpu",
    )
