"""A folder in the layout of transformers, looked through before that library sees it.

Its weights are data when they are safetensors, but its JSON files can name code: classes in the folder or on
the network that the library imports, and in versions before 5.3 did so even where it was told not to
(CVE-2026-4372, CVE-2026-5241). Whatever names code is refused here, whether or not a library would use it.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from auditkit.data.json_files import entries, read_json
from auditkit.errors import CheckpointError, UnsafeError

CONFIG, WEIGHTS, INDEX = "config.json", "model.safetensors", "model.safetensors.index.json"

CODE_KEYS = frozenset(
    {
        "auto_map",
        "trust_remote_code",
        "_attn_implementation_internal",
        "_experts_implementation_internal",
        "custom_pipelines",
        "custom_generate",
        "code_revision",
    }
)
"""Keys that name code, or that make a library trust it."""

REDIRECTING_KEYS = frozenset(
    {"transformers_weights", "quantization_config", "kernel_config", "use_kernels", "fusion_config"}
)
"""Keys that lead to other weights or kernels than those of a plain model."""

KERNELS = frozenset({None, "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"})
_KERNEL_KEYS = frozenset(
    {"attn_implementation", "_attn_implementation", "experts_implementation", "_experts_implementation"}
)
_FILE_KEYS = ("vocab_file", "merges_file", "tokenizer_file", "sp_model_file", "spm_file")

_CODE_SUFFIXES = (".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".sh", ".ipynb")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack", ".distcp")
_MOST_FILES = 1000
_NOTHING = "Nothing was executed"


def screen_folder(folder: Path) -> dict[str, Any]:
    """Refuse a folder that holds more than data.

    Returns:
        The content of its ``config.json``.

    Raises:
        UnsafeError: It holds code, names code in a JSON file, has only pickled weights, or leads elsewhere.
        CheckpointError: It is not such a folder, or a file in it is damaged.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; expected one with {CONFIG} and {WEIGHTS}")
    files = list(_files(folder))
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise CheckpointError(f"{folder / CONFIG}: holds {type(config).__name__}, expected an object")
    for path in files:
        if path.suffix == ".json":
            _screen_json(path)
    _check_weights(folder, files)
    return config


def _files(folder: Path) -> Iterator[Path]:
    """All files below ``folder``, none of them a link out of it or code."""
    root, n_files = folder.resolve(), 0
    for parent, folders, names in os.walk(folder):
        for name in sorted((*folders, *names)):
            path = Path(parent) / name
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                raise UnsafeError(
                    f"{path}: a link out of the folder. Copy the files themselves: "
                    f"cp -rL {folder} COPY. {_NOTHING}"
                )
        for name in sorted(names):
            path, n_files = Path(parent) / name, n_files + 1
            if n_files > _MOST_FILES:
                raise CheckpointError(f"{folder}: more than {_MOST_FILES} files; give the model's own folder")
            if path.suffix.lower() in _CODE_SUFFIXES:
                raise UnsafeError(
                    f"{path}: code in a folder of weights. If the model needs it, it cannot be read here; "
                    f"if not, remove the file. {_NOTHING}"
                )
            yield path


def _screen_json(path: Path) -> None:
    if path.name == "adapter_config.json":
        raise UnsafeError(
            f"{path}: an adapter, which names another model to be loaded. Merge it first: "
            f"model.merge_and_unload().save_pretrained(FOLDER). {_NOTHING}"
        )
    for keys, value in entries(read_json(path)):
        problem = _problem(keys[-1], value)
        if problem:
            shown = ".".join(keys)
            raise UnsafeError(
                f"{path}: {shown} {problem}. Save the model again with a plain configuration, or remove the "
                f"key if the model does not need it. {_NOTHING}"
            )


def _problem(key: str, value: Any) -> str | None:
    if key in CODE_KEYS:
        return f"is {_short(value)}: it names code to be imported"
    if key in REDIRECTING_KEYS and value not in (None, False):
        return f"is {_short(value)}: it leads to other weights or kernels than those in the folder"
    if key in _KERNEL_KEYS and not _is_built_in_kernel(value):
        return f"is {_short(value)}: a kernel that would be fetched and run; built in are sdpa and eager"
    if key in _FILE_KEYS and isinstance(value, str) and Path(value).name != value:
        return f"is {_short(value)}: a file outside the folder"
    return None


def _is_built_in_kernel(value: Any) -> bool:
    chosen = list(value.values()) if isinstance(value, dict) else [value]
    return all(isinstance(one, str | None) and one in KERNELS for one in chosen)


def weights_sha256(folder: Path) -> str:
    """sha256 of the weights in a screened folder: of the one file, or of the sha256 of its parts by name."""
    if (folder / WEIGHTS).is_file():
        return _sha256(folder / WEIGHTS)
    parts = sorted(folder.glob("*.safetensors"))
    return hashlib.sha256("".join(f"{part.name} {_sha256(part)}\n" for part in parts).encode()).hexdigest()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_weights(folder: Path, files: list[Path]) -> None:
    """Weights must be safetensors in the folder itself; an index may name nothing else."""
    if (folder / WEIGHTS).is_file():
        return
    if not (folder / INDEX).is_file():
        pickles = [path.name for path in files if path.suffix.lower() in _PICKLES]
        if pickles:
            raise UnsafeError(
                f"{folder / pickles[0]}: pickled weights, which can execute code when loaded. Where you "
                "trust them, convert them in a place of their own: "
                f"AutoModel.from_pretrained(FOLDER).save_pretrained(COPY) writes {WEIGHTS}. {_NOTHING}"
            )
        raise CheckpointError(f"{folder}: no weights; expected {WEIGHTS} or {INDEX}")
    index = read_json(folder / INDEX)
    named = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(named, dict) or not named or not all(isinstance(one, str) for one in named.values()):
        raise CheckpointError(f"{folder / INDEX}: weight_map does not name a file for every tensor")
    for name in sorted(set(named.values())):
        if Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
            raise UnsafeError(
                f"{folder / INDEX}: weight_map names {_short(name)}; expected .safetensors files beside it. "
                f"Save the model again. {_NOTHING}"
            )
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder / name}: no such file, though {INDEX} names it; copy it too")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
