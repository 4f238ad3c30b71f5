"""Hostile files, made at test time: every one tries to execute something, to flood memory, or to lie."""

import io
import json
import os
import pickle
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

from tests.subjects.bombs import Bomb
from tests.subjects.hostile import sound
from tests.subjects.programs import POISONINGS, rewritten

UNSAFE, REFUSED = 5, 2
"""Exit codes: loading it could execute code; it cannot be used."""

Builder = Callable[[Path, Path], Path]
"""From a folder and the marker that must not appear to the file to load."""


def _torch_zip(content: bytes, path: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    """An archive as torch saves one, with this pickle in it."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3")
        archive.writestr("archive/byteorder", "little")
    return path


# --- bombs -------------------------------------------------------------------------------------------


def bomb_in_zip(place: Path, marker: Path) -> Path:
    torch.save({"weight": torch.zeros(2), "extra": Bomb(marker)}, place / "bomb.pth")
    return place / "bomb.pth"


def bomb_in_legacy(place: Path, marker: Path) -> Path:
    torch.save({"extra": Bomb(marker)}, place / "bomb.pt", _use_new_zipfile_serialization=False)
    return place / "bomb.pt"


def bomb_in_legacy_after_the_object(place: Path, marker: Path) -> Path:
    """In the list of storage keys, which is a pickle of its own."""
    stream = io.BytesIO()
    torch.save({}, stream, _use_new_zipfile_serialization=False)
    content = stream.getvalue()
    (place / "bomb.pt").write_bytes(content[: content.rindex(b"\x80\x02")] + pickle.dumps(Bomb(marker), 2))
    return place / "bomb.pt"


def bare_bomb(name: str) -> Builder:
    def build(place: Path, marker: Path) -> Path:
        (place / name).write_bytes(pickle.dumps(Bomb(marker)))
        return place / name

    return build


def bomb_of_getattr(place: Path, marker: Path) -> Path:
    """Reaches what it wants through names that look harmless."""
    content = (
        b"\x80\x02cbuiltins\ngetattr\n(cbuiltins\n__import__\n(X\x02\x00\x00\x00ostRX\x05\x00\x00\x00mkdirtR("
    )
    text = str(marker).encode()
    content += b"X" + struct.pack("<I", len(text)) + text + b"tR."
    return _torch_zip(content, place / "bomb.pt")


def bomb_as_script(place: Path, marker: Path) -> Path:
    with zipfile.ZipFile(place / "bomb.pt", "w") as archive:
        archive.writestr("bomb/code/__torch__.py", f"import os\nos.mkdir({str(marker)!r})\n")
        archive.writestr("bomb/data.pkl", pickle.dumps(Bomb(marker), protocol=2))
        archive.writestr("bomb/constants.pkl", pickle.dumps(Bomb(marker), protocol=2))
        archive.writestr("bomb/version", "3")
    return place / "bomb.pt"


def poisoned(name: str) -> Builder:
    def build(place: Path, marker: Path) -> Path:
        return POISONINGS[name](sound.program(place), place / "poisoned.pt2", marker)

    return build


def nested_bomb(member: str) -> Builder:
    """A pickle in a member that no loader should look at."""

    def build(place: Path, marker: Path) -> Path:
        extra = {member: pickle.dumps(Bomb(marker))}
        return rewritten(sound.program(place), place / "nested.pt2", {}, extra=extra)

    return build


def whole_module(place: Path, marker: Path) -> Path:
    del marker
    torch.save(sound.module(), place / "module.pth")
    return place / "module.pth"


def pickled_transformers(place: Path, marker: Path) -> Path:
    """A folder with ``pytorch_model.bin`` only, which is a pickle."""
    folder = place / "pickled"
    folder.mkdir()
    config = {"architectures": ["BertForSequenceClassification"], "model_type": "bert"}
    (folder / "config.json").write_text(json.dumps(config))
    torch.save({"extra": Bomb(marker)}, folder / "pytorch_model.bin")
    return folder


def transformers_with_code(key: str, value: object) -> Builder:
    def build(place: Path, marker: Path) -> Path:
        folder = sound.transformers(place)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, key: value}))
        (folder / "modeling_own.py").write_text(f"import os\nos.mkdir({str(marker)!r})\n")
        return folder

    return build


def _keras(path: Path, config: object, extra: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.0"}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n")
        for name, content in extra.items():
            archive.writestr(name, content)
    return path


def keras_with_lambda(place: Path, marker: Path) -> Path:
    code = {"class_name": "__lambda__", "config": {"code": f"os.mkdir({str(marker)!r})", "defaults": None}}
    layer = {"module": "keras.layers", "class_name": "Lambda", "config": {"name": "l", "function": code}}
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": [layer]}}
    return _keras(place / "lambda.keras", config, {})


def keras_with_function(place: Path, marker: Path) -> Path:
    layer = {"module": "os", "class_name": "function", "config": "mkdir", "registered_name": "mkdir"}
    config = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": str(marker), "layers": [layer]},
    }
    return _keras(place / "function.keras", config, {})


def keras_with_pickle(place: Path, marker: Path) -> Path:
    config = {"module": "keras", "class_name": "Sequential", "config": {"name": "s", "layers": []}}
    return _keras(place / "pickled.keras", config, {"assets/state.pkl": pickle.dumps(Bomb(marker))})


def skops_with_types(place: Path, marker: Path) -> Path:
    """Names a function of the system as the class of an object."""
    schema = {
        "__class__": "mkdir",
        "__module__": "os",
        "__loader__": "ObjectNode",
        "__id__": 1,
        "content": {
            "__class__": "str",
            "__module__": "builtins",
            "__loader__": "JsonNode",
            "content": str(marker),
        },
        "protocol": 2,
        "_skops_version": "0.16.0",
    }
    with zipfile.ZipFile(place / "types.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    return place / "types.skops"


def onnx_with_outside_data(place: Path, marker: Path) -> Path:
    del marker
    from onnx import TensorProto, helper, save

    tensor = TensorProto(name="weights", data_type=TensorProto.FLOAT, dims=[3, 2])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../../../etc/passwd"
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["rows", "weights"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [tensor],
    )
    save(helper.make_model(graph), place / "outside.onnx")
    return place / "outside.onnx"


# --- archives that are no archives ------------------------------------------------------------------


def member_called(name: str, *, mode: int = 0) -> Builder:
    """A sound program with one more member of this name."""

    def build(place: Path, marker: Path) -> Path:
        del marker
        path = sound.program(place)
        entry = zipfile.ZipInfo("x")
        entry.filename = entry.orig_filename = name
        entry.external_attr = mode << 16
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(entry, b"/etc/passwd")
        return path

    return build


def member_twice(place: Path, marker: Path) -> Path:
    """Two members of one name, so that the check might see one and the loader the other."""
    path = sound.program(place)
    with zipfile.ZipFile(path) as archive:
        name = next(name for name in archive.namelist() if name.endswith("model.pt"))
    stream = io.BytesIO()
    torch.save(((Bomb(marker),), {}), stream)
    other = zipfile.ZipInfo("x")
    other.filename = name
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(other, stream.getvalue())
    return path


def zip_bomb(name: str, member: str) -> Builder:
    """A hundred megabytes of nothing, packed to a tenth of a per cent."""

    def build(place: Path, marker: Path) -> Path:
        del marker
        with zipfile.ZipFile(place / name, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/version", "3")
            with archive.open(member, "w") as stream:
                for _ in range(100):
                    stream.write(bytes(2**20))
        return place / name

    return build


def overlapping_zip(place: Path, marker: Path) -> Path:
    """Ten thousand entries for one member of the file."""
    del marker
    data = bytes(2**20)
    packed, checksum = zlib.compress(data)[2:-4], zlib.crc32(data)
    local = struct.pack("<IHHHHHIIIHH", 0x04034B50, 20, 0, 8, 0, 0, checksum, len(packed), len(data), 1, 0)
    entries = b""
    for index in range(10_000):
        name = f"archive/{index}".encode()
        entries += struct.pack(
            "<IHHHHHHIIIHHHHHII",
            *(0x02014B50, 20, 20, 0, 8, 0, 0, checksum, len(packed), len(data), len(name)),
            *(0, 0, 0, 0, 0, 0),
        )
        entries += name
    body = local + b"a" + packed
    end = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 10_000, 10_000, len(entries), len(body), 0)
    (place / "overlap.pth").write_bytes(body + entries + end)
    return place / "overlap.pth"


def lying_size(place: Path, marker: Path) -> Path:
    """The table of contents says a few bytes, the member holds a hundred megabytes."""
    path = zip_bomb("lying.pt", "archive/data.pkl")(place, marker)
    content = path.read_bytes()
    path.write_bytes(content.replace(struct.pack("<I", 100 * 2**20), struct.pack("<I", 100)))
    return path


# --- floods and lies --------------------------------------------------------------------------------


def deep_tuples(place: Path, marker: Path) -> Path:
    """A key whose hash takes two to the power of sixty steps."""
    del marker
    content = b"\x80\x02})"
    for index in range(60):
        content += b"q" + bytes([index]) + b"0h" + bytes([index]) + b"h" + bytes([index]) + b"\x86"
    return _torch_zip(content + b"K\x01s.", place / "deep.pt")


def long_pickle(place: Path, marker: Path) -> Path:
    """Four million instructions that do nothing."""
    del marker
    return _torch_zip(b"\x80\x02" + b"N0" * 2_000_000 + b"}.", place / "long.pt")


def huge_text(place: Path, marker: Path) -> Path:
    """A text of four exabytes, says its length."""
    del marker
    return _torch_zip(b"\x80\x04\x8d" + struct.pack("<Q", 2**62) + b"abc.", place / "huge.pt")


def huge_text_legacy(place: Path, marker: Path) -> Path:
    del marker
    stream = io.BytesIO()
    torch.save({}, stream, _use_new_zipfile_serialization=False)
    (place / "huge.pt").write_bytes(stream.getvalue()[:60] + b"\x8d" + struct.pack("<Q", 2**42) + b"abc.")
    return place / "huge.pt"


def huge_storage_legacy(place: Path, marker: Path) -> Path:
    """A tensor of sixteen terabytes that the file does not hold."""
    del marker
    stream = io.BytesIO()
    torch.save({"w": torch.zeros(77)}, stream, _use_new_zipfile_serialization=False)
    big = b"\x8a\x06" + (2**42).to_bytes(6, "little")
    (place / "storage.pt").write_bytes(
        stream.getvalue().replace(b"KMN", big + b"N").replace(b"KMt", big + b"t")
    )
    return place / "storage.pt"


def safetensors_header(length: int, text: bytes) -> Builder:
    def build(place: Path, marker: Path) -> Path:
        del marker
        (place / "header.safetensors").write_bytes(struct.pack("<Q", length) + text)
        return place / "header.safetensors"

    return build


def sparse_weights(place: Path, marker: Path) -> Path:
    """A terabyte that takes no room on the disk."""
    del marker
    n_bytes = 2**40
    text = json.dumps({"w": {"dtype": "F32", "shape": [n_bytes // 4], "data_offsets": [0, n_bytes]}}).encode()
    path = place / "sparse.safetensors"
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + n_bytes)
    return path


def bomb_as_safetensors(place: Path, marker: Path) -> Path:
    (place / "bomb.safetensors").write_bytes(pickle.dumps(Bomb(marker)))
    return place / "bomb.safetensors"


def zip_as_safetensors(place: Path, marker: Path) -> Path:
    path = bomb_in_zip(place, marker)
    return path.rename(place / "zipped.safetensors")


def changed_weights(change: Callable[[dict[str, torch.Tensor]], object]) -> Builder:
    def build(place: Path, marker: Path) -> Path:
        del marker
        state = {name: tensor.clone() for name, tensor in sound.module().state_dict().items()}
        change(state)
        save_file(state, place / "changed.safetensors")
        return place / "changed.safetensors"

    return build


def pipe(place: Path, marker: Path) -> Path:
    """A file that never ends because nobody writes to it."""
    del marker
    os.mkfifo(place / "pipe.safetensors")
    return place / "pipe.safetensors"


def link(target: str) -> Builder:
    def build(place: Path, marker: Path) -> Path:
        del marker
        (place / "link.safetensors").symlink_to(target)
        return place / "link.safetensors"

    return build


def card_with_class(place: Path, marker: Path) -> Path:
    """A sealed card that names a module lying beside it."""
    from auditkit.subjects.checkpoint import CheckpointCard

    folder = sound.folder(place)
    (place / "evil_module.py").write_text(f"import os\nos.mkdir({str(marker)!r})\n")
    values = json.loads((folder / "card.json").read_text())
    card = CheckpointCard.model_validate({**values, "architecture": {"name": "evil_module:Net"}})
    (folder / "card.json").write_text(card.model_copy(update={"sha256": card.seal()}).model_dump_json())
    return folder


M = {"architecture": sound.MLP}

CORPUS: dict[str, tuple[str, Builder, dict[str, object], int]] = {
    "bomb in a zip": ("checkpoint", bomb_in_zip, M, UNSAFE),
    "bomb in the old format": ("checkpoint", bomb_in_legacy, M, UNSAFE),
    "bomb behind the object of the old format": ("checkpoint", bomb_in_legacy_after_the_object, M, UNSAFE),
    **{
        f"bare bomb as {name}": ("checkpoint", bare_bomb(name), M, UNSAFE)
        for name in ("bomb.pth", "bomb.pt", "bomb.bin", "bomb.ckpt", "bomb.pkl", "bomb.joblib")
    },
    **{
        f"bare bomb as {name}": ("checkpoint", bare_bomb(name), {}, REFUSED)
        for name in ("bomb.pt2", "bomb.h5", "bomb.keras", "bomb.onnx", "bomb")
    },
    "bare bomb as bomb.ts": ("checkpoint", bare_bomb("bomb.ts"), {}, UNSAFE),
    "bomb of getattr": ("checkpoint", bomb_of_getattr, M, UNSAFE),
    "bomb as TorchScript": ("checkpoint", bomb_as_script, {}, UNSAFE),
    "whole module": ("checkpoint", whole_module, M, UNSAFE),
    **{f"program, {name}": ("checkpoint", poisoned(name), {}, UNSAFE) for name in POISONINGS},
    **{
        f"program, bomb in {name}": ("checkpoint", nested_bomb(name), {}, UNSAFE)
        for name in ("extra/notes.txt", "data/weights/weight_9", "data/constants/model.pt", "x.pkl")
    },
    "bomb called safetensors": ("checkpoint", bomb_as_safetensors, M, REFUSED),
    "zip called safetensors": ("checkpoint", zip_as_safetensors, M, REFUSED),
    "card that names a class": ("checkpoint", card_with_class, {}, UNSAFE),
    "transformers, pickled": ("hf", pickled_transformers, {}, UNSAFE),
    "transformers, auto_map": (
        "hf",
        transformers_with_code("auto_map", {"AutoModelForSequenceClassification": "modeling_own.Net"}),
        {},
        UNSAFE,
    ),
    "transformers, attention from outside": (
        "hf",
        transformers_with_code("_attn_implementation_internal", "somebody/kernel"),
        {},
        UNSAFE,
    ),
    "transformers, nested trust": (
        "hf",
        transformers_with_code("text_config", {"trust_remote_code": True}),
        {},
        UNSAFE,
    ),
    "Keras, Lambda": ("keras", keras_with_lambda, {}, UNSAFE),
    "Keras, function": ("keras", keras_with_function, {}, UNSAFE),
    "Keras, pickle": ("keras", keras_with_pickle, {}, UNSAFE),
    "skops, types": ("sklearn", skops_with_types, {}, UNSAFE),
    "skops, pickle": ("sklearn", bare_bomb("model.pkl"), {}, UNSAFE),
    "ONNX, data outside": ("onnx", onnx_with_outside_data, {}, UNSAFE),
    "absolute path": ("checkpoint", member_called("/etc/passwd"), {}, UNSAFE),
    "path upwards": ("checkpoint", member_called("program/../../x"), {}, UNSAFE),
    "path of Windows": ("checkpoint", member_called("program\\..\\x"), {}, UNSAFE),
    "drive of Windows": ("checkpoint", member_called("C:/x"), {}, UNSAFE),
    "long name": ("checkpoint", member_called("program/" + "x" * 5000), {}, UNSAFE),
    "control characters": ("checkpoint", member_called("program/\x1b[31m"), {}, UNSAFE),
    "link in an archive": (
        "checkpoint",
        member_called("program/link", mode=stat.S_IFLNK | 0o777),
        {},
        UNSAFE,
    ),
    "library in an archive": ("checkpoint", member_called("program/extra/lib.so"), {}, UNSAFE),
    "member twice": ("checkpoint", member_twice, {}, UNSAFE),
    "zip bomb as state dict": ("checkpoint", zip_bomb("bomb.pth", "archive/data.pkl"), M, UNSAFE),
    "zip bomb as program": ("checkpoint", zip_bomb("bomb.pt2", "archive/data/weights/weight_0"), {}, UNSAFE),
    "zip bomb as skops": ("sklearn", zip_bomb("bomb.skops", "1.npy"), {}, UNSAFE),
    "zip bomb as Keras": ("keras", zip_bomb("bomb.keras", "model.weights.h5"), {}, UNSAFE),
    "overlapping members": ("checkpoint", overlapping_zip, M, UNSAFE),
    "lying size": ("checkpoint", lying_size, M, REFUSED),
    "deep tuples": ("checkpoint", deep_tuples, M, REFUSED),
    "long pickle": ("checkpoint", long_pickle, M, REFUSED),
    "huge text": ("checkpoint", huge_text, M, REFUSED),
    "huge text in the old format": ("checkpoint", huge_text_legacy, M, REFUSED),
    "huge storage in the old format": ("checkpoint", huge_storage_legacy, M, REFUSED),
    "header longer than the file": ("checkpoint", safetensors_header(2**40, b"{}"), M, REFUSED),
    "header of all bits": ("checkpoint", safetensors_header(2**64 - 1, b"{}"), M, REFUSED),
    "header that is deep": ("checkpoint", safetensors_header(10**6, b"[" * 10**6), M, REFUSED),
    "header of nothing": ("checkpoint", safetensors_header(0, b""), M, REFUSED),
    "terabyte on paper": ("checkpoint", sparse_weights, M, REFUSED),
    "wrong type": (
        "checkpoint",
        changed_weights(lambda s: s.update({"output.bias": torch.zeros(2, dtype=torch.int64)})),
        M,
        REFUSED,
    ),
    "NaN": ("checkpoint", changed_weights(lambda s: s["output.bias"].fill_(float("nan"))), M, REFUSED),
    "infinite": ("checkpoint", changed_weights(lambda s: s["output.bias"].fill_(float("inf"))), M, REFUSED),
    "wrong architecture": (
        "checkpoint",
        changed_weights(lambda s: s.update({"more": torch.zeros(1)})),
        M,
        REFUSED,
    ),
    "missing tensor": ("checkpoint", changed_weights(lambda s: s.pop("output.bias")), M, REFUSED),
    "pipe": ("checkpoint", pipe, M, REFUSED),
    "link to a device": ("checkpoint", link("/dev/zero"), M, REFUSED),
    "link to nothing": ("checkpoint", link("nothing"), M, REFUSED),
    "link to itself": ("checkpoint", link("link.safetensors"), M, REFUSED),
}
"""Key of ``subject:``, what writes the file, further keys, and the exit code that it deserves."""

NEEDS = {"hf": "transformers", "sklearn": "skops", "onnx": "onnx", "keras": "keras"}
