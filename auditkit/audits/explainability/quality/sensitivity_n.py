"""Whether what is taken away from the score is what the attributions of the units taken away add up to.

Source: Ancona, Ceolini, Oztireli and Gross (2018), arXiv:1711.06104 (sensitivity-n); Bhatt, Weller and Moura
(2020), arXiv:2005.00631 (faithfulness correlation).
"""

from collections.abc import Sequence

import numpy as np
import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.quality.defined import mean_of_defined, quotient
from auditkit.audits.explainability.quality.imputers import Imputer
from auditkit.audits.explainability.quality.outputs import at_inputs
from auditkit.audits.explainability.quality.random_order import beside_random, blocks, random_ranks
from auditkit.audits.explainability.quality.removal import differing, values_of
from auditkit.data.dataset import BoolArray, FloatArray, IntArray

SHARES = (0.0, 1 / 8, 1 / 4, 1 / 2)
"""Sizes of the subsets as shares of the units of a row; at least one unit."""

FLAT = 1e-6
"""Spread, relative to the size of the score, below which it is rounding and no correlation is defined."""


def sensitivity_n(
    rows: ExplainedRows,
    attributions: Sequence[FloatArray],
    imputer: Imputer,
    *,
    n_subsets: int,
    n_random: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Mean over sizes of the correlation over subsets, for every method and its random orders.

    All methods are judged on the same subsets, so the model is asked once.

    Args:
        rows: The score and its inputs.
        attributions: Of each method, shape ``(n, m)``.
        imputer: What stands in place.
        n_subsets: Subsets of each size.
        n_random: Random orders of each method's attributions.
        rng: Source of randomness.

    Returns:
        In ``[-1, 1]``, shape ``(n, n_methods, 1 + n_random)``; NaN where no size has a correlation.
    """
    whole = at_inputs(rows, rows.score)
    apart = differing(rows, imputer)
    found = np.empty((len(whole), len(attributions), 1 + n_random))
    for block in blocks(len(whole), n_subsets * rows.n_units):
        present = rows.present[block]
        ranks = random_ranks(present, n_subsets, rng)
        random = [beside_random(phi[block], present, n_random, rng) for phi in attributions]
        columns = np.concatenate(random, axis=2)
        by_size = []
        for sizes in subset_sizes(present):
            removed = ranks < sizes[:, None, None]
            changes = np.asarray((removed & apart[block][:, None, :]).any(axis=2))
            change = np.zeros(changes.shape)
            change[changes] = _losses(rows, whole, removed, changes, imputer, start=block.start)
            sums = removed.astype(np.float64) @ columns
            by_size.append(pearson(sums, change[:, :, None], FLAT * (1 + np.abs(whole[block, None]))))
        found[block] = mean_of_defined(np.stack(by_size)).reshape(-1, len(attributions), 1 + n_random)
    return found


def subset_sizes(present: BoolArray) -> list[IntArray]:
    """Sizes for each row, shape ``(b,)`` each; those that are the same for all rows occur once."""
    has = present.sum(axis=1)
    all_sizes = [np.maximum(1, np.rint(has * share)).astype(np.int64) for share in SHARES]
    return [
        sizes for at, sizes in enumerate(all_sizes) if not any((sizes == s).all() for s in all_sizes[:at])
    ]


def pearson(first: FloatArray, second: FloatArray, flat: FloatArray) -> FloatArray:
    """Correlation over axis 1, shape ``(b, c)``; NaN where one does not vary.

    Args:
        first: Shape ``(b, draws, c)``.
        second: Shape ``(b, draws, 1)``.
        flat: Standard deviation of ``second`` that counts as none, shape ``(b, 1)``.
    """
    a, b = first - first.mean(axis=1, keepdims=True), second - second.mean(axis=1, keepdims=True)
    of_a, of_b = np.sqrt((a**2).mean(axis=1)), np.sqrt((b**2).mean(axis=1))
    varies = (of_a > FLAT * np.abs(first).max(axis=1)) & (of_b > flat)
    together = (a * b).mean(axis=1)
    return np.clip(quotient(together, of_a * of_b, np.asarray(varies)), -1.0, 1.0)


def _losses(
    rows: ExplainedRows,
    whole: FloatArray,
    removed: BoolArray,
    changes: BoolArray,
    imputer: Imputer,
    *,
    start: int,
) -> FloatArray:
    """What the score loses by each subset that changes a row; the others cost no evaluation."""
    local, draw = np.nonzero(changes)
    row = local + start
    kept = torch.from_numpy(~removed[local, draw]).to(rows.inputs.device)
    there = torch.from_numpy(row).to(rows.inputs.device)
    return whole[row] - values_of(rows, rows.score, there, kept, imputer)
