"""The loss of a row, whatever the task."""

import torch
from torch.nn import functional

from auditkit.data.sequences import NOT_COUNTED


def per_row_loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each row in nats, shape ``(n,)``.

    Args:
        outputs: Logits, shape ``(n, k)``, or of every position ``(n, length, k)``. A single output is the
            logit of the second class. Log-probabilities are logits, too: log-softmax leaves them unchanged.
        targets: Classes, shape ``(n,)``, or tokens, shape ``(n, length)``; the loss of a row is then the
            mean over the positions that count.
    """
    if targets.ndim == 2:
        losses = functional.cross_entropy(
            outputs.transpose(1, 2), targets, ignore_index=NOT_COUNTED, reduction="none"
        )
        return losses.sum(dim=1) / (targets != NOT_COUNTED).sum(dim=1).clamp(min=1)
    if outputs.ndim == 1:
        outputs = outputs.unsqueeze(1)
    if outputs.shape[1] == 1:
        outputs = torch.cat([torch.zeros_like(outputs), outputs], dim=1)
    return functional.cross_entropy(outputs, targets, reduction="none")
