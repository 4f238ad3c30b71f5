"""Whether an output or a gradient of a row depends on other rows of its batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from auditkit.models.losses import per_row_loss
from auditkit.privacy.preflight.random_rows import N_ROWS, RandomRows, outputs_of, without_dropout
from auditkit.privacy.preflight.report import Check, passed, refused
from auditkit.randomness import global_generators_seeded
from auditkit.records import Message

TOLERANCE = 1e-6
"""Of outputs: batches of the same size are computed alike to the last bit, or nearly."""

GRADIENT_TOLERANCE = 1e-4
_REMEDY = "Remove what computes across the first dimension, whose entries are rows"


def mixing_checks(module: nn.Module, rows: RandomRows) -> Iterator[Check]:
    """Change one row after the other and look at those that stayed; then leave some out."""
    with torch.no_grad():
        outputs = outputs_of(module, rows.inputs)
    if outputs.ndim == 0 or len(outputs) != N_ROWS:
        yield refused(
            "rows",
            "{n} rows give outputs of shape {shape}; expected one entry of the first dimension for each row. "
            "Do not pool over the first dimension, nor fold it into another",
            n=N_ROWS,
            shape=str(tuple(outputs.shape)),
        )
        return
    problem = _moved_outputs(module, rows, outputs) or _moved_gradients(module, rows)
    problem = problem or _other_sizes(module, rows)
    yield problem or passed(
        "rows", Message(text="changing one row changed no output and no gradient of another")
    )


def _moved_outputs(module: nn.Module, rows: RandomRows, outputs: Tensor) -> Check | None:
    for row in range(N_ROWS):
        with torch.no_grad():
            moved = _largest(_others(outputs_of(module, rows.changed(row)) - outputs, row))
        if not moved <= TOLERANCE * max(1.0, _largest(outputs)):
            return refused(
                "rows",
                "the output of a row changes when another row of its batch does (by {moved}), first in "
                "{where}. " + _REMEDY,
                moved=float(f"{moved:.3g}"),
                where=_first_mixing(module, rows, row),
            )
    return None


def _moved_gradients(module: nn.Module, rows: RandomRows) -> Check | None:
    names = [name for name, parameter in module.named_parameters() if parameter.requires_grad]
    for row in (0, N_ROWS - 1):
        before, after = (_gradients(module, inputs, rows, row) for inputs in (rows.inputs, rows.changed(row)))
        scale = sum(float(part.square().sum()) for part in before) ** 0.5
        for name, one, other in zip(names, before, after, strict=True):
            moved = float((one - other).norm())
            if not moved <= GRADIENT_TOLERANCE * max(scale, TOLERANCE):
                return refused(
                    "rows",
                    "the gradient of a row changes when another row of its batch does, that of '{weight}' "
                    "for one. " + _REMEDY + ", hooks on gradients included",
                    weight=name,
                )
    return None


def _gradients(module: nn.Module, inputs: Tensor, rows: RandomRows, without: int) -> list[Tensor]:
    """Of the losses of all rows but one."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    losses = per_row_loss(outputs_of(module, inputs), rows.targets)
    found: Sequence[Tensor | None] = torch.autograd.grad(
        _others(losses, without).sum(), parameters, allow_unused=True
    )
    return [
        torch.zeros_like(parameter) if gradient is None else gradient.to_dense().detach()
        for parameter, gradient in zip(parameters, found, strict=True)
    ]


def is_random(module: nn.Module, rows: RandomRows) -> bool:
    """Whether outputs depend on random numbers other than those of dropout layers."""
    with torch.no_grad(), without_dropout(module):
        one, other = (outputs_of(module, rows.inputs, seed) for seed in (0, 1))
    return not torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE)


def _other_sizes(module: nn.Module, rows: RandomRows) -> Check | None:
    """A sampled batch may be of any size, one row included."""
    if is_random(module, rows):
        return None
    with torch.no_grad(), without_dropout(module):
        everything = outputs_of(module, rows.inputs)
        for size in (N_ROWS - 1, 1):
            fewer = outputs_of(module, rows.inputs[:size])
            if fewer.shape != everything[:size].shape:
                return refused(
                    "rows",
                    "{n} rows give outputs of shape {shape}, expected {expected}: a batch may hold any "
                    "number of rows. Do not squeeze the first dimension",
                    n=size,
                    shape=str(tuple(fewer.shape)),
                    expected=str(tuple(everything[:size].shape)),
                )
            moved = _largest(fewer - everything[:size])
            if not moved <= GRADIENT_TOLERANCE * max(1.0, _largest(everything)):
                return refused(
                    "rows",
                    "the output of a row changes with the number of rows in its batch (by {moved}). "
                    + _REMEDY,
                    moved=float(f"{moved:.3g}"),
                )
    return None


def _others(values: Tensor, row: int) -> Tensor:
    return torch.cat([values[:row], values[row + 1 :]])


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0


# --- the layer at fault ----------------------------------------------------------------------------


@dataclass(slots=True)
class _Calls:
    """What every layer was given and gave, in the order in which they ended."""

    found: list[tuple[str, nn.Module, list[Tensor], list[Tensor]]] = field(default_factory=list)

    def of(self, module: nn.Module, inputs: Tensor) -> "_Calls":
        """One pass."""
        handles = [
            layer.register_forward_hook(self._note(name), with_kwargs=True)
            for name, layer in module.named_modules()
        ]
        try:
            with torch.no_grad(), global_generators_seeded(0):
                module(inputs)
        finally:
            for handle in handles:
                handle.remove()
        return self

    def _note(self, name: str) -> Any:
        def hook(layer: nn.Module, arguments: Any, options: Any, result: Any) -> None:
            given = _with_rows([*arguments, *options.values()])
            self.found.append((name, layer, given, _with_rows([result])))

        return hook


def _with_rows(values: Sequence[Any]) -> list[Tensor]:
    """Copies of the tensors with one entry per row."""
    found = []
    for value in values:
        if isinstance(value, Tensor) and value.ndim and len(value) == N_ROWS:
            found.append(value.detach().clone())
        elif isinstance(value, list | tuple):
            found += _with_rows(value)
        elif isinstance(value, dict):
            found += _with_rows(list(value.values()))
    return found


def _first_mixing(module: nn.Module, rows: RandomRows, row: int) -> str:
    """The first layer that is given unmoved rows and gives moved ones."""
    before, after = _Calls().of(module, rows.inputs).found, _Calls().of(module, rows.changed(row)).found
    for (name, layer, given, gave), (_, _, given_now, gave_now) in zip(before, after, strict=False):
        if _moved(gave, gave_now, row) and not _moved(given, given_now, row):
            return f"layer {name!r} ({type(layer).__name__})" if name else f"{type(layer).__name__}.forward"
    return f"{type(module).__name__}.forward"


def _moved(before: list[Tensor], after: list[Tensor], row: int) -> bool:
    return any(
        _largest(_others(one.double() - other.double(), row)) > TOLERANCE * max(1.0, _largest(one.double()))
        for one, other in zip(before, after, strict=False)
        if one.shape == other.shape
    )
