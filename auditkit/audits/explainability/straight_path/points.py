"""Points between baseline and input: the score there and what each unit adds to it per unit of the path."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
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
        batch_size: Most points in one evaluation, or two; changes results by rounding, which along smooth
            paths may count for some hundredths of the error that is allowed.
        lengths: How many of the first places of each row count, shape ``(n,)``, where rows are filled up:
            with so many ``l``, or more, ``score(inputs[:, :l], target[:, : l + 1])`` is what it is of whole
            rows. ``None`` where all places count.
        kinds: Numbers, shape ``(n,)``; rows of one kind have the same score at the same inputs, and as many
            places that count. ``None`` where that is only known of rows with the same target.
    """

    score: Score
    inputs: Tensor
    baseline: Tensor
    target: Tensor
    pooled: Callable[[Tensor], Tensor]
    batch_size: int
    lengths: Tensor | None = None
    kinds: Tensor | None = None

    @property
    def precision(self) -> torch.dtype:
        """Of slopes, once they are pooled: that of gradients, since most of what is held are slopes."""
        return torch.promote_types(self.inputs.dtype, torch.float32)

    @property
    def n_units(self) -> int:
        """The number m of units of a row."""
        return self.pooled(self.baseline).numel()

    @property
    def rounding(self) -> float:
        """What rounding may do to a score or a slope, relative to its size."""
        return 8 * torch.finfo(self.inputs.dtype).eps

    def take(self, rows: Tensor) -> "StraightPath":
        """Of some rows, shape ``(r,)``."""
        here = rows.to(self.inputs.device)
        lengths = None if self.lengths is None else self.lengths[rows]
        kinds = None if self.kinds is None else self.kinds[rows]
        return replace(self, inputs=self.inputs[here], target=self.target[here], lengths=lengths, kinds=kinds)

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

    def evaluate_baseline(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """As :meth:`evaluate` at the baseline of ``rows``, shape ``(r,)``, with one point for each kind."""
        first, kind = self._firsts(rows)
        scores = torch.zeros(len(first), dtype=torch.float64)
        slopes = torch.zeros(len(rows), self.n_units, dtype=self.precision)
        for few, length in self._batches(first):
            scores[few], gradients = self._gradients_at_baseline(first[few], length)
            place = torch.full_like(first, -1).index_copy_(0, few, torch.arange(len(few)))[kind]
            for some in torch.split((place >= 0).nonzero().squeeze(1), self.batch_size):
                inputs, _, baseline = self._cut(rows[some], length)
                of_kind = gradients.index_select(0, place[some].to(gradients.device))
                slopes[some] = self._slopes(of_kind.mul_(inputs - baseline))
        return scores[kind], slopes

    def _firsts(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The first row of each kind, shape ``(k,)``, and which of them stands for each, shape ``(r,)``."""
        if self.kinds is None:
            _, kind = torch.unique(self.target[rows.to(self.target.device)], dim=0, return_inverse=True)
        else:
            _, kind = torch.unique(self.kinds[rows], return_inverse=True)
        kind, order = kind.cpu(), torch.arange(len(rows))
        first = order.new_full((int(kind.max()) + 1,), len(rows)).scatter_reduce(0, kind, order, "amin")
        return rows[first], kind

    def _batches(self, rows: Tensor) -> list[tuple[Tensor, int]]:
        """Which points are evaluated together, and with how many places."""
        most = self.inputs.shape[1]
        if self.lengths is None:
            return [(few, most) for few in torch.split(torch.arange(len(rows)), self.batch_size)]
        whole = -(-self.lengths[rows].numpy() // PLACES_AT_ONCE) * PLACES_AT_ONCE
        if len(rows) <= WORTH_A_BATCH:
            few = torch.arange(len(rows))
            return [(some, min(int(whole.max()), most)) for some in torch.split(few, self.batch_size)]
        order = whole.argsort(kind="stable")
        lengths = whole[order]
        longer_follow = np.flatnonzero(lengths[1:] != lengths[:-1]) + 1
        batches: list[tuple[Tensor, int]] = []
        first = 0
        for after in (*longer_follow.tolist(), len(rows)):
            if after - first >= WORTH_A_BATCH or after == len(rows):
                alike, length = torch.from_numpy(order[first:after]), min(int(lengths[after - 1]), most)
                batches.extend((few, length) for few in torch.split(alike, self.batch_size))
                first = after
        return batches

    def _batch(self, rows: Tensor, places: Tensor, length: int) -> tuple[Tensor, Tensor]:
        inputs, target, baseline = self._cut(rows, length)
        whole = inputs - baseline
        part = places.to(whole.device, whole.dtype).view(-1, *[1] * (whole.ndim - 1))
        scores, gradients = self._differentiated(torch.addcmul(baseline, part, whole), target)
        return scores, self._slopes(whole.mul_(gradients))

    def _gradients_at_baseline(self, rows: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Scores and gradients there, element by element, shape ``(b, *d)``."""
        with torch.inference_mode(mode=False), torch.enable_grad():
            inputs, target, baseline = self._cut(rows, length)
            return self._differentiated(baseline.repeat(len(rows), *[1] * (inputs.ndim - 1)), target)

    def _cut(self, rows: Tensor, length: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows, what their score takes besides, and the baseline, of the first places alone."""
        chosen = rows.to(self.inputs.device)
        inputs, target = self.inputs.index_select(0, chosen), self.target.index_select(0, chosen)
        baseline = self.baseline
        if length < self.inputs.shape[1]:
            inputs, target, baseline = inputs[:, :length], target[:, : 1 + length], baseline[:, :length]
        return inputs, target, baseline

    def _differentiated(self, at: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Scores, on the processor, and gradients."""
        scores = self.score(at.requires_grad_(True), target)
        # Rows are independent, so the gradient of the sum holds that of each.
        (gradients,) = torch.autograd.grad(scores.sum(), at)
        return scores.detach().double().cpu(), gradients

    def _slopes(self, changes: Tensor) -> Tensor:
        """Of units, from what elements add, of which the last places may have been cut off."""
        missing = self.inputs.shape[1] - changes.shape[1]
        if missing:
            changes = functional.pad(changes, (*[0, 0] * (changes.ndim - 2), 0, missing))
        return self.pooled(changes.to(self.precision)).flatten(1).cpu()

    def at_baseline(self) -> Tensor:
        """Score of the baseline for the target of each row, float64, shape ``(n,)``."""
        first, kind = self._firsts(torch.arange(len(self.inputs)))
        return self._scores(first, at_baseline=True)[kind]

    def at_inputs(self) -> Tensor:
        """Score of each row, float64, shape ``(n,)``."""
        return self._scores(torch.arange(len(self.inputs)), at_baseline=False)

    def ends(self) -> tuple[Tensor, Tensor]:
        """Scores of the baseline and of the rows."""
        return self.at_baseline(), self.at_inputs()

    def _scores(self, rows: Tensor, *, at_baseline: bool) -> Tensor:
        batches = self._batches(rows)
        parts = []
        with torch.no_grad():
            for few, length in batches:
                inputs, target, baseline = self._cut(rows[few], length)
                at = baseline.expand_as(inputs) if at_baseline else inputs
                parts.append(self.score(at, target).double().cpu())
        return _back(torch.cat(parts), torch.cat([few for few, _ in batches]))


def _back(values: Tensor, order: Tensor) -> Tensor:
    """Where they were before they were put into this order."""
    return torch.empty_like(values).index_copy_(0, order, values)
