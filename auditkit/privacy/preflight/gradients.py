"""The engine against plain backward passes of single rows, and what one row can move."""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from auditkit.errors import UsageError
from auditkit.models.losses import per_row_loss
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.preflight.mixing import is_random
from auditkit.privacy.preflight.random_rows import N_ROWS, SEED, RandomRows, outputs_of, without_dropout
from auditkit.privacy.preflight.report import Check, passed, refused
from auditkit.randomness import global_generators_seeded
from auditkit.records import Message

TOLERANCE = 1e-4
"""Relative to the gradient of a row."""

_ROUNDING = 1e-5
"""Of a sum of rows in single precision, relative to the sum."""

_ERRORS = (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError, UsageError)
"""What a module or a transformation of it may raise."""


def gradient_checks(module: nn.Module, rows: RandomRows) -> Iterator[Check]:
    """Compare the engine with single rows; then take rows out of a sum and look how far it moves."""
    together = is_random(module, rows)
    with without_dropout(module):
        try:
            plain = _Plain.of(module, rows, together=together)
        except _ERRORS as error:
            yield refused(
                "gradients",
                "no backward pass of a single row ({error}). A batch may hold one row",
                error=_line(error),
            )
            return
        names = _trainable(module)
        unused = [name for name, part in zip(names, plain.sums, strict=True) if part is None]
        if unused:
            yield refused("gradients", _UNUSED, names=_listed(unused))
            return
        if not math.isfinite(sum(plain.norms)):
            yield refused("gradients", "random rows have no finite gradients: nothing can be compared")
            return
        problem = _wrong_gradients(module, rows, plain)
        if problem is not None and (precise := _in_double(module, rows)) is not None:
            # In single precision the kink of a ReLU may lie between two ways to compute one number.
            problem = _wrong_gradients(*precise, _Plain.of(*precise, together=together))
        yield problem or passed(
            "gradients",
            Message(text="per-example gradients were those of plain backward passes, one row at a time"),
        )
        if problem is None:
            yield _sensitivity(module, rows, plain, draws_by_row=together)


_UNUSED = (
    "no output depends on {names}: noise would be added to what nothing trains. Remove it, or freeze it by "
    "requires_grad_(False)"
)


@dataclass(frozen=True, slots=True)
class _Plain:
    """Gradients of single rows: their norms, their sum, and their sum after clipping to ``bound``."""

    norms: list[float]
    sums: list[Tensor | None]
    bound: float
    clipped: list[Tensor | None]

    @classmethod
    def of(cls, module: nn.Module, rows: RandomRows, *, together: bool) -> "_Plain":
        """Each row alone, or ``together`` in one batch where random numbers of rows depend on its size."""
        norms = [_norm(_of_row(module, rows, row, together=together)) for row in range(N_ROWS)]
        bound = min((norm for norm in norms if norm > 0), default=1.0) / 2
        plain = cls(norms, [None] * len(_trainable(module)), bound, [None] * len(_trainable(module)))
        for row, norm in enumerate(norms):
            for index, gradient in enumerate(_of_row(module, rows, row, together=together)):
                if gradient is not None:
                    scaled = gradient * min(1.0, bound / norm) if norm else gradient
                    plain.sums[index] = _plus(plain.sums[index], gradient)
                    plain.clipped[index] = _plus(plain.clipped[index], scaled)
        return plain


def _plus(total: Tensor | None, more: Tensor) -> Tensor:
    return more.clone() if total is None else total.add_(more)


def _of_row(module: nn.Module, rows: RandomRows, row: int, *, together: bool) -> list[Tensor | None]:
    """The gradient of one row."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    one = slice(row, row + 1)
    outputs = outputs_of(module, rows.inputs)[one] if together else outputs_of(module, rows.inputs[one])
    loss = per_row_loss(outputs, rows.targets[one]).sum()
    gradients: Sequence[Tensor | None] = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [None if gradient is None else gradient.to_dense() for gradient in gradients]


def _wrong_gradients(module: nn.Module, rows: RandomRows, plain: _Plain) -> Check | None:
    try:
        with global_generators_seeded(SEED):
            norms = _engine(module, 1.0).norms(rows.inputs, rows.targets).tolist()
        sums = _seeded_sum(module, 1e6 * (1 + sum(plain.norms)), rows)
        clipped = _seeded_sum(module, plain.bound, rows)
    except _ERRORS as error:
        return refused("gradients", _NO_GRADIENTS, error=_line(error))
    names, allowed = _trainable(module), TOLERANCE * max(plain.norms)
    wrong = [name for name, a, b in zip(names, sums, plain.sums, strict=True) if _apart(a, b) > allowed]
    if wrong:
        return refused("gradients", _WRONG, names=_listed(wrong))
    # A bound on the norm may be larger than the norm; never smaller.
    if len(norms) != N_ROWS or any(
        abs(found - norm) > TOLERANCE * max(norm, 1e-3 * max(plain.norms))
        for found, norm in zip(norms, plain.norms, strict=True)
    ):
        return refused("gradients", _UNBOUNDED, found=_figures(norms), expected=_figures(plain.norms))
    wrong = [
        name
        for name, a, b in zip(names, clipped, plain.clipped, strict=True)
        if _apart(a, b) > TOLERANCE * N_ROWS * plain.bound
    ]
    return refused("gradients", _WRONG, names=_listed(wrong)) if wrong else None


_NO_GRADIENTS = (
    "no per-example gradients ({error}). The forward pass must call every trained layer with one row per "
    "entry of the first dimension, none folded into another; a layer of a kind of its own must work under "
    "torch.func.vmap, or have a grad sampler registered with opacus.grad_sample.register_grad_sampler"
)
_WRONG = (
    "the gradients of {names} are not seen row by row. Use them by ordinary torch functions: no compiled or "
    "scripted part, no torch.autograd.Function of your own, no reading through .data or detach()"
)
_UNBOUNDED = (
    "the per-example gradients cannot be bounded: norms {found}, expected {expected}. A layer is probably "
    "called with rows folded into another dimension; keep one row per entry of the first dimension"
)


def _sensitivity(module: nn.Module, rows: RandomRows, plain: _Plain, *, draws_by_row: bool) -> Check:
    """How far one row moves the sum without noise, added or removed.

    Where rows draw random numbers, other rows get others when one is removed; that row alone is looked at.
    """
    engine = _engine(module, plain.bound)
    everything = _clipped_sum(engine, rows.inputs, rows.targets)
    for row in range(N_ROWS):
        kept = torch.arange(N_ROWS, device=rows.inputs.device) != row
        without = _clipped_sum(engine, rows.inputs[kept], rows.targets[kept])
        moved = _norm([a - b for a, b in zip(everything, without, strict=True)])
        alone = _norm(_clipped_sum(engine, rows.inputs[~kept], rows.targets[~kept]))
        most = plain.bound * (1 + TOLERANCE)
        if alone > most or (not draws_by_row and moved > most + _ROUNDING * N_ROWS * plain.bound):
            return refused(
                "sensitivity",
                "one row moves the clipped sum by {ratio} times the clipping norm. The rows of a batch are "
                "not told apart",
                ratio=round(max(alone, moved) / plain.bound, 3),
            )
    return passed(
        "sensitivity",
        Message(text="taking one row out moved the clipped sum by no more than the clipping norm"),
    )


def _seeded_sum(module: nn.Module, max_grad_norm: float, rows: RandomRows) -> list[Tensor]:
    with global_generators_seeded(SEED):
        return _clipped_sum(_engine(module, max_grad_norm), rows.inputs, rows.targets)


def _clipped_sum(engine: ClippedGradients, inputs: Tensor, targets: Tensor) -> list[Tensor]:
    """In single precision at least, as the mechanism adds it up."""
    total = [
        torch.zeros(one.shape, dtype=torch.promote_types(one.dtype, torch.float32), device=one.device)
        for one in engine.parameters
    ]
    engine.add_clipped_sum(total, inputs, targets)
    return total


def _engine(module: nn.Module, max_grad_norm: float) -> ClippedGradients:
    return ClippedGradients(module, max_grad_norm)


def _in_double(module: nn.Module, rows: RandomRows) -> tuple[nn.Module, RandomRows] | None:
    """The same in double precision; ``None`` where the module does not allow that."""
    if not rows.inputs.is_floating_point() and not any(p.is_floating_point() for p in module.parameters()):
        return None
    try:
        inputs = rows.inputs.double() if rows.inputs.is_floating_point() else rows.inputs
        precise = copy.deepcopy(module).double(), replace(rows, inputs=inputs)
        with torch.no_grad():
            outputs_of(*precise[:1], inputs)
    except _ERRORS:
        return None
    return precise


def _trainable(module: nn.Module) -> list[str]:
    return [name for name, parameter in module.named_parameters() if parameter.requires_grad]


def _norm(parts: Sequence[Tensor | None]) -> float:
    return math.sqrt(sum(float(part.double().square().sum()) for part in parts if part is not None))


def _apart(one: Tensor, other: Tensor | None) -> float:
    distance = float((one if other is None else one - other).double().norm())
    return distance if math.isfinite(distance) else math.inf


def _listed(names: Sequence[str], shown: int = 4) -> str:
    return ", ".join(map(repr, names[:shown])) + (" and others" if len(names) > shown else "")


def _figures(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
