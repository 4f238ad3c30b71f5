"""The safetensors format, read and written tensor by tensor, so that memory holds the weights once.

The header is judged before memory is taken for what it promises; the values are hashed as they lie in the
tensors that are returned, so that a file that changes meanwhile cannot be another than the one hashed.

Source: the format as documented with the safetensors library, version 0.4 and later: eight bytes with the
length of the header (little-endian), the header as JSON, the values without gaps.
"""

import hashlib
import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import torch

from auditkit.errors import CheckpointError

HEADER_LIMIT_B = 100 * 2**20
"""That of the safetensors library."""

_LENGTH_B, _ALIGNMENT_B, _PIECE_B = 8, 8, 2**20
_MOST_DIMENSIONS = 16
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}
_AGAIN = "save, train or copy it again"
_ENTRY = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class TensorFile:
    """An open safetensors file whose header was found in order.

    Attributes:
        where: The file.
    """

    def __init__(self, stream: IO[bytes], where: Path) -> None:
        """Read the header.

        Raises:
            CheckpointError: Truncated, damaged, or of a type that is not read.
        """
        self.where = where
        self._stream = stream
        self._head, self._entries = _header(stream, where)

    @property
    def outline(self) -> dict[str, torch.Tensor]:
        """The tensors without values or memory."""
        return {e.name: torch.empty(e.shape, dtype=e.dtype, device="meta") for e in self._entries}

    def read(self) -> tuple[dict[str, torch.Tensor], str]:
        """The tensors, each in memory of its own, and the sha256 of all bytes of the file.

        Raises:
            CheckpointError: The file became shorter while it was read.
        """
        sha = hashlib.sha256(self._head)
        self._stream.seek(len(self._head))
        tensors = {}
        for entry in self._entries:
            tensor = self._memory_for(entry)
            memory = _bytes_of(tensor)
            if self._stream.readinto(memory) != entry.end - entry.begin:  # type: ignore[attr-defined]  # binary file
                _damaged(self.where, f"{entry.name} is cut off")
            sha.update(memory)
            tensors[entry.name] = tensor
        bad = [e.name for e in self._entries if e.dtype == torch.bool and _is_no_truth(tensors[e.name])]
        if bad:
            _damaged(self.where, f"{bad[0]} holds truth values other than 0 and 1")
        return tensors, sha.hexdigest()

    def _memory_for(self, entry: _Entry) -> torch.Tensor:
        try:
            return torch.empty(entry.shape, dtype=entry.dtype)
        except (RuntimeError, MemoryError):
            raise CheckpointError(
                f"{self.where}: {entry.name} has {entry.end - entry.begin} bytes, more than there are here. "
                "Use a machine with more memory, or save a smaller model"
            ) from None


def outline_of(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file without values or memory.

    Raises:
        CheckpointError: Absent, truncated or damaged.
    """
    with open_regular(path) as stream:
        return TensorFile(stream, path).outline


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file.

    Raises:
        CheckpointError: Absent, truncated or damaged.
    """
    with open_regular(path) as stream:
        return TensorFile(stream, path).read()[0]


def open_regular(path: Path) -> IO[bytes]:
    """Open a file, and nothing that only looks like one (a pipe would wait for ever, a device never end).

    Raises:
        CheckpointError: Absent, no file, or not readable.
    """
    if not path.exists():
        raise CheckpointError(f"{path}: no such file; correct the path, or train the model first")
    if not path.is_file():
        raise CheckpointError(f"{path}: not a file; name the file or the folder of a checkpoint")
    try:
        return path.open("rb")
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None


def write_tensors(stream: IO[bytes], tensors: Mapping[str, torch.Tensor]) -> str:
    """Write a safetensors file without a copy of the values; returns its sha256.

    Args:
        stream: An empty file.
        tensors: On any device; copied one at a time where they are not in order in this machine's memory.
    """
    ordered = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {}
    end = 0
    for name in ordered:
        begin, end = end, end + tensors[name].numel() * tensors[name].element_size()
        header[name] = {
            "dtype": _NAMES[tensors[name].dtype],
            "shape": list(tensors[name].shape),
            "data_offsets": [begin, end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT_B)
    head = len(text).to_bytes(_LENGTH_B, "little") + text
    sha = hashlib.sha256(head)
    stream.write(head)
    for name in ordered:
        memory = _bytes_of(tensors[name].detach().cpu().contiguous())
        sha.update(memory)
        stream.write(memory)
    return sha.hexdigest()


def sha256_of(stream: IO[bytes]) -> str:
    """Of a whole open file, in pieces."""
    stream.seek(0)
    sha = hashlib.sha256()
    while piece := stream.read(_PIECE_B):
        sha.update(piece)
    return sha.hexdigest()


def _bytes_of(tensor: torch.Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _is_no_truth(tensor: torch.Tensor) -> bool:
    return bool((tensor.view(torch.uint8) > 1).any())


def _header(stream: IO[bytes], where: Path) -> tuple[bytes, list[_Entry]]:
    size_b = os.fstat(stream.fileno()).st_size
    start = stream.read(_LENGTH_B)
    length = int.from_bytes(start, "little")
    if len(start) < _LENGTH_B or length > size_b - _LENGTH_B:
        _damaged(where, f"its header should have {length} bytes, the file has {size_b}")
    if length > HEADER_LIMIT_B:
        _damaged(where, f"its header should have {length} bytes, expected at most {HEADER_LIMIT_B}")
    text = stream.read(length)
    try:
        values = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError, MemoryError) as error:
        _damaged(where, f"its header is not JSON ({error})")
    if not isinstance(values, dict):
        _damaged(where, "its header is no table of tensors")
    values.pop("__metadata__", None)
    entries = sorted(_entries(values, where), key=lambda entry: (entry.begin, entry.end))
    end = 0
    for entry in entries:
        if entry.begin != end:
            _damaged(where, f"{entry.name} begins at {entry.begin}, expected {end}")
        end = entry.end
    if _LENGTH_B + length + end != size_b:
        _damaged(where, f"its tensors take {end} bytes, the file has {size_b - _LENGTH_B - length}")
    return start + text, entries


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name is there twice")
    return values


def _entries(values: Mapping[str, Any], where: Path) -> Iterator[_Entry]:
    for name, value in values.items():
        if not isinstance(value, dict) or set(value) != _ENTRY:
            _damaged(where, f"{name[:80]} is not described as a tensor")
        shape, offsets, dtype = value["shape"], value["data_offsets"], value["dtype"]
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            shown = re.sub(r"[^\w.-]", "?", str(dtype))[:40]
            raise CheckpointError(
                f"{where}: {name[:80]} has the type {shown}, which is not read; save it as one of "
                f"{', '.join(_DTYPES)}"
            )
        if not (
            _are_sizes(shape) and len(shape) <= _MOST_DIMENSIONS and _are_sizes(offsets) and len(offsets) == 2
        ):
            _damaged(where, f"{name[:80]} has no proper shape and place")
        begin, end = offsets
        if end - begin != math.prod(shape) * _DTYPES[dtype].itemsize:
            _damaged(where, f"{name[:80]} has {end - begin} bytes, its shape says otherwise")
        yield _Entry(name, _DTYPES[dtype], tuple(shape), begin, end)


def _are_sizes(values: Any) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**62 for value in values
    )


def _damaged(where: Path, reason: str) -> NoReturn:
    raise CheckpointError(f"{where}: truncated or damaged safetensors file: {reason}; {_AGAIN}")
