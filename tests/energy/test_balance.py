"""The energy of a window, part by part."""

import time

import pytest
import torch

from auditkit.energy.balance import energy_balance, memory_in_use_b
from auditkit.energy.counters import CounterSample
from auditkit.energy.probe import EnergyReading
from auditkit.energy.quantity import Quantity
from auditkit.energy.windows import window
from auditkit.records import Message
from tests.tolerances import FLOAT

CPU = torch.device("cpu")


class Meter:
    """A probe that has always seen the same energy."""

    def __init__(self, component, energy_j):
        self.name, self.component, self._energy_j = f"meter of {component}", component, energy_j

    def read(self):
        return (CounterSample(time.monotonic(), 0),)

    def energy(self, readings):
        if self._energy_j is None:
            return EnergyReading(self.name, self.component, None, Message(text="out of order"))
        return EnergyReading(self.name, self.component, Quantity.exact(self._energy_j, "measured"))


def balance_of(*meters, device=CPU, memory_b=1_000_000_000):
    with window(meters) as measured:
        time.sleep(0.01)
    return measured, energy_balance(measured, device, memory_b)


def test_without_sensors_both_parts_are_estimated():
    measured, balance = balance_of()
    assert [part.component for part in balance.parts] == ["cpu", "memory"]
    assert balance.total.provenance == "estimated"
    expected_j = 4.0 * measured.cpu_s + 0.3 * measured.duration_s
    assert balance.total.value == pytest.approx(expected_j, **FLOAT)


def test_a_sensor_takes_the_place_of_the_estimate():
    _, balance = balance_of(Meter("cpu", 5.0), Meter("memory", 1.0))
    assert balance.total == Quantity.exact(6.0, "measured")


def test_a_sensor_that_failed_leaves_the_estimate():
    _, balance = balance_of(Meter("cpu", None))
    assert balance.total.provenance == "estimated"


def test_a_measured_and_an_estimated_part_make_an_estimate():
    _, balance = balance_of(Meter("cpu", 5.0))
    assert balance.total.provenance == "estimated"
    assert balance.total.value > 5.0


def test_gpu_energy_is_added_where_its_counter_reads():
    _, balance = balance_of(Meter("gpu", 100.0), device=torch.device("cuda"))
    assert balance.total.value > 100.0


@pytest.mark.parametrize("meters", [(), (Meter("gpu", None),)])
def test_gpu_work_without_its_counter_has_no_total(meters):
    _, balance = balance_of(*meters, device=torch.device("cuda"))
    assert balance.total is None
    assert balance.missing is not None


def test_unknown_memory_has_no_total():
    _, balance = balance_of(memory_b=None)
    assert balance.total is None
    assert "memory" in str(balance.missing)


def test_this_process_holds_some_memory():
    assert memory_in_use_b() > 10_000_000
