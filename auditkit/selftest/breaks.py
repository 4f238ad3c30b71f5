"""The ways in which engines of DP-SGD are known to break their promise without a trace, one planted each.

Every break is run through the check of ours that has to notice it, and what we do instead through the same
check. Counts: above 0 is a break.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from auditkit.records import Interval, Measurement, Message
from auditkit.selftest.plant import Proof


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """One way to break the promise.

    Attributes:
        fault: What was planted.
        figure: What is counted; 0 where nothing is wrong.
        faulty: Counts it where the break is; how many are wrong, of how many.
        sound: Counts it in what we do.
    """

    fault: Message
    figure: str
    faulty: Callable[[], tuple[int, int]]
    sound: Callable[[], tuple[int, int]]


def prove_breaks(breaks: tuple[Break, ...]) -> Iterator[Proof]:
    """Run each break, and what we do, through its check."""
    for one in breaks:
        yield Proof(
            name="dp-retrain",
            figure=f"dp-retrain/{one.figure}",
            fault=one.fault,
            above=0.0,
            with_fault=_counted(one.figure, *one.faulty()),
            without_fault=_counted(one.figure, *one.sound()),
        )


def _counted(metric: str, wrong: int, n: int) -> Measurement:
    return Measurement(
        metric=metric,
        value=wrong,
        n=n,
        better="lower",
        provenance="derived",
        interval=Interval.exact(wrong),
    )
