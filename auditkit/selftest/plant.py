"""A fault put into a subject or its data on purpose, and the figure that has to show it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from auditkit.data.dataset import Dataset
from auditkit.errors import AuditkitError
from auditkit.execution.executor import SerialExecutor
from auditkit.records import Measurement, Message, figure_address
from auditkit.registry import AUDITS
from auditkit.runner import Bench, Runner
from auditkit.subjects.subject import Subject

SEED = 20_240_229
"""Any number; fixed, so that the self-test gives the same figures everywhere."""

ROUNDING = 1e-5
"""Relative slack of closed forms computed in single precision."""


class Scene(NamedTuple):
    """What an audit is run on."""

    subject: Subject
    data: Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Plant:
    """One fault, with and without.

    Attributes:
        audit: Which audit has to find it.
        fault: What was planted.
        figure: Address of the figure that has to show it, without the subject.
        above: Found when the interval of the figure lies wholly above; ``None`` when ``below`` is given.
        below: Found when the interval of the figure lies wholly below.
        faulty: Builds subject and data with the fault.
        sound: Builds them without.
        parameters: Of the audit, chosen so that it is quick.
        expected: Closed form of the figure with the fault, where there is one.
    """

    audit: str
    fault: Message
    figure: str
    above: float | None = None
    below: float | None = None
    faulty: Callable[[], Scene]
    sound: Callable[[], Scene]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    expected: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was measured with the fault and without it.

    ``found`` and ``quiet`` both have to hold; ``reason`` says why there is no figure.
    """

    name: str
    figure: str
    fault: Message
    above: float | None = None
    below: float | None = None
    expected: float | None = None
    with_fault: Measurement | None = None
    without_fault: Measurement | None = None
    reason: str = ""

    @property
    def found(self) -> bool:
        """Whether the fault shows, and as large as it is where that is known."""
        if self.with_fault is None or not self._is_beyond(self.with_fault):
            return False
        value = self.with_fault.value
        return self.expected is None or (
            value is not None and abs(value - self.expected) <= ROUNDING * max(1.0, abs(self.expected))
        )

    @property
    def quiet(self) -> bool:
        """Whether the figure exists without the fault, and does not show one."""
        measured = self.without_fault is not None and self.without_fault.value is not None
        return measured and not self._is_beyond(self.without_fault)

    @property
    def holds(self) -> bool:
        """Whether the instrument works."""
        return self.found and self.quiet

    def _is_beyond(self, measurement: Measurement | None) -> bool:
        if measurement is None or measurement.interval is None:
            return False
        is_above = self.above is not None and measurement.interval.low > self.above
        return is_above or (self.below is not None and measurement.interval.high < self.below)


def prove(plant: Plant) -> Proof:
    """Run the audit through the real runner, with the fault and without it."""
    reason = ""
    measured: list[Measurement | None] = []
    for build in (plant.faulty, plant.sound):
        try:
            measured.append(_measure(plant, build()))
        except AuditkitError as error:
            measured.append(None)
            reason = reason or str(error)
    return Proof(
        name=plant.audit,
        figure=plant.figure,
        fault=plant.fault,
        above=plant.above,
        below=plant.below,
        expected=plant.expected,
        with_fault=measured[0],
        without_fault=measured[1],
        reason=reason,
    )


def _measure(plant: Plant, scene: Scene) -> Measurement:
    bench = Bench(
        subjects={"baseline": scene.subject},
        data=scene.data,
        data_digest=scene.data.digest(),
        held_out=scene.data.held_out(),
        audits={plant.audit: AUDITS.make(plant.audit, plant.parameters)},
        seed=SEED,
        batch_size=256,
        device="cpu",
    )
    (result,) = Runner(bench=bench, executor=SerialExecutor()).run()
    if result.status != "measured":
        raise AuditkitError(f"{plant.audit} {result.status}: {result.reason}")
    figures = {figure_address(result, one): one for one in result.measurements}
    try:
        return figures[f"{plant.figure}@baseline"]
    except KeyError:
        raise AuditkitError(f"{plant.audit} measured no {plant.figure}: {', '.join(figures)}") from None
