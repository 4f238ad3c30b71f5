"""The IDX format."""

import gzip
import struct

import numpy as np
import pytest

from auditkit.data.idx import read_idx
from auditkit.errors import DataError


def idx_bytes(array, *, kind=0x08):
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


PICTURES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_pictures_are_read_plain_and_packed(tmp_path, pack):
    path = tmp_path / "pictures"
    path.write_bytes(pack(idx_bytes(PICTURES)))
    assert np.array_equal(read_idx(path, n_dimensions=3), PICTURES)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not an IDX file"),
        (b"\x89PNG\r\n", "not an IDX file"),
        (idx_bytes(PICTURES)[:3], "not an IDX file"),
        (idx_bytes(PICTURES)[:9], "header ends"),
        (idx_bytes(PICTURES)[:-1], "truncated"),
        (idx_bytes(PICTURES) + b"\0", "left over"),
        (idx_bytes(PICTURES, kind=0x0D), "0x0d"),
        (idx_bytes(PICTURES[0]), "2 dimensions"),
        (idx_bytes(PICTURES[:0]), "empty"),
        (b"\0\0\x08\x03" + struct.pack(">3I", 2**31, 2**31, 2**31), "larger"),
        (gzip.compress(idx_bytes(PICTURES), mtime=0)[:-9], "truncated or damaged"),
        (gzip.compress(idx_bytes(PICTURES), mtime=0)[:15], "truncated or damaged"),
        (b"\x1f\x8b" + b"\xff" * 30, "truncated or damaged"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path, content, said):
    path = tmp_path / "damaged-images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_idx(path, n_dimensions=3)
    assert "damaged-images" in str(caught.value)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_idx(tmp_path / "none", n_dimensions=1)


def test_fifty_flipped_bytes_are_refused_or_harmless(tmp_path):
    rng = np.random.default_rng(1)
    content = gzip.compress(idx_bytes(rng.integers(0, 256, (20, 8, 8), dtype=np.uint8)), mtime=0)
    path = tmp_path / "pictures.gz"
    for position in rng.integers(0, len(content), 50):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            shape = read_idx(path, n_dimensions=3).shape
        except DataError:
            continue
        assert shape == (20, 8, 8)
