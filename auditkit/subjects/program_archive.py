"""The archive of an exported program: checked, then written anew with only what a prediction needs."""

import io
import json
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from auditkit.errors import AuditkitError, CheckpointError, UnsafeError
from auditkit.subjects.archive_check import CheckedArchive, checked_archive, native_members
from auditkit.subjects.pickles import list_archive, list_pickle, read_data_only
from auditkit.subjects.program_text import AGAIN, check_values, parsed, read_program, training_mode

TEXT_LIMIT_B = 64 * 2**20
NESTED_LIMIT_B = 256 * 2**20
_SHOWN = 6
_FOLDERS = {"weights": "weight", "constants": "tensor"}
_DTYPES = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_STRIDED = 7
_PAYLOAD_FIELDS = ("path_name", "is_param", "use_pickle", "tensor_meta")


@dataclass(frozen=True, slots=True)
class ProgramInput:
    """The one tensor that a program takes.

    Attributes:
        shape: Of one row.
        dtype: Of its values.
        least: Rows that it must be given at once.
        most: Rows that it can be given at once; ``None`` when any number.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class CheckedProgram:
    """An archive that holds numbers and known operators only.

    Attributes:
        content: Written anew: sample inputs are zeros, nothing is pickled but them.
        input: What it takes.
    """

    content: bytes
    input: ProgramInput


def is_program(names: Mapping[str, object]) -> bool:
    """Whether members of these names make an exported program."""
    plain = {name.partition("/")[2] for name in names}
    return (
        bool(plain & {"archive_format", "models/model.json"}) or "serialized_exported_program.json" in names
    )


def check_program(path: Path) -> CheckedProgram:
    """Read an exported program without executing anything in it.

    Raises:
        UnsafeError: It holds pickles that are more than tensors, machine code, text that would be evaluated,
            names that lead out of the archive, or a zip bomb.
        CheckpointError: Damaged, of an older format, exported in training mode, or taking other inputs than
            one tensor of rows.
    """
    with checked_archive(path) as archive:
        native = native_members(iter(archive.members))
        if native:
            raise UnsafeError(
                f"{path}: holds machine code ({', '.join(native[:_SHOWN])}), which loading would run. "
                f"Nothing was executed. {AGAIN}, without compiling it"
            )
        root = _root(archive)
        payloads = {folder: _payload(archive, root, folder) for folder in _FOLDERS}
        raw = {
            f"{root}data/{folder}/{entry['path_name']}"
            for folder, config in payloads.items()
            for entry in config.values()
        }
        for name in archive.members:
            _check_nested(archive, name, is_raw=name in raw)
        text = read_program(_text(archive, f"{root}models/model.json"), path)
        _refuse_training_mode(text, path)
        taken = _input_of(text, path)
        return CheckedProgram(_written(archive, root, payloads, text, taken), taken)


def _root(archive: CheckedArchive) -> str:
    roots = {name.partition("/")[0] for name in archive.members}
    if "serialized_exported_program.json" in archive.members:
        for name in archive.members:
            _check_nested(archive, name, is_raw=False)
        raise CheckpointError(
            f"{archive.where}: an exported program in the format before torch 2.8. "
            "Load it there and save it again with torch.export.save of torch 2.8 or later"
        )
    (root, *more) = sorted(roots) or [""]
    if more or f"{root}/models/model.json" not in archive.members:
        for name in archive.members:
            _check_nested(archive, name, is_raw=False)
        raise CheckpointError(f"{archive.where}: no program called model (models/model.json) in it. {AGAIN}")
    for name, expected in (("byteorder", b"little"), ("archive_format", b"pt2")):
        full = f"{root}/{name}"
        if full in archive.members and archive.start(full) != expected:
            raise CheckpointError(f"{archive.where}: {name} is not {expected.decode()}. {AGAIN}")
    return f"{root}/"


def _text(archive: CheckedArchive, name: str) -> bytes:
    if name not in archive.members:
        raise CheckpointError(f"{archive.where}: {name} is missing. {AGAIN}")
    return archive.read(name, limit_b=TEXT_LIMIT_B)


def _payload(archive: CheckedArchive, root: str, folder: str) -> dict[str, dict[str, Any]]:
    """Name of each tensor to where and how its numbers lie; checked to be numbers."""
    name = f"{root}data/{folder}/model_{folder}_config.json"
    where = f"{archive.where}: {name}"
    config = parsed(_text(archive, name), where).get("config")
    if not isinstance(config, dict):
        raise CheckpointError(f"{where}: damaged: no config. {AGAIN}")
    for key, entry in config.items():
        if not isinstance(entry, dict) or set(entry) != set(_PAYLOAD_FIELDS):
            raise CheckpointError(f"{where}: {key[:80]}: damaged entry. {AGAIN}")
        if entry["use_pickle"] is not False:
            _check_pickled_payload(archive, f"{root}data/{folder}/{entry['path_name']}")
            raise UnsafeError(
                f"{where}: {key[:80]!r} is marked use_pickle, so that loading would unpickle it with all "
                f"that it imports. Nothing was executed. {AGAIN}"
            )
        if not re.fullmatch(_FOLDERS[folder] + r"_\d{1,9}", str(entry["path_name"])):
            raise UnsafeError(
                f"{where}: {key[:80]!r} lies in {str(entry['path_name'])[:80]!r}, expected "
                f"{_FOLDERS[folder]}_NUMBER: loading could execute code. Nothing was executed. {AGAIN}"
            )
        _check_meta(entry["tensor_meta"], f"{where}: {key[:80]}")
    check_values(config, where)
    return config


def _check_pickled_payload(archive: CheckedArchive, name: str) -> None:
    if name in archive.members:
        _check_nested(archive, name, is_raw=False)


def _check_meta(meta: Any, where: str) -> None:
    """A dense tensor of a type that is read, with sizes that are numbers."""
    try:
        sizes = [size["as_int"] for size in (*meta["sizes"], *meta["strides"], meta["storage_offset"])]
        good = meta["dtype"] in _DTYPES and meta["layout"] == _STRIDED
    except (KeyError, TypeError):
        raise CheckpointError(f"{where}: damaged description of a tensor. {AGAIN}") from None
    if not good or not all(isinstance(size, int) and 0 <= size < 2**48 for size in sizes):
        raise CheckpointError(f"{where}: expected a dense tensor of a known type and size. {AGAIN}")


def _check_nested(archive: CheckedArchive, name: str, *, is_raw: bool) -> None:
    """Refuse a member that is a pickle of more than tensors.

    Numbers may begin like a pickle by chance. Those that loading takes as numbers are refused only when they
    are a pickle that imports something.
    """
    start = archive.start(name)
    zipped = start.startswith(b"PK\x03\x04")
    pickled = len(start) > 1 and start[0] == 0x80 and start[1] <= 5
    named = name.lower().endswith((".pkl", ".pickle", ".pt", ".pth", ".joblib", ".dill"))
    if not (zipped or pickled or (named and start)):
        return
    content = archive.read(name, limit_b=None if is_raw else NESTED_LIMIT_B)
    listing = (list_archive if zipped else list_pickle)(io.BytesIO(content))
    if listing.unsafe:
        shown = ", ".join(listing.unsafe[:_SHOWN])
        _refuse_nested(archive, name, f"a pickle that would import {shown}")
    if is_raw:
        return
    try:
        read_data_only(io.BytesIO(content))
    except AuditkitError:
        _refuse_nested(archive, name, "a pickle that is more than tensors, or damaged")


def _refuse_nested(archive: CheckedArchive, name: str, what: str) -> NoReturn:
    raise UnsafeError(f"{archive.where}: {name} holds {what}. Nothing was executed. {AGAIN}")


def _refuse_training_mode(text: dict[str, Any], path: Path) -> None:
    try:
        operator = training_mode(text["graph_module"]["graph"]["nodes"])
    except (KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{path}: models/model.json: damaged: {error!r}. {AGAIN}") from None
    if operator:
        raise CheckpointError(
            f"{path}: exported in training mode ({operator}), so that its answers are random or depend on "
            "the batch. Call model.eval() and export it again"
        )


def _input_of(text: dict[str, Any], path: Path) -> ProgramInput:
    graph = text["graph_module"]["graph"]
    try:
        specs = text["graph_module"]["signature"]["input_specs"]
        users = [spec["user_input"]["arg"] for spec in specs if "user_input" in spec]
        names = [user["as_tensor"]["name"] for user in users if "as_tensor" in user]
        if len(users) != 1 or len(names) != 1:
            raise CheckpointError(
                f"{path}: takes {len(users)} inputs, expected one tensor of rows. Export such a model"
            )
        meta = graph["tensor_values"][names[0]]
        rows, *shape = meta["sizes"] or [{}]
        if not shape or not all("as_int" in size for size in shape):
            raise CheckpointError(
                f"{path}: the size of a row is open, expected numbers. Export it with only the number of "
                "rows dynamic"
            )
        least, most = _rows(rows, text["range_constraints"])
        return ProgramInput(tuple(int(size["as_int"]) for size in shape), _DTYPES[meta["dtype"]], least, most)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{path}: models/model.json: damaged: {error!r}. {AGAIN}") from None


def _rows(size: dict[str, Any], ranges: dict[str, Any]) -> tuple[int, int | None]:
    """How many rows the program may be given at once."""
    if "as_int" in size:
        fixed = int(size["as_int"])
        if not 1 <= fixed <= 2**20:
            raise ValueError(f"{fixed} rows at once")
        return fixed, fixed
    found = re.search(r"'([suz]\d+)'", size["as_expr"]["expr_str"])
    limits = ranges.get(found.group(1), {}) if found else {}
    least, most = limits.get("min_val"), limits.get("max_val")
    return max(1, min(int(least or 1), 2**20)), None if most is None or most > 2**20 else max(1, int(most))


def _written(
    archive: CheckedArchive,
    root: str,
    payloads: dict[str, dict[str, dict[str, Any]]],
    text: dict[str, Any],
    taken: ProgramInput,
) -> bytes:
    """The archive that is loaded: the same numbers and program, and nothing else of the file."""
    sample, neutral = io.BytesIO(), io.BytesIO()
    torch.save(((torch.zeros((taken.least, *taken.shape), dtype=taken.dtype),), {}), sample)
    with zipfile.ZipFile(neutral, "w", zipfile.ZIP_STORED) as target:
        for folder, config in payloads.items():
            for file in sorted({entry["path_name"] for entry in config.values()}):
                name = f"data/{folder}/{file}"
                if root + name not in archive.members:
                    raise CheckpointError(f"{archive.where}: {name} is missing. {AGAIN}")
                target.writestr(f"program/{name}", archive.read(root + name))
            for entry in config.values():
                entry["tensor_meta"]["device"] = {"type": "cpu", "index": None}
            target.writestr(
                f"program/data/{folder}/model_{folder}_config.json", json.dumps({"config": config})
            )
        _on_cpu(text)
        target.writestr("program/models/model.json", json.dumps(text))
        target.writestr("program/data/sample_inputs/model.pt", sample.getvalue())
        for name, value in (("archive_format", "pt2"), ("archive_version", "0"), ("byteorder", "little")):
            target.writestr(f"program/{name}", value)
        target.writestr("program/.data/version", "6\n")
    return neutral.getvalue()


def _on_cpu(value: Any) -> None:
    """Write the CPU wherever the program names a device, in place; it is moved after loading."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in ("device", "as_device") and isinstance(item, dict):
                value[key] = {"type": "cpu", "index": None}
            else:
                _on_cpu(item)
    elif isinstance(value, list):
        for item in value:
            _on_cpu(item)
