"""Several uses of one parameter, or of pieces of it, as one part."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from auditkit.privacy.per_example.outer import Outer, Plain
from auditkit.privacy.per_example.parts import Formed, Lookups, Part, Positions, Products


@dataclass(frozen=True)
class Tied:
    """One table used for looking entries up and as the matrix of a linear layer (tied embeddings)."""

    looked_up: Lookups
    multiplied: Products

    def squared_norms(self) -> Tensor:
        """Both, and twice their inner product: what the linear layer put out at the ids looked up."""
        ids, inputs, outputs = (
            self.looked_up.ids,
            self.multiplied.inputs.values,
            self.multiplied.outputs.values,
        )
        at_ids = torch.gather(outputs, 2, ids[:, None, :].expand(-1, outputs.shape[1], -1))
        between = torch.bmm(inputs, self.looked_up.outputs.transpose(1, 2))
        shared = torch.linalg.vecdot(at_ids.flatten(1), between.flatten(1))
        apart = self.looked_up.squared_norms() + self.multiplied.squared_norms()
        return apart.add_(shared, alpha=2).clamp_(min=0)

    def per_example(self) -> Tensor:
        """See :class:`Part`."""
        return self.looked_up.per_example() + self.multiplied.per_example()

    def add_to(self, total: Tensor, weights: Tensor) -> None:
        """See :class:`Part`."""
        self.looked_up.add_to(total, weights)
        self.multiplied.add_to(total, weights)


@dataclass(frozen=True)
class Rows:
    """Gradients of some rows of a parameter that is used in pieces; the others are zero.

    Attributes:
        part: Of the piece.
        start: Its first row.
        end: One after its last row.
        n_rows: Of the whole parameter.
    """

    part: Part
    start: int
    end: int
    n_rows: int

    def squared_norms(self) -> Tensor:
        """See :class:`Part`."""
        return self.part.squared_norms()

    def per_example(self) -> Tensor:
        """See :class:`Part`."""
        values = self.part.per_example()
        whole = values.new_zeros(len(values), self.n_rows, *values.shape[2:])
        whole[:, self.start : self.end] = values
        return whole

    def add_to(self, total: Tensor, weights: Tensor) -> None:
        """See :class:`Part`."""
        self.part.add_to(total[self.start : self.end], weights)


@dataclass(frozen=True)
class Apart:
    """Parts of one parameter that have no element in common."""

    parts: Sequence[Part]

    def squared_norms(self) -> Tensor:
        """See :class:`Part`."""
        return torch.stack([part.squared_norms() for part in self.parts]).sum(dim=0)

    def per_example(self) -> Tensor:
        """See :class:`Part`."""
        return torch.stack([part.per_example() for part in self.parts]).sum(dim=0)

    def add_to(self, total: Tensor, weights: Tensor) -> None:
        """See :class:`Part`."""
        for part in self.parts:
            part.add_to(total, weights)


def together(parts: Sequence[Part]) -> Part:
    """The sum of several uses of one parameter: shared layers, tied weights, a weight used in pieces."""
    if len(parts) == 1:
        return parts[0]
    parts = [_as_positions(part) for part in parts]
    pieces = sorted((part for part in parts if isinstance(part, Rows)), key=lambda piece: piece.start)
    if len(pieces) == len(parts) and all(one.end <= other.start for one, other in pairwise(pieces)):
        return Apart(pieces)
    products = [part for part in parts if isinstance(part, Products)]
    lookups = [part for part in parts if isinstance(part, Lookups)]
    if len(products) + len(lookups) < len(parts):
        return Formed(torch.stack([part.per_example() for part in parts]).sum(dim=0))
    if not lookups:
        return _all_products(products)
    if not products:
        return _all_lookups(lookups)
    return Tied(_all_lookups(lookups), _all_products(products))


def _as_positions(part: Part) -> Part:
    """The form that several uses of one parameter are joined in."""
    if isinstance(part, Outer):
        return part.products()
    return part.summed() if isinstance(part, Plain) else part


def _all_products(parts: Sequence[Products]) -> Products:
    if len(parts) == 1:
        return parts[0]
    inputs = torch.cat([part.inputs.values for part in parts], dim=1)
    outputs = torch.cat([part.outputs.values for part in parts], dim=1)
    return Products(Positions(inputs), Positions(outputs), parts[0].shape)


def _all_lookups(parts: Sequence[Lookups]) -> Lookups:
    if len(parts) == 1:
        return parts[0]
    ids, outputs = torch.cat([p.ids for p in parts], dim=1), torch.cat([p.outputs for p in parts], dim=1)
    return Lookups(ids, outputs, parts[0].n_entries)
