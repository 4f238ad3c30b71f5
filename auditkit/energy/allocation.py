"""How much of the machine this process may use: control groups and CPU affinity, read only.

On a shared host the size of the host says nothing about the job: 2 of 128 CPUs were granted, not 128.
Source: Linux kernel documentation, cgroup-v2 (cpu.max, memory.max) and cgroup-v1 (cpu, memory).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CGROUP_ROOT: Final = Path("/sys/fs/cgroup")
PROC_ROOT: Final = Path("/proc")

_UNLIMITED_B: Final = 1 << 60
"""cgroup v1 writes a number near 2^63 where there is no limit."""


@dataclass(frozen=True, slots=True)
class Allocation:
    """What the process may use.

    Attributes:
        n_cpus: Virtual CPUs, fractional where a quota says so.
        memory_limit_b: Bytes, or ``None`` where no limit is set.
    """

    n_cpus: float
    memory_limit_b: int | None


def allocation(cgroup_root: Path = CGROUP_ROOT, proc_root: Path = PROC_ROOT) -> Allocation:
    """The tightest limits along the control groups of this process, and its CPU affinity."""
    quotas: list[float] = []
    limits: list[int] = []
    for folder in _folders(cgroup_root, proc_root):
        quota = _cpu_quota(folder)
        limit = _memory_limit(folder)
        quotas += [] if quota is None else [quota]
        limits += [] if limit is None else [limit]
    return Allocation(min([*quotas, float(_affinity())]), min(limits, default=None))


def _affinity() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _folders(cgroup_root: Path, proc_root: Path) -> Iterator[Path]:
    """The folders that hold limits of this process: unified, and per controller for version 1.

    Inside a container the path named by the kernel may lie outside what is mounted; the mounted root
    then stands for it.
    """
    own = {"": "", "cpu": "", "memory": ""}
    for line in _lines(proc_root / "self" / "cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            if controller in own:
                own[controller] = path.strip("/")
    for controller, path in own.items():
        base = cgroup_root / controller if controller else cgroup_root
        parts = Path(path).parts
        yield from (base.joinpath(*parts[:depth]) for depth in range(len(parts) + 1))


def _cpu_quota(folder: Path) -> float | None:
    unified = _words(folder / "cpu.max")
    if len(unified) == 2 and unified[0].isdigit():
        return int(unified[0]) / int(unified[1])
    quota, period = _words(folder / "cpu.cfs_quota_us"), _words(folder / "cpu.cfs_period_us")
    if quota and period and quota[0].isdigit():
        return int(quota[0]) / int(period[0])
    return None


def _memory_limit(folder: Path) -> int | None:
    for name in ("memory.max", "memory.limit_in_bytes"):
        words = _words(folder / name)
        if words and words[0].isdigit() and int(words[0]) < _UNLIMITED_B:
            return int(words[0])
    return None


def _words(path: Path) -> list[str]:
    lines = _lines(path)
    return lines[0].split() if lines else []


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
