"""An append-only file of chained lines: nothing in it is ever rewritten, and what was changed is named.

Every line holds the hash of the one before it. A line is on disk before the function that appended it
returns. A process that is killed while it writes leaves a fragment without an end of line; it never took
the step it wanted to reserve. The fragment stays, and the next line names its hash.

What a chain cannot show is that its last lines were cut off: whoever can write the file can do that. Each
certificate therefore names the line it rests on.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock
from pydantic import ValidationError

from auditkit.errors import LedgerError
from auditkit.records import LedgerEntry, LedgerLine, LedgerPointer

START = hashlib.sha256(b"auditkit privacy ledger 1").hexdigest()
"""What the first line names as the hash before it."""

PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Chain:
    """The lines of a ledger in order, and what stands after the last of them.

    Attributes:
        lines: Each checked against the one before it.
        rest: A fragment that no line names yet; empty in a file that ends well.
        ends_line: Whether the file ends with an end of line, or is empty.
    """

    lines: tuple[LedgerLine, ...] = ()
    rest: bytes = b""
    ends_line: bool = True

    @property
    def head(self) -> LedgerPointer:
        """The last line, to be named in certificates."""
        if not self.lines:
            return LedgerPointer(number=0, hash=START)
        return LedgerPointer(number=self.lines[-1].number, hash=self.lines[-1].hash)

    def holds(self, pointer: LedgerPointer) -> bool:
        """Whether the line that ``pointer`` names is still there."""
        return pointer.number < len(self.lines) and self.lines[pointer.number].hash == pointer.hash


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep every other process (and thread) from appending to ``path`` inside the block.

    Raises:
        LedgerError: The folder cannot be written, or another process kept the lock for a minute.
    """
    lock = lock_of(path.with_name(path.name + ".lock"), timeout_s=PATIENCE_S)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout:
        raise LedgerError(
            f"{path}: another process has held the privacy ledger for {PATIENCE_S:g} s. Try again later"
        ) from None
    except (OSError, NotImplementedError) as error:
        raise LedgerError(f"{path}: the privacy ledger cannot be locked: {error}. {_ELSEWHERE}") from error
    try:
        yield
    finally:
        lock.release()


def lock_of(path: Path, *, timeout_s: float) -> filelock.BaseFileLock:
    """A lock of the operating system, which ends with the process that holds it.

    Raises:
        LedgerError: There are no such locks here.
    """
    if filelock.FileLock is filelock.SoftFileLock:
        raise LedgerError("This system has no file locks; a privacy ledger cannot be kept on it")
    return filelock.FileLock(path, timeout=timeout_s, is_singleton=False, thread_local=False)


_ELSEWHERE = "Set AUDITKIT_LEDGER, or ledger: in the config, to a folder that can be written"


def read_chain(path: Path) -> Chain:
    """All lines of a ledger; none where there is no file.

    Raises:
        LedgerError: The file cannot be read, or a line was changed, removed or damaged; it is named.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Chain()
    except OSError as error:
        raise LedgerError(f"{path}: the privacy ledger cannot be read: {error}") from error
    *ended, tail = content.split(b"\n")
    lines: list[LedgerLine] = []
    fragments: list[bytes] = []
    for number, part in enumerate([*ended, tail] if tail else ended, start=1):
        values = _values(part)
        if values is None:
            fragments.append(part)
            continue
        if fragments and values.get("torn") != _digest(b"\n".join(fragments)):
            raise LedgerError(f"{path}: line {number - len(fragments)} is damaged; {_CHANGED}")
        lines.append(_checked(values, lines, f"{path}: line {number}"))
        fragments = []
    if fragments and not tail:
        raise LedgerError(f"{path}: line {len(ended)} is damaged; {_CHANGED}")
    return Chain(tuple(lines), b"\n".join(fragments), ends_line=not tail)


def append(path: Path, chain: Chain, entries: Sequence[LedgerEntry]) -> Chain:
    """Add lines and force them to disk; inside :func:`locked` only.

    Args:
        path: The ledger.
        chain: As just read.
        entries: What to add.

    Raises:
        LedgerError: Not everything came to disk. Nothing may be spent then.
    """
    fresh = []
    torn = _digest(chain.rest) if chain.rest else None
    previous = chain.head
    for number, entry in enumerate(entries, start=len(chain.lines)):
        fresh.append(_sealed(number, previous.hash, torn, entry))
        previous, torn = LedgerPointer(number=number, hash=fresh[-1].hash), None
    start = b"" if chain.ends_line else b"\n"
    _write(path, start + b"".join(_encoded(line.model_dump(mode="json")) + b"\n" for line in fresh))
    return Chain((*chain.lines, *fresh))


def _write(path: Path, content: bytes) -> None:
    is_new = not path.exists()
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            written = os.write(descriptor, content)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if is_new and hasattr(os, "O_DIRECTORY"):
            _sync_folder(path.parent)
    except OSError as error:
        raise LedgerError(
            f"{path}: the privacy ledger cannot be written: {error}. Nothing was trained on. {_ELSEWHERE}"
        ) from error
    if written != len(content):
        raise LedgerError(f"{path}: only {written} of {len(content)} bytes came to disk; it is probably full")


def _sync_folder(folder: Path) -> None:
    """So that the name of a new file survives a loss of power as its content does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _values(part: bytes) -> dict[str, Any] | None:
    """The content of a line; ``None`` for a fragment."""
    try:
        values = json.loads(part)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) and _encoded(values) == part else None


_CHANGED = (
    "what was spent before it cannot be told any more. Restore the file from a copy; without it the budget "
    "of these rows is unknown"
)


def _checked(values: dict[str, Any], before: Sequence[LedgerLine], where: str) -> LedgerLine:
    """The line, after its hash and its place were found in order."""
    expected = _hash({key: value for key, value in values.items() if key != "hash"})
    if values.get("hash") != expected:
        raise LedgerError(
            f"{where} was changed: its hash is {str(values.get('hash'))[:12]}, its content gives "
            f"{expected[:12]}; {_CHANGED}"
        )
    try:
        line = LedgerLine.model_validate(values)
    except ValidationError:
        raise LedgerError(f"{where} was written by a newer auditkit. Update auditkit") from None
    if line.previous != (before[-1].hash if before else START) or line.number != len(before):
        raise LedgerError(
            f"{where} does not follow from the one before it: lines were removed or added; {_CHANGED}"
        )
    return line


def _sealed(number: int, previous: str, torn: str | None, entry: LedgerEntry) -> LedgerLine:
    values = {
        "number": number,
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "previous": previous,
        "torn": torn,
        "entry": entry.model_dump(mode="json"),
    }
    return LedgerLine.model_validate({**values, "hash": _hash(values)})


def _hash(values: dict[str, Any]) -> str:
    return _digest(_encoded(values))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _encoded(content: dict[str, Any]) -> bytes:
    """One way to write a line, so that its hash can be taken again."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
