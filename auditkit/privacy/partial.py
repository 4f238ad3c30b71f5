"""An unfinished private training on disk, so that a killed one can go on.

It holds the weights, their average, the optimiser and the line of the ledger that had been written; never
what was spent, which only the ledger says. An older copy of it therefore never lowers epsilon.

The noise that is to come is kept only where the run is to be replayed bit by bit. Whoever has it and the
weights can take the noise off; that of a certified run is locked by a key that lies elsewhere (see
:mod:`replay_key`), and it is overwritten and removed when the run ends. On storage that keeps old versions of
files (copy-on-write, flash) overwriting may leave a trace, which is locked as well. The noise of a run with a
seed follows from the seed and is kept as it is.
"""

import hashlib
import json
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError

from auditkit import __version__
from auditkit.errors import CheckpointError
from auditkit.privacy.replay_key import ReplayKey
from auditkit.records import LedgerPointer
from auditkit.records.message import Record
from auditkit.subjects.tensor_file import read_tensors, write_tensors

STATE, NOISE = "state.json", "noise.json"


class Identity(Record):
    """What a training is: to go on, ``content`` must be the same; for a replay, ``machine`` too."""

    content: dict[str, str]
    machine: dict[str, str]


class Saved(Record):
    """One saved step. ``file`` holds the tensors, ``digest`` is the sha256 of their values."""

    step: int
    run: str
    stream: int
    line: LedgerPointer
    file: str
    digest: str


class PartialState(Record):
    """What ``state.json`` holds: the last saved step and the one before it."""

    identity: Identity
    latest: Saved
    previous: Saved | None = None


@dataclass(frozen=True, slots=True)
class Partial:
    """The folder of one unfinished training.

    Attributes:
        folder: Made when needed.
        keeps_noise: Whether the positions of the random streams are kept, for a replay.
        key: Locks them; ``None`` keeps them as they are.
    """

    folder: Path
    keeps_noise: bool
    key: ReplayKey | None = None

    def read(self) -> PartialState | None:
        """What was saved last; ``None`` where nothing readable is."""
        try:
            return PartialState.model_validate_json((self.folder / STATE).read_bytes())
        except (OSError, ValidationError):
            return None

    def tensors(self, saved: Saved) -> dict[str, torch.Tensor]:
        """The tensors of a saved step.

        Raises:
            CheckpointError: They are not those that were saved.
        """
        found = read_tensors(self.folder / saved.file)
        if digest_of(found) != saved.digest:
            raise CheckpointError(f"{self.folder / saved.file}: not what was saved; remove {self.folder}")
        return found

    def noise(self, saved: Saved) -> dict[str, Any] | None:
        """The positions of the random streams at a saved step; ``None`` where they were not kept.

        Raises:
            PrivacyRefusedError: They are locked, and the key is absent or does not fit.
        """
        found = self._kept_noise().get(saved.file)
        if isinstance(found, str) and self.key is not None:
            found = json.loads(self.key.unlock(found, about=_about(saved)))
        return found if isinstance(found, dict) else None

    def _kept_noise(self) -> dict[str, Any]:
        """What ``noise.json`` holds: by name of the file of tensors, positions or what locks them."""
        try:
            values = json.loads((self.folder / NOISE).read_bytes())
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}

    def save(
        self,
        identity: Identity,
        saved: Saved,
        tensors: Mapping[str, torch.Tensor],
        noise: dict[str, Any] | None,
    ) -> None:
        """Keep one more step, and of the earlier ones the last; or the last step anew, with other noise."""
        self.folder.mkdir(parents=True, exist_ok=True)
        earlier = self.read()
        last = earlier.latest if earlier and earlier.latest.run == saved.run else None
        is_anew = last is not None and (last.step, last.digest) == (saved.step, saved.digest)
        previous = earlier.previous if earlier and is_anew else last
        if not is_anew:
            with (self.folder / saved.file).open("wb") as stream:
                write_tensors(stream, tensors)
                stream.flush()
                os.fsync(stream.fileno())
        if noise is not None:
            self._keep_noise(noise, saved, previous)
        state = PartialState(identity=identity, latest=saved, previous=previous)
        _replace(self.folder / STATE, state.model_dump_json().encode())
        kept = {saved.file, *([previous.file] if previous else [])}
        for path in self.folder.glob("step-*.safetensors"):
            if path.name not in kept:
                path.unlink()

    def forget_noise(self) -> None:
        """Overwrite and remove the positions of the random streams."""
        path = self.folder / NOISE
        if not path.exists():
            return
        with path.open("r+b") as file:
            file.write(bytes(path.stat().st_size))
            file.flush()
            os.fsync(file.fileno())
        path.unlink()

    def remove(self) -> None:
        """Take the whole folder away; nothing else may lie in it."""
        if not self.folder.is_dir():
            return
        self.forget_noise()
        for path in [self.folder / STATE, *self.folder.glob("step-*.safetensors")]:
            path.unlink(missing_ok=True)
        if not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _keep_noise(self, noise: dict[str, Any], saved: Saved, previous: Saved | None) -> None:
        """Write the positions of this step beside those of the one before."""
        content: dict[str, Any] = {saved.file: noise}
        if self.key is not None:
            content[saved.file] = self.key.lock(json.dumps(noise).encode(), about=_about(saved))
        if previous is not None:
            content[previous.file] = self._kept_noise().get(previous.file)
        path = self.folder / NOISE
        fresh = path.with_name(NOISE + ".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(json.dumps(content).encode())
            file.flush()
            os.fsync(file.fileno())
        self.forget_noise()
        fresh.replace(path)


def _about(saved: Saved) -> str:
    """What the noise of a saved step belongs to."""
    return f"{saved.run}\0{saved.stream}\0{saved.file}"


def file_of(step: int) -> str:
    """The name of the tensors of a step."""
    return f"step-{step}.safetensors"


def digest_of(tensors: Mapping[str, torch.Tensor]) -> str:
    """sha256 over names, types, shapes and values."""
    sha = hashlib.sha256()
    for name in sorted(tensors):
        values = tensors[name].detach().cpu().contiguous()
        sha.update(f"{name}\0{values.dtype}\0{tuple(values.shape)}\0".encode())
        sha.update(values.reshape(-1).view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def machine_of(device: torch.device, dtype: torch.dtype) -> dict[str, str]:
    """What decides the last bit of a sum."""
    is_cuda = device.type == "cuda"
    return {
        "auditkit": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "device": torch.cuda.get_device_name(device) if is_cuda else "cpu",
        "dtype": str(dtype),
        "threads": str(torch.get_num_threads()),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "platform": platform.platform(),
    }


def _replace(path: Path, content: bytes) -> None:
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
