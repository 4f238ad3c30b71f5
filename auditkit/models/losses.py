"""The loss of a row, whatever the task."""

import torch
from torch.nn import functional

from auditkit.data.sequences import NOT_COUNTED
from auditkit.errors import UsageError


def class_logits(outputs: torch.Tensor) -> torch.Tensor:
    """Outputs as logits of at least two classes, shape ``(n, k)``.

    A single output is the logit of the second class. Log-probabilities are logits, too: log-softmax leaves
    them unchanged.
    """
    if outputs.ndim == 1:
        outputs = outputs.unsqueeze(1)
    if outputs.ndim == 2 and outputs.shape[1] == 1:
        outputs = torch.cat([torch.zeros_like(outputs), outputs], dim=1)
    return outputs


def values_of(outputs: torch.Tensor) -> torch.Tensor:
    """Outputs of a model that foretells a number, shape ``(n,)``.

    Raises:
        UsageError: There is more than one output per row.
    """
    if outputs.ndim == 2 and outputs.shape[1] == 1:
        outputs = outputs[:, 0]
    if outputs.ndim != 1:
        raise UsageError(
            f"data.task is regression, and the model answers with shape {tuple(outputs.shape)}; expected one "
            "number per row, shape (n, 1)"
        )
    return outputs


def per_row_loss(
    outputs: torch.Tensor, targets: torch.Tensor, *, label_smoothing: float = 0.0
) -> torch.Tensor:
    """Cross-entropy of each row in nats, or squared error of a number, shape ``(n,)``.

    Args:
        outputs: Shape ``(n, k)``, see :func:`class_logits`, or of every position ``(n, length, k)``.
        targets: Classes, shape ``(n,)``; numbers, shape ``(n,)``, floating; or tokens, shape
            ``(n, length)``: the loss of a row is then the mean over the positions that count.
        label_smoothing: Share of the target that is spread evenly over all classes.
    """
    if targets.is_floating_point():
        return (values_of(outputs) - targets).square()
    if targets.ndim == 1:
        return functional.cross_entropy(
            class_logits(outputs), targets, reduction="none", label_smoothing=label_smoothing
        )
    losses = functional.cross_entropy(
        outputs.flatten(0, 1),
        targets.flatten(),
        ignore_index=NOT_COUNTED,
        reduction="none",
        label_smoothing=label_smoothing,
    )
    counted = (targets != NOT_COUNTED).sum(dim=1).clamp(min=1)
    return losses.view(targets.shape).sum(dim=1) / counted


def mean_loss(outputs: torch.Tensor, targets: torch.Tensor, *, label_smoothing: float = 0.0) -> torch.Tensor:
    """Mean over rows, or over all tokens that count; what training lowers."""
    if targets.is_floating_point():
        return (values_of(outputs) - targets).square().mean()
    if targets.ndim == 1:
        return functional.cross_entropy(class_logits(outputs), targets, label_smoothing=label_smoothing)
    return functional.cross_entropy(
        outputs.flatten(0, 1),
        targets.flatten(),
        ignore_index=NOT_COUNTED,
        label_smoothing=label_smoothing,
    )
