"""The meaning of a ledger: which runs spent how much on one set of rows, and what their budget is."""

import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path

import platformdirs

from auditkit.errors import LedgerError
from auditkit.privacy.composition import merged
from auditkit.privacy.ledger_file import Chain, read_chain
from auditkit.records import (
    Budgeted,
    Ended,
    Imported,
    LedgerEntry,
    LedgerPointer,
    Opened,
    Reserved,
    Resumed,
    Spending,
    Started,
    Tuned,
    TuningReserved,
    Waived,
)

VARIABLE = "AUDITKIT_LEDGER"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """One run as its lines tell it.

    Attributes:
        spent: All steps reserved so far; they count whether or not they were taken.
        tunings: Private tunings, each of which counts whole; their runs are in no other figure here.
        planned: All steps it means to take; ``None`` for what was imported, and for tunings.
        reserved_until: The step after the last one reserved.
        stream: The randomness it draws from now, see :class:`Reserved`.
        resumes: How often it was taken up again.
        replays: How often of these with the same noise.
        has_ended: Whether it took its last step.
        is_imported: Whether another program took its steps.
    """

    run: str
    purpose: str
    certified: bool
    delta: float | None
    spent: tuple[Spending, ...] = ()
    tunings: tuple[Tuned, ...] = ()
    planned: Spending | None = None
    reserved_until: int = 0
    stream: int = 0
    resumes: int = 0
    replays: int = 0
    has_ended: bool = False
    is_imported: bool = False

    @property
    def spends(self) -> bool:
        """Whether anything counts as spent."""
        return bool(self.spent or self.tunings)

    @property
    def steps(self) -> int:
        """How many steps count as spent."""
        return sum(one.steps for one in self.spent)

    @property
    def failure_probability(self) -> float:
        """With which some of what was spent may fail to be what is composed."""
        return math.fsum(one.failure_probability for one in self.spent)

    def at_most(self) -> tuple[Spending, ...]:
        """What it will have spent when it takes every step that it still means to take."""
        left = 0 if self.planned is None or self.has_ended else self.planned.steps - self.reserved_until
        if self.planned is None or left <= 0:
            return self.spent
        failing = 0.0 if self.reserved_until else self.planned.failure_probability
        rest = self.planned.model_copy(update={"steps": left, "failure_probability": failing})
        return merged([*self.spent, rest])


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerState:
    """Everything that the lines of one ledger say.

    Attributes:
        opened: Whose it is.
        budget: Of all runs together.
        lost: Lines whose loss was accepted; what was spent up to them is not in ``runs``.
        runs: By name.
    """

    opened: Opened | None = None
    budget: Budgeted | None = None
    lost: frozenset[LedgerPointer] = frozenset()
    runs: dict[str, RunState]

    @classmethod
    def of(cls, chain: Chain) -> "LedgerState":
        """Read the lines from the first to the last."""
        return reduce(_after, (line.entry for line in chain.lines), cls(runs={}))

    def after(self, entry: LedgerEntry) -> "LedgerState":
        """What they would say with one more line."""
        return _after(self, entry)

    def spent(self) -> tuple[Spending, ...]:
        """The steps of all runs together."""
        return merged(one for state in self.runs.values() for one in state.spent)

    def tunings(self, *, but: str | None = None) -> tuple[Tuned, ...]:
        """All tunings, which count whole from the first; without those of the run ``but``."""
        return tuple(one for run, state in self.runs.items() if run != but for one in state.tunings)

    def committed(self, alive: Iterable[str]) -> tuple[Spending, ...]:
        """What is spent, and what the runs that are still going on mean to spend."""
        going = set(alive)
        return merged(
            one
            for run, state in self.runs.items()
            for one in (state.at_most() if run in going else state.spent)
        )

    def unfinished(self) -> Iterator[RunState]:
        """Runs that did not say they had ended: going on, or killed."""
        return (state for state in self.runs.values() if state.planned is not None and not state.has_ended)


def _after(state: LedgerState, entry: LedgerEntry) -> LedgerState:
    if isinstance(entry, Opened):
        return replace(state, opened=entry)
    if isinstance(entry, Budgeted):
        return replace(state, budget=entry)
    if isinstance(entry, Waived):
        return replace(state, lost=state.lost.union(entry.lost))
    return replace(state, runs={**state.runs, entry.run: _run_after(state.runs.get(entry.run), entry)})


def _run_after(
    known: RunState | None, entry: Started | Reserved | Resumed | Ended | Imported | TuningReserved
) -> RunState:
    if isinstance(entry, Imported):
        earlier = () if known is None else known.spent
        return RunState(
            run=entry.run,
            purpose=entry.purpose,
            certified=False,
            delta=None,
            spent=merged([*earlier, *entry.spendings]),
            tunings=() if known is None else known.tunings,
            is_imported=True,
        )
    if isinstance(entry, Started):
        begun = RunState(
            run=entry.run,
            purpose=entry.purpose,
            certified=entry.certified,
            delta=entry.delta,
            planned=entry.spending,
        )
        return begun if known is None else replace(begun, spent=known.spent, tunings=known.tunings)
    state = known or RunState(run=entry.run, purpose="", certified=False, delta=None)
    if isinstance(entry, TuningReserved):
        return replace(
            state,
            purpose=entry.purpose,
            certified=entry.certified,
            delta=entry.delta,
            tunings=(*state.tunings, entry.tuned),
        )
    if isinstance(entry, Reserved):
        return replace(
            state,
            spent=merged([*state.spent, entry.spending]),
            reserved_until=entry.first_step + entry.spending.steps,
            stream=entry.stream,
        )
    if isinstance(entry, Resumed):
        until = entry.step if entry.mode == "fresh" else state.reserved_until
        return replace(
            state,
            reserved_until=until,
            stream=entry.stream,
            resumes=state.resumes + 1,
            replays=state.replays + (entry.mode == "replay"),
            has_ended=False,
        )
    return replace(state, has_ended=True)


def ledger_files(folder: Path) -> list[Path]:
    """The ledgers in a folder, sorted."""
    return sorted(folder.glob("*.jsonl")) if folder.is_dir() else []


def ledger_folder(configured: Path | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """Where ledgers lie: ``$AUDITKIT_LEDGER``, what the config says, or the user's data folder."""
    if environment.get(VARIABLE):
        return Path(environment[VARIABLE]).expanduser().resolve()
    return configured or Path(platformdirs.user_data_dir("auditkit")) / "ledger"


def others_of_name(folder: Path, name: str, *, but: Collection[Path]) -> tuple[int, int]:
    """How many ledgers in a folder, ``but`` these, are of rows with that name, and how many cannot be read.

    What is theirs must not end a training on other rows.
    """
    same_name = unreadable = 0
    for path in ledger_files(folder):
        if path in but:
            continue
        try:
            opened = LedgerState.of(read_chain(path)).opened
        except LedgerError:
            unreadable += 1
        else:
            same_name += opened is not None and opened.name == name
    return same_name, unreadable
