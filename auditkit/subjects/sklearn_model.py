"""A scikit-learn classifier saved by skops as a subject: ``sklearn: model.skops``.

It is asked with rows as they were read. A model trained on a data frame gets one with its own columns, found
by name; one trained on an array gets the columns as numbers in their order. Nothing in the file is executed;
a file with types that were not reviewed is refused before it is loaded.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from auditkit.data.dataset import FloatArray
from auditkit.data.preprocessing import ImagePreprocessing, Preprocessing, RawTablePreprocessing
from auditkit.errors import CheckpointError, UsageError, closest
from auditkit.records import Message, SubjectCard
from auditkit.subjects.answers import AnswerReader, Form, digest_of, labels_in_data
from auditkit.subjects.black_box import BlackBox, as_read, capabilities_of, first_rows, steadiness
from auditkit.subjects.skops_file import kind_of, read_skops
from auditkit.subjects.sources import Request

Method = Literal["predict_proba", "predict"]

_FORMS: Mapping[Form, Method] = {"rows": "predict_proba", "labels": "predict"}
_TIE = 1e-9
_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class SklearnSubject(BlackBox):
    """A fitted classifier; ``columns`` are those that it reads, in its order, ``method`` what it is asked."""

    model: Any
    columns: tuple[str, ...]
    method: Method
    reader: AnswerReader

    def log_probabilities(self, inputs: torch.Tensor) -> FloatArray:
        """Its probabilities, or its labels where it states none.

        Raises:
            UsageError: The model raised, or its answer is not what its labels promise.
        """
        rows = _rows(self.model, inputs, self.preprocessing, self.columns, self.reader.where)
        answers = _ask(self.model, self.method, rows, self.reader.where)
        return self.reader.log_probabilities(answers, len(inputs))


def load(request: Request) -> SklearnSubject:
    """The classifier behind ``subject.sklearn``, tried on the first rows of the data.

    Raises:
        UnsafeError: A pickle, or a file with types that were not reviewed; they are listed.
        CheckpointError: Absent, damaged, not a classifier, or made for other columns or labels.
        MissingExtraError: skops is not installed.
    """
    path = request.path("sklearn")
    where = str(path)
    model, content, notes = read_skops(path)
    if request.preprocessing is None:
        raise UsageError(f"{where}: needs data to be tried on; name them under data:")
    classes = labels_in_data(list(model.classes_), request.classes, where)
    preprocessing = request.preprocessing.model_copy(update={"classes": classes})
    columns, statements = _columns(model, preprocessing, where)
    rows = first_rows(request.probe, where)
    method, why = _method(model, _rows(model, rows.inputs, preprocessing, columns, where), classes, where)
    reader = AnswerReader(where, "rows" if method == "predict_proba" else "labels", classes)

    def asked(inputs: torch.Tensor) -> Any:
        return _ask(model, method, _rows(model, inputs, preprocessing, columns, where), where)

    def ask(inputs: torch.Tensor) -> FloatArray:
        return reader.log_probabilities(asked(inputs), len(inputs))

    card = SubjectCard(
        name=request.name,
        title=request.config.name or path.stem,
        source=where,
        digest=digest_of(content, preprocessing.model_dump_json(), ask(rows.inputs)),
        architecture=f"scikit-learn {kind_of(model)}",
        n_parameters=None,
        size_b=len(content),
        classes=classes,
        capabilities=tuple(sorted(capabilities_of(gives_probabilities=reader.gives_probabilities))),
        statements=(
            *notes,
            *statements,
            *why,
            *reader.statements(asked(rows.inputs)),
            *steadiness(ask, rows.inputs),
        ),
    )
    return SklearnSubject(
        card=card,
        preprocessing=preprocessing,
        gives_probabilities=reader.gives_probabilities,
        model=model,
        columns=columns,
        method=method,
        reader=reader,
    )


def _columns(
    model: Any, preprocessing: Preprocessing, where: str
) -> tuple[tuple[str, ...], tuple[Message, ...]]:
    """The columns that the model reads, and what a reader should know about their choice.

    Raises:
        CheckpointError: The data lack columns of the model, or have another number of them.
    """
    if not isinstance(preprocessing, RawTablePreprocessing):
        return (), ()
    known = preprocessing.names
    own = getattr(model, "feature_names_in_", None)
    if own is not None:
        return _by_name([str(name) for name in own], known, where)
    width = getattr(model, "n_features_in_", None)
    if width is not None and int(width) != len(known):
        raise CheckpointError(
            f"{where}: reads {width} columns without names, the data have {len(known)}: {', '.join(known)}. "
            "List them in data.features in the order of the training"
        )
    text = "It was trained without column names; it is given these columns in this order: {columns}."
    return known, (Message(text=text, values={"columns": ", ".join(known)}),)


def _by_name(
    own: list[str], known: tuple[str, ...], where: str
) -> tuple[tuple[str, ...], tuple[Message, ...]]:
    absent = [name for name in own if name not in known]
    if absent:
        hints = "; ".join(f"no column {name!r}. {closest(name, known)}" for name in absent[:_SHOWN])
        raise CheckpointError(
            f"{where}: the model reads columns that the data do not have: {hints} Name them in data.features"
        )
    unread = [name for name in known if name not in own]
    if not unread:
        return tuple(own), ()
    text = "Columns of the data that it does not read: {columns}."
    return tuple(own), (Message(text=text, values={"columns": ", ".join(unread)}),)


def _method(
    model: Any, rows: Any, classes: tuple[str, ...], where: str
) -> tuple[Method, tuple[Message, ...]]:
    """Probabilities, unless there are none or the model itself decides otherwise than by the highest.

    A model with a threshold of its own decides by that; its decisions are audited, as they are what people
    are told.
    """
    if not hasattr(model, "predict_proba"):
        return "predict", ()
    stated, decided = (
        AnswerReader(where, form, classes).log_probabilities(_ask(model, method, rows, where), len(rows))
        for form, method in _FORMS.items()
    )
    top = np.sort(stated, axis=1)
    clear = top[:, -1] - top[:, -2] > _TIE
    differing = int((clear & (stated.argmax(axis=1) != decided.argmax(axis=1))).sum())
    if not differing:
        return "predict_proba", ()
    text = (
        "In {n} of the first {total} rows it decides otherwise than by its highest probability; its "
        "decisions are audited, and its probabilities are left out."
    )
    return "predict", (Message(text=text, values={"n": differing, "total": len(rows)}),)


def _ask(model: Any, method: Method, rows: Any, where: str) -> Any:
    """What the model answers."""
    try:
        with warnings.catch_warnings():
            # what a model warns of at each call (unknown categories, names) is not for the reader of figures
            warnings.simplefilter("ignore")
            return getattr(model, method)(rows)
    except Exception as error:
        raise UsageError(
            f"{where}: the model raised {type(error).__name__} when asked about {len(rows)} rows: "
            f"{str(error).splitlines()[0][:300] if str(error) else ''}"
        ) from error


def _rows(
    model: Any, inputs: torch.Tensor, preprocessing: Preprocessing, columns: tuple[str, ...], where: str
) -> Any:
    """A data frame for a model that knows column names, else an array; texts as a list."""
    read = as_read(inputs, preprocessing)
    if isinstance(preprocessing, ImagePreprocessing):
        return np.asarray(read, dtype=np.float64).reshape(len(inputs), -1)
    if not isinstance(read, pd.DataFrame):
        return read
    frame = read[list(columns)]
    if getattr(model, "feature_names_in_", None) is not None:
        return frame
    texts = [name for name in columns if not pd.api.types.is_numeric_dtype(frame[name])]
    if texts:
        raise UsageError(
            f"{where}: was trained on numbers without column names, but these columns are texts: "
            f"{', '.join(texts)}. Save the whole pipeline, trained on a data frame"
        )
    return frame.to_numpy(dtype=np.float64)
