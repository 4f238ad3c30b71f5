"""An exported program (``.pt2``) as a subject: gradients, but no layers that could be called one by one.

The file is checked and written anew (:mod:`auditkit.subjects.program_archive`), then loaded in a process of
its own that has limits and an empty environment, and only then here. The process makes a crash or a loop of
torch's loader harmless. It mitigates; it is no sandbox, and the check before it is what keeps code out.
"""

import copy
import io
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export.passes import move_to_device_pass

from auditkit.config.model import Architecture
from auditkit.errors import CheckpointError
from auditkit.records import Message
from auditkit.subjects import trial_load
from auditkit.subjects.foreign_module import Facts, foreign_subject, rows_of
from auditkit.subjects.program_archive import CheckedProgram, check_program
from auditkit.subjects.torch_subject import TorchSubject

TIME_LIMIT_S = 60
_KEPT = ("LD_LIBRARY_PATH", "SYSTEMROOT")
"""What an interpreter may need to start at all."""

_FIXED = (
    "The exported program takes {n} rows at once; a last batch with fewer is filled up with its last row."
)
_LIMITED = (
    "The exported program takes {least} to {most} rows at once; other batches are divided or filled up."
)
_AT_LEAST = (
    "The exported program takes at least {least} rows at once; a smaller batch is filled up by its last row."
)


def load_exported_program(path: Path, facts: Facts, *, time_limit_s: float = TIME_LIMIT_S) -> TorchSubject:
    """The subject in a ``.pt2`` file.

    Args:
        path: The archive.
        facts: What the config and the data say of it.
        time_limit_s: For the trial in a process of its own.

    Raises:
        UnsafeError: Loading it could execute code.
        CheckpointError: Damaged, not loading, or not fitting the data.
    """
    program = check_program(path)
    rows_of(facts, path)
    try_in_a_process(program, path, time_limit_s=time_limit_s)
    return subject_of_program(program, path, facts)


def subject_of_program(program: CheckedProgram, path: Path, facts: Facts) -> TorchSubject:
    """The subject in a checked archive that was tried before.

    Raises:
        CheckpointError: Not loading, or not fitting the data.
    """
    try:
        module = ExportedModule(program, facts.device)
    except Exception as error:  # torch raises whatever the text happens to break
        raise CheckpointError(f"{path}: cannot be loaded: {_first_line(error)}. Export it again") from None
    return foreign_subject(
        module,
        path,
        facts,
        architecture=Architecture(name="exported-program"),
        statements=_statements(program),
    )


def try_in_a_process(program: CheckedProgram, path: Path, *, time_limit_s: float = TIME_LIMIT_S) -> None:
    """Load and run the checked archive where a crash, a loop or a flood of memory harms nothing.

    Raises:
        CheckpointError: It did not come through.
    """
    taken = program.input
    with tempfile.TemporaryDirectory(prefix="auditkit-") as folder:
        copied = Path(folder) / "program.pt2"
        copied.write_bytes(program.content)
        words = [
            *(sys.executable, "-I", "-B", trial_load.__file__, str(copied)),
            *(json.dumps([taken.least, *taken.shape]), str(taken.dtype).removeprefix("torch.")),
            *(str(max(1, round(time_limit_s))), str(len(program.content))),
        ]
        try:
            done = subprocess.run(  # noqa: S603 - our own program on a file of our own
                words,
                capture_output=True,
                timeout=time_limit_s,
                env=_environment(folder),
                cwd=folder,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CheckpointError(
                f"{path}: loading it took over {time_limit_s:g} s and was stopped. Export a smaller model"
            ) from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines() or [f"exit {done.returncode}"]
        raise CheckpointError(
            f"{path}: torch cannot load and run it: {said[-1][:300]}. "
            f"Export it again with torch {torch.__version__.partition('+')[0]}"
        )


def _environment(folder: str) -> dict[str, str]:
    """No proxies, no home, no credentials; one thread, no CUDA device."""
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    own = {"HOME": folder, "TMPDIR": folder, "USER": "auditkit", "OMP_NUM_THREADS": "1"}
    return {**kept, **own, "CUDA_VISIBLE_DEVICES": "", "TORCHINDUCTOR_CACHE_DIR": folder}


class ExportedModule(nn.Module):
    """A checked program as a module in evaluation mode.

    It takes batches of any size and rows of any layout with the right number of values, and can be pickled.
    """

    def __init__(self, program: CheckedProgram, device: str = "cpu") -> None:
        super().__init__()
        self.checked = program
        self.program = _loaded(program, device)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits of the rows, shape ``(n, ...)``, differentiable in ``inputs``."""
        taken = self.checked.input
        rows = inputs.reshape(len(inputs), *taken.shape).to(taken.dtype)
        most = len(rows) if taken.most is None else taken.most
        parts = [self._of_batch(batch) for batch in torch.split(rows, max(most, 1))]
        outputs = parts[0] if len(parts) == 1 else torch.cat(parts)
        return outputs.float() if outputs.is_floating_point() else outputs

    def _of_batch(self, rows: torch.Tensor) -> torch.Tensor:
        n, least = len(rows), self.checked.input.least
        if n < least:
            rows = torch.cat([rows, rows[-1:].expand(least - n, *rows.shape[1:])])
        outputs: torch.Tensor = self.program(rows)
        return outputs[:n]

    def train(self, mode: bool = True) -> "ExportedModule":
        """Stay in evaluation mode: the program was exported in it, and its graph has no other."""
        del mode
        self.training = False
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """As archive and values, because the modules that torch builds from programs cannot be pickled."""
        places = {str(tensor.device) for tensor in (*self.parameters(), *self.buffers())} or {"cpu"}
        flags = {name: parameter.requires_grad for name, parameter in self.named_parameters()}
        return _rebuilt, (self.checked, min(places), dict(self.state_dict()), flags)

    def __deepcopy__(self, memo: dict[int, Any]) -> "ExportedModule":
        function, arguments = self.__reduce__()
        made: ExportedModule = function(*(copy.deepcopy(argument, memo) for argument in arguments))
        return made


def _rebuilt(
    program: CheckedProgram, device: str, state: Mapping[str, torch.Tensor], flags: Mapping[str, bool]
) -> ExportedModule:
    module = ExportedModule(program, device)
    module.load_state_dict(state)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(flags[name])
    return module.eval()


def _loaded(program: CheckedProgram, device: str) -> nn.Module:
    with warnings.catch_warnings():
        # torch 2.13 warns of its own deprecated layouts of inputs while it reads them.
        warnings.simplefilter("ignore")
        read = torch.export.load(io.BytesIO(program.content))
        if device != "cpu":
            read = move_to_device_pass(read, device)
        module = read.module()
    for part in module.modules():
        part.training = False  # .eval() raises on it
    return module


def _statements(program: CheckedProgram) -> tuple[Message, ...]:
    taken = program.input
    if taken.least == taken.most:
        return (Message(text=_FIXED, values={"n": taken.least}),)
    if taken.most is not None:
        return (Message(text=_LIMITED, values={"least": taken.least, "most": taken.most}),)
    if taken.least > 1:
        return (Message(text=_AT_LEAST, values={"least": taken.least}),)
    return ()


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:300]
