"""What the columns of a table mean, as the config says it."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from auditkit.config.model import DataConfig
from auditkit.data.dataset import BoolArray, FloatArray
from auditkit.data.outcomes import outcomes_of_table
from auditkit.data.rows import ObjectArray, Rows, TextForm, as_texts
from auditkit.data.scores import scores_of_table
from auditkit.data.table import Columns
from auditkit.errors import DataError, closest

SPLITS = ("train", "test", "all")
_TRUE, _FALSE = ("true", "1", "yes", "t"), ("false", "0", "no", "f")
_SINGLE = ("target", "prediction", "weight", "person", "text")
_SEVERAL = ("sensitive_features", "control_features")


def with_defaults(config: DataConfig, **defaults: Any) -> DataConfig:
    """``config`` with ``defaults`` for every key that its author did not write.

    Naming ``features`` also sets aside a default ``drop``: what is asked for by name is not dropped.
    """
    own = set(config.model_fields_set)
    if "features" in own:
        defaults.pop("drop", None)
    return config.model_copy(update={key: value for key, value in defaults.items() if key not in own})


def rows_of_table(table: Columns, config: DataConfig, *, name: str, split: str) -> Rows:
    """Give every column of ``table`` its role.

    Input columns are ``config.features``, or all that have no other role; sensitive and control features
    are inputs too unless they are dropped.

    Raises:
        DataError: No target is named, a column does not exist, or its values cannot have their role.
    """
    _check_columns(table, config)
    target = str(config.target)
    labels = as_texts(table.column(target))
    inputs = _input_columns(table, config) if config.text is None else []
    common = Rows(
        name=name,
        source=config.source,
        split=split,
        target=target,
        labels=labels,
        columns={key: table.column(key) for key in inputs},
        texts=None if config.text is None else table.texts(config.text),
        text_form=TextForm(config.tokenizer or "word", config.length),
        sensitive={key: table.texts(key) for key in config.sensitive_features},
        control={key: table.texts(key) for key in config.control_features},
        weight=_weights(table, config.weight),
        person=None if config.person is None else table.texts(config.person),
        member=_members(table, config.members),
    )
    if config.task == "regression":
        outcome, foretold = outcomes_of_table(table, config)
        return replace(common, task="regression", outcome=outcome, predicted_outcome=foretold)
    return _with_labels(common, table, config)


def _with_labels(rows: Rows, table: Columns, config: DataConfig) -> Rows:
    """``rows`` with what is said of their labels: the favourable one, predictions and scores."""
    positive = matching_label(config.positive, rows.labels, f"{table.file}: data.positive")
    prediction = _predictions(table, config, rows.labels)
    known = {label for label in rows.labels if label is not None}
    if prediction is not None:
        known |= set(prediction.tolist())
    scores = scores_of_table(table, _with_own_labels(config, known), known, positive)
    return replace(
        rows,
        positive=positive,
        prediction=prediction,
        score=None if scores is None else scores[0],
        score_labels=() if scores is None else scores[1],
    )


def matching_label(wanted: str | None, labels: Iterable[str | None], where: str) -> str | None:
    """The label that ``wanted`` means: the same text, or the only one equal as number or but for case.

    Raises:
        DataError: No label is meant; the known ones are listed.
    """
    known = sorted({label for label in labels if label is not None})
    if wanted is None or wanted in known or not known:
        return wanted
    near = [label for label in known if _folded(label) == _folded(wanted)]
    if len(near) == 1:
        return near[0]
    raise DataError(f"{where}: no label {wanted!r}. {closest(wanted, known[:20])}")


def _folded(label: str) -> str | float:
    try:
        return float(label)
    except ValueError:
        return label.strip().casefold()


def _check_columns(table: Columns, config: DataConfig) -> None:
    """All unknown names at once."""
    if config.target is None:
        raise DataError(
            f"{table.file}: data.target is not set; name the column that holds the label. "
            f"Columns: {', '.join(table.names)}"
        )
    named: dict[str, tuple[str, ...]] = {
        key: (getattr(config, key),) for key in _SINGLE if getattr(config, key) is not None
    }
    named |= {key: getattr(config, key) for key in (*_SEVERAL, "drop")}
    named |= {"features": config.features or (), "score": score_columns(config)}
    if config.members not in (None, *SPLITS):
        named |= {"members": (config.members,)}
    problems = [
        f"data.{key}: no column {name!r}. {closest(name, table.names)}"
        for key, names in named.items()
        for name in names
        if name not in table.names
    ]
    if config.features is not None and config.target in config.features:
        problems.append(f"data.features: the target {config.target!r} cannot be an input")
    if problems:
        raise DataError(f"{table.file}: " + "; ".join(problems))


def _input_columns(table: Columns, config: DataConfig) -> list[str]:
    taken = {getattr(config, key) for key in (*_SINGLE, "members")} | {*config.drop, *score_columns(config)}
    names = table.names if config.features is None else config.features
    if config.features is not None:
        taken = set(config.drop)
    return [name for name in names if name not in taken]


def _weights(table: Columns, name: str | None) -> FloatArray | None:
    if name is None:
        return None
    values = _all_numbers(table, name, "weight")
    if (values < 0).any() or not np.isfinite(values).all():
        raise DataError(f"{table.file}: data.weight: {name!r} must be finite and not negative")
    return values


def score_columns(config: DataConfig) -> tuple[str, ...]:
    """The columns that ``data.score`` names."""
    if config.score is None:
        return ()
    return (config.score,) if isinstance(config.score, str) else tuple(config.score.values())


def _with_own_labels(config: DataConfig, known: Iterable[str]) -> DataConfig:
    """The labels of ``data.score`` as the data write them; those that no row has as they stand."""
    if not isinstance(config.score, dict):
        return config
    meant = {}
    for label, column in config.score.items():
        near = [name for name in known if _folded(name) == _folded(label)]
        meant[label if label in known or len(near) != 1 else near[0]] = column
    return config.model_copy(update={"score": meant})


def _all_numbers(table: Columns, name: str, role: str) -> FloatArray:
    if name not in table.numeric:
        raise DataError(f"{table.file}: data.{role}: {name!r} must hold numbers")
    values = table.numbers(name)
    absent = int(np.isnan(values).sum())
    if absent:
        raise DataError(
            f"{table.file}: data.{role}: {name!r} lacks a value in {absent} of {len(values)} rows"
        )
    return values


def _predictions(table: Columns, config: DataConfig, labels: ObjectArray) -> ObjectArray | None:
    name = config.prediction
    if name is None:
        return None
    values = as_texts(table.column(name))
    absent = sum(value is None for value in values)
    if absent:
        raise DataError(
            f"{table.file}: data.prediction: {name!r} lacks a value in {absent} of {len(values)} rows"
        )
    where = f"{table.file}: data.prediction {name!r}"
    known = [*labels, *(config.score if isinstance(config.score, dict) else ())]
    meant = {value: matching_label(value, known, where) for value in set(values.tolist())}
    return np.array([meant[value] for value in values], dtype=object)


def _members(table: Columns, name: str | None) -> BoolArray | None:
    if name is None or name in SPLITS:
        return None
    values = as_texts(table.column(name))
    known: Mapping[str, bool] = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
    folded = ["" if value is None else str(value).casefold() for value in values]
    odd = sorted({value for value in folded if value not in known})
    if odd:
        raise DataError(
            f"{table.file}: data.members: {name!r} must be true or false in every row, got {odd[0]!r}"
            if odd[0]
            else f"{table.file}: data.members: {name!r} lacks a value in {folded.count('')} rows"
        )
    return np.array([known[value] for value in folded], dtype=np.bool_)
