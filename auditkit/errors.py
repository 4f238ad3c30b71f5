"""Every error a user can cause, and the exit code that belongs to it.

AuditkitError                 3   anything unforeseen that we raise ourselves
├── UsageError                2   bad command, config or data
│   ├── ConfigError           2   one or many problems, each with file:line:column
│   ├── DataError             2   shape, type, range, missing column, unreadable file
│   ├── CheckpointError       2   truncated, incomplete or mismatching weights
│   ├── PluginError           2   a broken or clashing entry point
│   └── RunFolderError        2   a run that is unfinished, damaged or too new to read
├── DivergedError             3   a private training whose weights became infinite
├── NothingMeasuredError      3   every audit failed or was skipped
├── NothingReleasedError      3   a private tuning that drew no run, or none that gave a model
├── UnsafeError               5   refused: loading it could execute code
├── PrivacyRefusedError       5   refused: privacy would be spent beyond what was allowed, or for nothing
│   └── LedgerError           5   a privacy ledger that was changed, or cannot be read or written
├── MissingExtraError         6   an optional dependency is absent, named
└── Interrupted             130   Ctrl-C

A message says where, what was got, what is expected and what to do. ``auditkit`` prints it without a
traceback (``--debug`` shows one).
"""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar


class AuditkitError(Exception):
    """Base of all errors that the command line reports without a traceback."""

    exit_code: ClassVar[int] = 3


class UsageError(AuditkitError):
    """The command, the config or the data cannot be used as given."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a config: where it stands and what to do about it."""

    message: str
    path: tuple[str | int, ...] = ()
    location: str = ""

    def __str__(self) -> str:
        key = ".".join(str(part) for part in self.path)
        return ": ".join(part for part in (self.location, key, self.message) if part)


class ConfigError(UsageError):
    """A config with one or many problems; all are reported at once."""

    def __init__(self, problems: Sequence[Problem] | str) -> None:
        self.problems = (Problem(problems),) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class DataError(UsageError):
    """Data that cannot be read or that contradicts itself."""


class CheckpointError(UsageError):
    """Weights that cannot be read or do not fit the architecture."""


class PluginError(UsageError):
    """An entry point that cannot be loaded, or two that share a name."""


class RunFolderError(UsageError):
    """A run folder that is unfinished, damaged or written by a newer version."""


class DivergedError(AuditkitError):
    """A private training whose weights became infinite."""


class NothingReleasedError(AuditkitError):
    """A private tuning without a result. It is charged all the same."""


class NothingMeasuredError(AuditkitError):
    """No audit produced a measurement."""


class UnsafeError(AuditkitError):
    """A file whose loading could execute code. Nothing in it was executed."""

    exit_code = 5


class PrivacyRefusedError(AuditkitError):
    """A private training that would spend more than was allowed, or protect next to nothing."""

    exit_code = 5


class LedgerError(PrivacyRefusedError):
    """A privacy ledger that was changed, or cannot be read or written: what was spent is not known."""


class MissingExtraError(AuditkitError):
    """An optional dependency is not installed.

    Args:
        purpose: What needs it.
        extra: The name of the extra that installs it.
    """

    exit_code = 6

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f'{purpose} needs an extra: pip install "auditkit[{extra}]"')


class Interrupted(AuditkitError):  # noqa: N818 - named after the signal, not an error of anyone
    """The user stopped the command; what was measured is kept for the next start."""

    exit_code = 130


def closest(name: str, known: Iterable[str]) -> str:
    """A sentence that helps with a misspelt name: the closest known one, then all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"{hint}Known: {', '.join(names) if names else 'none'}."
