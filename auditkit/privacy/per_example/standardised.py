"""The rule of standardised weights: a gradient of the weight is a projection of that of the standardised one.

Of a channel with weight ``w``, standardised ``v = s (w - mean w)``, a gradient ``g`` of ``v`` gives
``s (I - v v') (I - 1 1' / d) g``: the same linear map for every unit. It is applied to formed gradients, or,
where positions are few, to what went in and came out: forming stays spared there too.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from auditkit.models.standardised import centred_and_scale, standardised_weight
from auditkit.privacy.per_example.notes import Notes
from auditkit.privacy.per_example.parts import ROUNDINGS, ChannelsLast, Formed, Part, Positions, Products


def standardised(notes: Notes, weight: Tensor) -> Tensor:
    """``standardised_weight`` of a parameter, or of what is made from such."""
    result = standardised_weight(weight)
    with torch.no_grad():
        centred, scale = centred_and_scale(weight)
        projection = Projection((centred * scale).flatten(1), scale.flatten())
    notes.derive(result)
    notes.pull_back_by(result, weight, projection.of)
    return result


@dataclass(frozen=True)
class Projection:
    """From gradients of standardised weights to gradients of the weights.

    Attributes:
        standard: The standardised weights, shape ``(p, d)``.
        scale: What they were multiplied by, shape ``(p,)``.
    """

    standard: Tensor
    scale: Tensor

    def of(self, part: Part) -> Part:
        """The gradients of the weights, in the cheapest form."""
        if isinstance(part, Products):
            return _of_products(self, part)
        if isinstance(part, ChannelsLast):
            return ChannelsLast(self._channels_last(part.values).apply(part.values))
        return Formed(self.apply(part.per_example()))

    def apply(self, gradients: Tensor) -> Tensor:
        """To gradients of shape ``(n, p, ...)``, whose last dimensions hold ``d`` elements."""
        flat = gradients.reshape(-1, *self.standard.shape)
        centred = (flat - flat.mean(dim=2, keepdim=True)) * self.scale[:, None]
        return self.without_standard(centred).view(gradients.shape)

    def without_standard(self, gradients: Tensor) -> Tensor:
        """``(n, p, d)`` without what lies along the standardised weights."""
        along = torch.linalg.vecdot(gradients, self.standard)
        return torch.addcmul(gradients, along.unsqueeze(2), self.standard, value=-1)

    def _channels_last(self, values: Tensor) -> "Projection":
        """The same for kernels ``(p, *sides, channels)``."""
        _, p, *sides, channels = values.shape
        standard = self.standard.view(p, channels, *sides).movedim(1, -1).reshape(p, -1)
        return Projection(standard, self.scale)


def _of_products(projection: Projection, part: Products) -> "ProjectedProducts":
    inputs, outputs = part.inputs.values, part.outputs.values
    centred = inputs - inputs.mean(dim=2, keepdim=True)
    scaled = outputs * projection.scale
    return ProjectedProducts(Products(Positions(centred), Positions(scaled), part.shape), projection)


@dataclass(frozen=True)
class ProjectedProducts:
    """Products whose inputs are centred and outputs scaled, less what lies along the standardised weights.

    Attributes:
        products: Centred and scaled.
        projection: Says along what.
    """

    products: Products
    projection: Projection

    def squared_norms(self) -> Tensor:
        """Pythagoras, ``v`` being a little shorter than 1; see :class:`Part`."""
        lengths = self.projection.standard.square().sum(dim=1)
        taken = self._along.square() @ (2 - lengths)
        return (self.products.squared_norms() - taken).clamp_(min=0)

    def rounding(self) -> Tensor | None:
        """See :meth:`Products.rounding`; what is taken off hides something of a single position, too."""
        hidden = self.products.rounding()
        if hidden is not None:
            return hidden
        squared = self.products.squared_norms()
        return squared.mul(ROUNDINGS * torch.finfo(squared.dtype).eps)

    def per_example(self) -> Tensor:
        """See :class:`Part`."""
        formed = self.products.per_example()
        left = self.projection.without_standard(formed.flatten(2))
        return left.view(formed.shape)

    def add_to(self, total: Tensor, weights: Tensor) -> None:
        """The projection of the sum is the sum of the projections."""
        added = torch.zeros_like(total)
        self.products.add_to(added, weights)
        left = self.projection.without_standard(added.view(1, *self.projection.standard.shape))
        total.add_(left.view(total.shape))

    @cached_property
    def _along(self) -> Tensor:
        """Inner products of the gradients with the standardised weights, shape ``(n, p)``."""
        put_out = self.products.inputs.values @ self.projection.standard.T
        return (put_out * self.products.outputs.values).sum(dim=1)
