"""Explaining a set of rows: the score, its baseline and the attributions, kept together."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from auditkit.audits.explainability.explained_score import (
    Explained,
    LogitScore,
    LogOddsScore,
    baseline_of,
    is_recurrent,
    score_of,
)
from auditkit.audits.explainability.integrated_gradients import (
    Attributions,
    Quadrature,
    integrated_gradients,
)
from auditkit.data.dataset import IntArray
from auditkit.records import Message
from auditkit.subjects.subject import WhiteBox


@dataclass(frozen=True, slots=True)
class Explanation:
    """Attributions of a set of rows and what they are attributions of."""

    attributions: Attributions
    score: Message
    baseline: Message


def explain(
    subject: WhiteBox,
    inputs: torch.Tensor,
    target: IntArray,
    *,
    explained: Explained,
    quadrature: Quadrature,
    batch_size: int,
) -> Explanation:
    """Attributions of the score of class ``target[i]`` to the elements of ``inputs[i]``.

    Args:
        subject: The model; left as it was.
        inputs: Floating point, shape ``(n, *d)``.
        target: Shape ``(n,)``.
        explained: Which score.
        quadrature: How the path is summed.
        batch_size: Most rows in one evaluation.
    """
    rows = inputs.to(subject.device)
    score = score_of(subject, explained, logits_of(subject, rows, batch_size))
    baseline = baseline_of(subject, rows)
    with differentiable_kernels(subject):
        attributions = integrated_gradients(
            score,
            rows,
            baseline.values,
            torch.from_numpy(target).to(subject.device),
            quadrature=quadrature,
            batch_size=batch_size,
        )
    return Explanation(attributions, _meaning(score), baseline.meaning)


def logits_of(subject: WhiteBox, rows: torch.Tensor, batch_size: int) -> torch.Tensor:
    """Of all rows, shape ``(n, k)``."""
    with torch.no_grad():
        return torch.cat(
            [subject.logits(rows[at : at + batch_size]) for at in range(0, len(rows), batch_size)]
        )


def differentiable_kernels(subject: WhiteBox) -> AbstractContextManager[None]:
    """Without cuDNN, which refuses the backward pass of recurrent layers in evaluation mode.

    Source:
        meta-pytorch/captum#328.
    """
    if subject.device.type == "cuda" and is_recurrent(subject.module):
        return torch.backends.cudnn.flags(enabled=False)
    return nullcontext()


def _meaning(score: LogitScore | LogOddsScore) -> Message:
    if isinstance(score, LogOddsScore):
        return Message(text="Explained are the log-odds of the predicted class against all others.")
    return Message(text="Explained is the logit of the predicted class.")
