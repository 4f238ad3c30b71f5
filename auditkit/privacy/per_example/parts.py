"""What a layer's use adds to the gradient of a parameter, row by row, in the form that is cheapest to keep.

A row's gradient of a weight is a product of what went into the layer and of the gradient of what came out.
Its norm and weighted sums over rows follow from these two without the product of every row (ghost norms: Li
et al. 2022, arXiv:2110.05679; book-keeping: Bu et al. 2023, arXiv:2210.00038, sections 3 and 4).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor


class Part(Protocol):
    """Gradients of one parameter, one per row."""

    def squared_norms(self) -> Tensor:
        """Squared length of each row's gradient, shape ``(n,)``."""
        ...

    def per_example(self) -> Tensor:
        """Each row's gradient, shape ``(n, *parameter)``."""
        ...

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """Sum of the rows' gradients times ``weights``, shape ``(n,)``; in the parameter's shape."""
        ...


@dataclass(frozen=True)
class Formed:
    """Gradients that were formed: shape ``(n, *parameter)``."""

    values: Tensor

    def squared_norms(self) -> Tensor:
        """See :class:`Part`."""
        return self.values.flatten(1).square().sum(dim=1)

    def per_example(self) -> Tensor:
        """See :class:`Part`."""
        return self.values

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """See :class:`Part`."""
        return (weights @ self.values.flatten(1)).view(self.values.shape[1:])


@dataclass(frozen=True)
class Products:
    """Sums over positions of outer products, the gradients of a weight matrix.

    Attributes:
        inputs: What went in at each position, shape ``(n, positions, d)``.
        outputs: Gradients of what came out, shape ``(n, positions, p)``.
        shape: Of the parameter; its elements are those of a ``(p, d)`` matrix.
    """

    inputs: Tensor
    outputs: Tensor
    shape: torch.Size

    def squared_norms(self) -> Tensor:
        """By products of single rows, by those of positions, or by forming the gradients: the cheapest."""
        if self.inputs.shape[1] == 1:
            return self.inputs.square().sum(dim=(1, 2)) * self.outputs.square().sum(dim=(1, 2))
        if self._forming_is_cheaper:
            return self._formed.squared_norms()
        among_inputs = self.inputs @ self.inputs.transpose(1, 2)
        among_outputs = self.outputs @ self.outputs.transpose(1, 2)
        # Rounding may leave a tiny negative number where the gradient is zero.
        return (among_inputs * among_outputs).sum(dim=(1, 2)).clamp(min=0)

    def per_example(self) -> Tensor:
        """See :class:`Part`."""
        return self._formed.values

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """One matrix product over all rows and positions, or over the formed gradients."""
        if self.inputs.shape[1] > 1 and self._forming_is_cheaper:
            return self._formed.weighted_sum(weights)
        scaled = self.outputs * weights[:, None, None]
        return (scaled.flatten(0, 1).T @ self.inputs.flatten(0, 1)).view(self.shape)

    @property
    def _forming_is_cheaper(self) -> bool:
        positions, d, p = self.inputs.shape[1], self.inputs.shape[2], self.outputs.shape[2]
        return d * p < positions * (d + p)

    @cached_property
    def _formed(self) -> Formed:
        products = torch.bmm(self.outputs.transpose(1, 2), self.inputs)
        return Formed(products.view(len(products), *self.shape))


@dataclass(frozen=True)
class Lookups:
    """Gradients of the rows of a table that were looked up.

    Attributes:
        ids: Which rows, shape ``(n, positions)``.
        outputs: Gradients of what came out, shape ``(n, positions, d)``; zero where a row is not trained.
        n_entries: Rows of the table.
    """

    ids: Tensor
    outputs: Tensor
    n_entries: int

    def squared_norms(self) -> Tensor:
        """Positions with the same id add up before their length is taken."""
        same = (self.ids[:, :, None] == self.ids[:, None, :]).to(self.outputs.dtype)
        among = self.outputs @ self.outputs.transpose(1, 2)
        return (same * among).sum(dim=(1, 2)).clamp(min=0)

    def per_example(self) -> Tensor:
        """See :class:`Part`."""
        n, _, d = self.outputs.shape
        formed = self.outputs.new_zeros(n, self.n_entries, d)
        return formed.scatter_add_(1, self.ids[:, :, None].expand_as(self.outputs), self.outputs)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """See :class:`Part`."""
        scaled = (self.outputs * weights[:, None, None]).flatten(0, 1)
        return scaled.new_zeros(self.n_entries, scaled.shape[1]).index_add_(0, self.ids.flatten(), scaled)


def together(parts: Sequence[Part]) -> Part:
    """The sum of several uses of one parameter: shared layers and tied weights."""
    if len(parts) == 1:
        return parts[0]
    products = [part for part in parts if isinstance(part, Products)]
    if len(products) == len(parts):
        return Products(
            torch.cat([part.inputs for part in products], dim=1),
            torch.cat([part.outputs for part in products], dim=1),
            products[0].shape,
        )
    return Formed(torch.stack([part.per_example() for part in parts]).sum(dim=0))
