"""Which functions a forward pass calls on which parameters, noted for the gradients of single units."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from auditkit.errors import UsageError
from auditkit.privacy.per_example.joined import together
from auditkit.privacy.per_example.parts import Formed, Part, Positions

Parts = list[tuple[Tensor, Part]]
"""Parameters with their gradients per unit."""


class UnsuitableLayerError(UsageError):
    """A layer is called in a way that does not tell the gradients of rows apart."""


class NoRuleError(Exception):
    """A parameter is used by a function that has no rule; says which."""


@dataclass(frozen=True, slots=True)
class _Note:
    """One call: where the gradient of its result will be, and what to make of it."""

    edge: GradientEdge
    parts_of: Callable[[Tensor], Parts]
    name: str
    read: Tensor | None
    version: int


@dataclass(slots=True)
class Notes:
    """The calls of one forward pass.

    Attributes:
        names: The parameters to watch, by ``id``.
        n_rows: Rows of the pass.
        rows_per_unit: So many rows in sequence are one unit.
        whole: Tensors made from watched parameters alone, kept alive as long as their ``id`` is watched.
    """

    names: Mapping[int, str]
    n_rows: int
    rows_per_unit: int = 1
    whole: dict[int, Tensor] = field(default_factory=dict)
    _pulls: dict[int, tuple[Tensor, Callable[[Part], Part]]] = field(default_factory=dict)
    _notes: list[_Note] = field(default_factory=list)

    def watches(self, value: object) -> bool:
        """Whether ``value`` is a watched parameter or made from such alone."""
        return id(value) in self.names or id(value) in self.whole

    @contextmanager
    def looking_away(self, parameters: Iterable[Tensor]) -> Iterator[None]:
        """Do not watch ``parameters`` inside."""
        watched, unseen = self.names, {id(parameter) for parameter in parameters}
        self.names = {key: name for key, name in watched.items() if key not in unseen}
        try:
            yield
        finally:
            self.names = watched

    def derive(self, result: Any) -> None:
        """Watch tensors that were made from watched ones alone."""
        for value in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(value, Tensor) and value.requires_grad:
                self.whole[id(value)] = value

    def pull_back_by(self, result: Tensor, source: Tensor, of: Callable[[Part], Part]) -> None:
        """Take gradients of ``result`` back to ``source`` by ``of``, the same linear map for every unit."""
        self._pulls[id(result)] = (source, of)

    def note(
        self,
        output: Tensor,
        parameter: Tensor,
        parts_of: Callable[[Tensor], Parts],
        read: Tensor | None = None,
    ) -> Tensor:
        """Keep a call.

        Args:
            output: Of the function.
            parameter: One that the function used.
            parts_of: From the gradient of ``output`` to the parts.
            read: Must not change till then.

        Returns:
            ``output``, to go on with.
        """
        if not output.requires_grad:
            return output
        if output._is_view():
            # Writing over a view gives it another place in the graph, and no gradient would come by the old.
            output = torch.ops.aten._unsafe_view(output, output.shape)
        version = 0 if read is None else read._version
        name = self.names.get(id(parameter), "a function of parameters")
        self._notes.append(_Note(get_gradient_edge(output), parts_of, name, read, version))
        return output

    def expect_rows(self, n_rows: int, parameter: Tensor | None) -> None:
        """Refuse a call with another number of rows.

        Raises:
            NoRuleError: It is called with a single row for all.
            UnsuitableLayerError: Rows are folded into another dimension, or unfolded from one.
        """
        name = self.names.get(id(parameter), "a function of parameters")
        if n_rows == 1 and self.n_rows > 1:
            raise NoRuleError(f"{name!r} is used on one row for all")
        if n_rows != self.n_rows:
            raise UnsuitableLayerError(
                f"the layer of {name!r} is called with {n_rows} rows, expected one for each of the "
                f"{self.n_rows}"
            )

    def positions(self, values: Tensor) -> Positions:
        """``(rows, ..., width)`` as positions of units."""
        n_units = self.n_rows // self.rows_per_unit
        return Positions(_wide(values).reshape(n_units, -1, values.shape[-1]))

    def steps(self, values: Tensor) -> Positions:
        """``(steps, rows, width)`` as positions of units."""
        n_units = self.n_rows // self.rows_per_unit
        folded = _wide(values).view(len(values), n_units, self.rows_per_unit, -1)
        return Positions(folded.permute(1, 0, 2, 3).flatten(1, 2))

    def per_unit(self, values: Tensor) -> Tensor:
        """``(rows, ...)`` added up over the rows of each unit."""
        values = _wide(values)
        if self.rows_per_unit == 1:
            return values
        return values.reshape(-1, self.rows_per_unit, *values.shape[1:]).sum(dim=1)

    def parts(
        self, outputs: Tensor, of_outputs: Tensor, parameters: list[nn.Parameter]
    ) -> dict[Tensor, Part]:
        """The units' gradients of every watched parameter that took part in ``outputs``.

        Args:
            outputs: Of the forward pass.
            of_outputs: Gradient of the loss in ``outputs``.
            parameters: To watch.
        """
        if not outputs.requires_grad or not self._notes:
            return {}
        gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
            outputs, [note.edge for note in self._notes], of_outputs, allow_unused=True
        )
        found: dict[Tensor, list[Part]] = {}
        for note, gradient in zip(self._notes, gradients, strict=True):
            if gradient is None:
                continue
            if note.read is not None and note.read._version != note.version:
                raise UnsuitableLayerError(
                    f"what the layer of {note.name!r} was given is changed in place; make that a new tensor"
                )
            with torch.no_grad():
                for parameter, part in note.parts_of(gradient):
                    found.setdefault(parameter, []).append(part)
        self._notes.clear()
        if self.whole:
            self._pull_back(found, parameters)
        return {parameter: together(parts) for parameter, parts in found.items()}

    def _pull_back(self, found: dict[Tensor, list[Part]], parameters: list[nn.Parameter]) -> None:
        """From gradients of functions of parameters to those of the parameters, the last function first."""
        for key, value in reversed(self.whole.items()):
            if value not in found:
                continue
            part = together(found.pop(value))
            if key in self._pulls:
                source, of = self._pulls[key]
                with torch.no_grad():
                    found.setdefault(source, []).append(of(part))
            else:
                self._pull_back_formed(found, value, part, parameters)

    def _pull_back_formed(
        self, found: dict[Tensor, list[Part]], value: Tensor, part: Part, parameters: list[nn.Parameter]
    ) -> None:
        gradients = torch.autograd.grad(
            value,
            parameters,
            part.per_example(),
            is_grads_batched=True,
            allow_unused=True,
            retain_graph=True,
        )
        for parameter, gradient in zip(parameters, gradients, strict=True):
            if gradient is not None:
                found.setdefault(parameter, []).append(Formed(gradient))


def _wide(values: Tensor) -> Tensor:
    """At least single precision: sums of bfloat16 would lose what is small."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values
