"""How far two explanations of the same rows say the same.

Source: Krishna et al. (2022), The Disagreement Problem in Explainable Machine Learning, arXiv:2202.01602.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from auditkit.audits.explainability.quality.defined import mean_of_defined, quotient
from auditkit.audits.explainability.quality.randomisation import similarity
from auditkit.audits.explainability.quality.ties import rounded
from auditkit.data.dataset import BoolArray, FloatArray, IntArray

TOP_SHARE = 0.2
"""Of the units of a row, those that count as its top ones; at least one."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of each row, shape ``(n,)``; NaN where undefined.

    Attributes:
        overlap: Share of top units of one that are top units of the other.
        signs: Share of units in both tops with the same sign.
        ranks: Rank correlation of absolute attributions.
        by_chance: Overlap of two random tops, ``k / m``.
    """

    overlap: FloatArray
    signs: FloatArray
    ranks: FloatArray
    by_chance: FloatArray


def agreement(first: FloatArray, second: FloatArray, present: BoolArray) -> Agreement:
    """Of two explanations, shape ``(n, m)`` each."""
    k = top_counts(present)
    tops = [_top(np.abs(rounded(one)), present, k) for one in (first, second)]
    both = tops[0] & tops[1]
    shared = both.sum(axis=1)
    same_sign = (both & (np.sign(first) == np.sign(second))).sum(axis=1)
    explains = (first != 0).any(axis=1) & (second != 0).any(axis=1)
    return Agreement(
        overlap=np.where(explains, shared / k, np.nan),
        signs=quotient(same_sign, shared, np.asarray(explains & (shared > 0))),
        ranks=similarity(first, second, present),
        by_chance=k / np.maximum(present.sum(axis=1), 1),
    )


def stability(explanations: Sequence[FloatArray], present: BoolArray) -> Agreement:
    """Mean over all pairs of several explanations of the same rows."""
    pairs = [agreement(first, second, present) for first, second in combinations(explanations, 2)]
    means = (
        mean_of_defined(np.stack([getattr(pair, name) for pair in pairs]))
        for name in ("overlap", "signs", "ranks", "by_chance")
    )
    return Agreement(*means)


def top_counts(present: BoolArray) -> IntArray:
    """How many units of each row are its top ones, shape ``(n,)``."""
    return np.asarray(np.maximum(1, np.rint(TOP_SHARE * present.sum(axis=1))), dtype=np.int64)


def _top(size: FloatArray, present: BoolArray, k: IntArray) -> BoolArray:
    """The ``k`` largest of each row; the first of equals."""
    order = np.argsort(np.where(present, -size, np.inf), axis=1, kind="stable")
    return np.asarray(order.argsort(axis=1) < k[:, None])
