"""Linear layers on rows that are units themselves, with one position each: the form with the fewest steps.

Small networks spend as long on calling functions as on arithmetic, so these parts call few.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from auditkit.privacy.per_example.parts import Positions, Products, Summed, squared_lengths


@dataclass(slots=True)
class Vectors:
    """One vector per unit, shape ``(n, width)``; its squared lengths are worked out when first asked for."""

    values: Tensor
    _squared: Tensor | None = field(default=None, init=False)

    @property
    def squared_lengths(self) -> Tensor:
        """Shape ``(n,)``."""
        if self._squared is None:
            self._squared = squared_lengths(self.values)
        return self._squared

    @property
    def positions(self) -> Positions:
        """The same as units of one position."""
        return Positions(self.values.unsqueeze(1))


@dataclass(frozen=True, slots=True)
class Outer:
    """Outer products of what went in and of the gradient of what came out: gradients of a weight matrix."""

    inputs: Vectors
    outputs: Vectors

    def squared_norms(self) -> Tensor:
        """See :class:`Part`."""
        return self.inputs.squared_lengths * self.outputs.squared_lengths

    def per_example(self) -> Tensor:
        """See :class:`Part`."""
        return torch.einsum("np,nd->npd", self.outputs.values, self.inputs.values)

    def add_to(self, total: Tensor, weights: Tensor) -> None:
        """See :class:`Part`."""
        scaled = self.outputs.values * weights.unsqueeze(1)
        total.addmm_(scaled.t(), self.inputs.values)

    def products(self) -> Products:
        """The same as sums over one position."""
        shape = torch.Size((self.outputs.values.shape[1], self.inputs.values.shape[1]))
        return Products(self.inputs.positions, self.outputs.positions, shape)


@dataclass(frozen=True, slots=True)
class Plain:
    """The gradients of what came out themselves: gradients of a bias."""

    outputs: Vectors

    def squared_norms(self) -> Tensor:
        """See :class:`Part`."""
        return self.outputs.squared_lengths

    def per_example(self) -> Tensor:
        """See :class:`Part`."""
        return self.outputs.values

    def add_to(self, total: Tensor, weights: Tensor) -> None:
        """See :class:`Part`."""
        total.addmv_(self.outputs.values.t(), weights)

    def summed(self) -> Summed:
        """The same as sums over one position."""
        return Summed(self.outputs.positions)
