"""Energy of CPU packages and memory from the powercap files of Linux (RAPL).

Files are only read. Since CVE-2020-8694 most systems let only root read them, and virtual machines and
containers seldom have them, so absence is the common case and comes with its reason.
Source: Linux kernel documentation, power/powercap; Intel SDM vol. 3B, 16.10 (RAPL).
"""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auditkit.energy.counters import CounterRange, CounterSample, counted
from auditkit.energy.probe import Component, Discovery, EnergyReading, Samples
from auditkit.energy.quantity import Quantity
from auditkit.records import Message

ROOT: Final = Path("/sys/class/powercap")

UPDATE_S: Final = 1e-3
"""The counters move about once per millisecond (Intel SDM), so each end of a window is off by that much."""

SCALE_ERROR: Final = 0.05
"""Assumed relative error of the counter itself; vendors publish none."""

FASTEST_W: Final = 1_000.0
"""No package or memory domain draws more; a faster counter was reset."""

_PACKAGE = re.compile(r"package-\d+(-die-\d+)?")


@dataclass(frozen=True, slots=True)
class Domain:
    """One counter: its folder, its name, the package it belongs to, and where it wraps, in microjoules."""

    folder: Path
    name: str
    package: str
    wraps_at_uj: int | None

    def read(self) -> CounterSample:
        """The counter now."""
        return CounterSample(time.monotonic(), _read_count(self.folder / "energy_uj"))


@dataclass(frozen=True, slots=True)
class PowercapProbe:
    """The sum of all domains of one component. Covers the whole machine, not this process alone."""

    component: Component
    domains: tuple[Domain, ...]

    @property
    def name(self) -> str:
        """The names of its domains."""
        labels = [d.name if d.name == d.package else f"{d.package} {d.name}" for d in self.domains]
        return "powercap " + ", ".join(labels)

    def read(self) -> Samples:
        """One sample per domain."""
        return tuple(domain.read() for domain in self.domains)

    def energy(self, readings: Sequence[Samples]) -> EnergyReading:
        """Joules between the first and the last reading, with the error of counter and of its ends."""
        total_uj = 0
        for domain, samples in zip(self.domains, zip(*readings, strict=True), strict=True):
            moved = counted(samples, CounterRange(domain.wraps_at_uj, FASTEST_W * 1e6, UPDATE_S))
            if isinstance(moved, Message):
                return EnergyReading(self.name, self.component, None, moved)
            total_uj += moved
        duration_s = readings[-1][0].time_s - readings[0][0].time_s
        energy_j = total_uj / 1e6
        ends_j = 0.0 if duration_s <= 0 else energy_j * UPDATE_S / duration_s
        slack_j = SCALE_ERROR * energy_j + ends_j
        bounded = Quantity(max(0.0, energy_j - slack_j), energy_j, energy_j + slack_j, "measured")
        return EnergyReading(self.name, self.component, bounded)


def powercap_domains(root: Path = ROOT) -> tuple[Domain, ...]:
    """The packages and memory domains under ``root``, each physical counter once.

    Cores and graphics are parts of their package, and ``psys`` contains everything, so none of them is
    listed. The same package may appear under ``intel-rapl`` and ``intel-rapl-mmio``; the first counts.
    """
    found: dict[tuple[str, str], Domain] = {}
    for folder in sorted(root.glob("intel-rapl*:*"), key=lambda path: ("mmio" in path.name, path.name)):
        name = _read_text(folder / "name")
        if name is None:
            continue
        package = name
        if name == "dram":
            package = _read_text(folder.parent / folder.name.rpartition(":")[0] / "name") or name
        elif not _PACKAGE.fullmatch(name):
            continue
        domain = Domain(folder, name, package, _read_count(folder / "max_energy_range_uj"))
        found.setdefault((package, name), domain)
    return tuple(found.values())


def powercap_probes(root: Path = ROOT) -> Discovery:
    """One probe for the packages and one for memory, or the reasons why not."""
    if not root.is_dir():
        return Discovery((), (Message(text="no RAPL counters: this system has no powercap folder"),))
    domains = powercap_domains(root)
    if not domains:
        return Discovery((), (Message(text="no RAPL counters: the powercap folder holds no package"),))
    readable = [domain for domain in domains if domain.read().count is not None]
    if len(readable) < len(domains):
        names = ", ".join(domain.name for domain in domains if domain not in readable)
        return Discovery(
            (),
            (
                Message(
                    text="RAPL counters exist but cannot be read ({names}); most systems let only root",
                    values={"names": names},
                ),
            ),
        )
    packages = tuple(domain for domain in domains if domain.name != "dram")
    memory = tuple(domain for domain in domains if domain.name == "dram")
    probes = [PowercapProbe("cpu", packages)] if packages else []
    return Discovery((*probes, *([PowercapProbe("memory", memory)] if memory else [])))


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None


def _read_count(path: Path) -> int | None:
    text = _read_text(path)
    return int(text) if text and text.isdigit() else None
