"""Energy of CPU and memory where no sensor can be read: an estimate, wide on purpose.

The factors are the range in use among published tools and measurements. They differ tenfold for memory,
so a single number would claim a knowledge that nobody has.
"""

from typing import Final

from auditkit.energy.quantity import Quantity

W_PER_BUSY_VCPU: Final = Quantity(1.5, 4.0, 10.0, "estimated")
"""Watts of one virtual CPU at work: low for many-core servers, high for few fast cores."""

W_PER_GB: Final = Quantity(0.08, 0.3, 0.6, "estimated")
"""Watts of one gigabyte (10^9 bytes) of memory.

Published factors: 0.08 and 0.3725 (Green Algorithms), 0.284 (Boavizta), 0.19 idle and 0.54 active.
"""


def cpu_energy(cpu_s: float | Quantity) -> Quantity:
    """Joules of ``cpu_s`` CPU-seconds of work."""
    return W_PER_BUSY_VCPU.times(_quantity(cpu_s))


def memory_energy(memory_b: int, duration_s: float) -> Quantity:
    """Joules of holding ``memory_b`` bytes for ``duration_s`` seconds."""
    return W_PER_GB.scaled(memory_b / 1e9 * duration_s)


def _quantity(amount: float | Quantity) -> Quantity:
    return amount if isinstance(amount, Quantity) else Quantity.exact(amount, "measured")
