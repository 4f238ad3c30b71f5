"""What a model of language is to foretell: every token of a row from those before it."""

import torch

from auditkit.data.dataset import Dataset
from auditkit.errors import UsageError

NOT_COUNTED = -100
"""Target of positions that are padding; the value that torch's cross-entropy leaves out."""


def targets_of(data: Dataset) -> torch.Tensor:
    """What the model should answer: classes, shape ``(n,)``, or next tokens, shape ``(n, length)``.

    The token after the last one of a row is ``y_true``; after it and for padding there is ``NOT_COUNTED``.

    Raises:
        UsageError: The rows are of a regression.
    """
    labels = torch.from_numpy(data.y_true)
    if data.task == "regression":
        raise UsageError(
            f"{data.name}: data.task is regression, so rows have numbers, not labels; this kind of training "
            "is for labels"
        )
    if data.task == "classification":
        return labels
    return next_tokens(data.inputs, labels, padding_of(data))


def next_tokens(inputs: torch.Tensor, last: torch.Tensor, padding: int) -> torch.Tensor:
    """The token after each position, in the shape of ``inputs``; ``last`` follows the last of each row."""
    following = torch.cat([inputs[:, 1:], torch.full_like(inputs[:, :1], padding)], dim=1)
    targets = torch.where(following == padding, NOT_COUNTED, following)
    final = (inputs != padding).sum(dim=1) - 1
    rows = torch.arange(len(inputs), device=inputs.device)
    return targets.index_put((rows, final.clamp(min=0)), last.to(targets))


def padding_of(data: Dataset) -> int:
    """The id that fills rows up."""
    return 0 if data.features.tokens is None else data.features.tokens.padding
