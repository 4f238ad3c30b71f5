"""Exported programs and TorchScript archives for the tests of files, sound and poisoned."""

import io
import json
import pickle
import warnings
import zipfile
from pathlib import Path

import torch
from torch import nn

from auditkit.randomness import global_generators_seeded
from tests.subjects.bombs import Bomb


def network(n_inputs: int = 4, n_classes: int = 2) -> nn.Module:
    """A small network, in evaluation mode."""
    with global_generators_seeded(5):
        layers = nn.Linear(n_inputs, 5), nn.ReLU(), nn.Dropout(0.2), nn.Linear(5, n_classes)
        return nn.Sequential(nn.Flatten(), *layers).eval()


def exported(path: Path, module: nn.Module, rows: torch.Tensor, *, dynamic: bool = True) -> Path:
    """Write ``module`` as torch.export does."""
    shapes = ({0: torch.export.Dim("rows")},) if dynamic else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(module, (rows,), dynamic_shapes=shapes), path)
    return path


def scripted(path: Path, module: nn.Module) -> Path:
    """Write ``module`` as TorchScript."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module), str(path))
    return path


def rewritten(
    path: Path, target: Path, changes: dict[str, object], *, extra: dict[str, bytes] | None = None
) -> Path:
    """A copy of an archive with other members: bytes, or a function of the old bytes."""
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as copy:
        for member in source.infolist():
            content = source.read(member)
            change = changes.get(member.filename.partition("/")[2])
            if change is not None:
                content = change(content) if callable(change) else change
            copy.writestr(member.filename, content)
        root = source.namelist()[0].partition("/")[0]
        for name, content in (extra or {}).items():
            copy.writestr(f"{root}/{name}", content)
    return target


def poisoned_samples(path: Path, target: Path, marker: Path) -> Path:
    """The first known poisoning: sample inputs that are a pickle."""
    stream = io.BytesIO()
    torch.save(((Bomb(marker),), {}), stream)
    return rewritten(path, target, {"data/sample_inputs/model.pt": stream.getvalue()})


def poisoned_weight(path: Path, target: Path, marker: Path) -> Path:
    """The second known poisoning: a weight marked ``use_pickle``."""
    stream = io.BytesIO()
    torch.save(Bomb(marker), stream)

    def marked(content: bytes) -> bytes:
        config = json.loads(content)
        next(iter(config["config"].values()))["use_pickle"] = True
        return json.dumps(config).encode()

    return rewritten(
        path,
        target,
        {"data/weights/model_weights_config.json": marked, "data/weights/weight_0": stream.getvalue()},
    )


def poisoned_expression(path: Path, target: Path, marker: Path) -> Path:
    """A third one: the size of a batch as Python, which the loader evaluates."""
    code = f"__import__('os').mkdir({str(marker)!r}) or 3"

    def changed(content: bytes) -> bytes:
        text = json.loads(content)
        for meta in text["graph_module"]["graph"]["tensor_values"].values():
            for size in meta["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = code
        return json.dumps(text).encode()

    return rewritten(path, target, {"models/model.json": changed})


def poisoned_opaque(path: Path, target: Path, marker: Path) -> Path:
    """A fourth one: a constant that is an opaque object."""
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    config = json.dumps({"config": {"c": entry}}).encode()
    return rewritten(
        path,
        target,
        {"data/constants/model_constants_config.json": config},
        extra={"data/constants/opaque_obj_0": pickle.dumps(Bomb(marker))},
    )


POISONINGS = {
    "sample inputs": poisoned_samples,
    "use_pickle": poisoned_weight,
    "expression": poisoned_expression,
    "opaque constant": poisoned_opaque,
}
