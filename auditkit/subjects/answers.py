"""What a model answers that is asked from outside: labels or probabilities, checked."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from auditkit.data.dataset import FloatArray, IntArray
from auditkit.data.roles import matching_label
from auditkit.data.rows import number_text
from auditkit.data.scores import EXACT_SUM, LEAST_PROBABILITY, checked_probabilities, log_of
from auditkit.errors import DataError, UsageError
from auditkit.records import Message

Form = Literal["labels", "positive", "rows"]
"""Labels, shape ``(n,)``; probabilities of the positive label, ``(n,)``; of every label, ``(n, k)``."""


@dataclass(frozen=True, slots=True)
class AnswerReader:
    """Reads answers of one form, and refuses others.

    Attributes:
        where: What messages call the model.
        form: Found on the first rows that it was asked about.
        classes: Labels in the order of the columns.
        positive: Index of the label that a single probability is of.
    """

    where: str
    form: Form
    classes: tuple[str, ...]
    positive: int | None = None

    @classmethod
    def for_answers(
        cls, answers: Any, n: int, *, where: str, classes: tuple[str, ...], positive: int | None
    ) -> "AnswerReader":
        """The reader for what a model said of its first ``n`` rows.

        Raises:
            UsageError: It is none of the three forms.
        """
        array = as_array(answers, where)
        if array.ndim == 2 and array.shape[1] > 1:
            form: Form = "rows"
        elif _flat(array).dtype.kind == "f":
            form = "positive"
            _check_single(_flat(array), where, classes, positive)
        else:
            form = "labels"
        reader = cls(where, form, classes, positive)
        reader.log_probabilities(answers, n)
        return reader

    @property
    def gives_probabilities(self) -> bool:
        """Whether it states more than labels."""
        return self.form != "labels"

    def log_probabilities(self, answers: Any, n: int) -> FloatArray:
        """Natural logarithms, shape ``(n, k)``; of labels alone, near certainty about them.

        Raises:
            UsageError: Another shape, values that are not finite or not probabilities, unknown labels.
        """
        array = as_array(answers, self.where)
        flat = array if self.form == "rows" else _flat(array)
        k = len(self.classes)
        expected = (n, k) if self.form == "rows" else (n,)
        if flat.shape != expected:
            raise UsageError(
                f"{self.where}: answered with shape {array.shape} about {n} rows, expected {expected}"
                + (f", one column for each of {', '.join(map(repr, self.classes[:20]))}" if k else "")
            )
        if self.form == "labels":
            return certain(self._codes(flat), k)
        probabilities = _numbers(flat, self.where)
        if self.form == "positive" and self.positive is not None:
            columns = np.empty((n, 2))
            columns[:, self.positive], columns[:, 1 - self.positive] = probabilities, 1.0 - probabilities
            probabilities = columns
        try:
            return log_of(checked_probabilities(probabilities, self.where))
        except DataError as error:
            raise UsageError(str(error)) from None

    def statements(self, answers: Any) -> tuple[Message, ...]:
        """What a reader of the report should know about answers like these."""
        if self.form == "labels":
            return (
                Message(text="It answers with labels alone; figures that need probabilities are missing."),
            )
        found = [
            Message(
                text="Probabilities below {least} count as {least}, so that their logarithm is finite.",
                values={"least": float(f"{LEAST_PROBABILITY:.2g}")},
            )
        ]
        if self.form == "rows":
            off = float(np.abs(_numbers(as_array(answers, self.where), self.where).sum(axis=1) - 1).max())
            if off > EXACT_SUM:
                text = "Its probabilities miss a sum of 1 by up to {off}; each row is divided by its sum."
                found.append(Message(text=text, values={"off": float(f"{off:.2g}")}))
        return tuple(found)

    def _codes(self, labels: npt.NDArray[Any]) -> IntArray:
        index = {label: code for code, label in enumerate(self.classes)}
        said = [label_text(label) for label in labels.tolist()]
        try:
            meant = {label: index[_known(label, self.classes, self.where)] for label in set(said)}
        except DataError as error:
            raise UsageError(str(error)) from None
        return np.array([meant[label] for label in said], dtype=np.int64)


def certain(labels: IntArray, n_classes: int) -> FloatArray:
    """Labels in the shape of log-probabilities; the others get the smallest that counts."""
    logs = np.full((len(labels), n_classes), np.log(LEAST_PROBABILITY))
    logs[np.arange(len(labels)), labels] = 0.0
    return logs


def label_text(value: object) -> str:
    """A label as the data have it: whole numbers without a point, texts without blanks at both ends."""
    if isinstance(value, bool | np.bool_):
        return str(value).lower()
    if isinstance(value, int | float | np.integer | np.floating):
        return number_text(float(value)) or "missing"
    return (value.decode(errors="replace") if isinstance(value, bytes) else str(value)).strip()


def labels_in_data(own: Sequence[object], classes: tuple[str, ...], where: str) -> tuple[str, ...]:
    """The labels of a model as the data write them, in the order of the model.

    Args:
        own: Labels of the model.
        classes: Labels of the data, each of which must be one of the model's.
        where: What messages call the model.

    Raises:
        UsageError: A label of the data is unknown to the model, or two of its labels are one.
    """
    texts = [label_text(label) for label in own]
    named = tuple(_same(text, classes) or text for text in texts)
    absent = [label for label in classes if label not in named]
    if absent or len(set(named)) != len(named):
        raise UsageError(
            f"{where}: the model knows the labels {', '.join(map(repr, texts[:20]))}; the data have "
            f"{', '.join(map(repr, classes[:20]))}. "
            + (f"Unknown to the model: {', '.join(map(repr, absent[:20]))}. " if absent else "")
            + "Write the labels of data.target as the model was trained on them"
        )
    return named


def as_array(answers: Any, where: str) -> npt.NDArray[Any]:
    """Answers as a NumPy array: lists, data frames and tensors too.

    Raises:
        UsageError: They are no array.
    """
    try:
        array = np.asarray(answers.detach().cpu() if hasattr(answers, "detach") else answers)
    except Exception as error:
        raise UsageError(f"{where}: the answer is no array: {error}") from None
    if array.ndim not in (1, 2) or array.dtype.kind not in "biufOUSV":
        raise UsageError(
            f"{where}: answered with {type(answers).__name__} of {array.ndim} dimensions, expected labels "
            "or probabilities as an array of shape (n,) or (n, k)"
        )
    return array


def difference(first: FloatArray, second: FloatArray) -> float:
    """Largest difference of two answers as probabilities."""
    return float(np.abs(np.exp(first) - np.exp(second)).max())


def digest_of(*parts: bytes | str | FloatArray) -> str:
    """sha256 over everything that says what a model is and what it answers."""
    sha = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else bytes(part) if isinstance(part, bytes) else None
        if content is None:
            content = np.ascontiguousarray(part).tobytes()
        sha.update(len(content).to_bytes(8, "big") + content)
    return sha.hexdigest()


def _flat(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A single column as one row of values; floats that lie in an array of objects as floats."""
    flat = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if flat.dtype == object and flat.ndim == 1 and all(type(value) is float for value in flat.tolist()):
        return flat.astype(np.float64)
    return flat


def _check_single(
    values: npt.NDArray[Any], where: str, classes: tuple[str, ...], positive: int | None
) -> None:
    """Refuse numbers with a point that could be labels, or probabilities of nobody knows what."""
    if positive is None or len(classes) != 2:
        raise UsageError(
            f"{where}: answered with one number per row. Of two classes with data.positive these are "
            f"probabilities of the positive label; here are {len(classes)} classes"
            f"{'' if positive is not None else ' and data.positive is not set'}. Return labels as whole "
            "numbers or texts, or probabilities of shape (n, k)"
        )
    if np.isin(values, (0.0, 1.0)).all() and {label_text(label) for label in classes} == {"0", "1"}:
        raise UsageError(
            f"{where}: answered with 0.0 and 1.0 alone, which may be labels or probabilities. "
            "Return labels as whole numbers, or probabilities of shape (n, 2)"
        )


def _numbers(array: npt.NDArray[Any], where: str) -> FloatArray:
    try:
        return np.asarray(array, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{where}: expected numbers in an answer of shape {array.shape}: {error}") from None


def _same(text: str, classes: tuple[str, ...]) -> str | None:
    """The label of the data that ``text`` means, where there is one."""
    try:
        return matching_label(text, classes, "")
    except DataError:
        return None


def _known(text: str, classes: tuple[str, ...], where: str) -> str:
    return str(matching_label(text, classes, f"{where}: answered with an unknown label"))
