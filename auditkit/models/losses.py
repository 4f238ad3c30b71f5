"""The loss of a row, whatever the task."""

import torch
from torch.nn import functional

from auditkit.data.sequences import NOT_COUNTED
from auditkit.errors import UsageError

_VECTOR = 16
"""Fewer classes than a vector register has single precision numbers: the softmax of rows leaves it unused.

With 10 classes, softmax over columns is four times as fast, turning included.
"""


def by_row(outputs: object, n: int) -> torch.Tensor:
    """What a model gave for ``n`` rows, the rows in the first dimension.

    A model that ends in ``squeeze()`` loses that dimension where it gets a single row; it is put back.

    Raises:
        UsageError: It gave no tensor, or not one answer per row.
    """
    if not isinstance(outputs, torch.Tensor):
        raise UsageError(
            f"the model answers with {type(outputs).__name__}, expected a tensor whose first dimension is "
            "that of the rows. Let forward return that tensor alone"
        )
    if n == 1 and (outputs.ndim == 0 or (outputs.ndim == 1 and len(outputs) > 1)):
        outputs = outputs.unsqueeze(0)
    if outputs.ndim == 0 or len(outputs) != n:
        raise UsageError(
            f"the model answers with shape {tuple(outputs.shape)} about {n} rows, expected ({n}, ...): one "
            "answer per row. Let forward keep the first dimension of its inputs"
        )
    return outputs


def class_logits(outputs: object) -> torch.Tensor:
    """Outputs as logits of at least two classes, shape ``(n, k)``.

    A single output is the logit of the second class. Log-probabilities are logits, too: log-softmax leaves
    them unchanged.

    Raises:
        UsageError: They have more dimensions than rows and classes, or are no tensor.
    """
    if not isinstance(outputs, torch.Tensor) or outputs.ndim > 2:
        found = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise UsageError(
            f"the model answers with {found}, expected shape (n, k): one logit for each of k classes. Let "
            "forward return these logits alone"
        )
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


def loss_gradients(outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """:func:`per_row_loss` of each row, shape ``(n,)``, and the gradient of their sum in ``outputs``."""
    values = outputs.detach()
    if _in_closed_form(values, targets):
        try:
            return _cross_entropy_gradients(values, targets)
        except RuntimeError:
            pass  # a class that is not counted
    values.requires_grad_()
    with torch.enable_grad():
        losses = per_row_loss(values, targets)
        (gradient,) = torch.autograd.grad(losses.sum(), values)
    return losses.detach(), gradient


def _in_closed_form(outputs: torch.Tensor, targets: torch.Tensor) -> bool:
    """Whether a row has several logits and one class, on the CPU."""
    if outputs.ndim != 2 or targets.ndim != 1 or not targets.is_cpu or outputs.shape[1] == 1:
        return False
    return targets.dtype == torch.int64 and outputs.dtype in (torch.float32, torch.float64)


def _cross_entropy_gradients(
    logits: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient is the softmax less the target; this takes a third of the time of a backward pass."""
    turned = logits.shape[1] < _VECTOR
    classes = 0 if turned else 1
    chances = torch.log_softmax(logits.t().contiguous() if turned else logits, classes)
    losses = functional.nll_loss(chances.t() if turned else chances, targets, reduction="none")
    chances.exp_().scatter_(classes, targets.unsqueeze(classes), -1.0, reduce="add")
    return losses, chances.t() if turned else chances


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
