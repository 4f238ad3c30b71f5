"""Subjects that only answer, and answer with numbers: a table of them, or a Python function."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from auditkit.data.dataset import Dataset, FloatArray
from auditkit.data.preprocessing import Preprocessing
from auditkit.errors import DataError, UsageError
from auditkit.records import Message, SubjectCard
from auditkit.subjects.answers import as_array, digest_of
from auditkit.subjects.black_box import first_rows
from auditkit.subjects.calling import call, resolve, source_of
from auditkit.subjects.sources import Request
from auditkit.subjects.subject import Capability, Predictions, no_labels

VALUES: frozenset[Capability] = frozenset({"values"})

_SAME = 1e-6


@dataclass(frozen=True, kw_only=True)
class ValueBox(ABC):
    """Base of the subjects that foretell a number and show nothing else.

    Attributes:
        card: Identity.
        preprocessing: How rows become inputs.
    """

    card: SubjectCard
    preprocessing: Preprocessing

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Numbers alone."""
        return VALUES

    def predict(self, data: Dataset, *, batch_size: int) -> Predictions:
        """There are no labels.

        Raises:
            UsageError: Always.
        """
        raise no_labels(self.card.title)

    @abstractmethod
    def predict_values(self, data: Dataset, *, batch_size: int) -> FloatArray:
        """Shape ``(n,)``, float64, in the unit of the target."""


@dataclass(frozen=True, kw_only=True)
class ValueTable(ValueBox):
    """Numbers that are already there, beside the rows they are about."""

    def predict_values(self, data: Dataset, *, batch_size: int) -> FloatArray:
        """What the table says of the rows of ``data``.

        Raises:
            DataError: ``data`` is not from such a table.
        """
        if data.predicted_outcome is None:
            raise DataError(f"{data.name}: the rows carry no predictions of {self.card.title}")
        return data.predicted_outcome


@dataclass(frozen=True, kw_only=True)
class ValueFunction(ValueBox):
    """A Python function that answers with one number per row. It is found again by its name elsewhere."""

    reference: str
    folder: Path

    def predict_values(self, data: Dataset, *, batch_size: int) -> FloatArray:
        """What it answers, checked.

        Raises:
            UsageError: It raised, or its answer is not one finite number per row.
        """
        starts = range(0, len(data), batch_size)
        return np.concatenate([self._asked(data.inputs[start : start + batch_size]) for start in starts])

    def _asked(self, inputs: torch.Tensor) -> FloatArray:
        answers = call(self.reference, self.folder, inputs, self.preprocessing)
        return checked_values(answers, len(inputs), self.reference)


def checked_values(answers: Any, n: int, where: str) -> FloatArray:
    """Answers as ``n`` finite numbers.

    Raises:
        UsageError: They are texts, of another shape, or not finite.
    """
    array = as_array(answers, where)
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.shape != (n,):
        raise UsageError(
            f"{where}: answered with shape {array.shape} about {n} rows, expected ({n},): one number per "
            "row, as data.task is regression"
        )
    try:
        values = np.asarray(flat, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"{where}: expected one number per row, as data.task is regression: {error}"
        ) from None
    if not np.isfinite(values).all():
        raise UsageError(
            f"{where}: {int((~np.isfinite(values)).sum())} of {n} answers are NaN or infinite; expected "
            "finite numbers"
        )
    return values


def value_table(request: Request, path: Path, data: Dataset, preprocessing: Preprocessing) -> ValueTable:
    """The numbers of a table of predictions.

    Raises:
        UsageError: No column of predictions is named.
    """
    if data.predicted_outcome is None:
        raise UsageError(
            f"{path}: which column holds the predicted numbers? Name it: data.prediction: COLUMN"
        )
    text = "Its numbers were read from a table; the model behind them was not seen."
    card = SubjectCard(
        name=request.name,
        title=request.config.name or path.stem,
        source=str(path),
        digest=data.digest(),
        architecture="table of predictions",
        n_parameters=None,
        size_b=None,
        classes=(),
        capabilities=tuple(sorted(VALUES)),
        statements=(Message(text=text),),
    )
    return ValueTable(card=card, preprocessing=preprocessing)


def value_function(request: Request, reference: str, folder: Path) -> ValueFunction:
    """A function that foretells a number, tried on the first rows of the data.

    Raises:
        CheckpointError: It cannot be imported, or is no function.
        UsageError: It raises, or does not answer with one finite number per row.
    """
    function = resolve(reference, folder)
    if request.preprocessing is None:
        raise UsageError(f"{reference}: needs data to be tried on; name them under data:")
    preprocessing, rows = request.preprocessing, first_rows(request.probe, reference)

    def ask(inputs: torch.Tensor) -> FloatArray:
        return checked_values(call(reference, folder, inputs, preprocessing), len(inputs), reference)

    values = ask(rows.inputs)
    card = SubjectCard(
        name=request.name,
        title=request.config.name or reference,
        source=f"function: {reference}",
        digest=digest_of(reference, source_of(function), preprocessing.model_dump_json(), values),
        architecture="Python function",
        n_parameters=None,
        size_b=None,
        classes=(),
        capabilities=tuple(sorted(VALUES)),
        statements=_steadiness(values, np.concatenate([ask(part) for part in _halves(rows.inputs)])),
    )
    return ValueFunction(card=card, preprocessing=preprocessing, reference=reference, folder=folder)


def _halves(inputs: torch.Tensor) -> list[torch.Tensor]:
    middle = (len(inputs) + 1) // 2
    return [part for part in (inputs[:middle], inputs[middle:]) if len(part)]


def _steadiness(once: FloatArray, again: FloatArray) -> tuple[Message, ...]:
    """What to say of a function that answers otherwise when the same rows are asked in two halves."""
    largest = float(np.abs(once - again).max())
    if largest <= _SAME * max(1.0, float(np.abs(once).max())):
        return ()
    text = (
        "Asked again about the same rows, grouped otherwise, it answered differently "
        "(by up to {difference}); figures may differ from run to run."
    )
    return (Message(text=text, values={"difference": float(f"{largest:.2g}")}),)
