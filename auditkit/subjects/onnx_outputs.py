"""What an output of an ONNX file holds: found on the first rows, stated, and read the same way ever after."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import log_softmax

from auditkit.data.dataset import FloatArray
from auditkit.errors import CheckpointError, UsageError
from auditkit.records import Message
from auditkit.subjects.answers import AnswerReader, label_text

Scale = Literal["logits", "probabilities", "logit", "probability", "labels"]
"""What an output holds: one number per label, or one per row about the second label, or labels alone."""

Ask = Callable[[str], Any]
"""Gives the output of that name about the first rows."""

_NUMBERS = ("tensor(float", "tensor(double", "seq(map(")
_LABELS = ("tensor(int64)", "tensor(string)", "tensor(int32)")


@dataclass(frozen=True, slots=True)
class Output:
    """Which output is read, and what it holds."""

    name: str
    scale: Scale


def find_output(
    outputs: list[Any], makers: dict[str, str], ask: Ask, classes: tuple[str, ...], where: str
) -> tuple[Output, tuple[Message, ...]]:
    """The output that is read, what it holds, and how that was found out.

    Args:
        outputs: What the session says of them.
        makers: The operator behind each output, where it is known.
        ask: Gives an output about the first rows.
        classes: Labels in the order of the columns.
        where: What messages call the model.

    Raises:
        CheckpointError: No output has a number for every label, or two outputs contradict each other.
    """
    stating = [item for item in outputs if item.type.startswith(_NUMBERS)]
    labels = [item.name for item in outputs if item.type in _LABELS]
    if len(stating) > 1:
        names = ", ".join(f"{item.name} {item.shape}" for item in stating)
        raise CheckpointError(
            f"{where}: has {len(stating)} outputs of numbers ({names}), expected one; export it with one"
        )
    if not stating and not labels:
        raise CheckpointError(
            f"{where}: has no output of numbers or labels; "
            "export the model again with its logits, probabilities or labels as output"
        )
    if not stating:
        reader, answers = AnswerReader(where, "labels", classes), ask(labels[0])
        reader.log_probabilities(answers, len(answers))
        return Output(labels[0], "labels"), reader.statements(answers)
    name = stating[0].name
    values = as_table(ask(name), classes, where)
    if values.shape[1] not in (1, len(classes)) or (values.shape[1] == 1 and len(classes) != 2):
        raise CheckpointError(
            f"{where}: output {name!r} has {values.shape[1]} numbers per row, the data have "
            f"{len(classes)} labels: {', '.join(map(repr, classes[:20]))}"
        )
    scale, how = _scale(values, makers.get(name, ""), name, where)
    if labels and values.shape[1] == len(classes):
        _check_labels(ask(labels[0]), values, classes, where)
    about = Message(
        text="It answers with one number per row, taken to be about {label}.", values={"label": classes[1]}
    )
    return Output(name, scale), (how, about) if values.shape[1] == 1 else (how,)


def read(answers: Any, scale: Scale, reader: AnswerReader, n: int) -> FloatArray:
    """Log-probabilities from what an output holds.

    Raises:
        UsageError: Another shape than at first, or values that are not finite.
    """
    if scale == "labels":
        return reader.log_probabilities(answers, n)
    values = as_table(answers, reader.classes, reader.where)
    if not np.isfinite(values).all() or len(values) != n:
        raise UsageError(
            f"{reader.where}: answered with shape {values.shape} about {n} rows"
            + ("" if np.isfinite(values).all() else ", and with values that are not finite")
        )
    if scale in ("logit", "logits"):
        logits = np.column_stack([np.zeros(n), values[:, 0]]) if scale == "logit" else values
        return np.asarray(log_softmax(logits, axis=1))
    single = scale == "probability"
    return reader.log_probabilities(
        np.column_stack([1 - values[:, 0], values[:, 0]]) if single else values, n
    )


def as_table(answers: Any, classes: tuple[str, ...], where: str) -> FloatArray:
    """An output as a table of numbers, one row per row; maps from labels to numbers too."""
    if isinstance(answers, list):
        return np.array([[row[label] for label in answers[0]] for row in answers], dtype=np.float64)
    values = np.asarray(answers, dtype=np.float64)
    if values.ndim > 2 and np.prod(values.shape[1:]) in (1, len(classes)):
        values = values.reshape(len(values), -1)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2:
        raise CheckpointError(
            f"{where}: answers with shape {values.shape}, expected (n, {len(classes)}): one number per label"
        )
    return values


def _scale(values: FloatArray, maker: str, name: str, where: str) -> tuple[Scale, Message]:
    """What the numbers are: by the operator that makes them, else by their values on the first rows.

    Raises:
        CheckpointError: They could be either.
    """
    single = values.shape[1] == 1
    inside = bool(((values >= -1e-6) & (values <= 1 + 1e-6)).all())
    summed = single or bool((np.abs(values.sum(axis=1) - 1) <= 1e-3).all())
    if not inside:
        text = "Output {output} was taken for logits, because its values are not those of probabilities."
        return ("logit" if single else "logits"), Message(text=text, values={"output": name})
    if not summed:
        raise CheckpointError(
            f"{where}: output {name!r} lies in [0, 1], but the values of a row do not sum to 1: neither "
            "logits nor probabilities of one label among several. Export it with a softmax, or without "
            "an activation"
        )
    scale: Scale = "probability" if single else "probabilities"
    if maker in ("Softmax", "Sigmoid"):
        text = "Output {output} holds probabilities, made by the operator {operator}."
        return scale, Message(text=text, values={"output": name, "operator": maker})
    text = "Output {output} was taken for probabilities, because on the first {n} rows its values are such."
    return scale, Message(text=text, values={"output": name, "n": len(values)})


def _check_labels(labels: Any, values: FloatArray, classes: tuple[str, ...], where: str) -> None:
    """Refuse a model whose labels and numbers contradict the order that was assumed.

    Raises:
        CheckpointError: With a row that shows it.
    """
    said = [label_text(label) for label in np.ravel(labels).tolist()]
    highest = [classes[index] for index in values.argmax(axis=1).tolist()]
    top = np.sort(values, axis=1)
    clear = (top[:, -1] - top[:, -2]) > 1e-6
    pairs = {(a, b) for a, b, sure in zip(said, highest, clear.tolist(), strict=True) if sure}
    wrong = sorted((a, b) for a, b in pairs if labels_differ(a, b))
    if wrong:
        raise CheckpointError(
            f"{where}: says {wrong[0][0]!r} where its numbers, taken in the order {', '.join(classes[:20])}, "
            f"are highest for {wrong[0][1]!r}. Export it with the labels of data.target, in sorted order"
        )


def labels_differ(first: str, second: str) -> bool:
    """Whether two labels are neither the same text nor the same number.

    >>> labels_differ("1", "1.0"), labels_differ("yes", "no")
    (False, True)
    """
    try:
        return float(first) != float(second)
    except ValueError:
        return first.casefold() != second.casefold()
