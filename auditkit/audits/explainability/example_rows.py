"""Rows to show, chosen by rules so that nobody picks the pleasing ones."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from auditkit.data.dataset import IntArray
from auditkit.subjects.subject import Predictions

Reason = Literal["typical", "confident error", "uncertain"]


@dataclass(frozen=True, slots=True)
class ExampleRow:
    """One row: its position among the explained ones and the rule that chose it."""

    row: int
    reason: Reason


def example_rows(predictions: Predictions, y_true: IntArray) -> tuple[ExampleRow, ...]:
    """The most typical, the most confidently wrong and the most uncertain row, as far as they exist.

    Typical is the correct row whose confidence is the (lower) median among the correct ones. Uncertain is
    the row with the smallest lead of the first class over the second. Among equals the first row is taken.
    """
    probabilities = predictions.probabilities
    confidence = probabilities.max(axis=1)
    correct = predictions.y_pred == y_true
    chosen: list[ExampleRow] = []
    if correct.any():
        rows = np.flatnonzero(correct)
        order = rows[np.argsort(confidence[rows], kind="stable")]
        chosen.append(ExampleRow(int(order[(len(order) - 1) // 2]), "typical"))
    if not correct.all():
        rows = np.flatnonzero(~correct)
        chosen.append(ExampleRow(int(rows[confidence[rows].argmax()]), "confident error"))
    ranked = np.sort(probabilities, axis=1)
    chosen.append(ExampleRow(int((ranked[:, -1] - ranked[:, -2]).argmin()), "uncertain"))
    return tuple(chosen)
