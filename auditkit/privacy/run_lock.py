"""Whether a private training still goes on: the process that takes its steps holds a lock while it lives."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from auditkit.errors import LedgerError, PrivacyRefusedError
from auditkit.privacy.ledger_file import lock_of


@contextmanager
def going_on(path: Path, what: str) -> Iterator[None]:
    """Hold the lock of a run inside the block.

    Args:
        path: Of the lock file, which lies there as long as it is held.
        what: Names the run in messages.

    Raises:
        PrivacyRefusedError: Another process holds it.
        LedgerError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = lock_of(path, timeout_s=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise PrivacyRefusedError(f"{what} still goes on in another process") from None
    except OSError as error:
        raise LedgerError(f"{path}: cannot be written: {error}") from error
    try:
        yield
    finally:
        lock.release()
        path.unlink(missing_ok=True)


def is_held(path: Path) -> bool:
    """Whether a process holds it; that ends with the process, however it ends."""
    if not path.exists():
        return False
    lock = lock_of(path, timeout_s=0)
    try:
        lock.acquire()
    except filelock.Timeout:
        return True
    lock.release()
    return False
