"""Encoding: raw rows in, the inputs of a model out, by a preprocessing that was fitted before."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from auditkit.data.dataset import (
    UNKNOWN,
    Dataset,
    FeatureSpace,
    FloatArray,
    GroupColumn,
    IntArray,
    TokenSpace,
)
from auditkit.data.fitting import check_labels
from auditkit.data.raw import encode_raw
from auditkit.data.rows import ObjectArray, Rows, as_texts
from auditkit.data.steps import (
    CategoricalFeature,
    ImagePreprocessing,
    LanguagePreprocessing,
    NumericFeature,
    Preprocessing,
    RawTablePreprocessing,
    TablePreprocessing,
    TextPreprocessing,
    ValueTablePreprocessing,
    foretells_value,
    n_columns,
)
from auditkit.data.tokenizers import padded
from auditkit.errors import DataError, closest
from auditkit.records import Message

Block = npt.NDArray[np.float32]


def encode(rows: Rows, preprocessing: Preprocessing, *, keep_digits: bool = False) -> Dataset:
    """Rows as a dataset whose inputs are float32, int64 token ids for texts, or float64 as they were read.

    Args:
        rows: As they were read.
        preprocessing: What to make of them.
        keep_digits: Whether columns of a table are float64, too: in their own unit they may need it.

    Raises:
        DataError: There are no rows, a column or label is absent or unknown, pictures have another size, or
            a column that was numbers in training holds texts.
    """
    _check_task(rows, preprocessing)
    check_labels(rows)
    statements = list(rows.statements)
    inputs: npt.NDArray[np.float32] | FloatArray | IntArray
    if isinstance(preprocessing, LanguagePreprocessing):
        inputs, space, y_true = _encode_language(rows, preprocessing, statements)
    else:
        y_true = _label_codes(rows, preprocessing)
        if isinstance(preprocessing, TextPreprocessing):
            inputs, space = _encode_texts(rows, preprocessing, statements)
        elif isinstance(preprocessing, ImagePreprocessing):
            inputs, space = _encode_pictures(rows, preprocessing)
        elif isinstance(preprocessing, RawTablePreprocessing):
            inputs, space = encode_raw(rows, preprocessing)
        else:
            inputs, space = _encode_table(rows, preprocessing, statements, keep_digits=keep_digits)
    if rows.outcome is not None:
        statements.append(_range_of(rows.outcome))
    predicted = (
        None
        if rows.prediction is None
        else _codes(rows, rows.prediction, preprocessing.classes, "prediction")
    )
    return Dataset(
        name=rows.name,
        source=rows.source,
        split=rows.split,
        inputs=torch.from_numpy(inputs),
        y_true=y_true,
        classes=preprocessing.classes,
        target=preprocessing.target,
        positive=rows.positive,
        features=space,
        sensitive_features=_groups(rows.sensitive),
        control_features=_groups(rows.control),
        sample_weight=rows.weight,
        is_member=rows.member,
        person=_person_codes(rows.person),
        scores=_scores(rows, preprocessing.classes, predicted),
        outcome=rows.outcome,
        predicted_outcome=rows.predicted_outcome,
        predicted=predicted,
        task=rows.task,
        counts=rows.counts,
        synthetic=rows.synthetic,
        planted=rows.planted,
        statements=tuple(statements),
    )


def _range_of(outcome: FloatArray) -> Message:
    text = "The target is a number, on these rows from {low} to {high}, {mean} on average."
    values = {"low": outcome.min(), "high": outcome.max(), "mean": outcome.mean()}
    return Message(text=text, values={key: float(f"{value:.4g}") for key, value in values.items()})


def _check_task(rows: Rows, preprocessing: Preprocessing) -> None:
    """Refuse labels where a number is to be foretold, and numbers where a label is."""
    if foretells_value(preprocessing) == (rows.task == "regression"):
        return
    if rows.task == "regression":
        raise DataError(
            f"{rows.name}: data.task is regression, but the model tells classes; leave data.task out, or "
            "train a model of this target"
        )
    raise DataError(
        f"{rows.name}: the model foretells a number ({preprocessing.target}); write data.task: regression"
    )


def _label_codes(rows: Rows, preprocessing: Preprocessing) -> IntArray:
    """Class of every row; 0 where a number is to be foretold."""
    if rows.task == "regression":
        return np.zeros(len(rows), dtype=np.int64)
    return _codes(rows, rows.labels, preprocessing.classes, "target")


def _encode_pictures(rows: Rows, preprocessing: ImagePreprocessing) -> tuple[Block, FeatureSpace]:
    height, width = preprocessing.height, preprocessing.width
    if rows.images is None:
        what = "a table" if rows.texts is None else "texts"
        raise DataError(f"{rows.name} is {what}, but the model takes {height}x{width} pictures")
    if rows.images.shape[1:] != (height, width):
        got = "x".join(str(side) for side in rows.images.shape[1:])
        raise DataError(f"{rows.name}: pictures are {got}, the model takes {height}x{width}")
    pixels = rows.images.astype(np.float32)
    pixels /= np.float32(preprocessing.divisor)
    pixels -= np.float32(preprocessing.mean)
    pixels /= np.float32(preprocessing.scale)
    if preprocessing.flatten:
        pixels = pixels.reshape(len(pixels), height * width)
    return pixels, FeatureSpace((), (), (height, width))


def _encode_texts(
    rows: Rows, preprocessing: TextPreprocessing, statements: list[Message]
) -> tuple[IntArray, FeatureSpace]:
    tokenizer, length = preprocessing.tokenizer, preprocessing.length
    ids = [tokenizer.ids(text or "") for text in _texts(rows).tolist()]
    cut = sum(len(row) > length for row in ids)
    if cut:
        text = "{n} of {total} texts are longer than {length} tokens; the rest of them was not read."
        statements.append(Message(text=text, values={"n": cut, "total": len(rows), "length": length}))
    inputs = np.array(padded(ids, length, tokenizer.padding), dtype=np.int64)
    return inputs, FeatureSpace((), tokens=TokenSpace(tokenizer.vocabulary, tokenizer.padding))


def _encode_language(
    rows: Rows, preprocessing: LanguagePreprocessing, statements: list[Message]
) -> tuple[IntArray, FeatureSpace, IntArray]:
    """Contexts, and the token that follows each."""
    if rows.task != "language-modelling":
        raise DataError(
            f"{rows.name} has labels, but the model foretells the next token of a text; "
            "name a text as data.source (shakespeare, or a .txt file)"
        )
    tokenizer, length = preprocessing.tokenizer, preprocessing.length
    ids = [tokenizer.ids(text or "") for text in _texts(rows).tolist()]
    short = sum(len(row) < 2 for row in ids)
    if short:
        raise DataError(f"{rows.name}: {short} texts have fewer than two tokens, so none can be foretold")
    cut = sum(len(row) > length + 1 for row in ids)
    if cut:
        text = "{n} of {total} texts are longer than {length} tokens; the rest of them was not read."
        statements.append(Message(text=text, values={"n": cut, "total": len(rows), "length": length + 1}))
    ids = [row[: length + 1] for row in ids]
    inputs = np.array(padded([row[:-1] for row in ids], length, tokenizer.padding), dtype=np.int64)
    last = np.array([row[-1] for row in ids], dtype=np.int64)
    return inputs, FeatureSpace((), tokens=TokenSpace(tokenizer.vocabulary, tokenizer.padding)), last


def _texts(rows: Rows) -> ObjectArray:
    if rows.texts is None:
        raise DataError(
            f"{rows.name} has no texts, but the model reads text; name the column: data.text: COLUMN"
        )
    return rows.texts


def _encode_table(
    rows: Rows,
    preprocessing: TablePreprocessing | ValueTablePreprocessing,
    statements: list[Message],
    *,
    keep_digits: bool,
) -> tuple[Block | FloatArray, FeatureSpace]:
    if rows.images is not None or rows.texts is not None:
        what = "pictures" if rows.images is not None else "texts"
        raise DataError(f"{rows.name} is {what}, but the model takes the columns of a table")
    absent = [feature.name for feature in preprocessing.features if feature.name not in rows.columns]
    if absent:
        hints = "; ".join(f"no column {name!r}. {closest(name, rows.columns)}" for name in absent)
        raise DataError(f"{rows.name}: the model needs other columns: {hints}")
    widths = [n_columns(feature) for feature in preprocessing.features]
    shape = len(rows), sum(widths)
    inputs: Block | FloatArray = np.zeros(shape) if keep_digits else np.zeros(shape, dtype=np.float32)
    start = 0
    for feature, width in zip(preprocessing.features, widths, strict=True):
        block = inputs[:, start : start + width]
        column = rows.columns[feature.name]
        if isinstance(feature, NumericFeature):
            _fill_numbers(block, feature, _numbers(rows, feature.name, column), statements)
        else:
            _fill_levels(block, feature, as_texts(column))
        start += width
    owner = tuple(index for index, width in enumerate(widths) for _ in range(width))
    return inputs, FeatureSpace(tuple(feature.name for feature in preprocessing.features), owner)


def _fill_numbers(
    block: Block | FloatArray, feature: NumericFeature, values: FloatArray, statements: list[Message]
) -> None:
    missing = np.isnan(values)
    if missing.any():
        text = "{feature} is missing in {n} of {total} rows; the median of training rows stands in."
        if feature.fill == feature.mean:
            text = "{feature} is missing in {n} of {total} rows; the mean of training rows stands in."
        found = {"feature": feature.name, "n": int(missing.sum()), "total": len(values)}
        statements.append(Message(text=text, values=found))
    standard = (np.where(missing, feature.fill, values) - feature.mean) / feature.scale
    too_large = int((np.abs(standard) > np.finfo(np.float32).max).sum())
    if too_large:
        raise DataError(
            f"column {feature.name!r} holds {too_large} infinite or too large values; remove them"
        )
    block[:, 0] = standard
    if feature.missing_indicator:
        block[:, 1] = missing


def _fill_levels(block: Block | FloatArray, feature: CategoricalFeature, values: ObjectArray) -> None:
    position = {level: index for index, level in enumerate(feature.levels)}
    codes = np.array([position.get(UNKNOWN if value is None else value, -1) for value in values.tolist()])
    known = np.flatnonzero(codes >= 0)
    block[known, codes[known]] = 1.0


def _numbers(rows: Rows, name: str, column: FloatArray | ObjectArray) -> FloatArray:
    if column.dtype != object:
        return np.asarray(column, dtype=np.float64)
    try:
        return np.array(
            [np.nan if value is None else float(value) for value in column.tolist()], dtype=np.float64
        )
    except ValueError as error:
        raise DataError(
            f"{rows.name}: column {name!r} held numbers in training, now also texts: {error}"
        ) from None


def _codes(rows: Rows, labels: ObjectArray, classes: tuple[str, ...], role: str) -> IntArray:
    index = {name: code for code, name in enumerate(classes)}
    codes = np.array([index.get(label, -1) for label in labels.tolist()], dtype=np.int64)
    unseen = sorted({str(label) for label in labels[codes < 0].tolist()})
    if unseen:
        raise DataError(
            f"{rows.name}: {int((codes < 0).sum())} of {len(rows)} rows have a {role} unknown to the model: "
            f"{', '.join(map(repr, unseen[:5]))}. Its classes: {', '.join(map(repr, classes[:20]))}"
        )
    return codes


def _groups(columns: Mapping[str, ObjectArray]) -> dict[str, GroupColumn]:
    return {name: GroupColumn.from_values(column.tolist()) for name, column in columns.items()}


def _person_codes(person: ObjectArray | None) -> IntArray | None:
    """Equal codes for equal texts; a row without one is a person of its own."""
    if person is None:
        return None
    keys = [(False, str(row)) if key is None else (True, str(key)) for row, key in enumerate(person.tolist())]
    index = {key: code for code, key in enumerate(dict.fromkeys(keys))}
    return np.array([index[key] for key in keys], dtype=np.int64)


def _scores(rows: Rows, classes: tuple[str, ...], predicted: IntArray | None) -> FloatArray | None:
    """Log-probabilities that came with the table, in the order of ``classes``."""
    if rows.score is None:
        return None
    absent = [label for label in classes if label not in rows.score_labels]
    if absent or len(classes) != len(rows.score_labels):
        raise DataError(
            f"{rows.name}: data.score is about the labels {', '.join(map(repr, rows.score_labels[:20]))}, "
            f"expected {', '.join(map(repr, classes[:20]))}"
        )
    scores = rows.score[:, [rows.score_labels.index(label) for label in classes]]
    differing = 0 if predicted is None else int((scores.argmax(axis=1) != predicted).sum())
    if differing:
        raise DataError(
            f"{rows.name}: data.prediction and data.score disagree in {differing} of {len(rows)} rows "
            "(the label with the highest score is predicted); give only one of them"
        )
    return scores
