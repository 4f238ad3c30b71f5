"""Where published data sets lie: the user's folder, the cache, or their home on the web.

A file is looked for in ``$AUDITKIT_DATA/NAME``, then in the cache folder; only when it is in neither is it
downloaded over https, compared with the sha256 known here, and moved into the cache under its name. The
sha256 is that of the content, after gzip, so that it does not depend on how a mirror compresses.
"""

import gzip
import hashlib
import io
import os
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import platformdirs

from auditkit.errors import DataError
from auditkit.records import Message

VARIABLE = "AUDITKIT_DATA"
OpenUrl = Callable[[str], IO[bytes]]

_TIMEOUT_S = 60
_LIMIT_B = 200 * 2**20


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """One file of a published data set.

    Attributes:
        data: Name of the data set; also of the folder it lies in.
        name: File name; where it ends in ``.gz`` the same name without it is found too.
        sha256: Of the content, after gzip.
        url: Its home.
        member: Name inside the zip archive at ``url``; ``None`` when ``url`` is the file itself.
    """

    data: str
    name: str
    sha256: str
    url: str
    member: str | None = None


def open_https(url: str) -> IO[bytes]:
    """Open an https address."""
    if not url.startswith("https://"):
        raise ValueError(f"not an https address: {url}")
    stream: IO[bytes] = urllib.request.urlopen(url, timeout=_TIMEOUT_S)  # noqa: S310 - https, checked above
    return stream


def locate(file: PublishedFile, *, open_url: OpenUrl = open_https) -> Path:
    """The path of ``file`` on this machine; downloads it when it is nowhere.

    Raises:
        DataError: It cannot be downloaded, or what came is not the published file.
    """
    candidates = file.name, file.name.removesuffix(".gz")
    for folder in _folders(file.data):
        for name in candidates:
            if (folder / name).is_file():
                return folder / name
    return _download(file, cache_folder() / file.data / file.name, open_url)


def cache_folder() -> Path:
    """Where downloads are kept."""
    return Path(platformdirs.user_cache_dir("auditkit"))


def differences(files: list[tuple[PublishedFile, Path]]) -> tuple[Message, ...]:
    """A statement for every file at hand whose content is not the published one."""
    return tuple(
        Message(
            text="{file} differs from the published {data} data; figures are those of this file.",
            values={"file": path.name, "data": file.data},
        )
        for file, path in files
        if _content_sha256(path) != file.sha256
    )


def _folders(data: str) -> list[Path]:
    own = os.environ.get(VARIABLE)
    return [*([Path(own) / data] if own else []), cache_folder() / data]


def _content_sha256(path: Path) -> str | None:
    sha = hashlib.sha256()
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as stream:
            while block := stream.read(2**20):
                sha.update(block)
    except (OSError, EOFError, zlib.error):
        return None
    return sha.hexdigest()


def _download(file: PublishedFile, destination: Path, open_url: OpenUrl) -> Path:
    try:
        with open_url(file.url) as stream:
            content = stream.read(_LIMIT_B + 1)
        if file.member is not None:
            content = zipfile.ZipFile(io.BytesIO(content)).read(file.member)
        plain = gzip.decompress(content) if file.name.endswith(".gz") else content
    except (OSError, EOFError, KeyError, zlib.error, zipfile.BadZipFile, urllib.error.URLError) as error:
        raise DataError(
            f"{file.data}: {file.name} is not on this machine and could not be downloaded from "
            f"{file.url}: {error}. Set the environment variable {VARIABLE} "
            f"to a folder that has it at {file.data}/{file.name}"
        ) from None
    found = hashlib.sha256(plain).hexdigest()
    if found != file.sha256:
        raise DataError(
            f"{file.data}: {file.url} delivered other content than expected: sha256 {found}, "
            f"expected {file.sha256}. Nothing was kept. "
            f"Set the environment variable {VARIABLE} to a folder that has it at {file.data}/{file.name}"
        )
    return _keep(content, destination)


def _keep(content: bytes, destination: Path) -> Path:
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        temporary = destination.with_name(f".{destination.name}.{os.getpid()}.part")
        temporary.write_bytes(content)
        temporary.replace(destination)
    except OSError as error:
        raise DataError(
            f"{destination}: cannot be written: {error}; set {VARIABLE} to another folder"
        ) from None
    return destination
