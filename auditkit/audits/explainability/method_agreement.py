"""Whether two methods find the same units of a row to weigh most.

Methods disagree in practice (Krishna et al. 2022, arXiv:2202.01602), so that agreement is a figure of its own
and not a choice made in silence.
"""

import numpy as np
from scipy.stats import rankdata

from auditkit.audits.explainability.rank_agreement import spearman_by_row, spearman_by_text
from auditkit.data.dataset import BoolArray, FloatArray, IntArray

FEWEST, PART = 5, 10
"""The heaviest units that are compared: a tenth of those of a row, at least so many, at most half."""


def heaviest(present: BoolArray) -> IntArray:
    """How many units of each row are compared as the heaviest, shape ``(n,)``; 0 for a row of one unit."""
    counts = present.sum(axis=1)
    return np.asarray(np.minimum(counts // 2, np.maximum(FEWEST, -(-counts // PART))))


def chance_overlap(present: BoolArray) -> float:
    """Mean share of the heaviest units that two unrelated orders have in common, k/M; 0 without any."""
    counts, k = present.sum(axis=1), heaviest(present)
    return float((k[k > 0] / counts[k > 0]).mean()) if (k > 0).any() else 0.0


def orders_agree(first: FloatArray, second: FloatArray, present: BoolArray) -> FloatArray:
    """Spearman's correlation of absolute attributions, shape ``(n,)``; NaN where one orders nothing."""
    one, other = np.abs(first), np.abs(second)
    return spearman_by_row(one, other) if present.all() else spearman_by_text(one, other, present)


def top_overlap(first: FloatArray, second: FloatArray, present: BoolArray) -> FloatArray:
    """Share of the heaviest units that both have in common, shape ``(n,)``; NaN where one orders nothing.

    Units of the same weight at the border share the places that are left.

    Args:
        first: Attributions, shape ``(n, m)``.
        second: Same shape.
        present: Units that a row has, same shape.
    """
    k = heaviest(present)
    ours, theirs = (_places(np.abs(values), present, k) for values in (first, second))
    common = np.minimum(ours, theirs).sum(axis=1)
    defined = (k > 0) & _differ(first, present) & _differ(second, present)
    return np.asarray(np.where(defined, common / np.maximum(k, 1), np.nan))


def _places(size: FloatArray, present: BoolArray, k: IntArray) -> FloatArray:
    """How much of one of the first ``k`` places each unit has, shape ``(n, m)``, in ``[0, 1]``."""
    ranked = np.where(present, size, -1.0)  # behind all that are present, of which k is half at most
    last = rankdata(ranked, method="max", axis=1)
    tied = last - rankdata(ranked, method="min", axis=1) + 1
    above = ranked.shape[1] - last
    return np.asarray(np.clip((k[:, None] - above) / tied, 0.0, 1.0))


def _differ(values: FloatArray, present: BoolArray) -> BoolArray:
    """Rows whose units differ in weight, shape ``(n,)``."""
    size = np.abs(values)
    largest = np.where(present, size, -np.inf).max(axis=1)
    return np.asarray(largest > np.where(present, size, np.inf).min(axis=1))
