"""RAPL counters through made-up powercap folders."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.energy.counters import CounterRange, CounterSample, counted
from auditkit.energy.powercap import PowercapProbe, powercap_domains, powercap_probes
from auditkit.energy.windows import window
from auditkit.records import Message
from tests.tolerances import FLOAT

WRAPS_AT_UJ = 262_143_328_850
RANGE = CounterRange(WRAPS_AT_UJ, 1e9, 1e-3)


def make_domain(root, folder, name, count_uj=1_000_000, wraps_at_uj=WRAPS_AT_UJ):
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "energy_uj").write_text(f"{count_uj}\n")
    if wraps_at_uj is not None:
        (path / "max_energy_range_uj").write_text(f"{wraps_at_uj}\n")
    return path


@pytest.fixture
def server(tmp_path):
    """Two packages with cores and memory, and the first package a second time behind mmio."""
    for package in (0, 1):
        make_domain(tmp_path, f"intel-rapl:{package}", f"package-{package}")
        make_domain(tmp_path, f"intel-rapl:{package}:0", "core")
        make_domain(tmp_path, f"intel-rapl:{package}:1", "dram")
    make_domain(tmp_path, "intel-rapl:2", "psys")
    make_domain(tmp_path, "intel-rapl-mmio:0", "package-0")
    return tmp_path


def test_each_physical_counter_is_listed_once_and_parts_of_packages_are_not(server):
    domains = powercap_domains(server)
    assert [(d.package, d.name) for d in domains] == [
        ("package-0", "package-0"),
        ("package-0", "dram"),
        ("package-1", "package-1"),
        ("package-1", "dram"),
    ]
    assert not any("mmio" in d.folder.name for d in domains)


def test_a_window_measures_packages_and_memory_apart(server):
    cpu, memory = powercap_probes(server).probes
    with window([cpu, memory]) as measured:
        time.sleep(0.02)
        (server / "intel-rapl:0" / "energy_uj").write_text("3000000\n")
        (server / "intel-rapl:1" / "energy_uj").write_text("1500000\n")
        (server / "intel-rapl:1:1" / "energy_uj").write_text("1250000\n")
    of_cpu, of_memory = measured.energy
    assert (of_cpu.component, of_memory.component) == ("cpu", "memory")
    assert of_cpu.energy.value == pytest.approx(2.5, **FLOAT)
    assert of_memory.energy.value == pytest.approx(0.25, **FLOAT)
    assert of_cpu.energy.provenance == "measured"
    assert of_cpu.energy.low < 2.5 < of_cpu.energy.high


def test_a_wrap_inside_the_window_is_bridged(tmp_path):
    folder = make_domain(tmp_path, "intel-rapl:0", "package-0", count_uj=WRAPS_AT_UJ - 1_000_000)
    (probe,) = powercap_probes(tmp_path).probes
    with window([probe]) as measured:
        time.sleep(0.01)
        (folder / "energy_uj").write_text("500000\n")
    assert measured.energy[0].energy.value == pytest.approx(1.5, **FLOAT)


def test_an_unknown_range_makes_a_fall_unavailable_not_negative(tmp_path):
    folder = make_domain(tmp_path, "intel-rapl:0", "package-0", wraps_at_uj=None)
    (probe,) = powercap_probes(tmp_path).probes
    with window([probe]) as measured:
        (folder / "energy_uj").write_text("5\n")
    assert measured.energy[0].energy is None
    assert "range is unknown" in str(measured.energy[0].missing)


def test_a_counter_that_vanishes_is_missing_not_zero(tmp_path):
    folder = make_domain(tmp_path, "intel-rapl:0", "package-0")
    (probe,) = powercap_probes(tmp_path).probes
    with window([probe]) as measured:
        (folder / "energy_uj").unlink()
    assert measured.energy[0].energy is None
    assert "could not be read" in str(measured.energy[0].missing)


def test_absent_and_unreadable_counters_say_why(tmp_path):
    (reason,) = powercap_probes(tmp_path / "none").missing
    assert "no powercap folder" in str(reason)
    (reason,) = powercap_probes(tmp_path).missing
    assert "holds no package" in str(reason)
    (make_domain(tmp_path, "intel-rapl:0", "package-0") / "energy_uj").unlink()
    found = powercap_probes(tmp_path)
    assert found.probes == ()
    assert "package-0" in str(found.missing[0])


def test_one_failed_reading_loses_no_energy():
    trace = [CounterSample(t, None if t == 1 else 100_000_000 * t) for t in range(3)]
    assert counted(trace, RANGE) == 200_000_000


def test_a_reset_is_told_not_counted_as_a_wrap():
    trace = [CounterSample(0.0, 100_000_000_000), CounterSample(1.0, 5_000_000)]
    assert "reset" in str(counted(trace, RANGE))


def test_readings_too_far_apart_ask_for_samples_in_between():
    trace = [CounterSample(0.0, 5), CounterSample(3_600.0, 10)]
    reason = counted(trace, RANGE)
    assert isinstance(reason, Message)
    assert "take a sample at least every 262 s" in str(reason)
    every_minute = [CounterSample(60.0 * i, (6_000_000_000 * i) % WRAPS_AT_UJ) for i in range(61)]
    assert counted(every_minute, RANGE) == 360_000_000_000


def test_a_probe_is_named_after_its_domains(server):
    domains = powercap_domains(server)
    assert PowercapProbe("memory", (domains[1],)).name == "powercap package-0 dram"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    start=st.integers(0, WRAPS_AT_UJ - 1),
    steps=st.lists(st.tuples(st.floats(0.01, 60), st.floats(0, 500), st.booleans()), min_size=1, max_size=30),
    reset_at=st.none() | st.integers(0, 29),
)
def test_random_traces_are_exact_or_refused(start, steps, reset_at):
    time_s, true_uj, count = 0.0, 0, start
    trace = [CounterSample(0.0, start)]
    lost = False
    for index, (gap_s, power_w, readable) in enumerate(steps):
        moved = int(gap_s * power_w * 1e6)
        time_s, true_uj, count = time_s + gap_s, true_uj + moved, (count + moved) % WRAPS_AT_UJ
        if index == reset_at and count > 1_000_000:
            count, lost = 0, True
        is_read = readable or index == len(steps) - 1
        trace.append(CounterSample(time_s, count if is_read else None))
    got = counted(trace, RANGE)
    if isinstance(got, Message):
        assert lost or "wrapped more than once" in str(got)
    elif not lost:
        assert got == true_uj
