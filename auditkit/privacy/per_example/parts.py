"""What a layer's use adds to the gradient of a parameter, unit by unit, in the form that is cheapest to keep.

A unit is what the guarantee protects: a row, or several rows together. Its gradient of a weight is a product
of what went into the layer and of the gradient of what came out. Its norm and weighted sums over units follow
from these two without the product of every unit (ghost norms: Li et al. 2022, arXiv:2110.05679;
book-keeping: Bu et al. 2023, arXiv:2210.00038, sections 3 and 4).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


def squared_lengths(rows: Tensor) -> Tensor:
    """Of each row of a matrix, shape ``(n,)``."""
    if rows.stride(0) == 1:
        # Of columns that lie together torch takes norms number by number.
        return rows.square().sum(dim=1)
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return lengths.square_()


ROUNDINGS = 4
"""Units of rounding that an inner product may be off by, relative to the lengths of its factors."""


_PASSES = 12
"""What it takes to write and read a formed number, in multiplications; measured."""


class Part(Protocol):
    """Gradients of one parameter, one per unit."""

    def squared_norms(self) -> Tensor:
        """Squared length of each unit's gradient, shape ``(n,)``."""
        ...

    def per_example(self) -> Tensor:
        """Each unit's gradient, shape ``(n, *parameter)``."""
        ...

    def add_to(self, total: Tensor, weights: Tensor) -> None:
        """Add the sum of the units' gradients times ``weights``, shape ``(n,)``, to ``total`` in place.

        ``total`` is contiguous and has the parameter's shape.
        """
        ...


@dataclass(frozen=True)
class Formed:
    """Gradients that were formed: shape ``(n, *parameter)``."""

    values: Tensor

    def squared_norms(self) -> Tensor:
        """See :class:`Part`."""
        return squared_lengths(self.values.flatten(1))

    def per_example(self) -> Tensor:
        """See :class:`Part`."""
        return self.values

    def add_to(self, total: Tensor, weights: Tensor) -> None:
        """See :class:`Part`."""
        total.view(-1).addmv_(self.values.flatten(1).T, weights)


@dataclass(frozen=True)
class ChannelsLast:
    """Gradients of a kernel that were formed with its channels last: shape ``(n, p, *sides, channels)``."""

    values: Tensor

    def squared_norms(self) -> Tensor:
        """See :class:`Part`."""
        return squared_lengths(self.values.flatten(1))

    def per_example(self) -> Tensor:
        """See :class:`Part`."""
        return self.values.movedim(-1, 2)

    def add_to(self, total: Tensor, weights: Tensor) -> None:
        """See :class:`Part`."""
        summed = torch.mv(self.values.flatten(1).T, weights)
        total.add_(summed.view(self.values.shape[1:]).movedim(-1, 1))


@dataclass(frozen=True)
class Positions:
    """Values at every position of every unit, with what several parameters need of them.

    Attributes:
        values: Shape ``(n, positions, width)``.
    """

    values: Tensor

    @cached_property
    def squared_lengths(self) -> Tensor:
        """Of units with one position, shape ``(n,)``."""
        return squared_lengths(self.values[:, 0])

    @cached_property
    def among(self) -> Tensor:
        """Inner products of each unit's positions, shape ``(n, positions, positions)``."""
        return torch.bmm(self.values, self.values.transpose(1, 2))

    @cached_property
    def lengths(self) -> Tensor:
        """Of every position, shape ``(n, positions)``."""
        return self.among.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()

    @cached_property
    def summed(self) -> Tensor:
        """Over positions, shape ``(n, width)``."""
        return self.values[:, 0] if self.values.shape[1] == 1 else self.values.sum(dim=1)

    @cached_property
    def squared_lengths_summed(self) -> Tensor:
        """Of the sums over positions, shape ``(n,)``."""
        if self.values.shape[1] == 1:
            return self.squared_lengths
        return squared_lengths(self.summed)

    @property
    def steps_outside(self) -> bool:
        """Whether positions come first in memory, as recurrent layers leave them."""
        return self.values.stride(0) < self.values.stride(1)

    def flat(self, *, steps_outside: bool) -> Tensor:
        """All positions of all units, shape ``(n * positions, width)``, in one of the two orders."""
        return (self.values.transpose(0, 1) if steps_outside else self.values).flatten(0, 1)


@dataclass(frozen=True)
class Summed:
    """Gradients that are sums over positions, as those of a bias."""

    outputs: Positions

    def squared_norms(self) -> Tensor:
        """See :class:`Part`."""
        return self.outputs.squared_lengths_summed

    def per_example(self) -> Tensor:
        """See :class:`Part`."""
        return self.outputs.summed

    def add_to(self, total: Tensor, weights: Tensor) -> None:
        """See :class:`Part`."""
        total.view(-1).addmv_(self.outputs.summed.T, weights)


def forming_is_cheaper(positions: int, d: int, p: int, *, memory: float = 1.0) -> bool:
    """Whether to form the ``p * d`` gradient of every unit rather than products among its positions.

    Forming is a pass or two over other memory; the products among positions are arithmetic on top of that of
    the sum.

    Args:
        positions: Of a unit.
        d: Width of what went in.
        p: Width of what came out.
        memory: Times that the formed gradients may take what went in and came out.
    """
    return p * d <= memory * positions * (d + p) and _PASSES * p * d < positions**2 * (d + p)


@dataclass(frozen=True)
class Products:
    """Sums over positions of outer products, the gradients of a weight matrix.

    Attributes:
        inputs: What went in at each position, width d.
        outputs: Gradients of what came out, width p.
        shape: Of the parameter; its elements are those of a ``(p, d)`` matrix.
    """

    inputs: Positions
    outputs: Positions
    shape: torch.Size

    def squared_norms(self) -> Tensor:
        """By lengths of single positions, by products among them, or by forming the gradients."""
        if self.inputs.values.shape[1] == 1:
            return self.inputs.squared_lengths * self.outputs.squared_lengths
        if self._forming_is_cheaper:
            return self._formed.squared_norms()
        # Rounding may leave a tiny negative number where the gradient is zero.
        squared: Tensor = torch.linalg.vecdot(self.inputs.among.flatten(1), self.outputs.among.flatten(1))
        return squared.clamp_(min=0)

    def rounding(self) -> Tensor | None:
        """A bound on what rounding may hide of the squared norms; ``None`` where that is next to nothing.

        Where positions cancel each other, the sum of their products is far smaller than the products are.
        """
        if self.inputs.values.shape[1] == 1 or self._forming_is_cheaper:
            return None
        lengths = self.inputs.lengths * self.outputs.lengths
        return lengths.sum(dim=1).square_().mul_(ROUNDINGS * torch.finfo(lengths.dtype).eps)

    def per_example(self) -> Tensor:
        """See :class:`Part`."""
        return self._formed.values

    def add_to(self, total: Tensor, weights: Tensor) -> None:
        """One matrix product over all units and positions, or over the formed gradients."""
        if self.inputs.values.shape[1] > 1 and self._forming_is_cheaper:
            self._formed.add_to(total, weights)
            return
        d, p = self.inputs.values.shape[2], self.outputs.values.shape[2]
        if self.inputs.values.shape[1] == 1:
            scaled = self.outputs.values[:, 0] * weights[:, None]
            total.view(p, d).addmm_(scaled.T, self.inputs.values[:, 0])
            return
        steps_outside = self.outputs.steps_outside
        inputs, outputs = (part.flat(steps_outside=steps_outside) for part in (self.inputs, self.outputs))
        weights = weights.view(-1, 1, 1)
        per_position = weights.expand(-1, self.inputs.values.shape[1], 1)
        scale = (per_position.transpose(0, 1) if steps_outside else per_position).reshape(-1, 1)
        matrix = total.view(p, d)
        if p <= d:
            matrix.addmm_((outputs * scale).T, inputs)
        else:
            matrix.addmm_(outputs.T, inputs * scale)

    @property
    def _forming_is_cheaper(self) -> bool:
        _, positions, d = self.inputs.values.shape
        return forming_is_cheaper(positions, d, self.outputs.values.shape[2])

    @cached_property
    def _formed(self) -> Formed:
        products = torch.bmm(self.outputs.values.transpose(1, 2), self.inputs.values)
        return Formed(products.view(len(products), *self.shape))


@dataclass(frozen=True)
class Lookups:
    """Gradients of the entries of a table that were looked up.

    Attributes:
        ids: Which entries, shape ``(n, positions)``.
        outputs: Gradients of what came out, shape ``(n, positions, d)``; zero where an entry is not trained.
        n_entries: Entries of the table.
    """

    ids: Tensor
    outputs: Tensor
    n_entries: int

    def squared_norms(self) -> Tensor:
        """Positions with the same id add up before their length is taken."""
        ids, order = self.ids.sort(dim=1)
        n, positions, d = self.outputs.shape
        first = torch.ones_like(ids)
        first[:, 1:] = ids[:, 1:] != ids[:, :-1]
        # Every run of equal ids, numbered over all units, is one entry of one unit.
        run = first.cumsum(dim=1) - 1 + positions * torch.arange(n, device=ids.device)[:, None]
        sources = torch.gather(self.outputs, 1, order[:, :, None].expand_as(self.outputs)).flatten(0, 1)
        sums = torch.zeros_like(sources).index_add_(0, run.flatten(), sources)
        return squared_lengths(sums.view(n, positions * d))

    def per_example(self) -> Tensor:
        """See :class:`Part`."""
        n, _, d = self.outputs.shape
        formed = self.outputs.new_zeros(n, self.n_entries, d)
        return formed.scatter_add_(1, self.ids[:, :, None].expand_as(self.outputs), self.outputs)

    def add_to(self, total: Tensor, weights: Tensor) -> None:
        """See :class:`Part`."""
        scaled = (self.outputs * weights[:, None, None]).flatten(0, 1)
        total.index_add_(0, self.ids.flatten(), scaled)
