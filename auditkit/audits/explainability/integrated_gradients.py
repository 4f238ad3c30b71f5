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
from auditkit.audits.explainability.straight_path.kinks_seen import KinksSeen
from auditkit.audits.explainability.straight_path.parts import P, Parts
from auditkit.audits.explainability.straight_path.points import StraightPath
from auditkit.audits.explainability.straight_path.progress import Goal, Progress, Sums
from auditkit.data.dataset import FloatArray, IntArray

SEGMENTS: Final = 2
STRETCHES: Final = 4
"""That each path has at first, where it is smooth and where layers have kinks; all are divided once."""

MORE_SEGMENTS: Final = 8
"""Where many points did not settle a path, as fewer of them, evenly laid, may hit the same place of every
wave."""

FIRST_IN_STRETCHES: Final = 6 * STRETCHES
"""Gradients of a row once they are divided."""

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
        n_evaluations: Points at which gradients of each row were found, shape ``(n,)``. What is found at the
            baseline of a smooth path serves all rows of a kind.
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
        """How far the attributions of a row are from adding up to its change, shape ``(n,)``.

        Not a number where slopes or scores are not finite; such a row is not complete.
        """
        with np.errstate(all="ignore"):
            return np.asarray(np.abs(self.values.sum(axis=1) - self.change))

    @property
    def complete(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Rows whose gap and whose error are finite, and as small as they must be."""
        small = (self.gap <= self.gap_allowed) & (self.error <= self.error_allowed)
        return np.asarray(small & np.isfinite(self.gap) & np.isfinite(self.error))


def integrated_gradients(path: StraightPath, precision: Precision) -> Attributions:
    """Attributions of the score of ``path`` to the units of its rows, as exact as ``precision`` says.

    That they add up is not built in: the score steers where gradients are taken, and from baseline to input
    it is not summed itself. Along a smooth path differences of scores between points on the way set right
    how much there is to share; how the slopes end, and who gets how much, only gradients say. Through one
    layer of kinks averaged derivatives add up whatever the number of pieces; through several, and through
    whatever else bends, they do only as well as pieces are fine. No hook is set, nothing is written to
    ``.grad``, and parameters need no gradients of their own.
    """
    with KinksSeen() as seen:
        end = path.at_inputs()
    kinks: Kinks = stretches.kinks_of(path) if seen.any else "none"
    slopes = None
    if kinks == "none" and precision.tolerance >= FINEST and precision.max_evaluations >= len(FIRST):
        start, slopes = path.evaluate_baseline(torch.arange(len(path.inputs)))
    else:
        start = path.at_baseline()
    change = end - start
    scale = change.abs() + _spread(change)
    at_once = max(1, MEMORY_BYTES // (OPEN_AT_ONCE * 5 * path.n_units * 8))
    if kinks == "averaged":
        at_once = max(1, min(at_once, ELEMENTS_AT_ONCE // path.baseline.numel()))
    parts = []
    for first in range(0, len(change), at_once):
        rows = torch.arange(first, min(first + at_once, len(change)))
        goal = Goal(
            start=start[rows],
            change=change[rows],
            gap=precision.tolerance * scale[rows],
            tolerance=precision.tolerance,
            # so long is a vector of equal elements that sums to this: no finer than the gap asks for
            least_length=scale[rows] / path.n_units**0.5,
            max_evaluations=precision.max_evaluations,
        )
        of_rows = None if slopes is None else slopes[rows]
        parts.append((goal, _summed(path, rows, goal, kinks, of_rows)))
    return Attributions(
        values=np.concatenate([sums.values.numpy() for _, sums in parts]),
        change=change.numpy(),
        gap_allowed=np.concatenate([goal.gap.numpy() for goal, _ in parts]),
        error=np.concatenate([sums.error.numpy() for _, sums in parts]),
        error_allowed=np.concatenate([goal.error(sums.values).numpy() for goal, sums in parts]),
        n_evaluations=np.concatenate([sums.evaluations.numpy() for _, sums in parts]),
        precision=precision,
    )


def _spread(change: Tensor) -> Tensor:
    """Standard deviation of those that are finite, which squares of large ones would not be."""
    finite = change[change.isfinite()]
    if not len(finite):
        return change.new_zeros(())
    largest = finite.abs().amax().clamp(min=torch.finfo(change.dtype).tiny)
    return (finite / largest).std(correction=0) * largest


def _summed(path: StraightPath, rows: Tensor, goal: Goal, kinks: Kinks, slopes: Tensor | None) -> Sums:
    """Rows that are not done in the way that suits the kinks seen get pieces: they bend elsewhere, too.

    Paths with ``slopes`` at the baseline, shape ``(r, m)``, are followed by curves.
    """
    if slopes is not None:
        found = sums_along_curves(path, rows, goal, slopes)
        again = ~found.settle(goal)
    elif kinks == "averaged" and goal.max_evaluations >= FIRST_IN_STRETCHES:
        found = _by_stretches(path, rows, goal)
        again = ~found.add_up(goal)
    else:
        return _by_segments(path, rows, goal)
    again = again & (found.evaluations <= goal.max_evaluations // 2)
    if not bool(again.any()):
        return found
    limited = goal.take(again, goal.max_evaluations // 2)
    return found.instead(again, _by_segments(path, rows[again], limited, MORE_SEGMENTS))


def _by_stretches(path: StraightPath, rows: Tensor, goal: Goal) -> Sums:
    """A row in doubt leaves half of its gradients to pieces that are walked in another way."""
    path = path.take(rows)
    paths = stretches.paths_of(path)
    first = stretches.first_stretches(path, paths, STRETCHES)
    times = torch.where(_need_many(first, goal), 3, 2)
    evaluations = FIRST_IN_STRETCHES // 3 * (1 + times)
    progress: Progress[stretches.Stretches] = Progress(
        goal,
        path.n_units,
        evaluations,
        divide_at_least_cost,
        most_in_doubt=goal.max_evaluations // 2,
    )
    return _until_done(
        first, times[first.row], lambda *which: stretches.divided(path, paths, *which), progress
    )


def _need_many(first: stretches.Stretches, goal: Goal) -> Tensor:
    """Rows that do not add up with their first gradients, and may have more, shape ``(r,)``.

    Coarse pieces of their paths hardly tell yet where the errors are.
    """
    sums = torch.zeros_like(goal.change).index_add_(0, first.row, first.sums.sum(dim=1).double())
    affordable = goal.max_evaluations >= FIRST_IN_STRETCHES // 3 * 4
    return ((goal.change - sums).abs() > goal.gap) & affordable


def _by_segments(path: StraightPath, rows: Tensor, goal: Goal, pieces: int = SEGMENTS) -> Sums:
    """As many pieces at first as the goal allows, ``pieces`` at most."""
    pieces = max(SEGMENTS, min(pieces, (goal.max_evaluations - 1) // 4))
    first = segments.first_segments(path, rows, pieces)
    evaluations = torch.full((len(rows),), 4 * pieces + 1)
    progress: Progress[segments.Segments] = Progress(
        goal, path.n_units, evaluations, halve_the_largest, most_in_doubt=goal.max_evaluations
    )
    times = torch.full((len(first),), 2)
    return _until_done(first, times, lambda halves, _: segments.halved(path, rows, halves), progress)


def _until_done(
    pieces: P, times: Tensor, divided: Callable[[P, Tensor], Parts[P]], progress: Progress[P]
) -> Sums:
    while len(pieces):
        pieces, times = progress.settle(divided(pieces, times))
    return progress.so_far
