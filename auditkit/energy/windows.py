"""A window: the time, CPU time and energy readings of one block of work.

No thread is started. Counters are read when the window opens and closes; in a window of minutes, calling
``sample`` now and then keeps a counter from wrapping unseen.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from auditkit.energy.probe import EnergyProbe, EnergyReading, Samples


class Window:
    """The readings of one block. Duration, CPU time and energy are known when it has closed."""

    def __init__(self, probes: Sequence[EnergyProbe]) -> None:
        self._probes = tuple(probes)
        self._readings: list[list[Samples]] = [[] for _ in self._probes]
        self._duration_s: float | None = None
        self._cpu_s: float | None = None
        self.sample()
        self._cpu_start_s = time.process_time()
        self._start_s = time.perf_counter()

    def sample(self) -> None:
        """Read all counters once more."""
        for readings, probe in zip(self._readings, self._probes, strict=True):
            readings.append(probe.read())

    def _close(self) -> None:
        self._duration_s = time.perf_counter() - self._start_s
        self._cpu_s = time.process_time() - self._cpu_start_s
        self.sample()

    @property
    def duration_s(self) -> float:
        """Seconds between opening and closing, from a clock that never goes back.

        Raises:
            RuntimeError: The window is still open.
        """
        return _closed(self._duration_s)

    @property
    def cpu_s(self) -> float:
        """CPU-seconds that this process spent in all its threads; work of child processes is not in it.

        Raises:
            RuntimeError: The window is still open.
        """
        return _closed(self._cpu_s)

    @property
    def energy(self) -> tuple[EnergyReading, ...]:
        """What each probe saw, in the order in which the probes were given.

        Raises:
            RuntimeError: The window is still open.
        """
        _closed(self._duration_s)
        return tuple(
            probe.energy(readings) for probe, readings in zip(self._probes, self._readings, strict=True)
        )


def _closed(reading_s: float | None) -> float:
    if reading_s is None:
        raise RuntimeError("the window is still open; read it after the with statement")
    return reading_s


@contextmanager
def window(probes: Sequence[EnergyProbe] = ()) -> Iterator[Window]:
    """Measure the block; the window closes also when the block raises.

    Work on a GPU must be finished inside the block: synchronise before it ends.
    """
    opened = Window(probes)
    try:
        yield opened
    finally:
        opened._close()
