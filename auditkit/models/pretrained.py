"""Models of a local transformers folder. The one place where that library is imported.

It is imported late, told to stay off the network, and never sees a folder that was not screened.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from auditkit.data.json_files import entries
from auditkit.data.transformers_folder import CONFIG, screen_folder
from auditkit.errors import CheckpointError, MissingExtraError, UnsafeError
from auditkit.randomness import global_generators_seeded

MINIMUM = (5, 3)
"""Earlier versions run code that a config names even when told not to (CVE-2026-4372, CVE-2026-5241)."""

Head = Literal["classification", "causal", "masked"]
_HEADS: Mapping[Head, str] = {
    "classification": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
    "causal": "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES",
    "masked": "MODEL_FOR_MASKED_LM_MAPPING_NAMES",
}
_WHAT = "a folder of transformers"
_SHOWN = 5


def head_of(folder: Path) -> tuple[Head, str]:
    """What the model in a folder does, and the name of its class, both from its configuration.

    Raises:
        UnsafeError: See :func:`screen_folder`; or its type is not built into transformers.
        CheckpointError: It does something else.
        MissingExtraError: transformers is absent or too old.
    """
    config = screen_folder(folder)
    with _library() as transformers:
        _check_types(folder, config, transformers)
        names = config.get("architectures")
        name = names[0] if isinstance(names, list) and names and isinstance(names[0], str) else None
        for head, table in _HEADS.items():
            if name in _names(getattr(transformers.models.auto.modeling_auto, table).values()):
                return head, str(name)
    raise CheckpointError(
        f"{folder / CONFIG}: architectures is {names!r}; read are models with a head for sequence "
        "classification, causal or masked language modelling, such as BertForSequenceClassification. A bare "
        "encoder can be trained with subject.architecture: {name: hf-encoder, folder: FOLDER}"
    )


def load_with_head(folder: Path, class_name: str) -> nn.Module:
    """The model in a screened folder, by the name of its class, in single precision and evaluation mode.

    Raises:
        CheckpointError: Weights are absent, left at random, of another shape, damaged or not finite.
    """
    with _library() as transformers:
        return _load(getattr(transformers, class_name), folder)


def load_encoder(folder: Path) -> nn.Module:
    """The model in a folder without its head; see :func:`head_of` for what is refused."""
    config = screen_folder(folder)
    with _library() as transformers:
        _check_types(folder, config, transformers)
        return _load(transformers.AutoModel, folder)


def encoder_like(folder: Path) -> nn.Module:
    """A module of the same form as :func:`load_encoder` gives, its weights not yet read."""
    return _like(folder, "AutoModel")


def with_head_like(folder: Path, class_name: str) -> nn.Module:
    """A module of the same form as :func:`load_with_head` gives, its weights not yet read."""
    return _like(folder, class_name)


def reads_one_way(folder: Path) -> bool:
    """Whether a token's state in the folder's model knows only the tokens before it, as in GPT."""
    kind = screen_folder(folder).get("model_type")
    with _library() as transformers:
        tables = transformers.models.auto.modeling_auto
        causal, masked = (getattr(tables, _HEADS[head]) for head in ("causal", "masked"))
        return kind in causal and kind not in masked


def _like(folder: Path, class_name: str) -> nn.Module:
    config = screen_folder(folder)
    with _library() as transformers, global_generators_seeded(0), torch.device("cpu"):
        _check_types(folder, config, transformers)
        kind = getattr(transformers, class_name)
        try:
            parsed = transformers.AutoConfig.from_pretrained(folder, **_LOCAL)
            make = kind.from_config if _is_bare(kind) else kind._from_config
            module: nn.Module = make(parsed, attn_implementation="sdpa")
        except Exception as error:
            raise _damaged(folder, error) from None
    return module.eval()


def _is_bare(kind: Any) -> bool:
    """Whether it is the library's word for a model without its head."""
    return bool(kind.__name__ == "AutoModel")


_LOCAL = {"local_files_only": True, "trust_remote_code": False}


def _load(kind: Any, folder: Path) -> nn.Module:
    is_bare = _is_bare(kind)
    try:
        with global_generators_seeded(0), torch.device("cpu"):
            module, info = kind.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                dtype=torch.float32,
                attn_implementation="sdpa",
                output_loading_info=True,
                **({"trust_remote_code": False} if is_bare else {}),
            )
    except Exception as error:  # a damaged file raises whatever its bytes happen to mean
        raise _damaged(folder, error) from None
    # An encoder is pooled here; the pooling layer of its own that some have is not used.
    missing = [name for name in sorted(map(str, info["missing_keys"])) if not (is_bare and "pooler" in name)]
    if missing:
        raise CheckpointError(
            f"{folder}: the weights lack {', '.join(missing[:_SHOWN])} of {type(module).__name__}, which "
            "would be left at random; save the whole model again"
        )
    odd = [name for name, tensor in module.state_dict().items() if not _is_finite(tensor)]
    if odd:
        raise CheckpointError(
            f"{folder}: {odd[0]} holds values that are NaN or infinite; save the model again"
        )
    loaded: nn.Module = module.eval()
    return loaded


def _is_finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _damaged(folder: Path, error: Exception) -> CheckpointError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return CheckpointError(f"{folder}: cannot be read: {reason}; save or copy the folder again")


def _check_types(folder: Path, config: Mapping[str, Any], transformers: Any) -> None:
    """Refuse model types that the library does not define itself, also those of parts."""
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
    if "model_type" not in config:
        raise CheckpointError(f"{folder / CONFIG}: model_type is not set; save the model again")
    for keys, value in entries(dict(config)):
        if keys[-1] == "model_type" and value and value not in known:
            raise UnsafeError(
                f"{folder / CONFIG}: {'.'.join(keys)} is {value!r}, which is not built into transformers "
                f"{transformers.__version__}: a model of that type needs code of its own. Nothing was "
                "executed. Convert the model to a type that is built in, or export it to ONNX"
            )


def _names(values: Any) -> set[str]:
    return {name for value in values for name in ([value] if isinstance(value, str) else value)}


@contextmanager
def _library() -> Iterator[Any]:
    """transformers, quiet and off the network inside the block.

    Raises:
        MissingExtraError: Absent, or older than its first version without known ways to run a folder's code.
    """
    try:
        found = version("transformers")
    except PackageNotFoundError:
        raise MissingExtraError(_WHAT, "hf") from None
    if tuple(int(part) for part in found.split(".")[:2] if part.isdigit()) < MINIMUM:
        least = ".".join(map(str, MINIMUM))
        raise MissingExtraError(f"{_WHAT} with transformers {least} or later (installed: {found})", "hf")
    # The library reads the variable once, when it is imported; what it remembers is set as well.
    constants: Any = import_module("huggingface_hub.constants")
    before, was_offline = os.environ.get("HF_HUB_OFFLINE"), constants.HF_HUB_OFFLINE
    os.environ["HF_HUB_OFFLINE"], constants.HF_HUB_OFFLINE = "1", True
    try:
        with _quiet():
            transformers = import_module("transformers")
            import_module("transformers.models.auto.modeling_auto")
            yield transformers
    finally:
        constants.HF_HUB_OFFLINE = was_offline
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no reports of the library on stderr; what matters is raised."""
    log = import_module("transformers.utils.logging")
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()
