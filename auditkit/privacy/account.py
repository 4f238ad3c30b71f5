"""The account of one set of private rows: every private step is reserved in its ledger before it is taken.

A run reserves its steps in blocks. A block counts as spent from the moment it is on disk, so that a process
killed anywhere has spent at most one block more than it used, and never less. Whether all steps of a run
fit into the budget is decided before the first, with what other running processes still mean to spend.
"""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from auditkit import __version__
from auditkit.errors import LedgerError, PrivacyRefusedError
from auditkit.privacy.budget import refuse_above_budget, refuse_other_unit
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.composition import composed
from auditkit.privacy.ledger import LedgerState, RunState, others_of_name
from auditkit.privacy.ledger_file import Chain, append, locked, read_chain
from auditkit.privacy.partial import Saved
from auditkit.privacy.run_lock import going_on, is_held
from auditkit.records import (
    Budgeted,
    Ended,
    Imported,
    LedgerPointer,
    LedgerReference,
    Message,
    Opened,
    Reserved,
    Resumed,
    ResumeMode,
    Spending,
    Started,
    Tuned,
    TuningReserved,
    Waived,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One ledger: that of the rows with this fingerprint.

    Attributes:
        folder: Where the ledgers lie.
        fingerprint: Of the rows.
        name: What the config calls the rows; shown, and never used to tell rows apart.
        source: Where they were read from.
        beside: Other accounts of the same people, such as that of the training rows alone. Budgets are those
            of all together, and so is what all runs come to.
    """

    folder: Path
    fingerprint: str
    name: str
    source: str
    beside: tuple["Account", ...] = ()

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / f"{self.fingerprint}.jsonl"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from appending inside the block, to the accounts beside it, too."""
        with ExitStack() as stack:
            for path in sorted({self.path, *(other.path for other in self.beside)}):
                stack.enter_context(locked(path))
            yield

    def state(self) -> LedgerState:
        """What the ledger says now.

        Raises:
            LedgerError: It was changed or damaged.
        """
        return LedgerState.of(read_chain(self.path))

    def set_budget(self, epsilon: float, delta: float, *, may_rise: bool = False) -> None:
        """Bound all runs together, from now on.

        Raises:
            PrivacyRefusedError: A smaller budget stands already and ``may_rise`` is not given.
        """
        with self.locked():
            chain = self._opened()
            present = LedgerState.of(chain).budget
            if present and (present.epsilon, present.delta) == (epsilon, delta):
                return
            if present and not may_rise and (epsilon > present.epsilon or delta > present.delta):
                raise PrivacyRefusedError(
                    f"{self.name}: the privacy budget of these rows is epsilon {present.epsilon:g} at delta "
                    f"{present.delta:g}; epsilon {epsilon:g} at delta {delta:g} would raise it. If you may "
                    f"decide that: auditkit ledger {self.fingerprint[:12]} --set-budget {epsilon:g}"
                )
            append(self.path, chain, [Budgeted(epsilon=epsilon, delta=delta)])

    @contextmanager
    def begin(
        self, mechanism: Mechanism, delta: float, *, purpose: str, certified: bool
    ) -> "Iterator[RunAccount]":
        """A new run that means to take all steps of ``mechanism``; nothing is spent by asking.

        Raises:
            PrivacyRefusedError: They do not fit into the budget.
            LedgerError: The ledger cannot be read or written.
        """
        run = uuid.uuid4().hex[:16]
        start = Started(
            run=run,
            purpose=purpose,
            spending=_spending(mechanism, mechanism.steps),
            delta=delta,
            max_grad_norm=mechanism.max_grad_norm,
            adjacency=mechanism.adjacency,
            unit_of_privacy=mechanism.unit,
            certified=certified,
            code=f"auditkit {__version__}",
        )
        with self._alive(run):
            with self.locked():
                chain = self._opened()
                self.refuse_other_unit(chain, mechanism)
                self.refuse_above_budget(LedgerState.of(chain).after(start), run)
                append(self.path, chain, [start])
            yield RunAccount(account=self, run=run, mechanism=mechanism, delta=delta, certified=certified)

    def reserve_tuning(
        self, tuned: Tuned, mechanism: Mechanism, delta: float, *, purpose: str, certified: bool
    ) -> str:
        """Count a whole private tuning as spent, on disk, before its first run and whatever becomes of it.

        What it spends is bounded as a whole only, so nothing of it is ever given back: one that was
        interrupted is not taken up, and trying again is another one, charged again.

        Args:
            tuned: Everything that epsilon follows from.
            mechanism: Of one of its runs; says what is protected.
            delta: Of the guarantee.
            purpose: What the ledger calls it.
            certified: Whether all its randomness comes from the operating system.

        Returns:
            The name of it in the ledger.

        Raises:
            PrivacyRefusedError: It does not fit into the budget.
            LedgerError: The ledger cannot be read or written.
        """
        run = uuid.uuid4().hex[:16]
        line = TuningReserved(
            run=run,
            purpose=purpose,
            tuned=tuned,
            delta=delta,
            adjacency=mechanism.adjacency,
            unit_of_privacy=mechanism.unit,
            certified=certified,
            code=f"auditkit {__version__}",
        )
        with self.locked():
            chain = self._opened()
            self.refuse_other_unit(chain, mechanism)
            self.refuse_above_budget(LedgerState.of(chain).after(line), run)
            append(self.path, chain, [line])
        return run

    @contextmanager
    def take_up(
        self, saved: Saved, mechanism: Mechanism, delta: float, *, mode: ResumeMode, certified: bool
    ) -> "Iterator[RunAccount]":
        """A run that was interrupted goes on at the step that was saved.

        ``fresh`` charges the steps from there on whether or not they were reserved before; ``replay`` only
        those that were never reserved.

        Raises:
            PrivacyRefusedError: What is left does not fit into the budget, or the run still goes on.
            LedgerError: The ledger does not know the run: it was rolled back, or is another one.
        """
        run = saved.run
        with self._alive(run):
            with self.locked():
                chain = read_chain(self.path)
                known = LedgerState.of(chain).runs.get(run)
                if known is None or not chain.holds(saved.line):
                    raise LedgerError(
                        f"{self.path}: knows nothing of the interrupted run {run}. The ledger was replaced "
                        "or rolled back; restore it, or remove the unfinished training to start anew"
                    )
                stream = known.stream + 1 if mode == "fresh" else saved.stream
                line = Resumed(run=run, step=saved.step, stream=stream, mode=mode)
                self.refuse_above_budget(LedgerState.of(chain).after(line), run)
                append(self.path, chain, [line])
            yield RunAccount(
                account=self, run=run, mechanism=mechanism, delta=delta, certified=certified, stream=stream
            )

    def add_import(
        self,
        spendings: tuple[Spending, ...],
        *,
        purpose: str,
        unverified: tuple[Message, ...],
        sha256: str | None = None,
    ) -> str:
        """Charge what another program spent on these rows. It is past, so no budget can refuse it."""
        run = uuid.uuid4().hex[:16]
        with self.locked():
            line = Imported(
                run=run, purpose=purpose, spendings=spendings, unverified=unverified, sha256=sha256
            )
            append(self.path, self._opened(), [line])
        return run

    def waive(self, lost: Sequence[LedgerPointer], *, checkpoint: str) -> None:
        """Write down that training goes on without these lines, once for each of them.

        Every later certificate says so: what was spent up to them is known to nobody.

        Args:
            lost: Lines on which certificates of earlier models rest.
            checkpoint: One of these models.

        Raises:
            LedgerError: The ledger cannot be read or written.
        """
        with self.locked():
            chain = self._opened()
            known = LedgerState.of(chain).lost
            fresh = tuple(dict.fromkeys(line for line in lost if line not in known))
            if fresh:
                append(self.path, chain, [Waived(lost=fresh, checkpoint=checkpoint)])

    def imports_of(self, sha256: str) -> tuple[str, ...]:
        """The runs that the very same file was imported as."""
        entries = (line.entry for line in read_chain(self.path).lines)
        return tuple(one.run for one in entries if isinstance(one, Imported) and one.sha256 == sha256)

    def reference(self, delta: float) -> LedgerReference:
        """What all runs together come to, and the line that says so."""
        chain = read_chain(self.path)
        state = self._joint(LedgerState.of(chain))
        budget = min(self._budgets(state), key=lambda one: one.epsilon, default=None)
        found = composed(state.spent(), delta, state.tunings())
        spending = [run for run in state.runs.values() if run.spends]
        own = (self.path, *(other.path for other in self.beside))
        same_name, unreadable = others_of_name(self.folder, self.name, but=own)
        return LedgerReference(
            fingerprint=self.fingerprint,
            line=chain.head,
            n_runs=len(spending),
            epsilon=found.epsilon,
            delta=delta,
            accountant=found.accountant,
            rdp=found.rdp,
            budget_epsilon=None if budget is None else budget.epsilon,
            budget_delta=None if budget is None else budget.delta,
            same_name=same_name,
            n_unreadable=unreadable,
            n_lost=len(state.lost),
            n_imported=sum(run.is_imported for run in spending),
            n_seeded=sum(not (run.certified or run.is_imported) for run in spending),
        )

    def head(self) -> LedgerPointer:
        """The last line now."""
        return read_chain(self.path).head

    def is_alive(self, run: str) -> bool:
        """Whether a process still holds the lock of ``run``; it ends with the process, however that ends."""
        return is_held(self._run_lock(run))

    def _opened(self) -> Chain:
        """The lines, with the first one there."""
        chain = read_chain(self.path)
        if chain.lines:
            return chain
        first = Opened(fingerprint=self.fingerprint, name=self.name, source=self.source)
        return append(self.path, chain, [first])

    def refuse_above_budget(self, state: LedgerState, run: str) -> None:
        """Refuse ``state``, which is as it would be after the next line, where it exceeds its budget.

        ``run`` and every other run that still goes on count with all that they mean to spend.

        Raises:
            PrivacyRefusedError: The budget does not suffice.
        """
        joint = self._joint(state)
        alive = {
            one.run
            for account in (self, *self.beside)
            for one in (state if account is self else account.state()).unfinished()
            if one.run != run and account.is_alive(one.run)
        }
        for budget in self._budgets(state):
            bounded = replace(joint, budget=budget)
            refuse_above_budget(bounded, run, alive, rows=f"{self.name} ({self.fingerprint[:12]})")

    def _joint(self, state: LedgerState) -> LedgerState:
        """``state`` of this ledger with the runs and the losses of those beside it."""
        others = [other.state() for other in self.beside]
        runs = {run: one for other in others for run, one in other.runs.items()}
        lost = state.lost.union(*(other.lost for other in others))
        return replace(state, runs={**runs, **state.runs}, lost=lost)

    def _budgets(self, state: LedgerState) -> list[Budgeted]:
        """Of this ledger, which is in ``state``, and of those beside it."""
        budgets = (state.budget, *(other.state().budget for other in self.beside))
        return [budget for budget in budgets if budget is not None]

    def refuse_other_unit(self, chain: Chain, mechanism: Mechanism) -> None:
        """Refuse to add up what protects rows with what protects persons.

        Raises:
            PrivacyRefusedError: Something was spent per row and this would be per person, or the reverse.
        """
        chains = (chain, *(read_chain(other.path) for other in self.beside))
        units = {
            line.entry.unit_of_privacy
            for one in chains
            for line in one.lines
            if isinstance(line.entry, Reserved | TuningReserved)
        }
        refuse_other_unit(units, mechanism.unit, rows=f"{self.name} ({self.fingerprint[:12]})")

    def _alive(self, run: str) -> AbstractContextManager[None]:
        return going_on(self._run_lock(run), f"{self.name}: run {run}")

    def _run_lock(self, run: str) -> Path:
        return self.folder / f"{self.fingerprint[:16]}.{run}.going-on"


@dataclass(slots=True)
class RunAccount:
    """The side of an account that one run sees while it goes on."""

    account: Account
    run: str
    mechanism: Mechanism
    delta: float
    certified: bool
    stream: int = 0

    def reserve(self, first_step: int, steps: int) -> None:
        """Count steps as spent, on disk, before they are taken; those of this stream count once.

        Raises:
            PrivacyRefusedError: The budget was lowered meanwhile.
            LedgerError: The line did not come to disk.
        """
        path = self.account.path
        with self.account.locked():
            chain = read_chain(path)
            if self._is_reserved(chain, first_step, steps):
                return
            self.account.refuse_other_unit(chain, self.mechanism)
            line = Reserved(
                run=self.run,
                stream=self.stream,
                first_step=first_step,
                spending=_spending(self.mechanism, steps, first_step=first_step),
                delta=self.delta,
                max_grad_norm=self.mechanism.max_grad_norm,
                adjacency=self.mechanism.adjacency,
                unit_of_privacy=self.mechanism.unit,
                certified=self.certified,
            )
            self.account.refuse_above_budget(LedgerState.of(chain).after(line), self.run)
            append(path, chain, [line])

    def reserved_until(self) -> int:
        """The first step that was never reserved under this randomness."""
        reserved = self._reserved(read_chain(self.account.path))
        return max((one.first_step + one.spending.steps for one in reserved), default=0)

    def end(self, executed_steps: int) -> None:
        """Say that the last step was taken."""
        path = self.account.path
        with locked(path):
            append(path, read_chain(path), [Ended(run=self.run, executed_steps=executed_steps)])

    def state(self) -> RunState:
        """What the ledger says of this run."""
        return self.account.state().runs[self.run]

    def _is_reserved(self, chain: Chain, first_step: int, steps: int) -> bool:
        """Whether these very steps, with this very randomness, were reserved before."""
        return any(
            one.first_step <= first_step and one.first_step + one.spending.steps >= first_step + steps
            for one in self._reserved(chain)
        )

    def _reserved(self, chain: Chain) -> Iterator[Reserved]:
        """What was reserved of this run with this very randomness."""
        for line in chain.lines:
            entry = line.entry
            if isinstance(entry, Reserved) and (entry.run, entry.stream) == (self.run, self.stream):
                yield entry


def _spending(mechanism: Mechanism, steps: int, first_step: int = 0) -> Spending:
    """Of some steps; those that count levels may fail, however few of them there are."""
    counts_levels = first_step < mechanism.level_steps
    return Spending(
        noise_multiplier=mechanism.noise_multiplier,
        sample_rate=mechanism.sample_rate,
        steps=steps,
        failure_probability=mechanism.failure_probability if counts_levels else 0.0,
    )
