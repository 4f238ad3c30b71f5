"""Inner products of gradients over all parameters: what one step on a training row does to another row.

Source:
    Pruthi, Liu, Kale and Sundararajan (2020), arXiv:2002.08484, section 3.2 (TracIn), at the last checkpoint
    alone and without its learning rate; Charikar, Chen and Farach-Colton (2002), doi:10.1007/3-540-45465-9_59
    (the projection: every parameter is added to one of k sums, with a random sign).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.influence.row_gradients import Batch, RowGradients, minus
from auditkit.data.dataset import FloatArray, IntArray

MOST_NUMBERS = 2**26
"""Numbers in the gradients of the explained rows that are kept whole: 256 MiB in single precision, and three
times that while those of two classes are subtracted."""


@dataclass(frozen=True, slots=True)
class GradientProducts:
    """What gradients of training rows have to do with those of explained rows.

    Attributes:
        products: Inner products, shape ``(m, n)``: explained rows by training rows.
        squared_lengths: Of the training rows' gradients, shape ``(n,)``.
        projected_on: Directions that the products were taken on, or ``None`` where they are exact.
    """

    products: FloatArray
    squared_lengths: FloatArray
    projected_on: int | None


@dataclass(frozen=True, slots=True)
class Sketch:
    """A random linear map from gradients to ``k`` numbers that keeps inner products on average.

    An inner product is off by about the product of the lengths over the square root of ``k``.
    """

    buckets: Sequence[Tensor]
    signs: Sequence[Tensor]
    k: int

    @classmethod
    def draw(cls, parameters: Sequence[Tensor], k: int, rng: torch.Generator) -> "Sketch":
        """A map for gradients in the shapes of ``parameters``; ``rng`` is one of the CPU."""
        buckets = [
            torch.randint(k, (one.numel(),), generator=rng, dtype=torch.int32).to(one.device)
            for one in parameters
        ]
        signs = [
            (torch.randint(2, (one.numel(),), generator=rng, dtype=torch.int8) * 2 - 1).to(one.device)
            for one in parameters
        ]
        return cls(buckets, signs, k)

    def add_to(self, total: Tensor, index: int, gradients: Tensor) -> None:
        """Add the image of gradients of parameter ``index``, shape ``(n, numel)``, to ``(n, k)``."""
        total.index_add_(1, self.buckets[index], gradients * self.signs[index])


def gradient_products(
    gradients: RowGradients,
    explained: tuple[Tensor, IntArray, IntArray],
    training: tuple[Tensor, IntArray],
    *,
    projection: int,
    rng: Callable[[], torch.Generator],
) -> GradientProducts:
    """Products of the gradients of all training rows with those of all explained rows.

    That of an explained row is the gradient of its loss for one class minus that for another: of its
    log-odds, turned round.

    Args:
        gradients: Of the subject.
        explained: Inputs and the two classes, ``m`` rows.
        training: Inputs and labels of the training rows, ``n`` rows.
        projection: Directions on which gradients are projected where those of the explained rows are more
            than :data:`MOST_NUMBERS`.
        rng: Of the projection; called only where it is needed.
    """
    is_whole = len(explained[0]) * gradients.n_parameters <= MOST_NUMBERS
    sketch = None if is_whole else Sketch.draw(gradients.parameters, projection, rng())
    inputs, *classes = explained
    one, other = (_kept(gradients, inputs, labels, sketch) for labels in classes)
    kept = [minus(*pair) for pair in zip(one, other, strict=True)]
    n = len(training[0])
    products, squared = np.empty((len(explained[0]), n)), np.empty(n)
    with torch.no_grad():
        for batch in gradients.batches(*training):
            rows = slice(batch.start, batch.start + batch.n)
            squared[rows] = batch.squared_lengths().numpy()
            products[:, rows] = _with(kept, gradients, batch, sketch).T.numpy()
    return GradientProducts(products, squared, None if sketch is None else sketch.k)


def _kept(
    gradients: RowGradients, inputs: Tensor, labels: IntArray, sketch: Sketch | None
) -> list[Tensor | None]:
    """Gradients of the explained rows by parameter, each ``(m, numel)``; or one projection, ``(m, k)``."""
    with torch.no_grad():
        if sketch is not None:
            return [torch.cat([_image(gradients, one, sketch) for one in gradients.batches(inputs, labels)])]
        batches = list(gradients.batches(inputs, labels))
        return [_joined(batches, one) for one in gradients.parameters]


def _joined(batches: Sequence[Batch], parameter: Tensor) -> Tensor | None:
    """Gradients of one parameter, ``(m, numel)``; ``None`` where it took part in no batch."""
    pieces = [batch.of(parameter) for batch in batches]
    if all(piece is None for piece in pieces):
        return None
    return torch.cat(
        [
            parameter.new_zeros(batch.n, parameter.numel()) if piece is None else piece
            for batch, piece in zip(batches, pieces, strict=True)
        ]
    )


def _with(kept: list[Tensor | None], gradients: RowGradients, batch: Batch, sketch: Sketch | None) -> Tensor:
    """Inner products of a batch with what was kept, shape ``(n, m)``, float64, on the CPU."""
    if sketch is not None:
        (images,) = kept
        assert images is not None  # noqa: S101 - the projection always exists
        return (_image(gradients, batch, sketch) @ images.T).double().cpu()
    total: Tensor | None = None
    for parameter, own in zip(gradients.parameters, kept, strict=True):
        rows = batch.of(parameter)
        if rows is not None and own is not None:
            more = (rows @ own.T).double().cpu()
            total = more if total is None else total.add_(more)
    m = max((len(own) for own in kept if own is not None), default=0)
    return torch.zeros(batch.n, m, dtype=torch.float64) if total is None else total


def _image(gradients: RowGradients, batch: Batch, sketch: Sketch) -> Tensor:
    total = batch.losses.new_zeros(batch.n, sketch.k)
    for index, parameter in enumerate(gradients.parameters):
        rows = batch.of(parameter)
        if rows is not None:
            sketch.add_to(total, index, rows)
    return total
