"""Books that lose steps, told by comparing them with the steps that were taken."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from auditkit.privacy.account import Account
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.partial import Saved
from auditkit.privacy.recorded import blocks
from auditkit.records import Message
from auditkit.selftest.breaks import Break

SAVED_AT, INTERRUPTED_AT = 50, 100
PLANNED = Mechanism(noise_multiplier=2.0, sample_rate=0.1, steps=120, max_grad_norm=1.0, normaliser=60.0)
LONGEST = 2000


def counting_faults() -> tuple[Break, ...]:
    """All of them."""
    return (
        Break(
            fault=Message(text="a history of steps that an older checkpoint overwrites"),
            figure="steps_not_charged",
            faulty=lambda: _not_charged(_charged_by_history()),
            sound=lambda: _not_charged(_charged_by_ledger()),
        ),
        Break(
            fault=Message(text="a number of steps that is cut off after a division"),
            figure="lengths_with_other_steps",
            faulty=lambda: _lengths_with_other_steps(_steps_of_a_rate),
            sound=lambda: _lengths_with_other_steps(_steps_of_blocks),
        ),
    )


def _not_charged(charged: int) -> tuple[int, int]:
    """Steps taken in a training that was interrupted and went on from an older state, less those charged."""
    taken = INTERRUPTED_AT + PLANNED.steps - SAVED_AT
    return max(0, taken - charged), taken


class History:
    """Steps so far, a part of the checkpoint and restored with it."""

    def __init__(self) -> None:
        self.steps = 0

    def load(self, steps: int) -> None:
        """What an older checkpoint says."""
        self.steps = steps


def _charged_by_history() -> int:
    history = History()
    history.steps = INTERRUPTED_AT
    history.load(SAVED_AT)
    history.steps += PLANNED.steps - SAVED_AT
    return history.steps


def _charged_by_ledger() -> int:
    with tempfile.TemporaryDirectory() as folder:
        account = Account(folder=Path(folder), fingerprint="5e" * 32, name="selftest", source="selftest")
        with account.begin(PLANNED, 1e-5, purpose="selftest", certified=True) as run:
            for first, many in blocks(0, INTERRUPTED_AT):
                run.reserve(first, many)
            saved = Saved(
                step=SAVED_AT, run=run.run, stream=run.stream, line=account.head(), file="", digest=""
            )
        with account.take_up(saved, PLANNED, 1e-5, mode="fresh", certified=True) as run:
            for first, many in blocks(SAVED_AT, PLANNED.steps):
                run.reserve(first, many)
            return run.state().steps


def _lengths_with_other_steps(steps_of: Callable[[int], int]) -> tuple[int, int]:
    """Of an epoch of so many batches, which should take one step for each."""
    lengths = range(1, LONGEST + 1)
    return sum(steps_of(length) != length for length in lengths), len(lengths)


def _steps_of_a_rate(length: int) -> int:
    """From the sampling rate, which is one over the length."""
    return int(1 / (1 / length))


def _steps_of_blocks(length: int) -> int:
    return sum(many for _, many in blocks(0, length))
