"""The safetensors format: as the library reads and writes it, with the weights in memory once."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from auditkit.config import Architecture
from auditkit.errors import CheckpointError
from auditkit.models.zoo import build_module
from auditkit.subjects.checkpoint import save_checkpoint
from auditkit.subjects.tensor_file import TensorFile, read_tensors, sha256_of, write_tensors
from auditkit.subjects.torch_subject import TorchSubject
from tests.subjects.trained import trained

DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16)
SMALL = (torch.int8, torch.uint8, torch.bool)


def tensors() -> dict[str, torch.Tensor]:
    values = torch.arange(-6, 6).reshape(3, 4)
    made = {str(dtype): values.to(dtype) for dtype in (*DTYPES, *SMALL)}
    return {**made, "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3), "Zürich": torch.ones(1)}


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) and first[name].dtype == second[name].dtype for name in first
    )


def test_what_the_library_writes_is_read_the_same(tmp_path):
    save_file(tensors(), tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    assert same(read_tensors(tmp_path / "theirs.safetensors"), tensors())


def test_what_is_written_here_is_read_the_same_by_the_library(tmp_path):
    path = tmp_path / "ours.safetensors"
    with path.open("wb") as stream:
        digest = write_tensors(stream, {**tensors(), "turned": torch.arange(6).reshape(2, 3).T})
    assert same(load_file(path), {**tensors(), "turned": torch.arange(6).reshape(2, 3).T.contiguous()})
    with path.open("rb") as stream:
        assert sha256_of(stream) == digest
        stream.seek(0)
        assert TensorFile(stream, path).read()[1] == digest


def test_every_tensor_has_memory_of_its_own(tmp_path):
    save_file(tensors(), tmp_path / "a.safetensors")
    for tensor in read_tensors(tmp_path / "a.safetensors").values():
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def written(tmp_path, header: object, values: bytes = b"", length: int | None = None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path = tmp_path / "made.safetensors"
    path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + values)
    return path


def entry(dtype="F32", shape=(1,), offsets=(0, 4)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


@pytest.mark.parametrize(
    ("header", "values", "length", "said"),
    [
        ({}, b"", 2**63, "header should have 9223372036854775808 bytes"),
        ({}, b"", 2**20, "header should have 1048576 bytes"),
        (b"{", b"", None, "not JSON"),
        (b"[" * 100_000, b"", None, "not JSON"),
        ([], b"", None, "no table of tensors"),
        ({"a": 3}, b"", None, "a is not described"),
        (b'{"a": {}, "a": {}}', b"", None, "there twice"),
        ({"a": entry("F8_E4M3")}, bytes(4), None, "type F8_E4M3, which is not read"),
        ({"a": entry("O\x1b[31m")}, bytes(4), None, r"type O\?\?31m"),
        ({"a": entry(shape=(2,))}, bytes(4), None, "its shape says otherwise"),
        ({"a": entry(shape=(-1,))}, bytes(4), None, "no proper shape"),
        ({"a": entry(shape=(True,))}, bytes(4), None, "no proper shape"),
        ({"a": entry(shape=(1,) * 99)}, bytes(4), None, "no proper shape"),
        ({"a": entry(shape=(2**61,), offsets=(0, 2**63))}, bytes(4), None, "no proper shape"),
        (
            {"a": entry(shape=(2**40,), offsets=(0, 2**42))},
            bytes(4),
            None,
            "its tensors take 4398046511104 bytes",
        ),
        ({"a": entry(offsets=(4, 8))}, bytes(8), None, "begins at 4, expected 0"),
        ({"a": entry(), "b": entry()}, bytes(4), None, "begins at 0, expected 4"),
        ({"a": entry()}, bytes(5), None, "its tensors take 4 bytes, the file has 5"),
        ({"a": entry("BOOL", (4,))}, b"\x00\x01\x02\x00", None, "other than 0 and 1"),
    ],
)
def test_a_header_that_promises_what_is_not_there_is_refused(tmp_path, header, values, length, said):
    with pytest.raises(CheckpointError, match=rf"made\.safetensors.*{said}"):
        read_tensors(written(tmp_path, header, values, length))


def test_a_file_that_becomes_shorter_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.ones(100_000)}, path)
    with path.open("rb") as stream:
        file = TensorFile(stream, path)
        with path.open("r+b") as other:
            other.truncate(1000)
        with pytest.raises(CheckpointError, match="a is cut off"):
            file.read()


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(CheckpointError, match="not a file"):
        read_tensors(tmp_path / "pipe.safetensors")
    with pytest.raises(CheckpointError, match="no such file"):
        read_tensors(tmp_path / "none.safetensors")


PEAK = """
import sys
from pathlib import Path
from auditkit.subjects.checkpoint import load_checkpoint, save_checkpoint


def resident(key):
    line = next(line for line in open("/proc/self/status") if line.startswith(key))
    return int(line.split()[1])


def peak(work):
    open("/proc/self/clear_refs", "w").write("5")  # from here on, the peak is counted anew
    before = resident("VmRSS:")
    result = work()
    return resident("VmHWM:") - before, result


path = Path(sys.argv[1])
save_checkpoint(path.with_name("small-again"), load_checkpoint(path.with_name("small")))
loaded, subject = peak(lambda: load_checkpoint(path))
saved, _ = peak(lambda: save_checkpoint(path.with_name("again"), subject))
print(loaded, saved, subject.card.size_b // 1024)
"""


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc"
)
@pytest.mark.slow
def test_loading_and_saving_hold_the_weights_once(tmp_path):
    """Peak resident memory in a process of its own, in multiples of 96 MB of weights."""
    save_checkpoint(tmp_path / "small", trained()[0])
    sizes = {"n_inputs": 4, "n_classes": 2, "hidden": [5_000, 4_800]}
    architecture = Architecture.model_validate({"name": "mlp", **sizes})
    module = build_module(architecture, rng=torch.Generator().manual_seed(0))
    large = TorchSubject.build(module, architecture=architecture, classes=("no", "yes"))
    save_checkpoint(tmp_path / "large", large)
    words = [sys.executable, "-c", PEAK, str(tmp_path / "large")]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    loaded, saved, weights = (int(word) for word in done.stdout.split())
    assert weights > 90_000
    other = 40_000  # kB of modules that loading imports
    assert 0.9 * weights < loaded < weights + other
    assert saved < 0.2 * weights


def test_flipped_bytes_are_refused_or_change_only_values(tmp_path):
    stream = io.BytesIO()
    write_tensors(stream, tensors())
    content, rng = stream.getvalue(), np.random.default_rng(4)
    path = tmp_path / "flipped.safetensors"
    for position in rng.integers(0, len(content), 100):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        with contextlib.suppress(CheckpointError):
            read_tensors(path)
