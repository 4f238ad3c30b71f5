"""Zip archives of others: judged by their table of contents before anything in them is decompressed."""

import re
import stat
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from auditkit.errors import CheckpointError, UnsafeError

MOST_MEMBERS = 100_000
LONGEST_NAME = 512
MOST_RATIO = 100
"""Numbers shrink by a few times at most; a thousandfold is a bomb."""

FREE_B = 2**20
"""Below this, a ratio says nothing and harms nobody."""

NATIVE = (
    ".so",
    ".dll",
    ".dylib",
    ".cubin",
    ".fatbin",
    ".ptx",
    ".cpp",
    ".cc",
    ".c",
    ".cu",
    ".o",
    ".a",
    ".exe",
    ".pyd",
    ".py",
)
"""Code of the machine, or what becomes it."""

UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    EOFError,
    MemoryError,
)
"""What a damaged archive makes zipfile raise."""

_ENCRYPTED = 0x1
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, slots=True)
class CheckedArchive:
    """An open archive whose names and sizes were found in order.

    Attributes:
        where: The file.
        members: What it holds, by name; folders are left out.
    """

    where: Path
    archive: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]

    def read(self, name: str, *, limit_b: int | None = None) -> bytes:
        """The content of a member, never more than its table of contents says.

        Raises:
            CheckpointError: Larger than ``limit_b``, or damaged.
        """
        member = self.members[name]
        if limit_b is not None and member.file_size > limit_b:
            raise CheckpointError(
                f"{self.where}: {name}: {member.file_size} bytes, expected at most {limit_b}; save it again"
            )
        try:
            with self.archive.open(member) as stream:
                return stream.read(member.file_size)
        except UNREADABLE as error:
            raise CheckpointError(
                f"{self.where}: {name}: damaged: {str(error) or type(error).__name__}; save or copy it again"
            ) from None

    def start(self, name: str, n_bytes: int = 8) -> bytes:
        """The first bytes of a member; the rest stays compressed."""
        try:
            with self.archive.open(self.members[name]) as stream:
                return stream.read(n_bytes)
        except UNREADABLE as error:
            raise CheckpointError(
                f"{self.where}: {name}: damaged: {str(error) or type(error).__name__}; save or copy it again"
            ) from None


@contextmanager
def checked_archive(path: Path) -> Iterator[CheckedArchive]:
    """Open a zip archive after a look at its table of contents.

    Raises:
        UnsafeError: A name leads out of the archive or hides something, or it would decompress to far more
            than it is.
        CheckpointError: Not a zip archive, damaged, encrypted or packed in a way that models are not.
    """
    try:
        archive = zipfile.ZipFile(path)
    except UNREADABLE as error:
        reason = str(error) or type(error).__name__
        raise CheckpointError(f"{path}: truncated or damaged: {reason}; save or copy it again") from None
    with archive:
        entries = archive.infolist()
        _refuse_names(path, entries)
        _refuse_sizes(path, entries)
        yield CheckedArchive(path, archive, {e.filename: e for e in entries if not e.is_dir()})


def native_members(names: Iterator[str]) -> list[str]:
    """The names of members that hold code for a machine."""
    return [name for name in names if "aotinductor" in name.lower() or name.lower().endswith(NATIVE)]


def _refuse_names(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    if len(entries) > MOST_MEMBERS:
        raise UnsafeError(f"{path}: {len(entries)} members, expected at most {MOST_MEMBERS}. Save it again")
    for entry in entries:
        fault = _fault(entry)
        if fault:
            raise UnsafeError(
                f"{path}: the member {entry.orig_filename[:80]!r} {fault}. Nothing was unpacked. "
                "No model is saved so; get the file again from a source you trust"
            )
    counts = Counter(entry.filename.casefold() for entry in entries)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise UnsafeError(
            f"{path}: the member {twice[0][:80]!r} is there more than once, so that readers disagree about "
            "its content. Nothing was unpacked. Get the file again from a source you trust"
        )


def _fault(entry: zipfile.ZipInfo) -> str | None:
    # zipfile cuts a name at a NUL byte and turns the separators of Windows; the original tells.
    name = entry.orig_filename
    if len(name) > LONGEST_NAME:
        return f"has a name of {len(name)} characters"
    if not name or any(ord(character) < 32 for character in name):
        return "has control characters in its name"
    if "\\" in name or name.startswith("/") or _DRIVE.match(name) or ".." in name.split("/"):
        return "leads out of the archive"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "is a link"
    return None


def _refuse_sizes(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    for entry in entries:
        if entry.flag_bits & _ENCRYPTED:
            raise CheckpointError(f"{path}: {entry.filename}: encrypted; save it without a password")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise CheckpointError(f"{path}: {entry.filename}: packed in an unusual way; save it again")
        if entry.file_size > FREE_B and entry.file_size > MOST_RATIO * max(1, entry.compress_size):
            raise UnsafeError(
                f"{path}: {entry.filename} would grow from {entry.compress_size} to {entry.file_size} bytes "
                "(a zip bomb). Nothing was unpacked. Get the file again from a source you trust"
            )
    packed, total = path.stat().st_size, sum(entry.file_size for entry in entries)
    if total > FREE_B + MOST_RATIO * packed:
        raise UnsafeError(
            f"{path}: its {packed} bytes would grow to {total} (a zip bomb). Nothing was unpacked. "
            "Get the file again from a source you trust"
        )
