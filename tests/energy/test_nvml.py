"""The GPU counter against a small stand-in for the driver library."""

import ctypes
import time

import pytest

from auditkit.energy.nvml import UPDATE_S, nvml_probe
from auditkit.energy.windows import window
from auditkit.records import Message
from tests.tolerances import FLOAT

UUID = "1f2e3d4c-0000-1111-2222-333344445555"


class Driver:
    """The five functions of NVML that are called, with a counter that tests set."""

    def __init__(self, *, energy_mj=5_000_000, limit_mw=700_000, init_status=0, energy_status=0):
        self.energy_mj, self.limit_mw = energy_mj, limit_mw
        self.init_status, self.energy_status = init_status, energy_status

    def nvmlInit_v2(self):  # noqa: N802 - the name in the driver
        return self.init_status

    def nvmlDeviceGetHandleByUUID(self, uuid, handle):  # noqa: N802 - the name in the driver
        if uuid != f"GPU-{UUID}".encode():
            return 6
        ctypes.cast(handle, ctypes.POINTER(ctypes.c_void_p))[0] = 42
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, handle, count):  # noqa: N802 - the name in the driver
        assert handle.value == 42
        ctypes.cast(count, ctypes.POINTER(ctypes.c_ulonglong))[0] = self.energy_mj
        return self.energy_status

    def nvmlDeviceGetEnforcedPowerLimit(self, handle, limit):  # noqa: N802 - the name in the driver
        ctypes.cast(limit, ctypes.POINTER(ctypes.c_uint))[0] = self.limit_mw
        return 0


def test_the_counter_difference_is_the_energy_with_both_ends_uncertain():
    driver = Driver()
    probe = nvml_probe(UUID, load=lambda _: driver)
    with window([probe]) as measured:
        time.sleep(2.5 * UPDATE_S)
        driver.energy_mj += 90_000
    (reading,) = measured.energy
    assert (reading.component, reading.energy.provenance) == ("gpu", "measured")
    assert reading.energy.value == pytest.approx(90.0, **FLOAT)
    assert reading.energy.high - reading.energy.value == pytest.approx(0.05 * 90 + 0.1 * 700, **FLOAT)


def test_a_window_shorter_than_two_updates_is_refused_not_zero():
    driver = Driver()
    probe = nvml_probe(UUID, load=lambda _: driver)
    with window([probe]) as measured:
        driver.energy_mj += 10
    (reading,) = measured.energy
    assert reading.energy is None
    assert "too short" in str(reading.missing)


def test_a_counter_that_stands_still_is_refused_not_zero():
    probe = nvml_probe(UUID, load=lambda _: Driver())
    with window([probe]) as measured:
        time.sleep(2.5 * UPDATE_S)
    assert measured.energy[0].energy is None


def test_without_a_power_limit_the_mean_power_bounds_the_ends():
    driver = Driver(limit_mw=0)
    probe = nvml_probe(UUID, load=lambda _: driver)
    assert probe.power_limit_w is None
    with window([probe]) as measured:
        time.sleep(2.5 * UPDATE_S)
        driver.energy_mj += 90_000
    energy = measured.energy[0].energy
    assert 0 < energy.low < 90 < energy.high < 2 * 90


def test_an_absent_library_is_a_reason():
    def absent(name):
        raise OSError(name)

    reason = nvml_probe(UUID, load=absent)
    assert isinstance(reason, Message)
    assert "is absent" in str(reason)


@pytest.mark.parametrize(
    ("driver", "uuid", "says"),
    [
        (Driver(init_status=9), UUID, "could not be initialised"),
        (Driver(), "ffff", "knows no device ffff"),
        (Driver(energy_status=3), UUID, "does not count"),
    ],
)
def test_each_refusal_of_the_driver_is_a_reason(driver, uuid, says):
    assert says in str(nvml_probe(uuid, load=lambda _: driver))
