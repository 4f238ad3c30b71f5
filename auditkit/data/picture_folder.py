"""A folder of pictures without labels: which files it holds, their digest, and all of them as grey values."""

import hashlib
import os
from itertools import islice
from pathlib import Path

import numpy as np

from auditkit.data.picture_file import FORMATS, read_grey
from auditkit.data.rows import ByteArray
from auditkit.errors import DataError

MOST_PICTURES = 5000
ENDINGS = tuple(ending for endings in FORMATS.values() for ending in endings)
_LEFT_BY_SYSTEMS = frozenset({"thumbs.db", "desktop.ini"})
_NAMED = 5
"""Files with a problem that are named in a message; the others are counted."""


def picture_paths(folder: Path) -> list[Path]:
    """The files of a folder in the order of their names, all of them pictures by their ending.

    Files whose name begins with a dot, and those that systems leave, are passed over.

    Raises:
        DataError: There are none or too many, or there is something else beside them: a folder, a file with
            another ending, a link out of the folder.
    """
    seen = (path for path in folder.iterdir() if not _is_left_by_system(path.name))
    paths = sorted(islice(seen, MOST_PICTURES + 1))
    if not paths:
        raise DataError(f"{folder}: no pictures in this folder; put {', '.join(ENDINGS)} files into it")
    if len(paths) > MOST_PICTURES:
        raise DataError(f"{folder}: more than {MOST_PICTURES:,} files; give a part of them")
    root = os.path.realpath(folder)
    found = [(path, _why_none(path, root)) for path in paths]
    _refuse(folder, [f"{path.name!r} {why}" for path, why in found if why is not None], len(paths))
    return paths


def sha256_of_pictures(folder: Path) -> str:
    """sha256 over the names of the files and what they hold.

    Raises:
        DataError: As :func:`picture_paths`, or a file cannot be read.
    """
    total = hashlib.sha256()
    for path in picture_paths(folder):
        try:
            with path.open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None
        total.update(f"{len(os.fsencode(path.name))}:".encode() + os.fsencode(path.name) + content.encode())
    return total.hexdigest()


def read_picture_folder(folder: Path, *, height: int, width: int) -> ByteArray:
    """All pictures of a folder, grey values in ``[0, 255]``, shape ``(n, height, width)``.

    Args:
        folder: Pictures of any size and colour, and nothing else.
        height: Of every picture as it comes out; see :func:`~auditkit.data.picture_file.read_grey`.
        width: Likewise.

    Raises:
        DataError: As :func:`picture_paths`, or pictures cannot be read; all of them are told at once.
    """
    paths, pictures, problems = picture_paths(folder), [], []
    for path in paths:
        try:
            pictures.append(read_grey(path, height=height, width=width))
        except DataError as error:
            problems.append(str(error))
    _refuse(folder, problems, len(paths))
    return np.stack(pictures)


def _is_left_by_system(name: str) -> bool:
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def _why_none(path: Path, root: str) -> str | None:
    """Why this is no picture of the folder, before it is opened."""
    if path.is_symlink() and os.path.commonpath([root, os.path.realpath(path)]) != root:
        return "is a link out of the folder"
    if path.is_dir():
        return "is a folder"
    if path.suffix.lower() not in ENDINGS:
        return f"does not end in {', '.join(ENDINGS)}"
    # opening a pipe or a device would wait for ever
    return None if path.is_file() else "is no file that can be opened"


def _refuse(folder: Path, problems: list[str], n: int) -> None:
    if problems:
        more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise DataError(
            f"{folder}: {len(problems)} of {n} files cannot be used: {'; '.join(problems[:_NAMED])}{more}. "
            "Replace or remove them; the folder may hold pictures only"
        )
