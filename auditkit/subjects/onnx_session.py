"""Running an ONNX file with onnxruntime: the session, and the rows in the shape that it takes."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from auditkit.data.preprocessing import ImagePreprocessing, Preprocessing, RawTablePreprocessing
from auditkit.data.raw import frame_of
from auditkit.errors import CheckpointError, MissingExtraError, UsageError

_TYPES: Mapping[str, type] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(string)": np.object_,
}
_SINGLE, _QUIET = 1, 3


def start_session(content: bytes, place: str, path: Path) -> Any:
    """A session on the CPU, or on CUDA where that is asked for and this onnxruntime has it.

    Raises:
        CheckpointError: onnxruntime cannot read the file.
        MissingExtraError: onnxruntime is not installed.
    """
    try:
        runtime = import_module("onnxruntime")
    except ImportError:
        raise MissingExtraError("subject.onnx", "onnx") from None
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = _SINGLE
    options.log_severity_level = _QUIET
    providers = ["CPUExecutionProvider"]
    if place.startswith("cuda") and "CUDAExecutionProvider" in runtime.get_available_providers():
        providers.insert(0, "CUDAExecutionProvider")
    try:
        # The fallback prints to stdout, which belongs to the result, and tries the same provider again.
        return runtime.InferenceSession(content, options, providers=providers, enable_fallback=0)
    except Exception as error:  # a damaged file raises whatever its content happens to mean
        raise CheckpointError(
            f"{path}: onnxruntime cannot load it: {_line(error)}; export or copy it again"
        ) from None


def ask(session: Any, output: str, inputs: torch.Tensor, preprocessing: Preprocessing, where: str) -> Any:
    """One output of the model about ``inputs``.

    Raises:
        CheckpointError: Its inputs do not fit the data.
        UsageError: It failed on these rows.
    """
    feed, batch = feed_of(session, inputs, preprocessing, where)
    try:
        if batch is None or batch == len(inputs):
            return session.run([output], feed)[0]
        parts = [
            session.run([output], _filled(feed, start, batch))[0] for start in range(0, len(inputs), batch)
        ]
    except Exception as error:
        raise UsageError(f"{where}: onnxruntime failed on {len(inputs)} rows: {_line(error)}") from None
    maps = isinstance(parts[0], list)
    joined = [row for part in parts for row in part] if maps else np.concatenate(parts)
    return joined[: len(inputs)]


def feed_of(
    session: Any, inputs: torch.Tensor, preprocessing: Preprocessing, where: str
) -> tuple[dict[str, npt.NDArray[Any]], int | None]:
    """The arrays by the name of the input, and the number of rows at a time where the model fixes it.

    Raises:
        CheckpointError: With what the model takes and what the data give.
    """
    wanted = session.get_inputs()
    if len(wanted) > 1 and isinstance(preprocessing, RawTablePreprocessing):
        frame = frame_of(inputs, preprocessing)
        absent = [item.name for item in wanted if item.name not in frame]
        if absent:
            raise CheckpointError(
                f"{where}: has inputs that are no columns of the data: {', '.join(absent)}. "
                f"Columns: {', '.join(frame)}"
            )
        columns = {
            item.name: _cast(frame[item.name].to_numpy()[:, None], item.type, where) for item in wanted
        }
        return columns, _fixed_rows(wanted[0].shape)
    if len(wanted) != 1:
        names = ", ".join(f"{item.name} {item.shape}" for item in wanted)
        raise CheckpointError(
            f"{where}: has {len(wanted)} inputs ({names}), expected one. For a raw table with one input per "
            "column write inputs: raw; else wrap it: subject.function"
        )
    (item,) = wanted
    array = _shaped(inputs.detach().cpu().numpy(), item.shape, preprocessing, where)
    texts = _text_columns(preprocessing)
    if texts:
        raise CheckpointError(
            f"{where}: takes numbers alone, but these columns are texts: {', '.join(texts)}. "
            "List the numeric ones in data.features, or write inputs: encoded"
        )
    return {item.name: _cast(array, item.type, where)}, _fixed_rows(item.shape)


def _text_columns(preprocessing: Preprocessing) -> list[str]:
    """The columns of a raw table that hold texts."""
    if not isinstance(preprocessing, RawTablePreprocessing):
        return []
    return [feature.name for feature in preprocessing.features if feature.kind == "text"]


def _shaped(
    array: npt.NDArray[Any], wanted: list[Any], preprocessing: Preprocessing, where: str
) -> npt.NDArray[Any]:
    """The rows in the shape that the model takes, where that only moves or adds axes."""
    n = len(array)
    sizes = [size if isinstance(size, int) and size > 0 else None for size in wanted[1:]]
    given: tuple[tuple[int, ...], ...] = (tuple(array.shape[1:]),)
    if isinstance(preprocessing, ImagePreprocessing):
        height, width = preprocessing.height, preprocessing.width
        given = ((height * width,), (height, width), (1, height, width), (height, width, 1))
    for shape in given:
        if len(shape) == len(sizes) and all(w in (None, g) for w, g in zip(sizes, shape, strict=True)):
            return array.reshape(n, *shape)
    if not wanted:
        return array
    expected = " or ".join(str(("n", *shape)) for shape in given)
    raise CheckpointError(
        f"{where}: takes rows of shape {list(wanted)}, the data give {expected}. Check data.features, and "
        "whether it reads rows as encoded here (inputs: encoded) or as they were read (inputs: raw)"
    )


def _cast(array: npt.NDArray[Any], wanted: str, where: str) -> npt.NDArray[Any]:
    if wanted not in _TYPES:
        raise CheckpointError(f"{where}: takes {wanted}, expected one of {', '.join(_TYPES)}")
    to = _TYPES[wanted]
    if to is np.object_:
        return array.astype(str).astype(np.object_)
    if array.dtype == object:
        raise CheckpointError(f"{where}: takes {wanted} where the data have texts")
    to_whole = np.issubdtype(array.dtype, np.floating) and np.issubdtype(to, np.integer)
    if to_whole and not (array == np.floor(array)).all():
        raise CheckpointError(f"{where}: takes {wanted} (token ids or codes), the data are not whole")
    return array.astype(to)


def _fixed_rows(shape: list[Any]) -> int | None:
    return shape[0] if shape and isinstance(shape[0], int) and shape[0] > 0 else None


def _filled(feed: Mapping[str, npt.NDArray[Any]], start: int, batch: int) -> dict[str, npt.NDArray[Any]]:
    """``batch`` rows from ``start``; the last one again where there are fewer."""
    filled = {}
    for name, array in feed.items():
        part = array[start : start + batch]
        filled[name] = np.concatenate([part, np.repeat(part[-1:], batch - len(part), axis=0)])
    return filled


def _line(error: Exception) -> str:
    lines = str(error).splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
