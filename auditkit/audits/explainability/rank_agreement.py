"""Whether two explanations of the same row order its features alike."""

import numpy as np
from scipy.stats import rankdata

from auditkit.data.dataset import BoolArray, FloatArray


def spearman_by_row(first: FloatArray, second: FloatArray) -> FloatArray:
    """Rank correlation of each row of ``first`` with the same row of ``second``, shape ``(n,)``.

    Ties share their mean rank. NaN where a row is constant, because it orders nothing.

    Args:
        first: Shape ``(n, m)``.
        second: Shape ``(n, m)``.

    Source:
        Spearman (1904), American Journal of Psychology 15:72-101.
    """
    a, b = _centred_ranks(first), _centred_ranks(second)
    spread = np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    with np.errstate(invalid="ignore"):
        return np.asarray((a * b).sum(axis=1) / spread)


def spearman_by_text(first: FloatArray, second: FloatArray, real: BoolArray) -> FloatArray:
    """The same over those places of each row that hold a token, shape ``(n,)``; NaN for fewer than two.

    Args:
        first: Shape ``(n, length)``.
        second: Same shape.
        real: Which places hold a token, same shape.
    """
    by_row = [
        spearman_by_row(a[None, kept], b[None, kept]) if kept.sum() > 1 else np.array([np.nan])
        for a, b, kept in zip(first, second, real, strict=True)
    ]
    return np.concatenate(by_row)


def _centred_ranks(values: FloatArray) -> FloatArray:
    ranks = rankdata(values, axis=1)
    return np.asarray(ranks - ranks.mean(axis=1, keepdims=True))
