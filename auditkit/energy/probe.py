"""What a source of energy readings is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from auditkit.energy.counters import CounterSample
from auditkit.energy.quantity import Quantity
from auditkit.records import Message

Component = Literal["gpu", "cpu", "memory"]
Samples = tuple[CounterSample, ...]


@dataclass(frozen=True, slots=True)
class EnergyReading:
    """Joules that one probe saw, or the reason why it saw none.

    Attributes:
        probe: Name of the probe.
        component: The part of the machine it covers.
        energy: In joules, or ``None`` exactly when ``missing`` says why.
        missing: The reason.
    """

    probe: str
    component: Component
    energy: Quantity | None
    missing: Message | None = None


class EnergyProbe(Protocol):
    """A cumulative energy counter of a whole device: all that runs on it is in its readings, idle included.

    Reading must be cheap and must never raise; a failed reading is a sample with ``count=None``.
    """

    @property
    def name(self) -> str:
        """What the reader is told, for example ``"powercap package-0"``."""
        ...

    @property
    def component(self) -> Component:
        """The part of the machine it covers."""
        ...

    def read(self) -> Samples:
        """One sample of each counter behind it, always in the same order."""
        ...

    def energy(self, readings: Sequence[Samples]) -> EnergyReading:
        """Energy between the first reading and the last; those in between guard against wraps."""
        ...


@dataclass(frozen=True, slots=True)
class Discovery:
    """The probes a machine offers, and why it does not offer the others."""

    probes: tuple[EnergyProbe, ...]
    missing: tuple[Message, ...] = ()
