"""Run folders: written atomically, sealed by a manifest, recognised when unfinished.

A run folder is complete when ``manifest.json`` is there; it is written last and holds the sha256 of every
other file. ``results/`` keeps each finished result under the key of the content that made it, so that a
second start of an interrupted run goes on where it stopped.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from auditkit.errors import RunFolderError
from auditkit.records import SCHEMA_VERSION, AuditResult, Run

RUN_FILE = "run.json"
MANIFEST = "manifest.json"
EVENTS = "events.jsonl"
RESULTS = "results"


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write to a temporary name in the same folder, flush to disk, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # see _is_temporary
    data = content.encode() if isinstance(content, str) else content
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def as_json(record: BaseModel) -> str:
    """JSON of a record: keys in their order (it is part of addresses and of what a report shows), no NaN."""
    values = record.model_dump(mode="json")
    return json.dumps(values, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run on disk."""

    path: Path

    @property
    def is_complete(self) -> bool:
        """Whether the run was finished and sealed."""
        return (self.path / MANIFEST).is_file()

    def start(self) -> None:
        """Make the folder, or take away the seal and reports of an earlier run in it.

        Raises:
            RunFolderError: The folder holds files that are no run; they would be sealed as part of one.
        """
        if self.path.exists() and not self._is_ours():
            raise RunFolderError(
                f"{self.path}: is not empty and not a run folder. Name a new folder with --out"
            )
        self.path.mkdir(parents=True, exist_ok=True)
        for path in [self.path / MANIFEST, self.path / RUN_FILE, *self.path.glob("report.*")]:
            path.unlink(missing_ok=True)

    def _is_ours(self) -> bool:
        if not self.path.is_dir():
            return False
        return (self.path / EVENTS).is_file() or not any(self.path.iterdir())

    def log(self, event: str, **details: Any) -> None:
        """Append one line to ``events.jsonl``."""
        line = json.dumps({"time": round(time.time(), 3), "event": event, **details}, default=str)
        with (self.path / EVENTS).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def find_result(self, key: str) -> AuditResult | None:
        """The stored result with this key; a damaged one counts as absent."""
        path = self.path / RESULTS / f"{key}.json"
        try:
            result = AuditResult.model_validate_json(path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return result if result.key == key and result.status == "measured" else None

    def keep_result(self, result: AuditResult) -> None:
        """Store a measured result for a later start. Failures are tried again, so they are not kept."""
        if result.status == "measured":
            write_atomically(self.path / RESULTS / f"{result.key}.json", as_json(result))

    def write_run(self, run: Run) -> None:
        """Store the truth of the run."""
        write_atomically(self.path / RUN_FILE, as_json(run))

    def seal(self) -> None:
        """Write the manifest: from now on the run is complete."""
        files = {name: file_digest(self.path / name) for name in sorted(self._files())}
        content = json.dumps({"version": 1, "sha256": files}, indent=1, sort_keys=True) + "\n"
        write_atomically(self.path / MANIFEST, content)

    def load_run(self) -> Run:
        """The stored run.

        Raises:
            RunFolderError: There is no run, it is unfinished, damaged, or from a newer version.
        """
        if not self.path.is_dir():
            raise RunFolderError(f"{self.path}: no such run folder")
        if not self.is_complete:
            raise RunFolderError(
                f"{self.path}: this run is unfinished (no {MANIFEST}). Repeat its `auditkit run` command; "
                "it goes on where it stopped"
            )
        try:
            values = json.loads((self.path / RUN_FILE).read_bytes())
        except (OSError, ValueError, RecursionError) as error:
            raise RunFolderError(f"{self.path / RUN_FILE}: cannot be read: {error}") from None
        found = values.get("schema_version") if isinstance(values, dict) else None
        if isinstance(found, int) and found > SCHEMA_VERSION:
            raise RunFolderError(
                f"{self.path / RUN_FILE}: has schema {found}, this auditkit reads up to {SCHEMA_VERSION}. "
                "Update auditkit"
            )
        try:
            return Run.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(str(part) for part in first["loc"])
            raise RunFolderError(f"{self.path / RUN_FILE}: {place}: {first['msg']}") from None

    def verify(self) -> list[str]:
        """What differs from the manifest, one sentence per file; empty when all is as sealed."""
        if not self.is_complete:
            raise RunFolderError(f"{self.path}: nothing to verify, the run is unfinished or not a run")
        sealed = self._sealed()
        if sealed is None:
            return [f"{MANIFEST}: damaged"]
        problems = []
        for name, digest in sealed.items():
            path = self.path / name
            if not path.is_file():
                problems.append(f"{name}: missing")
            elif file_digest(path) != digest:
                problems.append(f"{name}: changed since the run was sealed")
        return problems + [f"{name}: added later" for name in sorted(self._files() - set(sealed))]

    def _sealed(self) -> dict[str, str] | None:
        """Name and sha256 of every sealed file; ``None`` when the manifest is damaged."""
        try:
            content = json.loads((self.path / MANIFEST).read_bytes())
        except (OSError, ValueError, RecursionError):
            return None
        sealed = content.get("sha256") if isinstance(content, dict) else None
        return sealed if isinstance(sealed, dict) else None

    def _files(self) -> set[str]:
        names = {
            path.relative_to(self.path).as_posix() for path in _walk(self.path) if not _is_temporary(path)
        }
        return names - {MANIFEST}


def _walk(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file():
            yield path


def _is_temporary(path: Path) -> bool:
    """Whether a killed write left it."""
    return path.name.startswith(".") and path.name.endswith(".tmp")


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
