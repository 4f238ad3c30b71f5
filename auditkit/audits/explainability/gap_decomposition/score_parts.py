"""The log-odds of one class, the same for every row, divided among the inputs from a common baseline."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.explained_features import by_feature, feature_names
from auditkit.audits.explainability.explained_score import (
    Explained,
    LogitScore,
    LogOddsScore,
    baseline_of,
    obstacle,
    score_of,
)
from auditkit.audits.explainability.explanation import differentiable_kernels, logits_of
from auditkit.audits.explainability.integrated_gradients import Quadrature, integrated_gradients
from auditkit.data.dataset import Dataset, FloatArray
from auditkit.records import Message
from auditkit.subjects.subject import WhiteBox

SAME = 1e-6
"""Largest relative difference of gradients along the path that is rounding."""

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
        """What the parts leave of the change, shape ``(n,)``."""
        return np.asarray(self.change - self.values.sum(axis=1))


def parts_by_gradients(
    subject: WhiteBox,
    data: Dataset,
    positive: int,
    *,
    explained: Explained,
    quadrature: Quadrature,
    batch_size: int,
) -> ScoreParts | Message:
    """Parts of a torch module's score, or why no gradient reaches its inputs.

    Args:
        subject: Left as it was.
        data: The rows, a table.
        positive: The class whose score is divided, for every row.
        explained: Its logit, or its log-odds.
        quadrature: How paths are summed.
        batch_size: Most rows at once.
    """
    rows = data.inputs.to(subject.device)
    reason = obstacle(subject, rows[:1])
    if reason is not None:
        return reason
    score = score_of(subject, explained, logits_of(subject, rows, batch_size))
    baseline = baseline_of(subject, rows)
    target = torch.full((len(rows),), positive, device=rows.device)
    with differentiable_kernels(subject):
        slopes = _constant_slopes(score, rows, baseline.values, target, batch_size)
        found = integrated_gradients(
            score,
            rows,
            baseline.values,
            target,
            # of a linear score only the change is wanted
            quadrature=quadrature if slopes is None else Quadrature("gausslegendre", 2, 2),
            batch_size=batch_size,
        )
    values = found.values if slopes is None else slopes * (rows - baseline.values).double().cpu().numpy()
    return ScoreParts(
        feature_names(data.features, int(np.prod(rows.shape[1:]))),
        by_feature(values, data.features),
        found.change,
        "integrated-gradients" if slopes is None else "closed-form",
        _meaning(score, data.classes[positive]),
        baseline.meaning,
    )


def _constant_slopes(
    score: LogitScore | LogOddsScore, rows: Tensor, baseline: Tensor, target: Tensor, batch_size: int
) -> FloatArray | None:
    """The gradient, shape ``(1, *d)``, where it is the same at both ends and amid the path of every row."""
    first: Tensor | None = None
    for start in range(0, len(rows), batch_size):
        batch, wanted = rows[start : start + batch_size].detach(), target[start : start + batch_size]
        for along in (0.0, 0.5, 1.0):
            points = (baseline + along * (batch - baseline)).detach().requires_grad_(True)
            with torch.enable_grad():
                total = score(points, wanted).sum()
            slope = torch.autograd.grad(total, points)[0]
            first = slope[:1] if first is None else first
            if bool(((slope - first).abs() > SAME * first.abs().max()).any()):
                return None
    return None if first is None else np.asarray(first.double().cpu().numpy())


def _meaning(score: LogitScore | LogOddsScore, label: str) -> Message:
    if isinstance(score, LogOddsScore):
        return Message(
            text="Divided are the log-odds of {class} against all others, for every row.",
            values={"class": label},
        )
    return Message(text="Divided is the logit of {class}, for every row.", values={"class": label})
