"""Fitting the preprocessing: what training rows, and only they, say about scales and levels."""

from collections import Counter

import numpy as np

from auditkit.data.dataset import UNKNOWN, FloatArray
from auditkit.data.rows import ByteArray, ObjectArray, Rows
from auditkit.data.scores import sorted_labels
from auditkit.data.steps import (
    CategoricalFeature,
    ImagePreprocessing,
    LanguagePreprocessing,
    NumericFeature,
    Preprocessing,
    TablePreprocessing,
    TextPreprocessing,
    ValueTablePreprocessing,
)
from auditkit.data.tokenizers import Tokenizer, fit_tokenizer
from auditkit.errors import DataError

RAREST_LEVEL = 0.0005
"""Smallest share of training rows for which a level gets an input column."""

MOST_LEVELS = 100
MOST_CLASSES = 1000
MOST_TOKENS = 256
"""Tokens per row where the config leaves it open and a training row has more."""

_PICTURES_AT_ONCE = 4096


def fit_preprocessing(rows: Rows) -> Preprocessing:
    """Learn scales, fills, levels, vocabularies and classes from training rows.

    Numbers are standardised, missing ones take the median and get an indicator column. Texts become one
    column per level; levels rarer than 0.05 % and those beyond the 100 most frequent get none. Columns
    that never change are left out.

    Raises:
        DataError: A label is missing, there are too many labels, a number is infinite, or no column varies.
    """
    if len(rows) == 0:
        raise DataError(f"{rows.name}: there are no rows to learn the preprocessing from")
    if rows.texts is not None and rows.task == "language-modelling":
        tokenizer, length = _of_texts(rows.texts, rows)
        # The last token of a row is foretold, not read.
        return LanguagePreprocessing(tokenizer=tokenizer, length=rows.text_form.length or max(1, length - 1))
    if rows.outcome is not None:
        return _of_values(rows, rows.outcome)
    classes = class_names(rows)
    if rows.texts is not None:
        tokenizer, length = _of_texts(rows.texts, rows)
        return TextPreprocessing(target=rows.target, classes=classes, tokenizer=tokenizer, length=length)
    if rows.images is not None:
        return _of_pictures(rows.images, rows, classes)
    return TablePreprocessing(target=rows.target, classes=classes, features=_features(rows))


def _of_values(rows: Rows, outcome: FloatArray) -> ValueTablePreprocessing:
    """As a table of labels; the target is standardised by its mean and spread over the training rows."""
    with np.errstate(over="ignore"):
        mean, scale = float(outcome.mean()), float(outcome.std())
    if not (np.isfinite(mean) and np.isfinite(scale)):
        raise DataError(
            f"{rows.name}: the target {rows.target!r} holds values too large to be scaled "
            f"(up to {np.abs(outcome).max():g}); use a larger unit"
        )
    return ValueTablePreprocessing(
        target=rows.target, mean=mean, scale=scale or 1.0, features=_features(rows)
    )


def _features(rows: Rows) -> tuple[NumericFeature | CategoricalFeature, ...]:
    """The input columns that vary."""
    fitted = [
        _text_feature(name, column) if column.dtype == object else _number_feature(name, column)
        for name, column in rows.columns.items()
    ]
    features = tuple(feature for feature in fitted if feature is not None)
    carries = (rows.prediction, rows.score, rows.predicted_outcome)
    if not features and all(column is None for column in carries):
        raise DataError(
            f"{rows.name}: no input column varies over the {len(rows)} training rows; "
            "check data.features and data.drop"
        )
    return features


def class_names(rows: Rows) -> tuple[str, ...]:
    """The labels that occur, numbers in numeric order, texts in alphabetical order.

    Rows with scores have the labels that these are about, in their order.
    """
    check_labels(rows)
    found = set(rows.labels.tolist())
    if rows.score_labels:
        strange = sorted(found - set(rows.score_labels))
        if strange:
            raise DataError(
                f"{rows.name}: data.score names no column for the label {strange[0]!r}, which "
                f"{int((rows.labels == strange[0]).sum())} of {len(rows)} rows have"
            )
        return rows.score_labels
    names = sorted_labels(found)
    if len(names) > MOST_CLASSES:
        raise DataError(
            f"{rows.name}: the target {rows.target!r} has {len(names)} different values, at most "
            f"{MOST_CLASSES} classes are supported; name a column of labels"
            + (", or write data.task: regression to foretell a number" if _are_numbers(names) else "")
        )
    return names


def _are_numbers(names: tuple[str, ...]) -> bool:
    try:
        return all(np.isfinite(float(name)) for name in names)
    except ValueError:
        return False


def check_labels(rows: Rows) -> None:
    """Refuse rows without a label.

    Raises:
        DataError: With the number of such rows.
    """
    absent = sum(label is None for label in rows.labels.tolist())
    if absent:
        raise DataError(
            f"{rows.name}: the target {rows.target!r} is missing in {absent} of {len(rows)} rows; "
            "remove these rows or complete them"
        )


def _number_feature(name: str, column: FloatArray | ObjectArray) -> NumericFeature | None:
    values = np.asarray(column, dtype=np.float64)
    missing = np.isnan(values)
    seen = values[~missing]
    if np.isinf(seen).any():
        raise DataError(
            f"column {name!r} holds {int(np.isinf(seen).sum())} infinite values; replace or remove them"
        )
    if len(seen) == 0:
        return None
    varies = bool(seen.min() < seen.max())
    if not varies and not missing.any():
        return None
    with np.errstate(over="ignore"):
        mean, scale = float(seen.mean()), float(seen.std()) if varies else 1.0
    if not (np.isfinite(mean) and np.isfinite(scale)):
        raise DataError(f"column {name!r} holds values too large to be scaled (up to {np.abs(seen).max():g})")
    return NumericFeature(
        name=name,
        mean=mean,
        scale=scale or 1.0,
        fill=float(np.median(seen)),
        missing_indicator=bool(missing.any()),
    )


def _text_feature(name: str, column: FloatArray | ObjectArray) -> CategoricalFeature | None:
    counts = Counter(UNKNOWN if value is None else str(value) for value in column.tolist())
    by_frequency = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    levels = tuple(level for level, n in by_frequency[:MOST_LEVELS] if n >= RAREST_LEVEL * len(column))
    return CategoricalFeature(name=name, levels=levels) if len(counts) > 1 and levels else None


def _of_pictures(images: ByteArray, rows: Rows, classes: tuple[str, ...]) -> ImagePreprocessing:
    total, squares = 0.0, 0.0
    for start in range(0, len(images), _PICTURES_AT_ONCE):
        block = images[start : start + _PICTURES_AT_ONCE].astype(np.float64) / rows.divisor
        total += float(block.sum())
        squares += float(np.square(block).sum())
    mean = total / images.size
    scale = float(np.sqrt(max(squares / images.size - mean**2, 0.0)))
    return ImagePreprocessing(
        target=rows.target,
        classes=classes,
        height=images.shape[1],
        width=images.shape[2],
        divisor=rows.divisor,
        mean=mean,
        scale=scale or 1.0,
    )


def _of_texts(texts: ObjectArray, rows: Rows) -> tuple[Tokenizer, int]:
    """The tokenizer of the training rows, and how many tokens a row may have."""
    known = [text for text in texts.tolist() if text]
    if not known:
        raise DataError(f"{rows.name}: all {len(rows)} texts are empty")
    tokenizer = fit_tokenizer(rows.text_form.tokenizer, known)
    longest = max(len(tokenizer.ids(text)) for text in known)
    return tokenizer, rows.text_form.length or max(1, min(longest, MOST_TOKENS))
