"""Integrated gradients, summed until they add up and no longer move.

Gradients are taken where the path bends and nowhere else: a segment is halved as long as its part of the
error is worth it, and all open segments of all rows are evaluated together.

Source: Sundararajan, Taly and Yan (2017), Axiomatic Attribution for Deep Networks, arXiv:1703.01365.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.path_points import Score, StraightPath
from auditkit.audits.explainability.path_progress import Goal, Progress
from auditkit.audits.explainability.path_segments import first_segments, halved
from auditkit.data.dataset import FloatArray, IntArray

PIECES: Final = 2
"""Segments that each path has at first."""

OPEN_AT_ONCE: Final = 32
"""Segments that a row has open in the widest round, as a rule; memory is planned with so many."""

MEMORY_BYTES: Final = 2**27
"""For what is known of open segments, as a rule; rows beyond wait."""


@dataclass(frozen=True, slots=True)
class Precision:
    """How exactly the path is summed.

    Attributes:
        tolerance: Gap that a row may have, relative to its change and to the spread of changes over rows; and
            the error of its vector, relative to the length of that.
        max_evaluations: Most gradients per row.
    """

    tolerance: float = 1e-3
    max_evaluations: int = 1024


@dataclass(frozen=True, slots=True)
class Attributions:
    """What integrated gradients give, row by row.

    Attributes:
        values: Of the units, shape ``(n, m)``.
        change: Score of the input minus score of the baseline, shape ``(n,)``.
        gap_allowed: For each row, shape ``(n,)``.
        error: How far ``values`` are likely off, as the length of a vector, judged by what halving the steps
            still moved, shape ``(n,)``.
        error_allowed: For each row, shape ``(n,)``.
        n_evaluations: Gradients that were taken for each row, shape ``(n,)``.
        precision: What was asked for.
    """

    values: FloatArray
    change: FloatArray
    gap_allowed: FloatArray
    error: FloatArray
    error_allowed: FloatArray
    n_evaluations: IntArray
    precision: Precision

    @property
    def gap(self) -> FloatArray:
        """How far the attributions of a row are from adding up to its change, shape ``(n,)``."""
        return np.asarray(np.abs(self.values.sum(axis=1) - self.change))

    @property
    def complete(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Rows whose gap and whose error are as small as they must be."""
        return np.asarray((self.gap <= self.gap_allowed) & (self.error <= self.error_allowed))


def integrated_gradients(
    score: Score,
    inputs: Tensor,
    baseline: Tensor,
    target: Tensor,
    *,
    precision: Precision,
    batch_size: int,
    pooled: Callable[[Tensor], Tensor] = torch.clone,
) -> Attributions:
    """Attributions of ``score`` to the units of ``inputs``.

    That they add up is not built in: the score steers where gradients are taken, and is not summed itself. No
    hook is set, nothing is written to ``.grad``, and parameters need no gradients of their own.

    Args:
        score: What is explained.
        inputs: Floating point, shape ``(n, *d)``, where the score can be computed.
        baseline: Where the path starts, shape ``(1, *d)``.
        target: What the score is about, such as the class, shape ``(n, *)``.
        precision: When a row is done.
        batch_size: Most rows in one evaluation; changes the result by rounding only.
        pooled: Adds elements up to units, ``(b, *d)`` to ``(b, m)``; default every element is one.
    """
    path = StraightPath(score, inputs.detach(), baseline.detach(), target, pooled, batch_size)
    n_units = pooled(inputs[:1]).numel()
    change = path.change()
    spread = change.std(correction=0)
    scale = change.abs() + spread
    at_once = max(1, MEMORY_BYTES // (OPEN_AT_ONCE * 5 * n_units * 8))
    parts = []
    for start in range(0, len(inputs), at_once):
        rows = torch.arange(start, min(start + at_once, len(inputs)))
        goal = Goal(
            change=change[rows],
            gap=precision.tolerance * scale[rows],
            tolerance=precision.tolerance,
            # so long is a vector of equal elements that sums to this: no finer than the gap asks for
            least_length=scale[rows] / n_units**0.5,
            max_evaluations=precision.max_evaluations,
        )
        parts.append(_summed(path, rows, goal, n_units))
    return Attributions(
        values=np.concatenate([part.sums.numpy() for part in parts]),
        change=change.numpy(),
        gap_allowed=np.concatenate([part.goal.gap.numpy() for part in parts]),
        error=np.concatenate([part.error.numpy() for part in parts]),
        error_allowed=np.concatenate([part.goal.error(part.sums).numpy() for part in parts]),
        n_evaluations=np.concatenate([part.evaluations.numpy() for part in parts]),
        precision=precision,
    )


def _summed(path: StraightPath, rows: Tensor, goal: Goal, n_units: int) -> Progress:
    progress = Progress(goal, n_units, evaluations=4 * PIECES + 1)
    segments = first_segments(path, rows, PIECES)
    while len(segments):
        segments = progress.settle(halved(path, rows, segments))
    return progress
