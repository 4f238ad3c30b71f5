"""The log-odds of one class, the same for every row, divided among the inputs from a common baseline."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.explained_features import feature_names
from auditkit.audits.explainability.explained_rows import (
    ExplainedRows,
    differentiable_kernels,
    explained_rows,
)
from auditkit.audits.explainability.explained_score import Explained, LogOddsScore
from auditkit.audits.explainability.integrated_gradients import Precision
from auditkit.audits.explainability.methods.path import along_the_path
from auditkit.audits.explainability.methods.safe_front import not_finite, score_changes
from auditkit.data.dataset import Dataset, FloatArray
from auditkit.records import Message
from auditkit.subjects.subject import WhiteBox

SAME = 1e-6
"""Largest relative difference of gradients along the path that is rounding."""

ROUNDING = 8 * float(np.finfo(np.float32).eps)
"""Of a sum of parts, relative to the sum of their sizes: gradients are of single precision."""

Way = Literal["closed-form", "integrated-gradients", "shapley"]


@dataclass(frozen=True, slots=True)
class ScoreParts:
    """What each input adds to the score of each row.

    Attributes:
        names: Of the features.
        values: Shape ``(n, features)``.
        change: Score of the row minus that of the baseline, shape ``(n,)``.
        way: How it was divided.
        score: What the score is.
        baseline: Where it was divided from.
    """

    names: tuple[str, ...]
    values: FloatArray
    change: FloatArray
    way: Way
    score: Message
    baseline: Message

    @property
    def unattributed(self) -> FloatArray:
        """What the parts leave of the change, shape ``(n,)``; zero where that is rounding.

        Else intervals that hold together would make room for digits that mean nothing.
        """
        rest = self.change - self.values.sum(axis=1)
        size = np.abs(self.values).sum(axis=1) + np.abs(self.change)
        return np.asarray(np.where(np.abs(rest) > ROUNDING * size, rest, 0.0))


def parts_by_gradients(
    subject: WhiteBox,
    data: Dataset,
    positive: int,
    *,
    explained: Explained,
    precision: Precision,
    batch_size: int,
) -> ScoreParts | Message:
    """Parts of a torch module's score, or why no gradient reaches its inputs.

    Args:
        subject: Left as it was.
        data: The rows, a table.
        positive: The class whose score is divided, for every row.
        explained: Its logit, or its log-odds.
        precision: How exactly paths are summed.
        batch_size: Most rows at once.
    """
    target = np.full(len(data), positive, dtype=np.int64)
    rows = explained_rows(subject, data, target, explained=explained, batch_size=batch_size)
    if isinstance(rows, Message):
        return rows
    with differentiable_kernels(subject):
        slopes = _constant_slopes(rows)
    if slopes is None:
        found = along_the_path(rows, precision)
        values, change = found.values, found.change
    else:
        values = rows.pooled(slopes * (rows.inputs - rows.baseline).double()).cpu().numpy()
        change = score_changes(rows)
    reason = not_finite(values, change)
    if reason is not None:
        return reason
    return ScoreParts(
        feature_names(data.features, rows.n_units),
        values,
        change,
        "integrated-gradients" if slopes is None else "closed-form",
        _meaning(rows, data.classes[positive]),
        rows.baseline_meaning,
    )


def _constant_slopes(rows: ExplainedRows) -> Tensor | None:
    """The gradient, shape ``(1, *d)``, where it is the same at both ends and amid the path of every row."""
    first: Tensor | None = None
    for start in range(0, len(rows.inputs), rows.batch_size):
        part = slice(start, start + rows.batch_size)
        batch, wanted = rows.inputs[part].detach(), rows.target[part]
        for along in (0.0, 0.5, 1.0):
            points = (rows.baseline + along * (batch - rows.baseline)).detach().requires_grad_(True)
            with torch.enable_grad():
                total = rows.score(points, wanted).sum()
            slope = torch.autograd.grad(total, points)[0]
            first = slope[:1] if first is None else first
            if bool(((slope - first).abs() > SAME * first.abs().max()).any()):
                return None
    return None if first is None else first.double()


def _meaning(rows: ExplainedRows, label: str) -> Message:
    if isinstance(rows.score, LogOddsScore):
        return Message(
            text="Divided are the log-odds of {class} against all others, for every row.",
            values={"class": label},
        )
    return Message(text="Divided is the logit of {class}, for every row.", values={"class": label})
