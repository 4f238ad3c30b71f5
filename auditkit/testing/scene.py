"""One audit with a subject and data to run it on, the way the runner does."""

import contextlib
import math
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from auditkit.audits.audit import Audit, AuditContext, PairedAudit
from auditkit.data.dataset import Dataset
from auditkit.execution.executor import SerialExecutor
from auditkit.records import AuditResult, Measurement, Message, Record, figure_address
from auditkit.runner import Bench, Runner
from auditkit.subjects.subject import Subject

NEARLY = 1e-6
"""How far a figure may move with the batch size, absolute or relative."""


class CheckError(AssertionError):
    """An audit does not keep a promise of the contract."""


def require(condition: bool, message: str) -> None:
    """Raise :class:`CheckError` unless ``condition``."""
    if not condition:
        raise CheckError(message)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The results of one execution, and the trace of the first error that was not one of ours."""

    results: tuple[AuditResult, ...]
    trace: str | None

    def require_no_crash(self, where: str) -> None:
        """Refuse errors that are not :class:`~auditkit.errors.AuditkitError`, and changes to the subject."""
        require(
            self.trace is None,
            f"{where}: the audit crashed; expected figures, `missing`, or an error of auditkit.errors:\n"
            f"{self.trace}",
        )
        for result in self.results:
            changed = "changed the subject" in str(result.reason or "")
            require(not changed, f"{where}: {result.reason}")

    def require_measured(self, where: str) -> None:
        """Refuse anything but figures."""
        self.require_no_crash(where)
        for result in self.results:
            require(result.status == "measured", f"{where}: {result.status}: {result.reason}")


@dataclass(frozen=True, slots=True)
class Scene:
    """An audit, the subject it examines (and a second one for comparisons), and the rows."""

    audit: Audit
    subject: Subject
    other: Subject
    data: Dataset

    def on(self, data: Dataset) -> "Scene":
        """The same with other rows."""
        return replace(self, data=data)

    def of(self, subject: Subject, other: Subject | None = None) -> "Scene":
        """The same with another subject."""
        return replace(self, subject=subject, other=other or self.other)

    @property
    def rows(self) -> Dataset:
        """The rows that the runner would give the audit."""
        return self._bench(seed=0, batch_size=256).rows_for(self.audit)

    @property
    def context(self) -> AuditContext:
        """What the runner would grant the audit."""
        return self._bench(seed=0, batch_size=64).context_for(self.audit)

    def run(self, *, seed: int = 0, batch_size: int = 64) -> Outcome:
        """Measure the subject; for a paired audit also the other one, and compare them."""
        traces: list[str] = []

        def observe(event: str, details: Mapping[str, Any]) -> None:
            if event == "traceback":
                traces.append(str(details["text"]))

        bench = self._bench(seed=seed, batch_size=batch_size)
        results = Runner(bench=bench, executor=SerialExecutor(), observe=observe).run()
        return Outcome(results, traces[0] if traces else None)

    def _bench(self, *, seed: int, batch_size: int) -> Bench:
        paired = isinstance(self.audit, PairedAudit)
        return Bench(
            subjects={"baseline": self.subject, **({"other": self.other} if paired else {})},
            data=self.data,
            data_digest=self.data.digest(),
            held_out=self.data.held_out(),
            audits={self.audit.info.name: self.audit},
            seed=seed,
            batch_size=batch_size,
            device="cpu",
        )

    def stable(self, outcome: Outcome) -> dict[str, Measurement]:
        """Figures by address, without those that the audit says vary with time."""
        return {
            figure_address(result, measurement): measurement
            for result in outcome.results
            for measurement in result.measurements
            if measurement.metric not in self.audit.info.timed_metrics
        }


def written_out(record: Any) -> Iterator[str]:
    """Every text for readers inside a record, with its values filled in."""
    if isinstance(record, Message):
        try:
            yield str(record)
        except (LookupError, ValueError, AttributeError) as error:
            raise CheckError(
                f"the template {record.text!r} cannot be filled ({type(error).__name__}: {error}). Keep the "
                "template constant and put names of groups, classes and features into `values`"
            ) from error
    elif isinstance(record, Record):
        for field in type(record).model_fields:
            yield from written_out(getattr(record, field))
    elif isinstance(record, tuple):
        for item in record:
            yield from written_out(item)


def differences(first: Mapping[str, Measurement], second: Mapping[str, Measurement]) -> Iterator[str]:
    """How two sets of figures differ beyond rounding, one line each."""
    for place in sorted(first.keys() ^ second.keys()):
        yield f"{place}: only in one of them"
    for place in sorted(first.keys() & second.keys()):
        one, two = first[place], second[place]
        if one.n != two.n or (one.missing is None) != (two.missing is None):
            yield f"{place}: n {one.n} and {two.n}, missing {one.missing} and {two.missing}"
        for what, a, b in zip(("value", "low", "high"), _numbers(one), _numbers(two), strict=True):
            if a != b and not (
                a is not None and b is not None and math.isclose(a, b, rel_tol=NEARLY, abs_tol=NEARLY)
            ):
                yield f"{place}: {what} {a} and {b}"


def _numbers(measurement: Measurement) -> tuple[float | None, float | None, float | None]:
    if measurement.interval is None:
        return measurement.value, None, None
    return measurement.value, measurement.interval.low, measurement.interval.high


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """Refuse every connection and every look-up of a name inside the block."""
    names = ("connect", "connect_ex")
    kept = {name: getattr(socket.socket, name) for name in names}
    look_up = socket.getaddrinfo

    def refuse(*arguments: Any, **_: Any) -> NoReturn:
        raise CheckError(f"the audit used the network: {arguments[1:]}. Audits are offline")

    try:
        for name in names:
            setattr(socket.socket, name, refuse)
        socket.getaddrinfo = refuse
        yield
    finally:
        for name, function in kept.items():
            setattr(socket.socket, name, function)
        socket.getaddrinfo = look_up
