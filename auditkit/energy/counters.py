"""Energy from a cumulative counter that wraps, is reset, or cannot be read now and then."""

from collections.abc import Sequence
from dataclasses import dataclass

from auditkit.records import Message


@dataclass(frozen=True, slots=True)
class CounterSample:
    """One reading of a counter: monotonic time in seconds, and the count or ``None`` where reading failed."""

    time_s: float
    count: int | None


@dataclass(frozen=True, slots=True)
class CounterRange:
    """What is known of a counter beforehand.

    Attributes:
        wraps_at: The count at which it starts again from zero, or ``None`` when unknown.
        fastest_per_s: No honest counter of this kind moves faster.
        update_s: How old a count may be when it is read, in seconds.
    """

    wraps_at: int | None
    fastest_per_s: float
    update_s: float


def counted(samples: Sequence[CounterSample], limits: CounterRange) -> int | Message:
    """How far the counter moved from the first sample to the last, or why that cannot be told.

    A failed reading in between costs nothing, because the counter goes on: the next good one is compared
    with the last good one. A fall is a wrap only where the range is known and the distance is plausible;
    any other fall is a reset, and what was counted before it is lost. A reset just before a wrap was due
    cannot be told from it.
    """
    if len(samples) < 2 or samples[0].count is None or samples[-1].count is None:
        return Message(text="the counter could not be read at both ends of the window")
    total = 0
    before_s, before = samples[0].time_s, samples[0].count
    for sample in samples[1:]:
        if sample.count is None:
            continue
        step = _step(before, sample.count, sample.time_s - before_s, limits)
        if isinstance(step, Message):
            return step
        total += step
        before_s, before = sample.time_s, sample.count
    return total


def _step(before: int, after: int, gap_s: float, limits: CounterRange) -> int | Message:
    """The way from one good reading to the next."""
    plausible = limits.fastest_per_s * (gap_s + 2 * limits.update_s)
    if limits.wraps_at is not None and plausible >= limits.wraps_at:
        return Message(
            text="the counter may have wrapped more than once between two readings {gap_s} s apart; "
            "take a sample at least every {every_s} s",
            values={"gap_s": round(gap_s, 1), "every_s": int(limits.wraps_at / limits.fastest_per_s)},
        )
    moved = after - before
    if moved < 0:
        if limits.wraps_at is None:
            return Message(text="the counter fell and its range is unknown")
        moved += limits.wraps_at
    if not 0 <= moved <= plausible:
        return Message(text="the counter moved further than the hardware can, so it was reset in between")
    return moved
