"""How fast the probability of the class falls when units are taken away, from the most or the least relevant.

Source: Samek et al. (2017), IEEE Transactions on Neural Networks and Learning Systems 28:2660-2673; Petsiuk,
Das and Saenko (2018), RISE, arXiv:1806.07421 (deletion and insertion); Bluecher, Vielhaben and Strodthoff
(2024), arXiv:2401.06654 (symmetric relevance gain).
"""

from dataclasses import dataclass

import numpy as np
import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.quality.imputers import Imputer
from auditkit.audits.explainability.quality.outputs import Output, at_inputs, evaluated
from auditkit.audits.explainability.quality.random_order import blocks, random_ranks
from auditkit.audits.explainability.quality.ties import rounded
from auditkit.data.dataset import BoolArray, FloatArray, IntArray

STEPS = 21
"""Points of the curve, in equal shares of units taken away; fewer where rows have fewer units."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Areas under the curves of each row, shape ``(n,)``.

    Attributes:
        deletion: Most relevant units taken away first; small is good.
        insertion: Least relevant first, which is the same as putting the most relevant in first; large is
            good.
    """

    deletion: FloatArray
    insertion: FloatArray

    @property
    def gain(self) -> FloatArray:
        """Symmetric removal gain: 0 in expectation for any order that does not know the model."""
        return self.insertion - self.deletion


def removal(
    rows: ExplainedRows,
    probability: Output,
    attributions: FloatArray,
    imputer: Imputer,
    rng: np.random.Generator,
) -> Removal:
    """Both areas in the order of the attributions; equal ones in random order."""
    first = relevance_ranks(attributions, rows.present, rng)
    has = rows.present.sum(axis=1, keepdims=True)
    last = np.where(rows.present, has - 1 - first, first)
    shares = removed_counts(rows.present)
    deletion, insertion = (_curve(rows, probability, ranks, shares, imputer) for ranks in (first, last))
    return Removal(_areas(deletion, shares), _areas(insertion, shares))


def random_removal(
    rows: ExplainedRows, probability: Output, imputer: Imputer, rng: np.random.Generator
) -> Removal:
    """Both areas in random order.

    An area is linear in its curve, so its expectation does not ask that one order be kept along the curve:
    each step of each curve takes an order of its own, which gives the mean of as many orders as there are
    steps at the price of one.
    """
    shares = removed_counts(rows.present)
    curves = np.empty((2, *shares.shape))
    ends = _ends(rows, probability, imputer)
    for curve in curves:
        curve[:, 0], curve[:, -1] = ends
        curve[:, 1:-1] = without_random(rows, probability, shares[:, 1:-1], imputer, rng)
    return Removal(*(_areas(curve, shares) for curve in curves))


def removed_counts(present: BoolArray) -> IntArray:
    """Units taken away from each row at each step, shape ``(n, steps)``."""
    has = present.sum(axis=1)
    steps = min(STEPS, int(has.max()) + 1)
    return np.asarray(np.rint(has[:, None] * np.linspace(0.0, 1.0, steps)), dtype=np.int64)


def relevance_ranks(attributions: FloatArray, present: BoolArray, rng: np.random.Generator) -> IntArray:
    """Place of each unit, largest attribution first, shape ``(n, m)``; units not present come last."""
    keys = np.where(present, -rounded(attributions), np.inf)
    order = np.lexsort((rng.random(keys.shape), keys), axis=1)
    return np.asarray(order.argsort(axis=1))


def without_random(
    rows: ExplainedRows, output: Output, sizes: IntArray, imputer: Imputer, rng: np.random.Generator
) -> FloatArray:
    """Output of each row without random subsets of the given sizes, shape ``(n, draws)`` like ``sizes``."""
    n, draws = sizes.shape
    found = np.empty(sizes.shape)
    device = rows.inputs.device
    for block in blocks(n, draws * rows.n_units):
        ranks = random_ranks(rows.present[block], draws, rng)
        kept = torch.from_numpy(ranks >= sizes[block][:, :, None]).to(device).flatten(0, 1)
        row = torch.arange(block.start, block.stop, device=device).repeat_interleave(draws)
        values = values_of(rows, output, row, kept, imputer)
        found[block] = values.reshape(found[block].shape)  # of one unit alone there are no draws
    return found


def values_of(
    rows: ExplainedRows, output: Output, row: torch.Tensor, kept: torch.Tensor, imputer: Imputer
) -> FloatArray:
    """Output of a flat list of rows without some units; ``row`` is ``(q,)``, ``kept`` ``(q, m)``."""
    return evaluated(
        rows,
        output,
        row,
        lambda part: rows.imputed(rows.inputs[row[part]], kept[part], imputer.of(row[part])),
    )


def differing(rows: ExplainedRows, imputer: Imputer) -> BoolArray:
    """Units whose value would change, shape ``(n, m)``: taking away the others changes nothing."""
    apart = (rows.inputs != imputer.instead).flatten(1).to(torch.float32)
    counted = apart.new_zeros(len(apart), rows.n_units).index_add_(1, rows.unit_of.flatten(), apart)
    return np.asarray((counted > 0).cpu().numpy()) & rows.present


def _curve(
    rows: ExplainedRows, output: Output, ranks: IntArray, shares: IntArray, imputer: Imputer
) -> FloatArray:
    """Output along the removal, shape ``(n, steps)``. Steps that change nothing repeat the one before."""
    n, steps = shares.shape
    in_order = np.take_along_axis(differing(rows, imputer), ranks.argsort(axis=1), axis=1).cumsum(axis=1)
    changed = np.take_along_axis(np.pad(in_order, ((0, 0), (1, 0))), shares, axis=1)
    is_new = np.diff(changed, axis=1, prepend=-1) > 0
    row, step = (torch.from_numpy(index).to(rows.inputs.device) for index in np.nonzero(is_new))
    places, counts = torch.from_numpy(ranks).to(row), torch.from_numpy(shares).to(row)
    values = evaluated(
        rows,
        output,
        row,
        lambda part: rows.imputed(
            rows.inputs[row[part]],
            places[row[part]] >= counts[row[part], step[part]].unsqueeze(1),
            imputer.of(row[part]),
        ),
    )
    curve = np.empty((n, steps))
    curve[is_new] = values
    latest = np.maximum.accumulate(np.where(is_new, np.arange(steps), 0), axis=1)
    return np.take_along_axis(curve, latest, axis=1)


def _ends(rows: ExplainedRows, output: Output, imputer: Imputer) -> tuple[FloatArray, FloatArray]:
    every = torch.arange(len(rows.inputs), device=rows.inputs.device)
    present = torch.from_numpy(rows.present).to(rows.inputs.device)
    return at_inputs(rows, output), values_of(rows, output, every, ~present, imputer)


def _areas(curve: FloatArray, shares: IntArray) -> FloatArray:
    """By the trapezoid, over the share of the units of a row that is taken away."""
    widths = np.diff(shares, axis=1) / np.maximum(shares[:, -1:], 1)
    return np.asarray(((curve[:, 1:] + curve[:, :-1]) / 2 * widths).sum(axis=1))
