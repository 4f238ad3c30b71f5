"""A private training that is written down while it goes on: reserved, saved, ended."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from auditkit.errors import PrivacyRefusedError
from auditkit.privacy.account import Account, RunAccount
from auditkit.privacy.accounting import epsilon_prv
from auditkit.privacy.certificate import Execution, Mechanism, as_planned
from auditkit.privacy.composition import quick_rdp
from auditkit.privacy.partial import Identity, Partial, Saved, digest_of, file_of
from auditkit.privacy.private_steps import PrivateSteps
from auditkit.privacy.replay_key import ReplayKey
from auditkit.privacy.resume import Resumption, Tell, find_resumption, go_back
from auditkit.records import Message, ResumeMode, Spending
from auditkit.records.bounds import rounded_up

Progress = Callable[[int, int, str], None]
BLOCK_STEPS = 50
REPORT_EVERY = 10
SAVING_SHARE = 0.05
"""Of the time of a training that may go into saving it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Where a private training is written down.

    Attributes:
        account: Of its rows.
        purpose: What the ledger calls it.
        partial: Folder in which it can be taken up again; ``None`` saves nothing.
        replay_key: Keep the noise to come of a certified training, locked by the key in this file, so that it
            can be replayed bit by bit; ``None`` keeps none.
        waivers: What is wrong with the account and was accepted; goes into the certificate.
    """

    account: Account
    purpose: str
    partial: Path | None = None
    replay_key: Path | None = None
    waivers: tuple[Message, ...] = ()

    @property
    def replay(self) -> bool:
        """Whether it is to be replayed bit by bit."""
        return self.replay_key is not None


def take_all(
    steps: PrivateSteps, mechanism: Mechanism, delta: float, *, report_progress: Progress | None
) -> Execution:
    """Every step of ``mechanism``, written down nowhere; ``None`` where nobody listens to progress."""
    report = _Report(mechanism, delta, report_progress)
    for first, many in blocks(0, mechanism.steps):
        _take(steps, first, many, report)
    return as_planned(mechanism)


def take_recorded(
    steps: PrivateSteps,
    mechanism: Mechanism,
    delta: float,
    identity: Identity,
    recording: Recording,
    *,
    certified: bool,
    report_progress: Progress,
    tell: Tell,
) -> Execution:
    """Every step of ``mechanism``, reserved before it is taken, from where an interrupted training stopped.

    Raises:
        PrivacyRefusedError: The budget does not suffice, or a replay was asked for and is not possible.
        LedgerError: The ledger cannot be read or written; no further step is taken then.
    """
    partial = _partial_of(recording, certified=certified)
    if partial and partial.key and steps.position() is None:
        raise PrivacyRefusedError(
            "--replay: noise from the operating system cannot be drawn again. Leave --replay out"
        )
    found = None
    if partial is not None:
        found = find_resumption(
            partial,
            identity,
            n_steps=mechanism.steps,
            certified=certified,
            replay=recording.replay,
            tell=tell,
        )
    if found is None and partial and partial.key:
        partial.key.make_if_absent(partial.folder)
    with _opened(recording, mechanism, delta, found, certified=certified) as run:
        start = 0 if found is None or partial is None else go_back(steps, partial, found)
        if found is not None:
            tell(_taken_up(mechanism, delta, start, _charged(run), found.mode))
        saver = None if partial is None else _Saver(partial, identity, run)
        if saver and found is None:
            saver.save(steps, 0, with_noise=True)
        replayed_until = run.reserved_until() if found and found.mode == "replay" and certified else 0
        steps.before_smaller(lambda step: _before_smaller(steps, saver, replayed_until, step))
        report = _Report(mechanism, delta, report_progress, charged=lambda: _charged(run))
        for first, many in blocks(start, mechanism.steps):
            run.reserve(first, many)
            _take(steps, first, many, report)
            if saver and first + many < mechanism.steps and saver.is_due():
                saver.save(steps, first + many, with_noise=True)
        if saver:
            saver.save(steps, mechanism.steps, with_noise=False)
            saver.partial.forget_noise()
        run.end(mechanism.steps)
        state = run.state()
        return Execution(
            planned_steps=mechanism.steps,
            charged_steps=state.steps,
            resumes=state.resumes,
            replays=state.replays,
            kept_noise=recording.replay,
            failure_probability=state.failure_probability,
            ledger=recording.account.reference(delta),
        )


def _partial_of(recording: Recording, *, certified: bool) -> Partial | None:
    """Where the training is saved; its noise is locked where it is kept and does not follow from a seed."""
    if recording.partial is None:
        return None
    key = None
    if certified and recording.replay_key is not None:
        key = ReplayKey(recording.replay_key, recording.account.fingerprint)
    return Partial(recording.partial, keeps_noise=recording.replay or not certified, key=key)


def _before_smaller(steps: PrivateSteps, saver: "_Saver | None", replayed_until: int, step: int) -> None:
    """Write down that from ``step`` on fewer rows are worked on at once, where it is to be replayed.

    Raises:
        PrivacyRefusedError: The step may have been taken under the same noise, on more rows at once.
    """
    if step < replayed_until:
        raise PrivacyRefusedError(
            f"--replay: memory ends in step {step}, which may have been taken before with the same noise. On "
            "fewer rows at once it would be rounded otherwise, and the difference would show what noise "
            "hides. Free memory and repeat the command, or go on without --replay"
        )
    if saver and saver.partial.keeps_noise:
        saver.save(steps, step, with_noise=True)


def _charged(run: RunAccount) -> Spending:
    """All that counts as spent of a run."""
    state, plan = run.state(), run.mechanism
    return Spending(
        noise_multiplier=plan.noise_multiplier,
        sample_rate=plan.sample_rate,
        steps=state.steps,
        failure_probability=state.failure_probability,
    )


def _taken_up(mechanism: Mechanism, delta: float, start: int, charged: Spending, mode: ResumeMode) -> str:
    """Where it goes on, with which noise, and what that makes of epsilon."""
    if mode == "replay":
        return (
            f"an interrupted training goes on after step {start:,} of {mechanism.steps:,} with the same "
            "noise: the block before came out bit by bit as it was, and steps that are repeated are charged "
            "once"
        )
    again = charged.steps - start
    failing = mechanism.failure_probability if start < mechanism.level_steps else 0.0
    left = delta - charged.failure_probability - failing
    ends = epsilon_prv(mechanism.noise_multiplier, mechanism.sample_rate, mechanism.steps + again, left)
    return (
        f"an interrupted training goes on after step {start:,} of {mechanism.steps:,} with fresh noise; "
        f"steps charged twice: {again:,}; it ends at epsilon {rounded_up(ends):.3f}"
    )


def blocks(start: int, end: int) -> Iterator[tuple[int, int]]:
    """First step and number of steps of every block from ``start`` to ``end``, cut at multiples of 50.

    >>> list(blocks(30, 120))
    [(30, 20), (50, 50), (100, 20)]
    """
    first = start
    while first < end:
        many = min(BLOCK_STEPS - first % BLOCK_STEPS, end - first)
        yield first, many
        first += many


@contextmanager
def _opened(
    recording: Recording, mechanism: Mechanism, delta: float, found: Resumption | None, *, certified: bool
) -> Iterator[RunAccount]:
    account = recording.account
    if found is None:
        with account.begin(mechanism, delta, purpose=recording.purpose, certified=certified) as run:
            yield run
        return
    latest = found.state.latest
    with account.take_up(latest, mechanism, delta, mode=found.mode, certified=certified) as run:
        yield run


def _take(steps: PrivateSteps, first: int, many: int, report: "_Report") -> None:
    for step in range(first, first + many):
        steps.take(step)
        report(step + 1, reserved=first + many)


@dataclass(slots=True)
class _Saver:
    """Saves as often as its share of the time allows."""

    partial: Partial
    identity: Identity
    run: RunAccount
    _last_s: float = field(default=-math.inf, init=False)
    _took_s: float = field(default=0.0, init=False)

    def is_due(self) -> bool:
        return (time.monotonic() - self._last_s) * SAVING_SHARE >= self._took_s

    def save(self, steps: PrivateSteps, step: int, *, with_noise: bool) -> None:
        start = time.monotonic()
        tensors = steps.tensors()
        saved = Saved(
            step=step,
            run=self.run.run,
            stream=self.run.stream,
            line=self.run.account.head(),
            file=file_of(step),
            digest=digest_of(tensors),
        )
        noise = steps.position() if with_noise and self.partial.keeps_noise else None
        self.partial.save(self.identity, saved, tensors, noise)
        self._last_s = time.monotonic()
        self._took_s = self._last_s - start


@dataclass(slots=True)
class _Report:
    """Progress with a bound on the budget that is gone.

    The epsilon shown bounds the steps reserved so far, with those that an interruption made charged twice. On
    the way it is the quick bound, or that of all planned steps where this is smaller; the last is the tight
    one.
    """

    mechanism: Mechanism
    delta: float
    report_progress: Progress | None
    charged: Callable[[], Spending] | None = None

    def __call__(self, done: int, *, reserved: int) -> None:
        total = self.mechanism.steps
        if self.report_progress is None or (done % REPORT_EVERY and done != total):
            return
        charged = self._planned(reserved) if self.charged is None else self.charged()
        spent = rounded_up(self._spent(charged, is_last=done == total))
        text = f"private training, epsilon {spent:.3f} spent by step {reserved:,}"
        self.report_progress(done, total, text)

    def _spent(self, charged: Spending, *, is_last: bool) -> float:
        if is_last:
            return self._tight(charged)
        quick = quick_rdp([charged], self.delta)
        if charged.steps > self.mechanism.steps:
            return quick
        return min(quick, self._tight(self._planned(self.mechanism.steps)))

    def _tight(self, charged: Spending) -> float:
        left = self.delta - charged.failure_probability
        return epsilon_prv(charged.noise_multiplier, charged.sample_rate, charged.steps, left)

    def _planned(self, steps: int) -> Spending:
        """The first steps of the plan, each charged once."""
        plan = self.mechanism
        return Spending(
            noise_multiplier=plan.noise_multiplier,
            sample_rate=plan.sample_rate,
            steps=steps,
            failure_probability=plan.failure_probability,
        )
