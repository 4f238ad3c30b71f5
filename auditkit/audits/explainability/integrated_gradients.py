"""Integrated gradients, summed until they add up and no longer move.

Gradients are taken where the path bends and nowhere else, and those of all rows are evaluated together. A
smooth path is followed by a rational function through few points, some more at a time. Where layers have
kinks, derivatives are averaged over pieces of the path, and a piece is divided as finely as its part of the
error is worth; where neither does, they are taken at the ends of pieces, which are halved.

Source: Sundararajan, Taly and Yan (2017), Axiomatic Attribution for Deep Networks, arXiv:1703.01365.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.straight_path import segments, stretches
from auditkit.audits.explainability.straight_path.cell_averages import Kinks
from auditkit.audits.explainability.straight_path.curves import FINEST, FIRST, sums_along_curves
from auditkit.audits.explainability.straight_path.division import divide_at_least_cost, halve_the_largest
from auditkit.audits.explainability.straight_path.parts import P, Parts
from auditkit.audits.explainability.straight_path.points import Score, StraightPath
from auditkit.audits.explainability.straight_path.progress import Goal, Progress, Sums
from auditkit.data.dataset import FloatArray, IntArray

SEGMENTS: Final = 2
STRETCHES: Final = 4
"""That each path has at first, where it is smooth and where layers have kinks; all are halved once."""

FIRST_IN_SEGMENTS: Final = 4 * SEGMENTS + 1
FIRST_IN_STRETCHES: Final = 6 * STRETCHES
"""Gradients of a row then."""

OPEN_AT_ONCE: Final = 32
"""Segments that a row has open in the widest round, as a rule; memory is planned with so many."""

MEMORY_BYTES: Final = 2**27
"""For what is known of open segments, as a rule; rows beyond wait."""

ELEMENTS_AT_ONCE: Final = 2**22
"""Of the inputs, where layers have kinks: what leading layers make of them, often many times as much, is kept
while rows are walked."""


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
        error: How far ``values`` are likely off, as the length of a vector, judged by what finer steps still
            moved, shape ``(n,)``.
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
    lengths: Tensor | None = None,
    kinds: Tensor | None = None,
) -> Attributions:
    """Attributions of ``score`` to the units of ``inputs``.

    That they add up is not built in: the score steers where gradients are taken, and from baseline to input
    it is not summed itself. Along a smooth path differences of scores between points on the way set right
    how much there is to share; how the slopes begin and end, and who gets how much, only gradients say.
    Through one layer of kinks averaged derivatives add up whatever the number of pieces; through several, and
    through whatever else bends, they do only as well as pieces are fine. No hook is set, nothing is written
    to ``.grad``, and parameters need no gradients of their own.

    Args:
        score: What is explained.
        inputs: Floating point, shape ``(n, *d)``, where the score can be computed.
        baseline: Where the path starts, shape ``(1, *d)``.
        target: What the score is about, such as the class, shape ``(n, *)``.
        precision: When a row is done.
        batch_size: Most rows in one evaluation, or two; changes the result by rounding, which along smooth
            paths may count for some hundredths of the error that is allowed.
        pooled: Adds elements up to units, ``(b, *d)`` to ``(b, m)``; default every element is one.
        lengths: How many of the first places of each row count, as in :class:`StraightPath`.
        kinds: Which rows have the same score at the same inputs, as there.
    """
    path = StraightPath(score, inputs.detach(), baseline.detach(), target, pooled, batch_size, lengths, kinds)
    n_units = pooled(inputs[:1]).numel()
    start, end = path.ends()
    change = end - start
    spread = change.std(correction=0)
    scale = change.abs() + spread
    at_once = max(1, MEMORY_BYTES // (OPEN_AT_ONCE * 5 * n_units * 8))
    kinks = stretches.kinks_of(path)
    if kinks == "averaged":
        at_once = max(1, min(at_once, ELEMENTS_AT_ONCE // inputs[:1].numel()))
    parts = []
    for first in range(0, len(inputs), at_once):
        rows = torch.arange(first, min(first + at_once, len(inputs)))
        goal = Goal(
            start=start[rows],
            change=change[rows],
            gap=precision.tolerance * scale[rows],
            tolerance=precision.tolerance,
            # so long is a vector of equal elements that sums to this: no finer than the gap asks for
            least_length=scale[rows] / n_units**0.5,
            max_evaluations=precision.max_evaluations,
        )
        parts.append((goal, _summed(path, rows, goal, n_units, kinks)))
    return Attributions(
        values=np.concatenate([sums.values.numpy() for _, sums in parts]),
        change=change.numpy(),
        gap_allowed=np.concatenate([goal.gap.numpy() for goal, _ in parts]),
        error=np.concatenate([sums.error.numpy() for _, sums in parts]),
        error_allowed=np.concatenate([goal.error(sums.values).numpy() for goal, sums in parts]),
        n_evaluations=np.concatenate([sums.evaluations.numpy() for _, sums in parts]),
        precision=precision,
    )


def _summed(path: StraightPath, rows: Tensor, goal: Goal, n_units: int, kinks: Kinks) -> Sums:
    """Rows that are not done in the way that suits the kinks seen get pieces: they bend elsewhere, too."""
    if kinks == "none" and goal.tolerance >= FINEST and goal.max_evaluations >= len(FIRST):
        found = sums_along_curves(path, rows, goal, n_units)
        again = ~found.settle(goal)
    elif kinks == "averaged" and goal.max_evaluations >= FIRST_IN_STRETCHES:
        found = _by_stretches(path, rows, goal, n_units)
        again = ~found.add_up(goal)
    else:
        return _by_segments(path, rows, goal, n_units)
    again = again & (found.evaluations <= goal.max_evaluations // 2)
    if not bool(again.any()):
        return found
    limited = goal.take(again, goal.max_evaluations // 2)
    return found.instead(again, _by_segments(path, rows[again], limited, n_units))


def _by_stretches(path: StraightPath, rows: Tensor, goal: Goal, n_units: int) -> Sums:
    path = path.take(rows)
    paths = stretches.paths_of(path)
    first = stretches.first_stretches(path, paths, STRETCHES)
    progress: Progress[stretches.Stretches] = Progress(
        goal, n_units, FIRST_IN_STRETCHES, divide_at_least_cost
    )
    return _until_done(first, lambda *which: stretches.divided(path, paths, *which), progress)


def _by_segments(path: StraightPath, rows: Tensor, goal: Goal, n_units: int) -> Sums:
    first = segments.first_segments(path, rows, SEGMENTS)
    progress: Progress[segments.Segments] = Progress(goal, n_units, FIRST_IN_SEGMENTS, halve_the_largest)
    return _until_done(first, lambda pieces, _: segments.halved(path, rows, pieces), progress)


def _until_done(pieces: P, divided: Callable[[P, Tensor], Parts[P]], progress: Progress[P]) -> Sums:
    """All pieces are halved first."""
    times = torch.full((len(pieces),), 2)
    while len(pieces):
        pieces, times = progress.settle(divided(pieces, times))
    return progress.so_far
