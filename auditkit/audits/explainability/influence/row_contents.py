"""What a row is, so that a reader knows it again: a few of its values in their own units, or its text."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from auditkit.audits.explainability.explained_rows import differentiable_kernels
from auditkit.data.dataset import Dataset, FloatArray, IntArray, TokenSpace
from auditkit.data.preprocessing import NumericFeature, TablePreprocessing
from auditkit.data.token_text import between, in_text
from auditkit.records import Cell, Message
from auditkit.subjects.subject import WhiteBox

MOST_CHARACTERS = 160
"""Of a text; the rest is left out."""


@dataclass(frozen=True, slots=True)
class Contents:
    """Columns that describe rows; none for pictures, which are shown as pictures.

    Attributes:
        headings: Of the columns.
        features: Which features of a table they are; empty for texts.
        tokens: What ids mean, for texts.
        preprocessing: How the values of a table became inputs, where that is on record.
    """

    headings: tuple[Message, ...] = ()
    features: tuple[int, ...] = ()
    tokens: TokenSpace | None = None
    preprocessing: TablePreprocessing | None = None

    def cells(self, data: Dataset, row: int) -> tuple[Cell, ...]:
        """One cell per heading."""
        if self.tokens is not None and self.headings:
            return (_text(data.inputs[row].tolist(), self.tokens),)
        inputs = data.inputs[row].detach().double().cpu().numpy().reshape(-1)
        return tuple(_value(inputs, data, feature, self.preprocessing) for feature in self.features)


def contents_of(
    subject: WhiteBox, preprocessing: object, explained: Dataset, predicted: IntArray, *, most: int
) -> Contents:
    """How rows of this kind are told.

    Args:
        subject: Decides which features of a table are told: those that move the predictions most.
        preprocessing: Of the subject, where it has any.
        explained: The rows whose predictions are explained.
        predicted: Their predicted classes.
        most: Features told of a table.
    """
    space = explained.features
    if space.tokens is not None:
        return Contents((Message(text="Text"),), tokens=space.tokens)
    if (
        space.image_shape is not None
        or explained.inputs.ndim != 2
        or not explained.inputs.is_floating_point()
    ):
        return Contents()
    width = explained.inputs.shape[1]
    names = space.names or tuple(f"input {column + 1}" for column in range(width))
    owner = np.array(space.owner or range(len(names)))
    if len(owner) != width:
        return Contents()
    moved = np.bincount(owner, _movement(subject, explained, predicted), minlength=len(names))
    chosen = np.argsort(-moved, kind="stable")[:most]
    steps = preprocessing if isinstance(preprocessing, TablePreprocessing) else None
    if steps is not None and tuple(feature.name for feature in steps.features) != space.names:
        steps = None
    headings = tuple(Message(text=names[index]) for index in chosen)
    return Contents(headings, tuple(int(index) for index in chosen), None, steps)


def _movement(subject: WhiteBox, rows: Dataset, predicted: IntArray) -> FloatArray:
    """Mean absolute gradient of the predicted log-probability times the input's spread, ``(n_columns,)``."""
    inputs = rows.inputs.to(subject.device).detach().clone().requires_grad_(True)
    with torch.enable_grad(), differentiable_kernels(subject):
        # a copy, as a model may write into its inputs, and autograd refuses that of a leaf
        said = torch.log_softmax(subject.logits(inputs.clone()), dim=1)
        total = said.gather(1, torch.from_numpy(predicted).to(said.device)[:, None]).sum()
        gradient = torch.autograd.grad(total, inputs, allow_unused=True)[0] if total.requires_grad else None
    if gradient is None:
        return np.zeros(inputs.shape[1])
    spread = inputs.detach().double().std(dim=0, correction=0)
    return np.asarray((gradient.double().abs().mean(dim=0) * spread).cpu().numpy())


def _value(inputs: FloatArray, data: Dataset, feature: int, steps: TablePreprocessing | None) -> Cell:
    owner = np.array(data.features.owner or range(len(inputs)))
    own = inputs[owner == feature]
    if steps is None:
        return _number(float(own[0]), 1.0) if len(own) == 1 else _set_column(own)
    step = steps.features[feature]
    if isinstance(step, NumericFeature):
        if step.missing_indicator and own[-1] > 0.5:
            return Message(text="missing")
        return _number(float(own[0] * step.scale + step.mean), step.scale)
    return step.levels[int(own.argmax())] if own.any() else Message(text="other")


def _set_column(own: FloatArray) -> Cell:
    """Of a feature with several columns: which of them is set."""
    return int(own.argmax()) + 1 if own.any() else None


def _number(value: float, scale: float) -> Cell:
    """Rounded to a ten-thousandth of its spread, which single precision keeps; whole where it is whole."""
    places = max(0, 4 - math.floor(math.log10(scale)))
    rounded = round(value, places) + 0.0
    return int(rounded) if rounded.is_integer() else rounded


def _text(ids: Sequence[int], tokens: TokenSpace) -> str:
    pieces = [in_text(tokens.vocabulary[one]) for one in ids if one != tokens.padding]
    text = " ".join(_lines(between(tokens.vocabulary).join(pieces)))
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1].rstrip() + "…"


def _lines(text: str) -> Iterator[str]:
    return (line for line in text.split("\n") if line)
