"""What a container grants, read from made-up control groups."""

import os

import pytest

from auditkit.energy.allocation import allocation
from auditkit.energy.cpu_model import cpu_energy, memory_energy
from tests.tolerances import FLOAT

GIB = 1 << 30


@pytest.fixture
def host(tmp_path):
    cgroup, proc = tmp_path / "cgroup", tmp_path / "proc"
    (proc / "self").mkdir(parents=True)
    cgroup.mkdir()
    return cgroup, proc


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_version_2_limits_are_read_and_the_tightest_of_the_path_counts(host):
    cgroup, proc = host
    write(proc / "self" / "cgroup", "0::/job/step\n")
    write(cgroup / "job" / "cpu.max", "50000 100000\n")
    write(cgroup / "job" / "memory.max", f"{16 * GIB}\n")
    write(cgroup / "job" / "step" / "cpu.max", "max 100000\n")
    write(cgroup / "job" / "step" / "memory.max", "max\n")
    granted = allocation(cgroup, proc)
    assert granted.n_cpus == 0.5
    assert granted.memory_limit_b == 16 * GIB


def test_version_1_limits_are_read_per_controller(host):
    cgroup, proc = host
    write(proc / "self" / "cgroup", "5:memory:/job\n4:cpu,cpuacct:/job\n")
    write(cgroup / "cpu" / "job" / "cpu.cfs_quota_us", "25000\n")
    write(cgroup / "cpu" / "job" / "cpu.cfs_period_us", "100000\n")
    write(cgroup / "memory" / "job" / "memory.limit_in_bytes", f"{2 * GIB}\n")
    write(cgroup / "memory" / "memory.limit_in_bytes", f"{2**63 - 4096}\n")
    granted = allocation(cgroup, proc)
    assert granted.n_cpus == 0.25
    assert granted.memory_limit_b == 2 * GIB


def test_without_limits_the_affinity_counts_and_memory_is_unlimited(host):
    granted = allocation(*host)
    expected = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert granted.n_cpus == expected
    assert granted.memory_limit_b is None


def test_cpu_and_memory_factors_are_the_published_range():
    cpu = cpu_energy(100.0)
    assert (cpu.low, cpu.value, cpu.high, cpu.provenance) == (150.0, 400.0, 1000.0, "estimated")
    memory = memory_energy(16_000_000_000, 10.0)
    assert memory.provenance == "estimated"
    assert (memory.low, memory.value, memory.high) == pytest.approx((12.8, 48.0, 96.0), **FLOAT)
