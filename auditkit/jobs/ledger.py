"""Job: the privacy ledgers of this user: whose they are, what is spent, what is left."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from auditkit.config.model import DataConfig
from auditkit.data.roles import SPLITS
from auditkit.data.sources import read_rows
from auditkit.data.table import SUFFIXES
from auditkit.errors import LedgerError, UsageError
from auditkit.jobs.prepare import Project, open_project
from auditkit.privacy.account import Account
from auditkit.privacy.accounting import default_delta
from auditkit.privacy.composition import Composed, composed
from auditkit.privacy.fingerprint import fingerprint_of_rows
from auditkit.privacy.foreign import read_history
from auditkit.privacy.ledger import LedgerState, RunState, ledger_files, ledger_folder
from auditkit.privacy.ledger_file import read_chain
from auditkit.privacy.public_count import public_count
from auditkit.privacy.recorded import Recording
from auditkit.privacy.replay_key import VARIABLE as KEY_VARIABLE
from auditkit.privacy.tuning_cost import tuned_epsilon
from auditkit.records import Imported, Law, LedgerLine, LedgerPointer, Message
from auditkit.subjects.checkpoint import certificates_in

DEFAULT_DELTA = 1e-5
_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSummary:
    """One ledger at one delta.

    Attributes:
        account: Whose it is.
        state: What its lines say.
        lines: All of them, their hashes checked.
        delta: Of the budget, else of the caller.
        spent: All runs together.
        remaining: Of the budget; ``None`` where none was set.
    """

    account: Account
    state: LedgerState
    lines: tuple[LedgerLine, ...]
    delta: float
    spent: Composed
    remaining: float | None

    @property
    def unverified(self) -> tuple[Message, ...]:
        """What must be believed of all that was imported, each assumption once."""
        imported = (line.entry for line in self.lines if isinstance(line.entry, Imported))
        by_text = {str(message): message for entry in imported for message in entry.unverified}
        return tuple(by_text.values())

    def epsilon_of(self, run: RunState) -> float:
        """What one run spent, at the delta of the ledger."""
        return composed(run.spent, self.delta, run.tunings).epsilon


@dataclass(frozen=True, slots=True, kw_only=True)
class _Accounts:
    """The account of a file, nothing of which is written yet.

    Attributes:
        account: The one to write to, with those beside it that exist.
        known: Every account of these rows that there may be, by fingerprint.
        n_rows: How many rows it is about.
    """

    account: Account
    known: Mapping[str, Account]
    n_rows: int


def account_of(project: Project) -> Account:
    """The account of the rows of a config, its budget set if the config has one.

    Raises:
        DataError: The rows cannot be read.
        PrivacyRefusedError: The config would raise a budget.
        LedgerError: The ledger was changed, or cannot be written.
    """
    found = _unbudgeted(project)
    _set_budget(found, project)
    return found.account


def _unbudgeted(project: Project) -> _Accounts:
    """The account of the file, or of its training rows where one stands from before and none of the file.

    Earlier versions opened one for the training rows of a file that is split, so that another split of the
    same people had another one. Whatever stands there from before counts with it.
    """
    of_file, *earlier = (_opened(project, data, split) for data, split in _readings(project.config.data))
    existing = [(one, n_rows) for one, n_rows in (of_file, *earlier) if one.path.exists()]
    account, n_rows = existing[0] if existing else of_file
    known = {one.fingerprint: one for one, _ in (of_file, *earlier)}
    beside = tuple(one for one, _ in existing if one.fingerprint != account.fingerprint)
    return _Accounts(
        account=replace(account, beside=tuple({one.fingerprint: one for one in beside}.values())),
        known=known,
        n_rows=n_rows,
    )


def _opened(project: Project, data: DataConfig, split: str) -> tuple[Account, int]:
    rows = read_rows(data, split=split, seed=project.config.seed, folder=project.folder)
    account = Account(
        folder=folder_of(project),
        fingerprint=fingerprint_of_rows(rows),
        name=rows.name,
        source=data.train or data.source,
    )
    return account, len(rows)


def _readings(data: DataConfig) -> Iterator[tuple[DataConfig, str]]:
    """How the rows are read for their fingerprint: as a whole, then as earlier versions took them.

    Of a table that is split into training and held-out rows the whole is all of its rows: which of them are
    trained on is a choice of the config, and another choice would open another ledger on the same people.
    """
    rows = _with_every_column(data)
    if not _is_file(data):
        yield rows, "train"
        return
    if data.members in SPLITS:  # names rows to audit, and no column
        rows = rows.model_copy(update={"members": None})
    whole = rows.model_copy(update={"person": None, "members": None})
    if data.train is None:
        yield whole, "all"
    yield whole, "train"
    if rows != whole:
        yield rows, "train"


def _with_every_column(data: DataConfig) -> DataConfig:
    """The same split of the same source, of which nothing is dropped; in a file no role takes a column out.

    Else dropping a column would open another ledger on the same people. ``person`` and ``members`` stay, as
    they decide which rows are trained on.
    """
    whole = data.model_copy(update={"limit": None, "drop": (), "features": None})
    if not _is_file(data):
        return whole
    left_open = ("weight", "prediction", "score", "text")
    none = dict.fromkeys(("sensitive_features", "control_features"), ())
    return whole.model_copy(update={**none, **dict.fromkeys(left_open)})


def _is_file(data: DataConfig) -> bool:
    """Whether it is a table of single rows in a file."""
    return not data.counted and Path(data.source).suffix.lower() in SUFFIXES


def _set_budget(found: _Accounts, project: Project) -> None:
    if project.config.privacy_budget is not None:
        delta = default_delta(public_count(found.n_rows))
        found.account.set_budget(project.config.privacy_budget, delta)


def folder_of(project: Project | None) -> Path:
    """Where the ledgers lie."""
    named = None if project is None else project.config.ledger
    return ledger_folder(None if project is None or named is None else project.folder / named)


def replay_key_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Where the key of replays lies: ``$AUDITKIT_REPLAY_KEY_FILE``, else beside the ledgers of the user."""
    if environment.get(KEY_VARIABLE):
        return Path(environment[KEY_VARIABLE]).expanduser().resolve()
    return ledger_folder(None, environment) / "replay.key"


def recording_of(
    project: Project,
    *,
    purpose: str,
    partial: Path,
    runs: Path,
    accept_lost_ledger: bool,
    replay: bool = False,
) -> Recording:
    """Where a private training of this config is written down, once its ledger is found to be whole.

    Args:
        project: On whose training rows it is.
        purpose: What the ledger calls it.
        partial: Folder in which it can be taken up again.
        runs: Folder of run folders. A line that a variant in one of them names must be in the ledger, as one
            that a checkpoint beside the audited one names.
        accept_lost_ledger: Do not refuse a ledger that lacks one; the certificate then says so.
        replay: Keep the noise to come of a certified training, locked by the key of the user.

    Raises:
        LedgerError: The ledger was changed, removed, cut off or replaced; nothing was written to it.
    """
    found = _unbudgeted(project)
    folders = [project.checkpoint.parent, *sorted(runs.glob("*/variants"))]
    waivers = _check_lines_are_there(found, folders, accept=accept_lost_ledger)
    _set_budget(found, project)
    return Recording(
        account=found.account,
        purpose=purpose,
        partial=partial,
        replay_key=replay_key_file() if replay else None,
        waivers=waivers,
    )


def _check_lines_are_there(found: _Accounts, folders: Sequence[Path], *, accept: bool) -> tuple[Message, ...]:
    """Refuse a ledger that lacks a line which the certificate of a checkpoint in ``folders`` rests on.

    With ``accept`` it is not refused: that is written into it, for every later certificate to tell, and
    what this one has to say of its own is returned.

    Raises:
        LedgerError: It was removed, cut off or replaced: what was spent is not known. Or it cannot be
            written.
    """
    missing = _missing_lines(found, folders)
    if not missing:
        return ()
    checkpoint, account, line = missing[0]
    if accept:
        found.account.waive([one for _, _, one in missing], checkpoint=checkpoint.name)
        values = {"n": len(missing), "checkpoint": checkpoint.name}
        return (Message(text=_WAIVER, values=values),)
    others = f" (and those of {len(missing) - 1} more)" if len(missing) > 1 else ""
    raise LedgerError(
        f"{account.path}: lacks line {line.number + 1} ({line.hash[:_SHOWN]}), on which the certificate of "
        f"{checkpoint}{others} rests. The privacy ledger of these rows was removed, cut off or replaced, so "
        "what was spent on them is not known. No step was taken. Put the ledger back, or set "
        "AUDITKIT_LEDGER, or ledger: in the config, to the folder where it lies. --accept-lost-ledger "
        "(accept_lost_ledger: true of a variant) trains all the same; the certificate then says so"
    )


_WAIVER = (
    "the ledger of these rows was lost: it lacks lines on which certificates of earlier models rest, "
    "{checkpoint} for one; such models in all: {n}. What they spent is in no sum here; that was accepted "
    "with --accept-lost-ledger (accept_lost_ledger: true of a variant)"
)


def _missing_lines(found: _Accounts, folders: Sequence[Path]) -> list[tuple[Path, Account, LedgerPointer]]:
    """Checkpoints trained on these rows, and the line that each names and its ledger lacks."""
    chains = {fingerprint: read_chain(account.path) for fingerprint, account in found.known.items()}
    return [
        (path, found.known[ledger.fingerprint], ledger.line)
        for folder in folders
        for path, certificate in certificates_in(folder)
        if (ledger := certificate.ledger) is not None
        and ledger.fingerprint in chains
        and not chains[ledger.fingerprint].holds(ledger.line)
    ]


def ledgers(folder: Path, *, delta: float | None = None) -> list[LedgerSummary]:
    """Every ledger in a folder.

    Raises:
        LedgerError: One of them was changed or damaged.
    """
    return [summary_of(path, delta=delta) for path in ledger_files(folder)]


def find_ledger(folder: Path, wanted: str, *, delta: float | None = None) -> LedgerSummary:
    """The ledger with this name, source or beginning of a fingerprint.

    Raises:
        UsageError: There is none, or more than one.
    """
    known = {path: LedgerState.of(read_chain(path)).opened for path in ledger_files(folder)}
    found = [
        path
        for path, opened in known.items()
        if path.name.startswith(wanted.lower())
        or (opened is not None and wanted in (opened.name, opened.source))
    ]
    if len(found) == 1:
        return summary_of(found[0], delta=delta)
    shown = [f"{path.stem[:_SHOWN]} {opened.name if opened else '?'}" for path, opened in known.items()]
    listed = ", ".join(shown) if shown else "none yet"
    what = "no ledger" if not found else f"{len(found)} ledgers"
    hint = "" if len(found) < 2 else " Name one by the beginning of its fingerprint."
    raise UsageError(f"{folder}: {what} for {wanted!r}.{hint} Known: {listed}")


def summary_of(path: Path, *, delta: float | None) -> LedgerSummary:
    """One ledger, every line checked."""
    chain = read_chain(path)
    state = LedgerState.of(chain)
    if state.opened is None:
        raise LedgerError(f"{path}: is empty. A ledger names its rows in its first line; was it cut off?")
    chosen = delta or (DEFAULT_DELTA if state.budget is None else state.budget.delta)
    spent = composed(state.spent(), chosen, state.tunings())
    return LedgerSummary(
        account=Account(
            folder=path.parent,
            fingerprint=state.opened.fingerprint,
            name=state.opened.name,
            source=state.opened.source,
        ),
        state=state,
        lines=chain.lines,
        delta=chosen,
        spent=spent,
        remaining=_remaining(state, spent, chosen),
    )


def _remaining(state: LedgerState, spent: Composed, delta: float) -> float | None:
    """Epsilon that is left of the budget, at the delta of the budget."""
    if state.budget is None:
        return None
    if delta != state.budget.delta:
        spent = composed(state.spent(), state.budget.delta, state.tunings())
    return max(0.0, state.budget.epsilon - spent.epsilon)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningCost:
    """What choosing the best of several runs like one of the ledger would spend.

    Attributes:
        run: Which one.
        law: Of the number of runs, drawn before the first.
        mean: Expected number of runs.
        one: Epsilon of that run alone.
        tuned: Of the best of them, where no other is ever seen.
    """

    run: str
    law: Law
    mean: float
    one: float
    tuned: float


def tuning_cost(summary: LedgerSummary, law: Law, mean: float) -> TuningCost:
    """Of runs like the last that spent anything.

    Raises:
        UsageError: None has, or ``mean`` is out of range.
    """
    spent = [run for run in summary.state.runs.values() if run.spent]
    if not spent:
        raise UsageError(
            f"{summary.account.name}: no run has spent anything yet whose settings could be tuned"
        )
    last = spent[-1]
    return TuningCost(
        run=last.run,
        law=law,
        mean=mean,
        one=summary.epsilon_of(last),
        tuned=tuned_epsilon(last.spent, summary.delta, law=law, mean=mean),
    )


def change_budget(summary: LedgerSummary, epsilon: float, delta: float | None) -> LedgerSummary:
    """Set the budget of these rows, which may raise it."""
    if not 0 < epsilon < float("inf"):
        raise UsageError(f"--set-budget {epsilon:g}: expected a number above 0")
    present = summary.state.budget
    chosen = delta or (DEFAULT_DELTA if present is None else present.delta)
    summary.account.set_budget(epsilon, chosen, may_rise=True)
    return summary_of(summary.account.path, delta=delta)


def import_history(
    config: Path | str,
    file: Path,
    *,
    delta: float | None = None,
    overrides: Sequence[str] = (),
    tell: Callable[[str], None] = lambda _text: None,
) -> LedgerSummary:
    """Charge what an Opacus checkpoint says it spent to the training rows of ``config``.

    A file that was imported before is charged again, and ``tell`` is called with a sentence that says so.

    Raises:
        CheckpointError: The file holds no such history.
        UnsafeError: Loading it could execute code.
    """
    project = open_project(config, overrides)
    history = read_history(file)
    account = account_of(project)
    earlier = account.imports_of(history.sha256)
    if earlier:
        tell(
            f"{file}: this very file was imported before, as run {earlier[0]}. Its steps are charged once "
            "more, and a ledger takes nothing back"
        )
    account.add_import(
        history.spendings,
        purpose=f"imported: {file.name}",
        unverified=history.unverified,
        sha256=history.sha256,
    )
    return summary_of(account.path, delta=delta)
