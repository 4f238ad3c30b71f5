"""Which predictions are explained: the errors, or where there are none those that were nearest to one."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.explainability.example_rows import ExampleRow, Reason
from auditkit.data.dataset import IntArray
from auditkit.subjects.subject import Predictions


@dataclass(frozen=True, slots=True)
class ExplainedPredictions:
    """Rows whose predictions are explained.

    Attributes:
        rows: Their positions, those to measure first, then those that are only shown, shape ``(m,)``.
        against: The class that each prediction is compared with, shape ``(m,)``: the true one where the
            prediction is wrong, the second most probable where it is right.
        n_measured: How many of them are measured.
        shown: Those to show, each with its rule; ``row`` is a position within ``rows``.
        n_errors: Errors among all rows; where there are none, the least certain rows are explained.
    """

    rows: IntArray
    against: IntArray
    n_measured: int
    shown: tuple[ExampleRow, ...]
    n_errors: int


def explained_predictions(
    predictions: Predictions, y_true: IntArray, *, most: int, shown: int, rng: np.random.Generator
) -> ExplainedPredictions:
    """At most ``most`` errors drawn at random, and the ``shown`` most confident ones to show.

    Without any error these are the rows with the smallest lead of the first class over the second. Among
    equals the first rows are taken.

    Args:
        predictions: Of the held-out rows.
        y_true: Their labels.
        most: Rows to measure.
        shown: Rows to show.
        rng: Draws the errors to measure.
    """
    probabilities = predictions.probabilities
    errors = np.flatnonzero(predictions.y_pred != y_true)
    if len(errors):
        order = errors[np.argsort(-probabilities[errors].max(axis=1), kind="stable")]
        drawn = np.sort(errors if len(errors) <= most else rng.choice(errors, most, replace=False))
    else:
        ranked = np.sort(probabilities, axis=1)
        order = np.argsort(ranked[:, -1] - ranked[:, -2], kind="stable")
        drawn = np.sort(order[:most])
    rows = [*drawn.tolist(), *(row for row in order[:shown].tolist() if row not in drawn)]
    reason: Reason = "confident error" if len(errors) else "uncertain"
    examples = tuple(ExampleRow(rows.index(row), reason) for row in order[:shown].tolist())
    chosen = np.array(rows, dtype=np.int64)
    second = np.argsort(-probabilities[chosen], axis=1, kind="stable")[:, 1]
    against = y_true[chosen] if len(errors) else second
    return ExplainedPredictions(chosen, against, len(drawn), examples, len(errors))
