"""Rules for parameters used as plain tensors: positions, class tokens, scales of channels."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from auditkit.privacy.per_example.notes import NoRuleError, Notes, Parts
from auditkit.privacy.per_example.parts import Formed

BROADCASTING = frozenset(
    function
    for name in ("add", "sub", "mul", "div", "true_divide", "subtract", "multiply", "divide")
    for function in (getattr(torch, name), getattr(Tensor, name))
) | frozenset((Tensor.add_, Tensor.sub_, Tensor.mul_, Tensor.div_, Tensor.__rsub__, torch.rsub))
"""Functions that go element by element, whatever stands for all rows being repeated for each."""

REPEATING = frozenset((Tensor.expand, Tensor.expand_as, Tensor.repeat))
"""Methods that lay a parameter out once per row."""


def broadcast(
    notes: Notes, function: Callable[..., Any], arguments: Sequence[Any], options: dict[str, Any]
) -> Any:
    """Call ``function`` with every parameter laid out per row, so that its gradient keeps the rows apart."""
    others = [value for value in arguments if isinstance(value, Tensor) and not notes.watches(value)]
    n_axes = max(other.ndim for other in others)
    if all(other.ndim < n_axes or len(other) != notes.n_rows for other in others):
        raise NoRuleError(f"{function.__name__} of a parameter and no rows")
    return function(
        *(_per_row(notes, value, n_axes) if notes.watches(value) else value for value in arguments), **options
    )


def repeat(
    notes: Notes, function: Callable[..., Tensor], arguments: Sequence[Any], options: dict[str, Any]
) -> Tensor:
    """``parameter.expand(rows, ...)`` and the like; anything else stays a function of parameters."""
    parameter = arguments[0]
    result = function(*arguments, **options)
    axes = result.ndim - parameter.ndim
    alone = axes == 0 and parameter.ndim > 0 and len(parameter) == 1
    same = tuple(result.shape[max(1, axes) :]) == tuple(parameter.shape[1 - min(1, axes) :])
    if result.ndim == 0 or len(result) != notes.n_rows or axes > 1 or not (alone or axes == 1) or not same:
        raise NoRuleError(f"{function.__name__} of a parameter to something else than rows")
    return _noted(notes, result.detach(), parameter)


def _per_row(notes: Notes, parameter: Tensor, n_axes: int) -> Tensor:
    """Shape ``(rows, 1, ..., *parameter)`` with ``n_axes`` dimensions."""
    values = parameter.detach()
    if values.ndim == n_axes and len(values) == 1:
        return _noted(notes, values.expand(notes.n_rows, *values.shape[1:]), parameter)
    if values.ndim < n_axes:
        values = values.view(*(1,) * (n_axes - values.ndim), *values.shape)
        return _noted(notes, values.expand(notes.n_rows, *values.shape[1:]), parameter)
    raise NoRuleError("a parameter with an entry per row")


def _noted(notes: Notes, values: Tensor, parameter: Tensor) -> Tensor:
    rows = values.requires_grad_()

    def parts_of(gradient: Tensor) -> Parts:
        return [(parameter, Formed(notes.per_unit(gradient).reshape(-1, *parameter.shape)))]

    return notes.note(rows, parameter, parts_of)
