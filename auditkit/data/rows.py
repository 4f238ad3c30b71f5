"""Rows as they were read: nothing scaled, nothing filled, nothing encoded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from auditkit.data.dataset import BoolArray, Counts, FloatArray, IntArray, Task
from auditkit.errors import DataError
from auditkit.records import Message, Planted

ObjectArray = npt.NDArray[np.object_]
ByteArray = npt.NDArray[np.uint8]
Array = TypeVar("Array", bound=npt.NDArray[Any])


@dataclass(frozen=True, slots=True)
class TextForm:
    """How texts are to become token ids: into which tokens, and the most of them per row.

    ``tokenizer`` is word, character, byte, or the folder of a ready one. ``length`` left open is that of
    the longest training row, at most 256.
    """

    tokenizer: str = "word"
    length: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Raw rows of a table, of pictures or of texts. Every array has one entry per row.

    Attributes:
        name: What a reader calls the data.
        source: Where it comes from, as the config has it.
        split: ``"train"``, ``"test"`` or ``"all"``.
        target: Name of the label.
        labels: Texts; ``None`` where the label is missing.
        positive: The favourable label, or ``None``.
        columns: Input columns by name: float64 with NaN for missing, or texts with ``None`` for missing.
            Empty for pictures and texts.
        texts: One text per row, or ``None``.
        text_form: What is to be made of the texts.
        task: With language modelling the labels are the texts themselves.
        counts: Where the table holds counts, what each row stands for.
        images: Grey values, shape ``(n, height, width)``, or ``None`` for a table.
        divisor: The largest grey value a picture can have.
        sensitive: Texts per sensitive feature; ``None`` where missing.
        control: Texts per control feature.
        weight: Non-negative, or ``None``.
        person: Texts that are equal for rows of one person, or ``None``.
        member: Whether the row was trained on, or ``None`` when unknown.
        prediction: Labels that another system predicted, or ``None``.
        score: What it says of each label, shape ``(n, k)`` natural logarithms of probabilities, or ``None``.
        score_labels: The label of each column of ``score``.
        outcome: In regression the number to be foretold, finite; the labels are its text. Else ``None``.
        predicted_outcome: What another system foretold, finite, or ``None``.
    """

    name: str
    source: str
    split: str | None
    target: str
    labels: ObjectArray
    positive: str | None = None
    columns: Mapping[str, FloatArray | ObjectArray] = field(default_factory=dict)
    texts: ObjectArray | None = None
    text_form: TextForm = TextForm()
    task: Task = "classification"
    counts: Counts | None = None
    images: ByteArray | None = None
    divisor: float = 255.0
    sensitive: Mapping[str, ObjectArray] = field(default_factory=dict)
    control: Mapping[str, ObjectArray] = field(default_factory=dict)
    weight: FloatArray | None = None
    person: ObjectArray | None = None
    member: BoolArray | None = None
    prediction: ObjectArray | None = None
    score: FloatArray | None = None
    score_labels: tuple[str, ...] = ()
    outcome: FloatArray | None = None
    predicted_outcome: FloatArray | None = None
    synthetic: bool = False
    planted: tuple[Planted, ...] = ()
    statements: tuple[Message, ...] = ()

    def __post_init__(self) -> None:
        wrong = {key: len(array) for key, array in self._arrays().items() if len(array) != len(self)}
        if wrong:
            raise DataError(f"{self.name}: {len(self)} labels but other lengths in {wrong}")

    def __len__(self) -> int:
        return len(self.labels)

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        single = {
            "texts": self.texts,
            "images": self.images,
            "weight": self.weight,
            "person": self.person,
            "member": self.member,
            "prediction": self.prediction,
            "score": self.score,
            "outcome": self.outcome,
            "predicted_outcome": self.predicted_outcome,
        }
        return {
            **{key: array for key, array in single.items() if array is not None},
            **self.columns,
            **{f"sensitive {key}": array for key, array in self.sensitive.items()},
            **{f"control {key}": array for key, array in self.control.items()},
        }

    def take(self, index: IntArray) -> "Rows":
        """The rows at ``index``, in that order."""
        return replace(
            self,
            labels=self.labels[index],
            columns={key: array[index] for key, array in self.columns.items()},
            texts=_taken(self.texts, index),
            counts=None if self.counts is None else self.counts.take(index),
            images=_taken(self.images, index),
            sensitive={key: array[index] for key, array in self.sensitive.items()},
            control={key: array[index] for key, array in self.control.items()},
            weight=_taken(self.weight, index),
            person=_taken(self.person, index),
            member=_taken(self.member, index),
            prediction=_taken(self.prediction, index),
            score=_taken(self.score, index),
            outcome=_taken(self.outcome, index),
            predicted_outcome=_taken(self.predicted_outcome, index),
        )

    def followed_by(self, other: "Rows", *, split: str | None) -> "Rows":
        """These rows, then those of ``other``, which must have the same columns."""
        if set(self._arrays()) != set(other._arrays()):
            odd = sorted(set(self._arrays()) ^ set(other._arrays()))
            raise DataError(f"{self.name}: the two parts differ in their columns: {', '.join(odd)}")
        return replace(
            self,
            split=split,
            statements=(
                *self.statements,
                *(text for text in other.statements if text not in self.statements),
            ),
            labels=np.concatenate([self.labels, other.labels]),
            columns=_joined(self.columns, other.columns),
            texts=_both(self.texts, other.texts),
            images=_both(self.images, other.images),
            sensitive=_joined(self.sensitive, other.sensitive),
            control=_joined(self.control, other.control),
            weight=_both(self.weight, other.weight),
            person=_both(self.person, other.person),
            member=_both(self.member, other.member),
            prediction=_both(self.prediction, other.prediction),
            score=_both(self.score, other.score),
            outcome=_both(self.outcome, other.outcome),
            predicted_outcome=_both(self.predicted_outcome, other.predicted_outcome),
        )


def texts(values: Sequence[object]) -> ObjectArray:
    """An object array of ``values``, whatever they are."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def as_texts(column: npt.NDArray[Any]) -> ObjectArray:
    """A column as texts: whole numbers without a point, NaN and ``None`` as ``None``."""
    if column.dtype == object:
        return column
    values, which = np.unique(column, return_inverse=True)
    return texts([number_text(value) for value in values.tolist()])[which]


def number_text(value: float | None) -> str | None:
    """``3.0`` as ``"3"``, ``0.5`` as ``"0.5"``, NaN as ``None``."""
    if value is None or value != value:  # noqa: PLR0124 - NaN is the one value that differs from itself
        return None
    return str(int(value)) if float(value).is_integer() and abs(value) < 2**53 else repr(float(value))


def _taken(array: Array | None, index: IntArray) -> Array | None:
    return None if array is None else array[index]  # type: ignore[return-value]  # same type, other rows


def _both(first: Array | None, second: Array | None) -> Array | None:
    if first is None or second is None:
        return None
    return np.concatenate([first, second])  # type: ignore[return-value]  # same type, more rows


def _joined(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Columns one below the other; a column that is text in one part is text in both."""
    joined = {}
    for key, above in first.items():
        below = second[key]
        if above.dtype != below.dtype:
            above, below = as_texts(above), as_texts(below)  # noqa: PLW2901 - both become texts
        joined[key] = np.concatenate([above, below])
    return joined
