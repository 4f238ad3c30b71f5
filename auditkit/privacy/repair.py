"""A module that DP-SGD cannot train made into one that it can, with proof, where that is possible."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from auditkit.data.dataset import Task, TokenSpace
from auditkit.errors import UsageError
from auditkit.models.losses import per_row_loss
from auditkit.models.rows_apart import keep_rows_apart
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.preflight.examine import refuse_unsuitable
from auditkit.privacy.preflight.random_rows import SEED, RandomRows, outputs_of, random_rows, without_dropout
from auditkit.privacy.preflight.report import PreflightReport
from auditkit.privacy.preflight.state import state_kept
from auditkit.privacy.standardising import StandardisedBefore, group_norms, standardise_before
from auditkit.randomness import torch_rng
from auditkit.records import Message

_LONGEST_STEP, _STEPS_TRIED = 0.1, 12
"""Length in the space of all weights, and how many steps are tried, each half as long as the one before."""

_ROUNDING = 1e-5
"""Share of a loss by which single precision moves it at most."""


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
    standardised: StandardisedBefore = "exchanged",
) -> Repaired:
    """Exchange layers that mix rows (see :mod:`auditkit.models.rows_apart`) and prove that it trains then.

    Convolutions that feed an exchanged norm get their weights standardised: without the statistics of a
    batch, that keeps their outputs in range (Qiao et al. 2019, arXiv:1903.10520).

    Args:
        module: In training mode; changed in place.
        row: Shape and type of one row of inputs.
        n_classes: Number of output classes.
        tokens: See :func:`refuse_unsuitable`.
        task: See :func:`refuse_unsuitable`.
        standardised: Before which norms weights are standardised.

    Raises:
        UsageError: What remains is still unsuitable, a weight that the loss depends on gets no gradient, or
            no step lowers the loss.
    """
    before = group_norms(module)
    module, changes = keep_rows_apart(module)
    if standardised != "none":
        norms = group_norms(module) - (before if standardised == "exchanged" else frozenset())
        changes += standardise_before(module, norms, random_rows(row, n_classes, tokens, task))
    report = refuse_unsuitable(module, row, n_classes, tokens=tokens, task=task)
    if changes:
        changes = (*changes, _trial(module, row, n_classes, tokens, task))
    return Repaired(module, changes, report)


def _trial(
    module: nn.Module, row: torch.Tensor, n_classes: int, tokens: TokenSpace | None, task: Task
) -> Message:
    """One step on random rows that lowers their loss, taken back afterwards.

    Without clipping and dropout: along the gradient of a loss a step that is short enough lowers it, or the
    gradient is none.
    """
    rows = random_rows(row, n_classes, tokens, task)
    engine = ClippedGradients(module, math.inf)
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    with state_kept(module), without_dropout(module):
        gradients = engine.clipped_sum(rows.inputs, rows.targets)
        unreached = [i for i, gradient in enumerate(gradients) if not gradient.any()]
        needed = [names[i] for i in unreached if _matters(module, engine.parameters[i], rows)]
        if needed:
            raise UsageError(
                f"--fix: after the repair no gradient reaches {', '.join(map(repr, needed))} on random rows, "
                "though the loss depends on it: it would stay as it is. Look for detach(), no_grad() or "
                "an activation that is constant there, or exchange the layers by hand"
            )
        before = _loss(module, rows)
        after = _loss_after_step(module, engine.parameters, gradients, rows)
    if not after < before:
        none = ", ".join(repr(names[i]) for i in unreached)
        raise UsageError(
            f"--fix: after the repair no step on random rows lowers their loss of {before:g}"
            + (f", and no gradient reaches {none}" if none else "")
            + ". It does not train. Exchange the layers by hand"
        )
    return Message(
        text="After the repair one step on random rows moved {moved} of {total} weight tensors, all that the "
        "loss depends on, and lowered the loss from {before} to {after}.",
        values={
            "moved": len(names) - len(unreached),
            "total": len(names),
            "before": float(f"{before:.6g}"),
            "after": float(f"{after:.6g}"),
        },
    )


def _loss(module: nn.Module, rows: RandomRows) -> float:
    with torch.no_grad():
        return float(per_row_loss(outputs_of(module, rows.inputs), rows.targets).double().mean())


def _loss_after_step(
    module: nn.Module, parameters: Sequence[nn.Parameter], gradients: Sequence[torch.Tensor], rows: RandomRows
) -> float:
    """The loss after the first step of those tried that lowers it; after the shortest where none does."""
    before, start = _loss(module, rows), [parameter.detach().clone() for parameter in parameters]
    length = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in gradients))
    after = before
    for halvings in range(_STEPS_TRIED if length else 0):
        step = _LONGEST_STEP / 2**halvings / length
        with torch.no_grad():
            for parameter, value, gradient in zip(parameters, start, gradients, strict=True):
                parameter.copy_(value - step * gradient)
        after = _loss(module, rows)
        if after < before:
            break
    return after


def _matters(module: nn.Module, parameter: nn.Parameter, rows: RandomRows) -> bool:
    """Whether the loss is another with other values of ``parameter``, which is left as it was.

    What a normalisation takes out again, or a factor of zero, has no gradient and needs none.
    """
    before, kept = _loss(module, rows), parameter.detach().clone()
    rng = torch_rng(SEED, "repair")
    size = max(1.0, float(kept.abs().max()))
    with torch.no_grad():
        parameter.add_(size * torch.randn(kept.shape, generator=rng).to(kept))
        after = _loss(module, rows)
        parameter.copy_(kept)
    return not abs(after - before) <= _ROUNDING * max(1.0, abs(before))
