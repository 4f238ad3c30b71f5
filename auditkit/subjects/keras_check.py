"""A ``.keras`` archive, looked through before Keras sees it.

Its configuration names classes and functions that Keras imports and calls; several ways around the library's
own safe mode are known (CVE-2025-1550, CVE-2025-12058, CVE-2026-1462). So only layers whose configuration is
data pass here, by name. Its weights are an HDF5 file, which can name other files to be read; none may.
"""

import io
import json
import zipfile
from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NoReturn

from auditkit.data.json_files import MOST_DEPTH, entries
from auditkit.errors import CheckpointError, MissingExtraError, UnsafeError
from auditkit.subjects.archive_check import checked_archive

CONFIG, METADATA, WEIGHTS = "config.json", "metadata.json", "model.weights.h5"
MINIMUM = (3, 13, 2)
"""Earlier versions can be made to run code of a file in safe mode (CVE-2026-1462)."""

_LAYERS = """
InputLayer Dense EinsumDense Embedding Activation Masking Flatten Reshape Permute RepeatVector Rescaling
Normalization Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise
AlphaDropout ActivityRegularization ReLU LeakyReLU PReLU ELU Softmax
Conv1D Conv2D Conv3D Conv1DTranspose Conv2DTranspose Conv3DTranspose DepthwiseConv1D DepthwiseConv2D
SeparableConv1D SeparableConv2D MaxPooling1D MaxPooling2D MaxPooling3D AveragePooling1D AveragePooling2D
AveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D GlobalAveragePooling1D
GlobalAveragePooling2D GlobalAveragePooling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D Cropping1D Cropping2D
Cropping3D UpSampling1D UpSampling2D UpSampling3D BatchNormalization LayerNormalization GroupNormalization
RMSNormalization UnitNormalization SpectralNormalization Add Subtract Multiply Average Maximum Minimum
Concatenate Dot Attention AdditiveAttention MultiHeadAttention GroupQueryAttention SimpleRNN LSTM GRU
SimpleRNNCell LSTMCell GRUCell StackedRNNCells RNN Bidirectional TimeDistributed ConvLSTM1D ConvLSTM2D
"""
REVIEWED: dict[str, frozenset[str] | None] = {
    "keras": frozenset({"Sequential", "DTypePolicy"}),
    "keras.models": frozenset({"Sequential"}),
    "keras.src.models.functional": frozenset({"Functional"}),
    "keras.layers": frozenset(_LAYERS.split()),
    "keras.initializers": None,
    "keras.regularizers": None,
    "keras.constraints": None,
}
"""Classes whose configuration is data, by module; ``None`` for modules all of whose classes are so."""

PLAIN_VALUES = frozenset(
    {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__complex__", "__ellipsis__"}
)
"""Class names under which Keras writes values that are no objects."""

_NOTHING = "Nothing was executed"
_SAVE = 'Save the model with model.save("model.keras")'
_COMPILED = "compile_config"
_CONFIG_LIMIT_B = 64 * 2**20
_MOST_GROUPS = 100_000


def require_keras() -> None:
    """Refuse to go on without Keras in a version whose safe mode holds.

    Raises:
        MissingExtraError: Keras or h5py is absent, or Keras is too old.
    """
    try:
        found = version("keras")
        version("h5py")
    except PackageNotFoundError:
        raise MissingExtraError("a .keras file", "keras") from None
    if tuple(int(part) for part in found.split(".")[:3] if part.isdigit()) < MINIMUM:
        least = ".".join(map(str, MINIMUM))
        raise MissingExtraError(f"a .keras file with Keras {least} or later (installed: {found})", "keras")


def check_keras(path: Path) -> bytes:
    """Refuse a file that holds more than layers and numbers.

    Returns:
        The same model as an archive written anew, without the training configuration: optimisers, losses and
        metrics are not needed to predict, and are often somebody's own.

    Raises:
        UnsafeError: It names code, other files or members that no plain model has, or is an older format.
        CheckpointError: Absent, damaged, or not a Keras model.
    """
    _refuse_older_formats(path)
    with checked_archive(path) as archive:
        strange = sorted(set(archive.members) - {CONFIG, METADATA, WEIGHTS})
        if strange:
            raise UnsafeError(
                f"{path}: holds {', '.join(strange[:5])} besides a model; files like these are read by "
                f"layers that are not reviewed. Save a model without them. {_NOTHING}"
            )
        absent = [name for name in (CONFIG, WEIGHTS) if name not in archive.members]
        if absent:
            raise CheckpointError(f"{path}: lacks {' and '.join(absent)}. {_SAVE}")
        config = _parsed(path, archive.read(CONFIG, limit_b=_CONFIG_LIMIT_B))
        weights = archive.read(WEIGHTS)
    for keys, value in [((), config), *entries(config)]:
        if isinstance(value, dict) and {"class_name", "module", "registered_name"} & set(value):
            _check_object(path, keys, value)
    _check_weights(path, weights)
    return _archive(config, weights)


def _archive(config: dict[str, Any], weights: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(CONFIG, json.dumps(config))
        archive.writestr(METADATA, json.dumps({"keras_version": version("keras"), "date_saved": ""}))
        archive.writestr(WEIGHTS, weights)
    return stream.getvalue()


def _refuse_older_formats(path: Path) -> None:
    if path.is_dir():
        raise UnsafeError(f"{path}: a folder, as of a SavedModel, which carries code. {_SAVE}. {_NOTHING}")
    try:
        with path.open("rb") as stream:
            start = stream.read(4)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; expected one that ends in .keras") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from None
    if path.suffix.lower() in (".h5", ".hdf5") or start == b"\x89HDF":
        raise UnsafeError(
            f"{path}: the HDF5 format of Keras 2, whose configuration can carry code. Load it where you "
            f'trust it, and save it with model.save("model.keras"). {_NOTHING}'
        )


def _parsed(path: Path, content: bytes) -> dict[str, Any]:
    """The configuration without what was compiled into the model and into models inside it."""
    try:
        config = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: {CONFIG}: not JSON ({type(error).__name__}). {_SAVE}") from None
    if not isinstance(config, dict) or "class_name" not in config:
        raise CheckpointError(f"{path}: {CONFIG}: not the configuration of a model. {_SAVE}")
    for keys, value in [((), config), *entries(config)]:
        if len(keys) > MOST_DEPTH:
            raise CheckpointError(f"{path}: {CONFIG}: nested deeper than {MOST_DEPTH}. {_SAVE}")
        if isinstance(value, dict):
            value.pop(_COMPILED, None)
    return config


def _check_object(path: Path, keys: tuple[str, ...], value: dict[str, Any]) -> None:
    module, name, registered = (value.get(key) for key in ("module", "class_name", "registered_name"))
    if name in PLAIN_VALUES and module is None:
        return
    if not isinstance(name, str) or not isinstance(module, str):
        _refuse(path, keys, f"{name!r} of the module {module!r}")
    classes = REVIEWED.get(module, frozenset())
    if not (name.isidentifier() and name[0].isupper() if classes is None else name in classes):
        _refuse(path, keys, f"{module}.{name}")
    if registered not in (None, name):
        _refuse(path, keys, f"the registered object {registered!r}")


def _refuse(path: Path, keys: tuple[str, ...], what: str) -> NoReturn:
    where = ".".join(keys) or "model"
    raise UnsafeError(
        f"{path}: {CONFIG}: {where} is {what}, which is not among the reviewed classes: a Lambda, a custom "
        "or an unknown class can run code when loaded. Build the model from layers of Keras, or export it "
        f"to ONNX. {_NOTHING}"
    )


def _check_weights(path: Path, content: bytes) -> None:
    """Refuse links, other files and sizes that the file does not hold."""
    h5py: Any = import_module("h5py")
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            total_b = 0
            for name, found in _walk(file):
                if isinstance(found, str):
                    raise UnsafeError(f"{path}: {WEIGHTS}: {name} {found}. {_SAVE}. {_NOTHING}")
                total_b += _checked_size(path, name, found)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        reason = str(error) or type(error).__name__
        raise CheckpointError(f"{path}: {WEIGHTS}: truncated or damaged: {reason}. {_SAVE}") from None
    if total_b > 2 * len(content):
        raise UnsafeError(
            f"{path}: {WEIGHTS} describes {total_b} bytes of numbers in {len(content)} bytes. {_SAVE}. "
            f"{_NOTHING}"
        )


def _walk(file: Any) -> Iterator[tuple[str, Any]]:
    """Every dataset by name, or why a name is not followed; each group once."""
    h5py: Any = import_module("h5py")
    waiting, seen = [("", file)], 0
    while waiting:
        prefix, group = waiting.pop()
        seen += 1
        if seen > _MOST_GROUPS:
            raise ValueError(f"more than {_MOST_GROUPS} groups")
        for key in group:
            name = f"{prefix}/{key}"
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                yield name, "is a link to another place or file"
                continue
            found = group[key]
            if isinstance(found, h5py.Group):
                waiting.append((name, found))
            elif isinstance(found, h5py.Dataset):
                yield name, found
            else:
                yield name, "is neither a group nor numbers"


def _checked_size(path: Path, name: str, dataset: Any) -> int:
    if dataset.external or dataset.is_virtual:
        raise UnsafeError(f"{path}: {WEIGHTS}: {name} lies in another file. {_SAVE}. {_NOTHING}")
    if dataset.dtype.kind not in "fiub":
        raise UnsafeError(
            f"{path}: {WEIGHTS}: {name} holds {dataset.dtype}, expected numbers. {_SAVE}. {_NOTHING}"
        )
    return int(dataset.nbytes)
