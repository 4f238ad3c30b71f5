"""Integrated gradients through Captum, with the completeness of every row checked and repaired.

Source: Sundararajan, Taly and Yan (2017), Axiomatic Attribution for Deep Networks, arXiv:1703.01365.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import Tensor

from auditkit.data.dataset import FloatArray, IntArray

Rule = Literal["gausslegendre", "riemann_middle", "riemann_trapezoid"]
Score = Callable[[Tensor, Tensor], Tensor]
"""``(inputs, target) -> score`` of shape ``(n,)``; row ``i`` depends on row ``i`` of both alone. What a row
of ``target`` holds is between the score and its caller."""

TOLERANCE: Final = 1e-3
"""Completeness gap that a row may have, relative to its change and to the spread of changes over rows."""

MOVED: Final = 0.2
FINE: Final = 64
PATIENCE: Final = 2
"""A row is given up when so many doublings in a row, from this many gradients on, move its sum by less than
that part of its gap: then the sum has converged, to something else than the change, as under simulated
integers. With fewer gradients a bend of the path may lie between them unseen."""


@dataclass(frozen=True, slots=True)
class Quadrature:
    """How the path from baseline to input is summed.

    Attributes:
        rule: Where the gradients are taken.
        n_steps: Gradients per row at first.
        max_steps: Rows whose gap is above the tolerance get twice as many, up to so many.
    """

    rule: Rule
    n_steps: int
    max_steps: int


@dataclass(frozen=True, slots=True)
class Attributions:
    """What integrated gradients give, row by row.

    Attributes:
        values: Shape ``(n, *d)``, or pooled.
        change: Score of the input minus score of the baseline, shape ``(n,)``.
        tolerance: Gap allowed for each row, shape ``(n,)``.
        n_steps: Gradients that were summed for each row, shape ``(n,)``.
    """

    values: FloatArray
    change: FloatArray
    tolerance: FloatArray
    n_steps: IntArray

    @property
    def sums(self) -> FloatArray:
        """Sum of the attributions of each row, shape ``(n,)``."""
        return np.asarray(self.values.reshape(len(self.values), -1).sum(axis=1))

    @property
    def gap(self) -> FloatArray:
        """How far the attributions of a row are from adding up to its change, shape ``(n,)``."""
        return np.asarray(np.abs(self.sums - self.change))

    @property
    def complete(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Rows whose gap is within the tolerance."""
        return np.asarray(self.gap <= self.tolerance)


def integrated_gradients(
    score: Score,
    inputs: Tensor,
    baseline: Tensor,
    target: Tensor,
    *,
    quadrature: Quadrature,
    batch_size: int,
    pooled: Callable[[Tensor], Tensor] = torch.clone,
) -> Attributions:
    """Attributions of ``score`` to the elements of ``inputs``.

    No hook is set, nothing is written to ``.grad``, and parameters need no gradients of their own.

    Args:
        score: What is explained.
        inputs: Floating point, shape ``(n, *d)``, where the score can be computed.
        baseline: Where the path starts, shape ``(1, *d)``.
        target: What the score is about, such as the class, shape ``(n, *)``.
        quadrature: How the path is summed.
        batch_size: Most rows in one evaluation; changes the result by rounding only.
        pooled: Adds attributions up within a row, so that fewer are kept; default all are.
    """
    change = _scores(score, inputs, target, batch_size) - _scores(score, baseline, target, batch_size)
    tolerance = TOLERANCE * (np.abs(change) + change.std())
    values = np.zeros((len(inputs), *pooled(inputs[:1]).shape[1:]))
    n_steps = np.zeros(len(inputs), dtype=np.int64)
    steps, open_rows = quadrature.n_steps, np.arange(len(inputs))
    sums, settled = np.full(len(inputs), np.inf), np.zeros(len(inputs), dtype=np.int64)
    while len(open_rows) and steps <= quadrature.max_steps:
        rows = torch.from_numpy(open_rows).to(inputs.device)
        plan = _Plan(quadrature.rule, steps, batch_size, pooled)
        values[open_rows] = _summed(score, inputs[rows], baseline, target[rows], plan)
        n_steps[open_rows] = steps
        done = Attributions(values, change, tolerance, n_steps)
        moved, sums = np.abs(done.sums - sums), done.sums
        settled = np.where((moved < MOVED * done.gap) & (steps > FINE), settled + 1, 0)
        open_rows, steps = np.flatnonzero(~done.complete & (settled < PATIENCE)), 2 * steps
    return Attributions(values, change, tolerance, n_steps)


def _scores(score: Score, inputs: Tensor, target: Tensor, batch_size: int) -> FloatArray:
    """Scores of all targets; a single row of inputs stands for every one of them."""
    parts = []
    with torch.no_grad():
        for start in range(0, len(target), batch_size):
            wanted = target[start : start + batch_size]
            rows = (
                inputs[start : start + batch_size]
                if len(inputs) > 1
                else inputs.expand(len(wanted), *inputs.shape[1:])
            )
            parts.append(score(rows, wanted).double().cpu())
    return np.asarray(torch.cat(parts).numpy())


@dataclass(frozen=True, slots=True)
class _Plan:
    rule: Rule
    n_steps: int
    batch_size: int
    pooled: Callable[[Tensor], Tensor]


def _summed(score: Score, inputs: Tensor, baseline: Tensor, target: Tensor, plan: _Plan) -> FloatArray:
    engine = IntegratedGradients(score)
    engine.gradient_func = _gradients
    parts = []
    for start in range(0, len(inputs), plan.batch_size):
        rows = inputs[start : start + plan.batch_size].detach()
        attributions = engine.attribute(
            rows,
            baselines=baseline.expand_as(rows),
            additional_forward_args=(target[start : start + plan.batch_size],),
            n_steps=plan.n_steps,
            method=plan.rule,
            internal_batch_size=plan.batch_size,
        )
        parts.append(plan.pooled(attributions.detach().double()).cpu())
    return np.asarray(torch.cat(parts).numpy())


def _gradients(
    forward_fn: Score,
    inputs: tuple[Tensor, ...],
    target_ind: None,
    additional_forward_args: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    """Gradients of the sum over rows: the rows are independent, so each gets its own gradient.

    Captum differentiates row by row instead, which took 21 times as long on 4,096 rows.
    """
    with torch.enable_grad():
        total = forward_fn(*inputs, *additional_forward_args).sum()
    return torch.autograd.grad(total, inputs)
