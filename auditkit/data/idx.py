"""Reading IDX files, the format of MNIST: big-endian header, then bytes.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", section "File formats".
"""

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np

from auditkit.data.rows import ByteArray
from auditkit.errors import DataError

_UNSIGNED_BYTE = 0x08
_LIMIT_B = 2 * 2**30
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: Path, *, n_dimensions: int) -> ByteArray:
    """Read an IDX file of unsigned bytes, plain or gzip.

    Args:
        path: The file.
        n_dimensions: 3 for pictures ``(n, height, width)``, 1 for labels ``(n,)``.

    Raises:
        DataError: Absent, not IDX, other type or dimensions, no entries, truncated, or bytes left over.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP_MAGIC
        with gzip.open(path, "rb") if packed else path.open("rb") as stream:
            return _read(stream, path, n_dimensions)  # type: ignore[arg-type]  # GzipFile reads as BinaryIO does
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except (EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path}: truncated or damaged: {error}; fetch the file again") from None


def _read(stream: BinaryIO, path: Path, n_dimensions: int) -> ByteArray:
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise DataError(f"{path}: not an IDX file: it starts with {magic.hex() or 'nothing'}, expected 0000")
    kind, dimensions = magic[2], magic[3]
    if kind != _UNSIGNED_BYTE or dimensions != n_dimensions:
        raise DataError(
            f"{path}: IDX of type 0x{kind:02x} with {dimensions} dimensions, "
            f"expected unsigned bytes (0x08) with {n_dimensions}"
        )
    header = stream.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise DataError(f"{path}: truncated: the header ends after {len(header)} of {4 * dimensions} bytes")
    shape = struct.unpack(f">{dimensions}I", header)
    expected = math.prod(shape)
    if expected == 0 or expected > _LIMIT_B:
        raise DataError(f"{path}: shape {shape} is empty or larger than {_LIMIT_B} bytes")
    content = stream.read(expected)
    if len(content) < expected:
        raise DataError(
            f"{path}: truncated: {len(content)} bytes of data, expected {expected} for shape {shape}"
        )
    if stream.read(1):
        raise DataError(f"{path}: bytes left over after the {expected} that shape {shape} needs")
    return np.frombuffer(content, dtype=np.uint8).reshape(shape).copy()
