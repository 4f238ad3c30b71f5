"""What is explained, and from where: the score, the baseline, and whether gradients can reach the inputs."""

from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import Tensor, nn

from auditkit.data.preprocessing import ImagePreprocessing, TablePreprocessing
from auditkit.records import Message
from auditkit.subjects.subject import Subject, WhiteBox, preprocessing_of

Explained = Literal["logit", "log_odds"]

_MOST_OF_ERROR: Final = 200
"""Characters of what torch says, which may go on for pages."""


@dataclass(frozen=True, slots=True)
class LogitScore:
    """The logit of the target class."""

    subject: WhiteBox

    def __call__(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Scores, shape ``(n,)``."""
        return self.subject.logits(inputs).gather(1, target.unsqueeze(1)).squeeze(1)


@dataclass(frozen=True, slots=True)
class LogOddsScore:
    """The logarithm of the odds of the target class against all others."""

    subject: WhiteBox

    def __call__(self, inputs: Tensor, target: Tensor) -> Tensor:
        """Scores, shape ``(n,)``."""
        logits = self.subject.logits(inputs)
        column = target.unsqueeze(1)
        if logits.shape[1] == 2:
            return (logits.gather(1, column) - logits.gather(1, 1 - column)).squeeze(1)
        others = logits.scatter(1, column, -torch.inf)
        return logits.gather(1, column).squeeze(1) - others.logsumexp(dim=1)


def score_of(subject: WhiteBox, explained: Explained, logits: Tensor) -> LogitScore | LogOddsScore:
    """The score to explain.

    A model with one output has no logit of its own for the first class: it is zero for every input, and so
    would be its attributions. Its log-odds are explained instead; for the second class they are the output.

    Args:
        subject: The model.
        explained: What the user asked for.
        logits: Of the audited rows, shape ``(n, k)``.
    """
    has_one_output = logits.shape[1] == 2 and not bool(logits[:, 0].any())
    return LogOddsScore(subject) if explained == "log_odds" or has_one_output else LogitScore(subject)


@dataclass(frozen=True, slots=True)
class Baseline:
    """Where the path starts: one row of inputs, shape ``(1, *d)``, and its meaning."""

    values: Tensor
    meaning: Message


def baseline_of(subject: Subject, inputs: Tensor) -> Baseline:
    """The absence of information, as far as the preprocessing tells what that is."""
    preprocessing = preprocessing_of(subject)
    start = torch.zeros_like(inputs[:1])
    if isinstance(preprocessing, TablePreprocessing):
        return Baseline(
            start,
            Message(
                text="The baseline has the training mean of numeric features and no level of any category."
            ),
        )
    if isinstance(preprocessing, ImagePreprocessing):
        black = -preprocessing.mean / preprocessing.scale
        return Baseline(start + black, Message(text="The baseline is a black picture."))
    return Baseline(
        start, Message(text="The baseline is an input of zeros, because no preprocessing is on record.")
    )


def obstacle(subject: WhiteBox, row: Tensor) -> Message | None:
    """Why gradients cannot reach the inputs, or ``None`` when they can. ``row`` has shape ``(1, *d)``."""
    if not row.is_floating_point():
        return Message(
            text="inputs are integers ({dtype}) without a gradient, and nothing says that they are tokens",
            values={"dtype": str(row.dtype).removeprefix("torch.")},
        )
    twice = torch.cat([row.detach(), row.detach()])  # a model that norms over rows refuses a single one
    with torch.no_grad():
        subject.logits(twice)  # what it raises without gradients, too, is no matter of gradients
    try:
        if _is_reached(subject, twice):
            return None
    except RuntimeError as error:
        return Message(
            text="no gradient can be taken through the model: {error}",
            values={"error": str(error).strip().splitlines()[0][:_MOST_OF_ERROR]},
        )
    return Message(text="the outputs of the model are cut off from its inputs, so no gradient reaches them")


def _is_reached(subject: WhiteBox, rows: Tensor) -> bool:
    with torch.enable_grad():
        probe = rows.requires_grad_(True)
        total = subject.logits(probe).sum()
    return total.requires_grad and torch.autograd.grad(total, probe, allow_unused=True)[0] is not None


def is_recurrent(module: nn.Module) -> bool:
    """Whether a layer is one whose fused GPU kernel refuses gradients in evaluation mode."""
    return any(isinstance(layer, nn.RNNBase) for layer in module.modules())
