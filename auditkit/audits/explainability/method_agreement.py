"""Whether two methods find the same units of a row to weigh most.

Methods disagree in practice (Krishna et al. 2022, arXiv:2202.01602), so that agreement is a figure of its own
and not a choice made in silence.
"""

import math

import numpy as np
from scipy.stats import rankdata

from auditkit.audits.explainability.rank_agreement import spearman_by_row
from auditkit.data.dataset import BoolArray, FloatArray, IntArray

FEWEST, PART = 5, 10
"""The heaviest units that are compared: a tenth of those of a row, at least so many, at most half."""


def heaviest(present: BoolArray) -> IntArray:
    """How many units of each row are compared as the heaviest, shape ``(n,)``; 0 for a row of one unit."""
    counts = present.sum(axis=1)
    return np.minimum(counts // 2, np.maximum(FEWEST, -(-counts // PART)))


def chance_overlap(present: BoolArray) -> float:
    """Mean share of the heaviest units that two unrelated orders have in common, k/M; 0 without any."""
    counts, k = present.sum(axis=1), heaviest(present)
    return float((k[k > 0] / counts[k > 0]).mean()) if (k > 0).any() else 0.0


def orders_agree(first: FloatArray, second: FloatArray, present: BoolArray) -> FloatArray:
    """Spearman's correlation of absolute attributions, shape ``(n,)``; NaN where one orders nothing."""
    found = [
        spearman_by_row(a[None, kept], b[None, kept])[0] if kept.sum() > 1 else math.nan
        for a, b, kept in zip(np.abs(first), np.abs(second), present, strict=True)
    ]
    return np.asarray(found)


def top_overlap(first: FloatArray, second: FloatArray, present: BoolArray) -> FloatArray:
    """Share of the heaviest units that both have in common, shape ``(n,)``; NaN where one orders nothing.

    Units of the same weight at the border share the places that are left.

    Args:
        first: Attributions, shape ``(n, m)``.
        second: Same shape.
        present: Units that a row has, same shape.
    """
    found = []
    for a, b, kept, k in zip(np.abs(first), np.abs(second), present, heaviest(present), strict=True):
        ours, theirs = a[kept], b[kept]
        if k == 0 or np.ptp(ours) == 0 or np.ptp(theirs) == 0:
            found.append(math.nan)
        else:
            found.append(float(np.minimum(_places(ours, int(k)), _places(theirs, int(k))).sum()) / int(k))
    return np.asarray(found)


def _places(size: FloatArray, k: int) -> FloatArray:
    """How much of one of the first ``k`` places each unit has, in ``[0, 1]``."""
    above = len(size) - rankdata(size, method="max")
    tied = rankdata(size, method="max") - rankdata(size, method="min") + 1
    return np.asarray(np.clip((k - above) / tied, 0.0, 1.0))
