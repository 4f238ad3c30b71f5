"""Points between baseline and input: the score there and what each unit adds to it per unit of the path."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

Score = Callable[[Tensor, Tensor], Tensor]
"""``(inputs, target) -> score`` of shape ``(n,)``; row ``i`` depends on row ``i`` of both alone. What a row
of ``target`` holds is between the score and its caller."""


PLACES_AT_ONCE: Final = 8
"""Lengths are rounded up to multiples of this: kernels take so many at once, and odd lengths cost more."""

WORTH_A_BATCH: Final = 64
"""Points of shorter rows that are evaluated apart from longer ones; fewer cost more than their padding."""


@dataclass(frozen=True, slots=True)
class StraightPath:
    """The straight line from the baseline to every row, walked from ``0`` to ``1``.

    Attributes:
        score: What is explained.
        inputs: Floating point, shape ``(n, *d)``.
        baseline: Shape ``(1, *d)``.
        target: Shape ``(n, *)``.
        pooled: Adds the elements of a row up to its units, ``(b, *d)`` to ``(b, ...)``.
        batch_size: Most points in one evaluation.
        lengths: How many of the first places of each row count, shape ``(n,)``, where rows are filled up:
            with so many ``l``, or more, ``score(inputs[:, :l], target[:, : l + 1])`` is what it is of whole
            rows. ``None`` where all places count.
    """

    score: Score
    inputs: Tensor
    baseline: Tensor
    target: Tensor
    pooled: Callable[[Tensor], Tensor]
    batch_size: int
    lengths: Tensor | None = None

    @property
    def precision(self) -> torch.dtype:
        """Of slopes, once they are pooled: that of gradients, since most of what is held are slopes."""
        return torch.promote_types(self.inputs.dtype, torch.float32)

    @property
    def rounding(self) -> float:
        """What rounding may do to a score or a slope, relative to its size."""
        return 8 * torch.finfo(self.inputs.dtype).eps

    def take(self, rows: Tensor) -> "StraightPath":
        """Of some rows, shape ``(r,)``."""
        here = rows.to(self.inputs.device)
        lengths = None if self.lengths is None else self.lengths[rows]
        return replace(self, inputs=self.inputs[here], target=self.target[here], lengths=lengths)

    def evaluate(self, rows: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """One forward and one backward pass give both.

        Args:
            rows: Which line each point is on, shape ``(k,)``.
            places: How far along it, float64 in ``[0, 1]``, same shape.

        Returns:
            Scores, float64, shape ``(k,)``, and the derivative of the score along the line, unit by unit, in
            :attr:`precision`, shape ``(k, m)``; both on the processor.
        """
        batches = self._batches(rows)
        with torch.inference_mode(mode=False), torch.enable_grad():
            parts = [self._batch(rows[few], places[few], length) for few, length in batches]
        scores, slopes = zip(*parts, strict=True)
        order = torch.cat([few for few, _ in batches])
        return _back(torch.cat(scores), order), _back(torch.cat(slopes), order)

    def _batches(self, rows: Tensor) -> list[tuple[Tensor, int]]:
        """Which points are evaluated together, and with how many places."""
        most = self.inputs.shape[1]
        if self.lengths is None:
            return [(few, most) for few in torch.split(torch.arange(len(rows)), self.batch_size)]
        rounded = (self.lengths[rows] + PLACES_AT_ONCE - 1) // PLACES_AT_ONCE * PLACES_AT_ONCE
        lengths, order = rounded.clamp(max=most).sort(stable=True)
        alike, sizes = torch.unique_consecutive(lengths, return_counts=True)
        batches: list[tuple[Tensor, int]] = []
        first = after = 0
        for length, size in zip(alike.tolist(), sizes.tolist(), strict=True):
            after += size
            if after - first >= WORTH_A_BATCH or after == len(rows):
                batches.extend((few, length) for few in torch.split(order[first:after], self.batch_size))
                first = after
        return batches

    def _batch(self, rows: Tensor, places: Tensor, length: int) -> tuple[Tensor, Tensor]:
        device, n_places = self.inputs.device, self.inputs.shape[1]
        chosen = rows.to(device)
        inputs, target = self.inputs.index_select(0, chosen), self.target.index_select(0, chosen)
        baseline = self.baseline
        if length < n_places:
            inputs, target, baseline = inputs[:, :length], target[:, : 1 + length], baseline[:, :length]
        whole = inputs - baseline
        part = places.to(device, self.inputs.dtype).view(-1, *[1] * (whole.ndim - 1))
        at = torch.addcmul(baseline, part, whole).requires_grad_(True)
        scores = self.score(at, target)
        # Rows are independent, so the gradient of the sum holds that of each.
        (gradients,) = torch.autograd.grad(scores.sum(), at)
        changes = whole.mul_(gradients).double()
        if length < n_places:
            changes = functional.pad(changes, (*[0, 0] * (whole.ndim - 2), 0, n_places - length))
        slopes = self.pooled(changes).flatten(1)
        return scores.detach().double().cpu(), slopes.to(self.precision).cpu()

    def ends(self) -> tuple[Tensor, Tensor]:
        """Score of the baseline for the target of each row, and of the row, float64, shape ``(n,)``."""
        return self._scores(at_baseline=True), self._scores(at_baseline=False)

    def _scores(self, *, at_baseline: bool) -> Tensor:
        parts = []
        with torch.no_grad():
            for at in range(0, len(self.inputs), self.batch_size):
                rows = self.inputs[at : at + self.batch_size]
                wanted = self.target[at : at + self.batch_size]
                parts.append(self.score(self.baseline.expand_as(rows) if at_baseline else rows, wanted))
        return torch.cat(parts).double().cpu()


def _back(values: Tensor, order: Tensor) -> Tensor:
    """Where they were before they were put into this order."""
    return torch.empty_like(values).index_copy_(0, order, values)
