"""Energy of NVIDIA GPUs from the driver's cumulative counter, through ctypes.

No binding package is needed: the library comes with the driver. Volta and later count millijoules since
the driver was loaded. Source: NVIDIA NVML API reference, ``nvmlDeviceGetTotalEnergyConsumption``.
"""

import ctypes
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from auditkit.energy.counters import CounterRange, CounterSample, counted
from auditkit.energy.probe import Component, EnergyReading, Samples
from auditkit.energy.quantity import Quantity
from auditkit.records import Message

UPDATE_S: Final = 0.1
"""The counter may be this old when it is read (documented by Zeus, ml-energy/zeus)."""

SCALE_ERROR: Final = 0.05
"""Accuracy that NVIDIA states for the power reading, relative."""

FASTEST_W: Final = 3_000.0
"""No single device draws more; a faster counter was reset."""

_LIBRARY = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"
_SUCCESS = 0


@dataclass(frozen=True, slots=True)
class NvmlProbe:
    """The energy counter of one GPU. Covers all that runs on it, not this process alone.

    Attributes:
        library: The loaded NVML.
        handle: NVML's handle of the device.
        uuid: Its identifier, stable across reboots.
        power_limit_w: What the driver lets it draw, or ``None`` when the driver does not say.
    """

    library: Any
    handle: ctypes.c_void_p
    uuid: str
    power_limit_w: float | None

    @property
    def name(self) -> str:
        """``nvml`` and the identifier of the device."""
        return f"nvml {self.uuid}"

    @property
    def component(self) -> Component:
        """A GPU."""
        return "gpu"

    def read(self) -> Samples:
        """The counter now, in millijoules."""
        count = ctypes.c_ulonglong(0)
        status = self.library.nvmlDeviceGetTotalEnergyConsumption(self.handle, ctypes.byref(count))
        return (CounterSample(time.monotonic(), count.value if status == _SUCCESS else None),)

    def energy(self, readings: Sequence[Samples]) -> EnergyReading:
        """Joules between the first and the last reading.

        Each end is off by up to 0.1 s of the power limit (of the mean power where no limit is known). A
        window in which the counter could not move twice is refused: its zero would not be a measurement.
        """
        samples = [reading[0] for reading in readings]
        duration_s = samples[-1].time_s - samples[0].time_s
        moved = counted(samples, CounterRange(None, FASTEST_W * 1e3, UPDATE_S))
        if isinstance(moved, Message):
            return EnergyReading(self.name, self.component, None, moved)
        if duration_s < 2 * UPDATE_S or moved == 0:
            reason = Message(
                text="the window of {duration_s} s is too short for a counter that moves every "
                "{update_s} s; repeat the work for longer",
                values={"duration_s": round(duration_s, 4), "update_s": UPDATE_S},
            )
            return EnergyReading(self.name, self.component, None, reason)
        energy_j = moved / 1e3
        power_w = energy_j / duration_s if self.power_limit_w is None else self.power_limit_w
        slack_j = SCALE_ERROR * energy_j + UPDATE_S * power_w
        bounded = Quantity(max(0.0, energy_j - slack_j), energy_j, energy_j + slack_j, "measured")
        return EnergyReading(self.name, self.component, bounded)


def nvml_probe(uuid: str, load: Callable[[str], Any] = ctypes.CDLL) -> NvmlProbe | Message:
    """The probe of the GPU called ``uuid``, or why there is none.

    Args:
        uuid: As torch gives it, with or without the prefix ``GPU-``.
        load: Opens the library; replaced in tests.
    """
    try:
        library = load(_LIBRARY)
    except OSError:
        return Message(
            text="no GPU energy counter: the driver library {name} is absent", values={"name": _LIBRARY}
        )
    if library.nvmlInit_v2() != _SUCCESS:
        return Message(text="no GPU energy counter: the driver library could not be initialised")
    identifier = uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
    handle = ctypes.c_void_p()
    if library.nvmlDeviceGetHandleByUUID(identifier.encode(), ctypes.byref(handle)) != _SUCCESS:
        return Message(text="no GPU energy counter: the driver knows no device {uuid}", values={"uuid": uuid})
    probe = NvmlProbe(library, handle, identifier, _power_limit_w(library, handle))
    if probe.read()[0].count is None:
        return Message(text="no GPU energy counter: device {uuid} does not count", values={"uuid": uuid})
    return probe


def _power_limit_w(library: Any, handle: ctypes.c_void_p) -> float | None:
    limit_mw = ctypes.c_uint(0)
    status = library.nvmlDeviceGetEnforcedPowerLimit(handle, ctypes.byref(limit_mw))
    return limit_mw.value / 1e3 if status == _SUCCESS and limit_mw.value else None
