"""Points between baseline and input: the score there and what each unit adds to it per unit of the path."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

Score = Callable[[Tensor, Tensor], Tensor]
"""``(inputs, target) -> score`` of shape ``(n,)``; row ``i`` depends on row ``i`` of both alone. What a row
of ``target`` holds is between the score and its caller."""


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
    """

    score: Score
    inputs: Tensor
    baseline: Tensor
    target: Tensor
    pooled: Callable[[Tensor], Tensor]
    batch_size: int

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
        return replace(self, inputs=self.inputs[here], target=self.target[here])

    def evaluate(self, rows: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """One forward and one backward pass give both.

        Args:
            rows: Which line each point is on, shape ``(k,)``.
            places: How far along it, float64 in ``[0, 1]``, same shape.

        Returns:
            Scores, float64, shape ``(k,)``, and the derivative of the score along the line, unit by unit, in
            :attr:`precision`, shape ``(k, m)``; both on the processor.
        """
        parts = [
            self._batch(rows[part], places[part])
            for part in (slice(at, at + self.batch_size) for at in range(0, len(rows), self.batch_size))
        ]
        scores, slopes = zip(*parts, strict=True)
        return torch.cat(scores), torch.cat(slopes)

    def _batch(self, rows: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        device = self.inputs.device
        chosen = rows.to(device)
        whole = self.inputs[chosen] - self.baseline
        part = places.to(device, self.inputs.dtype).view(-1, *[1] * (whole.ndim - 1))
        with torch.enable_grad():
            at = (self.baseline + part * whole).detach().requires_grad_(True)
            scores = self.score(at, self.target[chosen])
            # Rows are independent, so the gradient of the sum holds that of each.
            (gradients,) = torch.autograd.grad(scores.sum(), at)
        slopes = self.pooled((gradients * whole).double()).flatten(1)
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
