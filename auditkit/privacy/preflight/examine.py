"""All conditions on a module, examined on random rows."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import nn

from auditkit.data.dataset import Task, TokenSpace
from auditkit.models.rows_apart import keep_rows_apart
from auditkit.privacy.preflight.gradients import gradient_checks
from auditkit.privacy.preflight.layers import layer_problems
from auditkit.privacy.preflight.mixing import mixing_checks
from auditkit.privacy.preflight.random_rows import RandomRows, outputs_of, random_rows
from auditkit.privacy.preflight.report import Check, PreflightReport, passed, refused
from auditkit.privacy.preflight.state import state_checks, state_kept
from auditkit.records import Message


def refuse_unsuitable(
    module: nn.Module,
    row: torch.Tensor,
    n_classes: int,
    *,
    tokens: TokenSpace | None = None,
    task: Task = "classification",
) -> PreflightReport:
    """Refuse ``module`` unless DP-SGD on it keeps its promise; see :func:`examine`.

    Raises:
        UsageError: With every problem that was found, its layer and the remedy.
    """
    report = examine(module, row, n_classes, tokens=tokens, task=task)
    report.raise_if_refused()
    return report


def examine(
    module: nn.Module,
    row: torch.Tensor,
    n_classes: int,
    *,
    tokens: TokenSpace | None = None,
    task: Task = "classification",
) -> PreflightReport:
    """Whether every row's gradient depends on that row alone, and the engine gives that gradient.

    Args:
        module: In training mode; left as it was found.
        row: Any tensor with the shape, type and device of one row of inputs; its values are not read.
        n_classes: Number of output classes.
        tokens: What the ids mean where a row is token ids; without it ids are 0 and 1.
        task: With language modelling every token is to be foretold.
    """
    rows = random_rows(row, n_classes, tokens, task)
    with state_kept(module):
        return PreflightReport(tuple(_checks(module, rows)))


def _checks(module: nn.Module, rows: RandomRows) -> Iterator[Check]:
    if not any(parameter.requires_grad for parameter in module.parameters()):
        yield refused("layers", "nothing is to be trained: no parameter has requires_grad")
        return
    known = list(layer_problems(module))
    yield from known or [_NO_KNOWN]
    if _refuses(known):
        # What else is wrong shows only without what is known to be.
        repaired = _repaired(module)
        yield from () if repaired is None else filter(_is_refusal, _tried(repaired, rows))
    else:
        yield from _tried(module, rows)


_NO_KNOWN = passed(
    "layers", Message(text="no layer is of a kind that mixes rows or keeps statistics of them")
)


def _repaired(module: nn.Module) -> nn.Module | None:
    """A copy without what is known by its type; ``None`` where that is not possible."""
    try:
        repaired, _ = keep_rows_apart(copy.deepcopy(module))
    except (RuntimeError, TypeError):
        return None
    return None if _refuses(list(layer_problems(repaired))) else repaired


def _tried(module: nn.Module, rows: RandomRows) -> Iterator[Check]:
    """What the module does with random rows."""
    rows, problem = _callable_rows(module, rows)
    if problem is not None:
        yield problem
        return
    found = list(state_checks(module, rows))
    yield from found
    if _refuses(found):
        # With a state that moves, whatever is compared next differs for that reason alone.
        return
    found = list(mixing_checks(module, rows))
    yield from found
    if not _refuses(found):
        yield from gradient_checks(module, rows)


_NO_TENSOR = (
    "it gives a {type}; expected one tensor of outputs, a row for each row of inputs. Wrap it in a module "
    "whose forward returns that tensor alone"
)


def _is_refusal(check: Check) -> bool:
    return check.status == "refused"


def _refuses(checks: Sequence[Check]) -> bool:
    return any(map(_is_refusal, checks))


def _callable_rows(module: nn.Module, rows: RandomRows) -> tuple[RandomRows, Check | None]:
    """Rows that the module has finite outputs for: around 0, else within 0 and 1."""
    candidates = [rows]
    if rows.inputs.is_floating_point():
        candidates.append(replace(rows, inputs=rows.inputs.sigmoid(), others=rows.others.sigmoid()))
    try:
        with torch.no_grad(), state_kept(module):
            for candidate in candidates:
                outputs = outputs_of(module, candidate.inputs)
                if not isinstance(outputs, torch.Tensor):
                    return rows, refused("rows", _NO_TENSOR, type=type(outputs).__name__)
                if bool(torch.isfinite(outputs).all()):
                    return candidate, None
    except Exception as error:
        text = "it cannot be called with random rows of the shape of the data ({error}). Correct its forward"
        return rows, refused("rows", text, error=f"{type(error).__name__}: {error}")
    return rows, refused(
        "rows",
        "random rows give no finite outputs, so nothing can be compared. Keep outputs finite for any finite "
        "row",
    )
