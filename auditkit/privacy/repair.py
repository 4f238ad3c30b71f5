"""A module that DP-SGD cannot train made into one that it can, with proof, where that is possible."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from auditkit.data.dataset import Task, TokenSpace
from auditkit.errors import UsageError
from auditkit.models.losses import per_row_loss
from auditkit.models.rows_apart import keep_rows_apart
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.preflight.examine import refuse_unsuitable
from auditkit.privacy.preflight.random_rows import outputs_of, random_rows
from auditkit.privacy.preflight.report import PreflightReport
from auditkit.privacy.preflight.state import state_kept
from auditkit.records import Message

_STEP = 0.1


@dataclass(frozen=True, slots=True)
class Repaired:
    """A module fit for DP-SGD.

    Attributes:
        module: In training mode.
        changes: What was exchanged, and the proof that it trains; empty where nothing had to be.
        report: Of the pre-flight, passed.
    """

    module: nn.Module
    changes: tuple[Message, ...]
    report: PreflightReport


def repair(
    module: nn.Module,
    row: torch.Tensor,
    n_classes: int,
    *,
    tokens: TokenSpace | None = None,
    task: Task = "classification",
) -> Repaired:
    """Exchange layers that mix rows (see :mod:`auditkit.models.rows_apart`) and prove that it trains then.

    Args:
        module: In training mode; changed in place.
        row: Shape and type of one row of inputs.
        n_classes: Number of output classes.
        tokens: See :func:`refuse_unsuitable`.
        task: See :func:`refuse_unsuitable`.

    Raises:
        UsageError: What remains is still unsuitable, or does not train.
    """
    module, changes = keep_rows_apart(module)
    report = refuse_unsuitable(module, row, n_classes, tokens=tokens, task=task)
    if changes:
        changes = (*changes, _trial(module, row, n_classes, tokens, task))
    return Repaired(module, changes, report)


def _trial(
    module: nn.Module, row: torch.Tensor, n_classes: int, tokens: TokenSpace | None, task: Task
) -> Message:
    """One step on random rows, taken back afterwards."""
    rows = random_rows(row, n_classes, tokens, task)
    engine = ClippedGradients(module, 1.0)
    with state_kept(module):
        gradients = engine.clipped_sum(rows.inputs, rows.targets)
        before = [parameter.detach().clone() for parameter in engine.parameters]
        with torch.no_grad():
            for parameter, gradient in zip(engine.parameters, gradients, strict=True):
                parameter.sub_(gradient, alpha=_STEP)
            loss = float(per_row_loss(outputs_of(module, rows.inputs), rows.targets).mean())
        moved = sum(
            not torch.equal(a, b)
            for a, b in zip(before, (p.detach() for p in engine.parameters), strict=True)
        )
    if not (math.isfinite(loss) and moved):
        raise UsageError(
            f"--fix: after the repair a step on random rows moves {moved} of {len(before)} weights, loss "
            f"{loss:g}: it does not train. Exchange the layers by hand"
        )
    return Message(
        text="After the repair one step on random rows moved {moved} of {total} weight tensors, at a "
        "finite loss.",
        values={"moved": moved, "total": len(before)},
    )
