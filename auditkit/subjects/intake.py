"""Taking in a model from a file. The format decides what is trusted; nothing in a file is executed.

Read are: a checkpoint of auditkit; a ``.safetensors`` file; a state dict in a ``.pth`` or ``.pt`` file, by
torch's ``weights_only`` loader after its imports were listed; an exported program after its archive was
checked; and TorchScript where the config trusts it. Everything else is refused by name.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch

from auditkit.config.model import Architecture, SubjectConfig, TrainingConfig
from auditkit.data.steps import Preprocessing, sizes_of
from auditkit.errors import CheckpointError, UnsafeError
from auditkit.models.zoo import complete
from auditkit.records import Message, TrainingRecord
from auditkit.records.setting import setting
from auditkit.subjects.archive_check import checked_archive
from auditkit.subjects.checkpoint import CARD, checkpoint_files, load_checkpoint
from auditkit.subjects.exported_program import load_exported_program
from auditkit.subjects.foreign_module import Facts
from auditkit.subjects.pickles import (
    LEGACY_MAGIC,
    PickleListing,
    is_script,
    list_archive,
    list_pickle,
    read_data_only,
)
from auditkit.subjects.program_archive import is_program
from auditkit.subjects.sources import Request
from auditkit.subjects.tensor_file import outline_of, read_tensors
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.subjects.torchscript import load_torchscript
from auditkit.subjects.weights import Tensors, check_fit, fill_module, renamed, without_wrapper

STATE_DICTS = (".pth", ".pt", ".bin", ".ckpt")
PROGRAM, SCRIPT = ".pt2", ".ts"
WRAPPER_KEYS = ("state_dict", "model_state_dict", "model", "weights", "net")
SUPPORTED = (
    f"Supported: a checkpoint folder of auditkit ({CARD} and model.safetensors), a .safetensors file, "
    f"a state dict ({', '.join(STATE_DICTS)}) written by torch.save(model.state_dict(), PATH), and a "
    f"program ({PROGRAM}) written by torch.export.save"
)
_ZIP, _HDF5, _SHOWN = b"PK\x03\x04", b"\x89HDF", 12


def load_subject(
    config: SubjectConfig,
    *,
    folder: Path,
    device: str = "cpu",
    preprocessing: Preprocessing | None = None,
    name: str = "baseline",
) -> TorchSubject:
    """Load the subject that a config names.

    Args:
        config: ``checkpoint`` and, for bare weights, ``architecture``.
        folder: That of the config file; relative paths start there, else at the working directory.
        device: Where the module is put.
        preprocessing: For bare weights, which carry none: fitted on the training rows. Without it the
            architecture must say ``n_inputs`` and ``n_classes``, and classes are called by number.
        name: Of the subject.

    Raises:
        UnsafeError: Loading the file could execute code. What it would import is listed.
        CheckpointError: Absent, damaged, of a format that is not read, or not fitting the architecture.
        ConfigError: The architecture is unknown or its parameters are wrong.
    """
    if config.checkpoint is None:
        raise CheckpointError("subject.checkpoint is not set; name a file, or train the model first")
    path = _find(config.checkpoint, folder)
    if path.is_dir() or checkpoint_files(path)[1].is_file():
        own = config.architecture.name if config.architecture else None
        subject = load_checkpoint(path, name=name, device=device, own_class=own)
        subject = _as_configured(subject, config, path)
    else:
        subject = _bare_subject(path, config, preprocessing, name, device)
    return _titled(subject, config.name)


def load(request: Request) -> TorchSubject:
    """The subject behind ``subject.checkpoint``; see :func:`load_subject`."""
    return load_subject(
        request.config,
        folder=request.folder,
        device=request.device,
        preprocessing=request.preprocessing,
        name=request.name,
    )


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a ``.safetensors`` file or of a state dict, without executing anything in it.

    Raises:
        UnsafeError: It is a pickle that imports more than tensors need, or a format that carries code.
        CheckpointError: Absent, damaged, or of a format that is not read.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file. {SUPPORTED}")
    if path.suffix == ".safetensors":
        return read_tensors(path)
    _refuse_other_formats(path)
    return _tensors_of(read_data_only(path), path)


def _find(text: str, folder: Path) -> Path:
    path = Path(text).expanduser()
    beside_config = folder / path
    return beside_config if beside_config.exists() else path


def _bare_subject(
    path: Path, config: SubjectConfig, preprocessing: Preprocessing | None, name: str, device: str
) -> TorchSubject:
    facts = Facts(preprocessing=preprocessing, name=name, device=device, trust=config.trust)
    kind = _kind_of(path)
    if kind != "weights":
        subject = (load_exported_program if kind == "program" else load_torchscript)(path, facts)
        _refuse_architecture(path, config)
        return subject
    sizes = sizes_of(preprocessing) if preprocessing else {}
    if path.suffix == ".safetensors":
        # Names and shapes first, so that no memory is taken for a model that does not fit.
        outline = without_wrapper(outline_of(path))
        architecture = _architecture_for(path, config, outline, sizes)
        check_fit(architecture, _fitted(architecture, outline)[0], path)
    tensors = without_wrapper(read_state_dict(path))
    architecture = _architecture_for(path, config, tensors, sizes)
    fitted, statements = _fitted(architecture, tensors)
    n_classes = int(architecture.parameters["n_classes"])
    classes = preprocessing.classes if preprocessing else tuple(str(index) for index in range(n_classes))
    return TorchSubject.build(
        fill_module(architecture, fitted, path),
        name=name,
        title=path.stem,
        source=str(path),
        architecture=architecture,
        classes=classes,
        preprocessing=preprocessing,
        statements=statements,
        device=device,
    )


def _architecture_for(
    path: Path, config: SubjectConfig, tensors: Tensors, sizes: Mapping[str, int]
) -> Architecture:
    if config.architecture is None:
        raise CheckpointError(
            f"{path}: these are bare weights; add subject.architecture, such as {{name: mlp, hidden: 128}}. "
            f"Tensors: {_listed(tensors)}"
        )
    return complete(config.architecture, **sizes)


def _kind_of(path: Path) -> Literal["program", "script", "weights"]:
    """What a file is, by its suffix and by the names in its table of contents."""
    suffix = path.suffix.lower()
    if suffix not in (PROGRAM, SCRIPT, *STATE_DICTS) or not path.is_file():
        return "weights"
    if suffix == PROGRAM:
        return "program"
    if suffix == SCRIPT:
        return "script"
    with path.open("rb") as stream:
        if not stream.read(len(_ZIP)).startswith(_ZIP):
            return "weights"
    with checked_archive(path) as archive:
        if is_program(archive.members):
            return "program"
        return "script" if is_script(archive.members) else "weights"


def _refuse_architecture(path: Path, config: SubjectConfig) -> None:
    if config.architecture is not None:
        raise CheckpointError(
            f"{path}: brings its own architecture; remove subject.architecture and subject.training"
        )


def _fitted(architecture: Architecture, tensors: Tensors) -> tuple[Tensors, tuple[Message, ...]]:
    """The tensors in single precision and under the architecture's names, and what was done to them."""
    statements = []
    other = sorted({str(t.dtype) for t in tensors.values() if t.is_floating_point()} - {"torch.float32"})
    if other:
        tensors = {key: t.float() if t.is_floating_point() else t for key, t in tensors.items()}
        text = "The weights are stored as {dtype} and were converted to single precision."
        statements.append(Message(text=text, values={"dtype": ", ".join(other).replace("torch.", "")}))
    matched = renamed(architecture, tensors)
    if matched is not None and set(matched) != set(tensors):
        tensors = matched
        statements.append(Message(text="The weights have other names in the file and were matched by shape."))
    return tensors, tuple(statements)


def _as_configured(subject: TorchSubject, config: SubjectConfig, path: Path) -> TorchSubject:
    """The subject, unless the config describes another one; other training is stated."""
    if config.architecture is not None:
        wanted = {"name": config.architecture.name, **config.architecture.parameters}
        stored = {"name": subject.architecture.name, **subject.architecture.parameters}
        differing = [
            f"{key} is {stored.get(key)!r}, the config says {value!r}"
            for key, value in wanted.items()
            if _sequence(stored.get(key)) != _sequence(value)
        ]
        if differing:
            raise CheckpointError(
                f"{path}: made from another architecture: {'; '.join(differing)}. "
                "Correct the config, or move the checkpoint away and train again"
            )
    statements = _other_training(subject.card.training, config.training)
    card = subject.card.model_copy(update={"statements": (*subject.card.statements, *statements)})
    return replace(subject, card=card)


def _other_training(record: TrainingRecord | None, config: TrainingConfig | None) -> list[Message]:
    if record is None or config is None:
        return []
    text = "The checkpoint was trained with {key} {stored}; the config now says {wanted}."
    return [
        Message(
            text=text,
            values={"key": key, "stored": _printable(record.recipe[key]), "wanted": _printable(wanted)},
        )
        for key, wanted in config.model_dump(mode="json").items()
        if key in record.recipe and record.recipe[key] != wanted
    ]


def _printable(value: Any) -> str | int | float:
    """A setting as a value of a sentence: numbers as they are, all else as text."""
    return value if isinstance(value, int | float) else setting(value)


def _sequence(value: Any) -> Any:
    return list(value) if isinstance(value, list | tuple) else [value]


def _titled(subject: TorchSubject, title: str | None) -> TorchSubject:
    if title is None:
        return subject
    return replace(subject, card=subject.card.model_copy(update={"title": title}))


def _refuse_other_formats(path: Path) -> None:
    with path.open("rb") as stream:
        start = stream.read(8)
    suffix = path.suffix.lower()
    if suffix in (".pkl", ".pickle", ".joblib", ".dill"):
        _refuse_pickle(path, list_archive(path) if start.startswith(_ZIP) else list_pickle(path))
    if suffix in (PROGRAM, SCRIPT):
        raise CheckpointError(f"{path}: a whole model, not a state dict. {SUPPORTED}")
    if suffix in (".keras", ".h5", ".hdf5", ".onnx") or start.startswith(_HDF5):
        raise CheckpointError(f"{path}: {suffix or 'HDF5'} files are not read. {SUPPORTED}")
    if suffix not in STATE_DICTS:
        raise CheckpointError(f"{path}: format {suffix or 'without suffix'!r} is not known. {SUPPORTED}")
    if start.startswith(_ZIP):
        _check_archive(path)
    else:
        _check_legacy(path)


def _check_archive(path: Path) -> None:
    with checked_archive(path):
        listing = list_archive(path)
    if listing.scripted:
        raise UnsafeError(
            f"{path}: a TorchScript archive, which carries code. Nothing was executed. {SUPPORTED}"
        )
    if listing.unsafe:
        _refuse_pickle(path, listing)
    if listing.damage:
        raise CheckpointError(f"{path}: truncated or damaged: {listing.damage}; save or copy it again")


def _check_legacy(path: Path) -> None:
    listing = list_pickle(path)
    if listing.unsafe or (listing.first_value != LEGACY_MAGIC and listing.damage is None):
        _refuse_pickle(path, listing)
    if listing.damage:
        raise CheckpointError(
            f"{path}: truncated, damaged or not a state dict: {listing.damage}. {SUPPORTED}"
        )


def _refuse_pickle(path: Path, listing: PickleListing) -> NoReturn:
    names = listing.unsafe or listing.imports
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    wanted = f"it would import {shown}" if names else "its imports could not be listed"
    raise UnsafeError(
        f"{path}: a pickle that could execute code when loaded: {wanted}. Nothing was executed. {SUPPORTED}"
    )


def _tensors_of(content: Any, path: Path) -> dict[str, torch.Tensor]:
    if isinstance(content, Mapping):
        for key in WRAPPER_KEYS:
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
    if not isinstance(content, Mapping) or not content:
        raise CheckpointError(f"{path}: holds {type(content).__name__}, expected a state dict. {SUPPORTED}")
    odd = [str(key) for key, value in content.items() if not _is_plain(value)]
    if odd:
        raise CheckpointError(
            f"{path}: {', '.join(odd[:_SHOWN])}: not plain tensors. Save model.state_dict() alone, "
            f"or under one of the keys {', '.join(WRAPPER_KEYS)}"
        )
    return _own({str(key): value.detach() for key, value in content.items()})


def _own(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Every tensor in memory of its own; copied only where two share it or it is a part of another."""
    uses = Counter(tensor.untyped_storage().data_ptr() for tensor in tensors.values())
    return {
        name: tensor
        if tensor.is_contiguous()
        and uses[tensor.untyped_storage().data_ptr()] == 1
        and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        else tensor.contiguous().clone()
        for name, tensor in tensors.items()
    }


def _is_plain(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_quantized


def _listed(tensors: Tensors) -> str:
    shown = [f"{name} {tuple(tensor.shape)}" for name, tensor in list(tensors.items())[:_SHOWN]]
    return ", ".join(shown)
