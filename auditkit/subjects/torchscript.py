"""A TorchScript archive as a subject. It carries code, so it is loaded only where the user says so."""

import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn

from auditkit.config.model import Architecture
from auditkit.data.preprocessing import ImagePreprocessing
from auditkit.errors import CheckpointError, UnsafeError
from auditkit.records import Message
from auditkit.subjects.foreign_module import Facts, foreign_subject
from auditkit.subjects.torch_subject import TorchSubject

_RAN = "Code that the file carries ran while the model was loaded and audited; the config says trust: true."
_PICTURES = "Rows are given to the model as pictures of {shape}."


def load_torchscript(path: Path, facts: Facts) -> TorchSubject:
    """The subject in a TorchScript archive.

    Args:
        path: The archive.
        facts: What the config and the data say of it; ``trust`` must be set.

    Raises:
        UnsafeError: The config does not trust the file.
        CheckpointError: Damaged, or not fitting the data.
    """
    if not facts.trust:
        raise UnsafeError(
            f"{path}: a TorchScript archive, which carries code that loading compiles and runs. Nothing was "
            "executed. If you trust whoever made it, set subject.trust: true; better, save "
            "model.state_dict() with torch.save, or the model with torch.export.save"
        )
    module = _loaded(path, facts.device)
    shape = _layout(module, facts)
    statements = [Message(text=_RAN)]
    if shape:
        text = " x ".join(str(size) for size in shape)
        statements.append(Message(text=_PICTURES, values={"shape": text}))
    return foreign_subject(
        ScriptedModule(module, shape),
        path,
        facts,
        architecture=Architecture(name="torchscript"),
        statements=tuple(statements),
    )


class ScriptedModule(nn.Module):
    """A TorchScript module that can be pickled, with the layout of rows that it takes.

    Attributes:
        scripted: In evaluation mode.
        shape: Of one row, where it is not flat.
    """

    def __init__(self, scripted: nn.Module, shape: tuple[int, ...] = ()) -> None:
        super().__init__()
        self.scripted = scripted.eval()
        self.shape = shape

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Whatever the scripted module gives for the rows."""
        outputs: torch.Tensor = self.scripted(
            inputs.reshape(len(inputs), *self.shape) if self.shape else inputs
        )
        return outputs

    def __reduce__(self) -> tuple[Any, ...]:
        """As an archive, because scripted modules cannot be pickled."""
        stream = io.BytesIO()
        with warnings.catch_warnings():
            # TorchScript is deprecated since torch 2.13; whoever has such a file cannot help it.
            warnings.filterwarnings("ignore", message=".*is deprecated", category=DeprecationWarning)
            torch.jit.save(self.scripted, stream)
        devices = {str(tensor.device) for tensor in (*self.parameters(), *self.buffers())} or {"cpu"}
        flags = {name: parameter.requires_grad for name, parameter in self.named_parameters()}
        return _rebuilt, (stream.getvalue(), min(devices), self.shape, flags, self.training)

    def __deepcopy__(self, memo: dict[int, Any]) -> "ScriptedModule":
        del memo
        function, arguments = self.__reduce__()
        made: ScriptedModule = function(*arguments)
        return made


def _rebuilt(
    content: bytes,
    device: str,
    shape: tuple[int, ...],
    flags: dict[str, bool],
    training: bool,
) -> ScriptedModule:
    module = ScriptedModule(_load(io.BytesIO(content), device), shape)
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(flags[name])
    module.train(training)
    return module


def _loaded(path: Path, device: str) -> nn.Module:
    try:
        return _load(str(path), device)
    except Exception as error:  # torch raises whatever the code happens to break
        reason = (str(error) or type(error).__name__).strip().splitlines()[0][:300]
        raise CheckpointError(
            f"{path}: cannot be loaded as TorchScript: {reason}. Save or copy it again"
        ) from None


def _load(source: str | io.BytesIO, device: str) -> nn.Module:
    with warnings.catch_warnings():
        # TorchScript is deprecated since torch 2.13; whoever has such a file cannot help it.
        warnings.filterwarnings("ignore", message=".*is deprecated", category=DeprecationWarning)
        module: nn.Module = torch.jit.load(source, map_location=device)  # type: ignore[no-untyped-call]  # untyped
    return module


def _layout(module: nn.Module, facts: Facts) -> tuple[int, ...]:
    """The layout of a picture that the module takes; empty for flat rows, which are tried first."""
    steps = facts.preprocessing
    if not isinstance(steps, ImagePreprocessing):
        return ()
    module.eval()
    for shape in ((), (1, steps.height, steps.width), (steps.height, steps.width)):
        rows = torch.zeros((2, steps.height * steps.width), device=facts.device)
        try:
            with torch.no_grad():
                outputs = module(rows.reshape(2, *shape) if shape else rows)
        except Exception:  # noqa: S112 - the next layout is tried; the last failure is reported by the trial
            continue
        if isinstance(outputs, torch.Tensor) and outputs.shape[:1] == (2,) and outputs.ndim <= 2:
            return shape
    return ()
