"""The energy of a window, part by part: from a sensor where one can be read, else estimated."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from auditkit.energy.allocation import allocation
from auditkit.energy.cpu_model import cpu_energy, memory_energy
from auditkit.energy.memory import resident_b
from auditkit.energy.nvml import nvml_probe
from auditkit.energy.powercap import powercap_probes
from auditkit.energy.probe import Component, Discovery, EnergyReading
from auditkit.energy.quantity import Quantity
from auditkit.energy.windows import Window
from auditkit.records import Message


@dataclass(frozen=True, slots=True)
class EnergyPart:
    """Joules of one component and how they were found."""

    component: Component
    energy: Quantity
    method: Message


@dataclass(frozen=True, slots=True)
class EnergyBalance:
    """The parts of a window's energy; ``missing`` says why there is no total."""

    parts: tuple[EnergyPart, ...]
    missing: Message | None = None

    @property
    def total(self) -> Quantity | None:
        """The sum in joules, or ``None`` when a part is missing."""
        if self.missing is not None or not self.parts:
            return None
        first, *others = (part.energy for part in self.parts)
        return sum(others, start=first)


def discover_probes(device: torch.device) -> Discovery:
    """The energy counters of the machine that matter for work on ``device``, and why others are absent."""
    found = powercap_probes()
    if device.type != "cuda":
        return found
    probe = nvml_probe(str(torch.cuda.get_device_properties(device).uuid))
    if isinstance(probe, Message):
        return Discovery(found.probes, (*found.missing, probe))
    return Discovery((*found.probes, probe), found.missing)


def memory_in_use_b() -> int | None:
    """Bytes of memory set aside for this process: its limit, else what it holds; ``None`` if unknown."""
    limit_b = allocation().memory_limit_b
    return resident_b() if limit_b is None else limit_b


def energy_balance(measured: Window, device: torch.device, memory_b: int | None) -> EnergyBalance:
    """The energy of a closed window of work on ``device``.

    A counter covers its whole device, so other work on the machine is in it. An estimate covers the CPU
    time of this process and ``memory_b`` bytes. The energy of a GPU is never estimated: without its
    counter there is no total.
    """
    readings = measured.energy
    cpu = _from_sensor("cpu", readings) or EnergyPart(
        "cpu",
        cpu_energy(measured.cpu_s),
        Message(
            text="{cpu_s} CPU-seconds at 1.5 to 10 W per busy virtual CPU",
            values={"cpu_s": round(measured.cpu_s, 3)},
        ),
    )
    memory = _from_sensor("memory", readings) or _memory_estimate(memory_b, measured.duration_s)
    if memory is None:
        return EnergyBalance((cpu,), Message(text="the memory in use cannot be read on this system"))
    if device.type != "cuda":
        return EnergyBalance((cpu, memory))
    gpu = _from_sensor("gpu", readings)
    if gpu is None:
        return EnergyBalance((cpu, memory), _why_no_gpu(readings))
    return EnergyBalance((cpu, memory, gpu))


def _memory_estimate(memory_b: int | None, duration_s: float) -> EnergyPart | None:
    if memory_b is None:
        return None
    return EnergyPart(
        "memory",
        memory_energy(memory_b, duration_s),
        Message(
            text="{memory_gb} GB for {duration_s} s at 0.08 to 0.6 W per GB",
            values={"memory_gb": round(memory_b / 1e9, 2), "duration_s": round(duration_s, 3)},
        ),
    )


def _from_sensor(component: Component, readings: Sequence[EnergyReading]) -> EnergyPart | None:
    for reading in readings:
        if reading.component == component and reading.energy is not None:
            return EnergyPart(
                component, reading.energy, Message(text="counter {name}", values={"name": reading.probe})
            )
    return None


def _why_no_gpu(readings: Sequence[EnergyReading]) -> Message:
    reasons = [reading.missing for reading in readings if reading.component == "gpu" and reading.missing]
    return reasons[0] if reasons else Message(text="the energy of the GPU cannot be read on this machine")
