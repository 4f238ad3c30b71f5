"""One sound model of every format, for the table of the scene."""

import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from auditkit.config import Architecture
from auditkit.models.zoo import build_module
from auditkit.randomness import global_generators_seeded
from auditkit.subjects.checkpoint import save_checkpoint
from auditkit.subjects.tensor_file import write_tensors
from auditkit.subjects.torch_subject import TorchSubject
from tests.subjects.programs import exported, scripted

MLP = {"name": "mlp", "hidden": [4]}
FULL = Architecture.model_validate({**MLP, "n_inputs": 3, "n_classes": 2})


def module() -> nn.Module:
    """A network for three columns and two classes."""
    return build_module(FULL, rng=torch.Generator().manual_seed(0)).eval()


def folder(place: Path) -> Path:
    """A checkpoint of ours."""
    subject = TorchSubject.build(module(), architecture=FULL, classes=("no", "yes"))
    return save_checkpoint(place / "checkpoint", subject)


def safetensors(place: Path) -> Path:
    """Bare weights."""
    path = place / "weights.safetensors"
    with path.open("wb") as stream:
        write_tensors(stream, module().state_dict())
    return path


def state_dict(place: Path) -> Path:
    """A state dict as torch saves it now."""
    torch.save(module().state_dict(), place / "weights.pth")
    return place / "weights.pth"


def legacy(place: Path) -> Path:
    """A state dict as torch saved it before version 1.6."""
    torch.save(module().state_dict(), place / "legacy.pt", _use_new_zipfile_serialization=False)
    return place / "legacy.pt"


def program(place: Path) -> Path:
    """An exported program."""
    return exported(place / "program.pt2", module(), torch.zeros(3, 3))


def script(place: Path) -> Path:
    """A TorchScript archive."""
    return scripted(place / "script.pt", module())


def skops(place: Path) -> Path:
    """A linear model of scikit-learn."""
    import skops.io
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 3))
    skops.io.dump(
        LogisticRegression().fit(rows, np.where(rows[:, 0] > 0, "yes", "no")), place / "model.skops"
    )
    return place / "model.skops"


def onnx(place: Path) -> Path:
    """A linear layer."""
    from onnx import TensorProto, helper, numpy_helper, save

    weights = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["rows", "weights"], ["logits"])],
        "linear",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(weights, "weights")],
    )
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        place / "model.onnx",
    )
    return place / "model.onnx"


def keras(place: Path) -> Path:
    """A dense layer and one that chooses."""
    os.environ.setdefault("KERAS_BACKEND", "torch")
    import keras as library

    layers = [library.layers.Input((3,)), library.layers.Dense(4, activation="relu"), library.layers.Dense(2)]
    library.Sequential(layers).save(place / "model.keras")
    return place / "model.keras"


def transformers(place: Path) -> Path:
    """A classifier of texts with few numbers."""
    from tests.subjects.tiny_folders import save_model

    with warnings.catch_warnings(), global_generators_seeded(0):
        warnings.simplefilter("ignore")
        return save_model(place / "bert", "BertForSequenceClassification")


SOUND: dict[str, tuple[str, Callable[[Path], Path], dict[str, object], tuple[str, ...]]] = {
    "checkpoint folder": ("checkpoint", folder, {}, ("model.safetensors", "card.json")),
    "safetensors": ("checkpoint", safetensors, {"architecture": MLP}, ()),
    "state dict": ("checkpoint", state_dict, {"architecture": MLP}, ()),
    "legacy state dict": ("checkpoint", legacy, {"architecture": MLP}, ()),
    "exported program": ("checkpoint", program, {}, ()),
    "TorchScript": ("checkpoint", script, {}, ()),
    "skops": ("sklearn", skops, {}, ()),
    "ONNX": ("onnx", onnx, {}, ()),
    "Keras": ("keras", keras, {}, ()),
    "transformers": ("hf", transformers, {}, ("model.safetensors", "config.json", "tokenizer.json")),
}
"""Key of ``subject:``, what writes it, further keys, and in a folder the files whose bytes are flipped."""

EXTRAS = {"skops": "skops", "ONNX": "onnxruntime", "Keras": "keras", "transformers": "transformers"}
"""Packages that a format needs."""


def fresh(source: Path, place: Path) -> Path:
    """A copy to damage."""
    target = place / source.name
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)
    return target
