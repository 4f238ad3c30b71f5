"""Rows as they were read, in the one shape of data: for models that bring their own preprocessing.

A table becomes float64 columns, one per feature, from which the data frame is built again; pictures keep
their grey values, divided by the largest; texts become their bytes.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from auditkit.data.dataset import FeatureSpace, FloatArray
from auditkit.data.fitting import class_names
from auditkit.data.rows import ByteArray, ObjectArray, Rows, as_texts
from auditkit.data.steps import (
    ImagePreprocessing,
    Preprocessing,
    RawNumber,
    RawTablePreprocessing,
    RawText,
    TextPreprocessing,
)
from auditkit.data.tokenizers import ByteTokenizer
from auditkit.errors import DataError, closest

MOST_RAW_LEVELS = 1_000_000
_FIRST_BYTE = 2
_EXACT = 2.0**53


def fit_raw(rows: Rows) -> Preprocessing:
    """How ``rows`` were read: nothing is learned from them but names, types, levels and labels.

    Args:
        rows: All rows that will be encoded, so that every level and label is among them.

    Raises:
        DataError: A label is missing, a number is infinite, or the rows are one running text.
    """
    if rows.task == "language-modelling":
        raise DataError(
            f"{rows.name} is a text without labels; a model that is called from outside answers with labels. "
            "Name data with a target"
        )
    classes = () if rows.task == "regression" else class_names(rows)
    if rows.texts is not None:
        longest = max(len(str(text or "").encode()) for text in rows.texts.tolist())
        return TextPreprocessing(
            target=rows.target, classes=classes, tokenizer=ByteTokenizer(), length=max(1, longest)
        )
    if rows.images is not None:
        return _pictures(rows.images, rows, classes)
    features = tuple(_feature(name, column) for name, column in rows.columns.items())
    return RawTablePreprocessing(target=rows.target, classes=classes, features=features)


def encode_raw(rows: Rows, preprocessing: RawTablePreprocessing) -> tuple[FloatArray, FeatureSpace]:
    """The columns side by side, shape ``(n, features)``, float64, NaN where a value is missing.

    Raises:
        DataError: A column is absent, has a level that was not there, or texts where numbers were.
    """
    if rows.images is not None or rows.texts is not None:
        what = "pictures" if rows.images is not None else "texts"
        raise DataError(f"{rows.name} is {what}, but the model takes the columns of a table")
    absent = [name for name in preprocessing.names if name not in rows.columns]
    if absent:
        hints = "; ".join(f"no column {name!r}. {closest(name, rows.columns)}" for name in absent)
        raise DataError(f"{rows.name}: the model needs other columns: {hints}")
    inputs = np.empty((len(rows), len(preprocessing.features)))
    for index, feature in enumerate(preprocessing.features):
        column = rows.columns[feature.name]
        inputs[:, index] = (
            _numbers(rows.name, feature.name, column)
            if isinstance(feature, RawNumber)
            else _codes(rows.name, feature, as_texts(column))
        )
    owner = tuple(range(len(preprocessing.features)))
    levels = tuple(
        feature.levels if isinstance(feature, RawText) else () for feature in preprocessing.features
    )
    return inputs, FeatureSpace(preprocessing.names, owner, levels=levels)


def frame_of(inputs: torch.Tensor, preprocessing: RawTablePreprocessing) -> pd.DataFrame:
    """The rows as they were read: a data frame with the columns in the order of the features.

    Columns of whole numbers without gaps are int64, other numbers float64, texts what pandas makes of texts;
    NaN where a value is missing. The types do not depend on which rows are asked for.

    Args:
        inputs: Encoded by ``preprocessing``, shape ``(n, features)``.
        preprocessing: From :func:`fit_raw`.
    """
    values = inputs.detach().cpu().numpy().astype(np.float64, copy=True)
    return pd.DataFrame(
        {
            feature.name: _series(values[:, index], feature)
            for index, feature in enumerate(preprocessing.features)
        },
        index=range(len(values)),
    )


def texts_of(inputs: torch.Tensor) -> list[str]:
    """The texts behind rows of bytes, shape ``(n, length)``."""
    rows = inputs.detach().cpu().numpy()
    return [
        bytes((row[row >= _FIRST_BYTE] - _FIRST_BYTE).astype(np.uint8)).decode(errors="replace")
        for row in rows
    ]


def _pictures(images: ByteArray, rows: Rows, classes: tuple[str, ...]) -> ImagePreprocessing:
    return ImagePreprocessing(
        target=rows.target,
        classes=classes,
        height=images.shape[1],
        width=images.shape[2],
        divisor=rows.divisor,
        mean=0.0,
        scale=1.0,
        flatten=False,
    )


def _feature(name: str, column: FloatArray | ObjectArray) -> RawNumber | RawText:
    if column.dtype != object:
        values = np.asarray(column, dtype=np.float64)
        if np.isinf(values).any():
            raise DataError(
                f"column {name!r} holds {int(np.isinf(values).sum())} infinite values; replace or remove them"
            )
        whole = bool(((values == np.floor(values)) & (np.abs(values) < _EXACT)).all())
        return RawNumber(name=name, whole=whole)
    levels = tuple(sorted({str(value) for value in column.tolist() if value is not None}))
    if len(levels) > MOST_RAW_LEVELS:
        raise DataError(f"column {name!r} has {len(levels)} different texts, at most {MOST_RAW_LEVELS}")
    return RawText(name=name, levels=levels)


def _numbers(where: str, name: str, column: FloatArray | ObjectArray) -> FloatArray:
    if column.dtype == object:
        raise DataError(f"{where}: column {name!r} held numbers before, now also texts")
    return np.asarray(column, dtype=np.float64)


def _codes(where: str, feature: RawText, values: ObjectArray) -> FloatArray:
    index: dict[object, float] = {level: float(code) for code, level in enumerate(feature.levels)}
    index[None] = np.nan
    try:
        return np.array([index[value] for value in values.tolist()], dtype=np.float64)
    except KeyError as error:
        raise DataError(
            f"{where}: column {feature.name!r} has the text {error.args[0]!r}, which was not there before"
        ) from None


def _series(values: FloatArray, feature: RawNumber | RawText) -> "pd.Series[object]":
    if isinstance(feature, RawNumber):
        whole = feature.whole and bool((values == np.floor(values)).all())
        return pd.Series(values.astype(np.int64) if whole else values)
    return pd.Series(_texts(values, feature.levels), dtype=pd.Series(["text"]).dtype)


def _texts(values: FloatArray, levels: Sequence[str]) -> ObjectArray:
    """The level of each code; NaN, as pandas reads a missing text."""
    found = np.full(len(values), np.nan, dtype=object)
    known = np.flatnonzero(~np.isnan(values))
    found[known] = np.array([*levels, None], dtype=object)[values[known].astype(np.int64)]
    return found
