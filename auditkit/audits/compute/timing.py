"""How long calls take: repeated, and for two models alternately in one process."""

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from auditkit.data.dataset import FloatArray
from auditkit.energy.probe import EnergyProbe
from auditkit.energy.windows import Window, window

WARM_UP = 3
"""Untimed calls first: they load kernels and fill caches."""

BLOCK_S = 0.01
"""Compared calls run in blocks of about this length: alternating single calls of microseconds would time each
other's cold caches and waking threads instead."""

Call = Callable[[], object]


def durations(calls: Sequence[Call]) -> FloatArray:
    """Seconds of each call, after a warm-up with the first ones, shape ``(len(calls),)``."""
    for call in calls[:WARM_UP]:
        call()
    return np.array([_mean_seconds(call, 1) for call in calls])


def alternating_durations(first: Call, second: Call, repeats: int) -> FloatArray:
    """Mean seconds per call of ``first`` and ``second`` in short blocks run in turns, shape ``(repeats, 2)``.

    Turns expose both to the same changes of the machine's speed.
    """
    times = _calls_in(BLOCK_S, first, second)
    return np.array([(_mean_seconds(first, times), _mean_seconds(second, times)) for _ in range(repeats)])


def repeated_for(call: Call, duration_s: float, probes: Sequence[EnergyProbe]) -> tuple[Window, int]:
    """A closed window in which ``call`` was repeated for at least ``duration_s``, and how often."""
    call()
    times = 0
    with window(probes) as measured:
        end_s = time.perf_counter() + duration_s
        while not times or time.perf_counter() < end_s:
            call()
            times += 1
    return measured, times


def alternating_windows(
    first: Call, second: Call, *, duration_s: float, repeats: int, probes: Sequence[EnergyProbe]
) -> list[tuple[Window, Window]]:
    """Closed windows of equally many calls of ``first`` and ``second``, in turns.

    Args:
        first: Called in the first window of each pair.
        second: Called in the second one.
        duration_s: About how long the slower of the two runs in all its windows together.
        repeats: Pairs.
        probes: Read at both ends of each window.
    """
    times = _calls_in(duration_s / repeats, first, second)
    return [(_repeated(first, times, probes), _repeated(second, times, probes)) for _ in range(repeats)]


def _calls_in(block_s: float, first: Call, second: Call) -> int:
    """How many calls of the slower one fill about ``block_s`` seconds; at least one."""
    slower_s = max(float(np.median(durations([call] * WARM_UP))) for call in (first, second))
    return max(1, math.ceil(block_s / max(slower_s, 1e-9)))


def _mean_seconds(call: Call, times: int) -> float:
    start_s = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start_s) / times


def _repeated(call: Call, times: int, probes: Sequence[EnergyProbe]) -> Window:
    with window(probes) as measured:
        for _ in range(times):
            call()
    return measured
