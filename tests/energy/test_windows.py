"""Windows: clocks, exceptions, start-up and sockets."""

import subprocess
import sys
import time

import pytest

from auditkit.energy.windows import window


def test_time_and_cpu_time_are_told_apart():
    with window() as asleep:
        time.sleep(0.05)
    assert asleep.duration_s >= 0.05
    assert asleep.cpu_s < asleep.duration_s
    with window() as busy:
        end_s = time.process_time() + 0.05
        while time.process_time() < end_s:
            pass
    assert busy.cpu_s >= 0.05


def test_a_window_closes_when_its_block_raises():
    with pytest.raises(KeyError), window() as measured:
        raise KeyError("inside")
    assert measured.duration_s >= 0


def test_an_open_window_has_no_readings():
    with window() as measured, pytest.raises(RuntimeError, match="still open"):
        _ = measured.cpu_s


def test_windows_nest():
    with window() as outer, window() as inner:
        pass
    assert inner.duration_s <= outer.duration_s


def test_importing_energy_opens_no_socket_and_loads_nothing_heavy_beside_torch():
    code = (
        "import sys, socket, torch\n"
        "before = set(sys.modules)\n"
        "def refuse(*a, **k): raise AssertionError('a socket was opened')\n"
        "socket.socket = refuse\n"
        "from auditkit.energy.windows import window\n"
        "from auditkit.energy.balance import discover_probes, energy_balance, memory_in_use_b\n"
        "from auditkit.energy.grid import carbon_gco2e\n"
        "device = torch.device('cpu')\n"
        "with window(discover_probes(device).probes) as measured: pass\n"
        "balance = energy_balance(measured, device, memory_in_use_b())\n"
        "carbon_gco2e(balance.total.scaled(1 / 3.6e6), None)\n"
        "heavy = {'pandas', 'psutil', 'pynvml', 'sklearn', 'scipy'} & (set(sys.modules) - before)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
