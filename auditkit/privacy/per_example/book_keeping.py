"""Clipped sums from one forward and one backward pass: gradients of what functions put out, nothing more."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from auditkit.models.losses import loss_gradients, per_row_loss
from auditkit.privacy.per_example.bare import BROADCASTING, REPEATING, broadcast, repeat
from auditkit.privacy.per_example.chain import chain_gradients, layers_of_chain
from auditkit.privacy.per_example.notes import NoRuleError, Notes
from auditkit.privacy.per_example.notes import (
    UnsuitableLayerError as UnsuitableLayerError,  # noqa: PLC0414 - callers know it from here
)
from auditkit.privacy.per_example.parts import Part, Products
from auditkit.privacy.per_example.registered import RegisteredLayer, registered_layers, sampled
from auditkit.privacy.per_example.rules import RULES
from auditkit.privacy.per_example.standardised import ProjectedProducts
from auditkit.privacy.per_example.whole import needed, whole_gradients

_TURNED_LINEAR = ("transformers.pytorch_utils", "Conv1D")
"""A linear layer that folds rows and positions before it multiplies; GPT-2 is built from it."""


_NOT_VECTORISED = (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError)
"""What a forward pass may raise under ``torch.func.vmap``."""


class _Watch(TorchFunctionMode):
    """Sends every function call with a watched parameter to its rule."""

    def __init__(self, notes: Notes) -> None:
        super().__init__()
        self._notes = notes

    def __torch_function__(
        self, function: Any, _: Any, arguments: Sequence[Any] = (), options: dict[str, Any] | None = None
    ) -> Any:
        options = options or {}
        notes = self._notes
        if not _any_watched(notes, arguments) and not (options and _any_watched(notes, options.values())):
            return function(*arguments, **options)
        rule = RULES.get(function)
        if rule is not None and torch.is_grad_enabled():
            return rule(notes, *arguments, **options)
        return _plain_use(notes, function, arguments, options)


def _any_watched(notes: Notes, values: Any) -> bool:
    names, whole = notes.names, notes.whole
    for value in values:
        if id(value) in names or id(value) in whole:
            return True
        if type(value) in (list, tuple) and _any_watched(notes, value):
            return True
    return False


def _plain_use(notes: Notes, function: Any, arguments: Sequence[Any], options: dict[str, Any]) -> Any:
    """A parameter where a tensor may stand."""
    if not torch.is_grad_enabled():
        return function(*arguments, **options)
    if all(notes.watches(value) for value in _tensors([*arguments, *options.values()])):
        if function in REPEATING:
            try:
                return repeat(notes, function, arguments, options)
            except NoRuleError:
                pass
        result = function(*arguments, **options)
        notes.derive(result)
        return result
    if function in BROADCASTING:
        return broadcast(notes, function, arguments, options)
    result = function(*arguments, **options)
    if any(value.requires_grad for value in _tensors([result])):
        raise NoRuleError(f"{getattr(function, '__name__', function)} has no rule")
    return result


def _devices(inputs: Tensor) -> list[torch.device]:
    """Those besides the CPU that random numbers may be drawn on."""
    return [inputs.device] if inputs.device.type == "cuda" else []


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors(value)


@contextmanager
def _not_folding(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Have linear layers that fold rows and positions multiply without folding."""
    try:
        for layer in layers:
            layer.forward = _unfolded(layer)
        yield
    finally:
        for layer in layers:
            del layer.forward


def _unfolded(layer: Any) -> Any:
    return lambda rows: torch.matmul(rows, layer.weight) + layer.bias


class UnitGradients(Protocol):
    """Losses of units and their gradients, not formed."""

    @property
    def losses(self) -> Tensor:
        """Shape ``(units,)``."""
        ...

    def squared_norms(self) -> tuple[Tensor, Tensor | None]:
        """See :func:`squared_norms`."""
        ...

    def add_to(self, total: Sequence[Tensor], weights: Tensor) -> None:
        """Add the sum of the gradients times ``weights``, shape ``(units,)``, in place.

        Args:
            total: Contiguous, one tensor per parameter.
            weights: Of the units.
        """
        ...


@dataclass(frozen=True, slots=True)
class PartGradients:
    """See :class:`UnitGradients`.

    Attributes:
        losses: Of the units.
        parts: Of the parameters that took part.
        parameters: All.
    """

    losses: Tensor
    parts: Mapping[Tensor, Part]
    parameters: Sequence[Tensor]

    def squared_norms(self) -> tuple[Tensor, Tensor | None]:
        """See :class:`UnitGradients`."""
        return squared_norms(self.parts.values(), len(self.losses), self.losses)

    def add_to(self, total: Sequence[Tensor], weights: Tensor) -> None:
        """See :class:`UnitGradients`."""
        for kept, parameter in zip(total, self.parameters, strict=True):
            part = self.parts.get(parameter)
            if part is not None:
                part.add_to(kept, weights if kept.dtype == weights.dtype else weights.to(kept.dtype))


class Recorder:
    """Per-unit losses and gradients of one module.

    Args:
        module: In training mode. Only parameters with ``requires_grad`` take part.
        rows_per_unit: So many rows in sequence are one unit.
    """

    def __init__(self, module: nn.Module, rows_per_unit: int = 1) -> None:
        self.module = module
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.without_rule: str | None = None
        self._rows_per_unit = rows_per_unit
        self._names = {id(parameter): name for name, parameter in module.named_parameters()}
        self._names = {id(p): self._names[id(p)] for p in self.parameters}
        self._places = {id(parameter): place for place, parameter in enumerate(self.parameters)}
        self._folding = [
            layer
            for layer in module.modules()
            if (type(layer).__module__, type(layer).__name__) == _TURNED_LINEAR
        ]
        self._tried = False
        self._registered: list[RegisteredLayer] | None = None

    def gradients(self, inputs: Tensor, targets: Tensor, weights: Tensor | None) -> UnitGradients:
        """Losses and gradients of the units; see :meth:`parts`."""
        if self._rows_per_unit == 1 and (layers := layers_of_chain(self.module, inputs)) is not None:
            losses_of = partial(self._losses, targets=targets, weights=weights)
            return chain_gradients(layers, inputs, losses_of, self._places)
        return PartGradients(*self.parts(inputs, targets, weights), self.parameters)

    def parts(
        self, inputs: Tensor, targets: Tensor, weights: Tensor | None
    ) -> tuple[Tensor, dict[Tensor, Part]]:
        """Losses of the units, shape ``(units,)``, and their gradients of every parameter that took part.

        Args:
            inputs: Rows, those of a unit in sequence; at least one unit.
            targets: Of the rows.
            weights: Of the rows, shape ``(rows,)``: a unit's loss is the weighted sum of its rows' losses;
                ``None`` takes their mean.

        Raises:
            UnsuitableLayerError: A layer was called with another number of rows, or what it was given was
                changed in place.
        """
        if self.without_rule is None and not self._tried:
            self._try_other_size(inputs)
        if self.without_rule is None:
            try:
                return self._noted(inputs, targets, weights)
            except NoRuleError as error:
                self.without_rule = str(error)
        if self._registered is None:
            self._registered = self._last_resort(inputs, targets, weights)
        if not self._registered:
            return self._whole(inputs, targets, weights)
        try:
            return self._noted(inputs, targets, weights)
        except NoRuleError as error:
            raise UnsuitableLayerError(
                f"{error}, the module cannot be vectorised by torch.func.vmap, and no grad sampler is "
                "registered for the layer"
            ) from None

    def _last_resort(self, inputs: Tensor, targets: Tensor, weights: Tensor | None) -> list[RegisteredLayer]:
        """The layers to ask their registered samplers of; none where the module can be vectorised."""
        layers = registered_layers(self.module)
        if not layers:
            return []
        try:
            with torch.random.fork_rng(_devices(inputs)):
                self._whole(inputs, targets, weights)
        except _NOT_VECTORISED:
            return layers
        return []

    def _try_other_size(self, inputs: Tensor) -> None:
        """A dimension that happens to be as long as the batch must not be taken for the rows."""
        if len(inputs) <= 2 * self._rows_per_unit:
            return
        try:
            with torch.random.fork_rng(_devices(inputs)):
                self._forward(inputs[self._rows_per_unit :])
        except NoRuleError as error:
            self.without_rule = str(error)
        self._tried = True

    def _forward(self, inputs: Tensor) -> tuple[Tensor, Notes]:
        notes = Notes(self._names, len(inputs), self._rows_per_unit)
        layers = self._registered or []
        with torch.enable_grad(), _not_folding(self._folding), sampled(layers, notes), _Watch(notes):
            return self.module(inputs), notes

    def _noted(
        self, inputs: Tensor, targets: Tensor, weights: Tensor | None
    ) -> tuple[Tensor, dict[Tensor, Part]]:
        outputs, notes = self._forward(inputs)
        losses, gradient = self._losses(outputs, targets, weights)
        return notes.per_unit(losses), notes.parts(outputs, gradient, self.parameters)

    def _losses(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor]:
        """What each row adds to its unit's loss, shape ``(rows,)``, and the gradient in ``outputs``."""
        losses, gradient = loss_gradients(outputs, targets)
        if weights is not None:
            losses = losses * weights
            gradient.mul_(weights.view(-1, *(1,) * (gradient.ndim - 1)))
        elif self._rows_per_unit > 1:
            losses = losses / self._rows_per_unit
            gradient.div_(self._rows_per_unit)
        return losses, gradient

    def _whole(
        self, inputs: Tensor, targets: Tensor, weights: Tensor | None
    ) -> tuple[Tensor, dict[Tensor, Part]]:
        if weights is None:
            weights = torch.full((len(inputs),), 1 / self._rows_per_unit, device=inputs.device)
        units = tuple(
            values.reshape(-1, self._rows_per_unit, *values.shape[1:])
            for values in (inputs, targets, weights)
        )
        names = needed(self.module)
        losses, parts = whole_gradients(self.module, names, per_row_loss, (units[0], units[1], units[2]))
        by_name = dict(self.module.named_parameters())
        return losses, {by_name[name]: part for name, part in parts.items()}


def squared_norms(parts: Iterable[Part], n_units: int, like: Tensor) -> tuple[Tensor, Tensor | None]:
    """Squared length of each unit's gradient and a bound on what rounding hides of it, ``(n,)`` each.

    The bound is ``None`` where it is next to nothing.
    """
    total = hidden = None
    for part in parts:
        total = part.squared_norms() if total is None else total + part.squared_norms()
        if isinstance(part, Products | ProjectedProducts) and (more := part.rounding()) is not None:
            hidden = more if hidden is None else hidden.add_(more)
    if total is None:
        total = torch.zeros(n_units, dtype=like.dtype, device=like.device)
    return total, hidden
