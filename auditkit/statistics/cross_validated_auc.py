"""Area under the ROC curve of models that were each trained without the rows they score."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from auditkit.errors import DataError
from auditkit.records import Interval
from auditkit.statistics.auc import FEW, newcombe_interval
from auditkit.statistics.clustered import sums_by_unit, variance_of_sum
from auditkit.statistics.intervals import critical_value, effective_n

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ScoredFolds:
    """Rows as models saw them that were trained on the other folds.

    Attributes:
        scores: Column ``j`` should be high for rows of level ``levels[j]``; shape ``(n, m)``.
        codes: Level of each row, shape ``(n,)``.
        levels: The level that each column is about.
        folds: Fold of each row, shape ``(n,)``.
        weights: Not negative, shape ``(n,)``; ``None`` counts every row once.
        units: Which rows belong together (one person), shape ``(n,)``; all in one fold. ``None``: none do.
    """

    scores: FloatArray
    codes: IntArray
    levels: tuple[int, ...]
    folds: IntArray
    weights: FloatArray | None = None
    units: IntArray | None = None


def cross_validated_auc(
    rows: ScoredFolds, *, variance_factor: float = 1.0, confidence: float = 0.95
) -> tuple[float, Interval]:
    """Mean over folds and levels of the area within a fold, one level against all others, ties half.

    Scores of two folds come from two models and are never compared. A fold counts by its number of pairs,
    levels count alike. The variance sums the influence of every row, over persons where rows share one; the
    interval is symmetric on the logit scale, so that it stays inside (0, 1), and with fewer than 100 rows of
    a level the wider end of it and of the score interval is taken. It speaks of models trained on as many
    rows as these were, not of better ones.

    Args:
        rows: Scores, levels and folds.
        variance_factor: By how much the models' training on overlapping rows makes the variance larger, at
            least 1; see :func:`overlap_factor`.
        confidence: Of the interval, in ``(0, 1)``.

    Raises:
        DataError: In no fold do both a level and others have rows.

    Source:
        LeDell, Petersen and van der Laan (2015), Electronic Journal of Statistics 9:1583-1607. DeLong, DeLong
        and Clarke-Pearson (1988), Biometrics 44:837-845. Persons: Obuchowski (1997), Biometrics 53:567-578.
    """
    w = np.ones(len(rows.codes)) if rows.weights is None else rows.weights
    parts = [
        _one_level(rows.scores[:, column], rows.codes == level, rows.folds, w, rows.units)
        for column, level in enumerate(rows.levels)
    ]
    found = [part for part in parts if part is not None]
    if not found:
        raise DataError("auc over folds: no fold has rows of a level and others; use fewer folds")
    value = float(np.mean([area for area, _ in found]))
    influence = np.mean([one for _, one in found], axis=0)
    variance = variance_factor * variance_of_sum(influence, rows.units)
    return value, _interval(value, variance, _sizes(rows, w), confidence)


def overlap_factor(n_folds: int) -> float:
    """How much larger the variance is than that within folds, when each model is trained on the other folds.

    Source:
        Nadeau and Bengio (2003), Machine Learning 52:239-281, the corrected resampled variance.

    >>> overlap_factor(5)
    2.25
    """
    return 1 + n_folds / (n_folds - 1)


def _one_level(
    scores: FloatArray, members: BoolArray, folds: IntArray, w: FloatArray, units: IntArray | None
) -> tuple[float, FloatArray] | None:
    """Area and the influence of each row on it."""
    areas, pairs, parts = [], [], []
    for fold in np.unique(folds):
        high = np.flatnonzero((folds == fold) & members & (w > 0))
        low = np.flatnonzero((folds == fold) & ~members & (w > 0))
        if not (len(high) and len(low)):
            continue
        above = _placements(scores[high], scores[low], w[low])
        below = 1 - _placements(scores[low], scores[high], w[high])
        area = float(np.average(above, weights=w[high]))
        influence = np.zeros(len(scores))
        for index, placement in ((high, above), (low, below)):
            n = len(index) if units is None else len(np.unique(units[index]))
            small = np.sqrt(n / (n - 1)) if n > 1 else 1.0
            influence[index] = small * w[index] / w[index].sum() * (placement - area)
        areas.append(area)
        pairs.append(w[high].sum() * w[low].sum())
        parts.append(influence)
    if not areas:
        return None
    share = np.array(pairs) / np.sum(pairs)
    return float(share @ np.array(areas)), np.asarray(share @ np.array(parts))


def _placements(own: FloatArray, other: FloatArray, weights: FloatArray) -> FloatArray:
    """For each score the weighted share of the others that it beats, ties half."""
    order = np.argsort(other, kind="stable")
    cumulated = np.concatenate([[0.0], np.cumsum(weights[order])])
    ends = [np.searchsorted(other[order], own, side=side) for side in ("left", "right")]
    return np.asarray((cumulated[ends[0]] + cumulated[ends[1]]) / (2 * cumulated[-1]))


def _sizes(rows: ScoredFolds, w: FloatArray) -> tuple[float, float]:
    """Effective numbers of rows of a level and of others; of several levels as their mean has variance."""
    inside: list[float] = []
    outside: list[float] = []
    for level in rows.levels:
        for members, found in ((rows.codes == level, inside), (rows.codes != level, outside)):
            units = None if rows.units is None else rows.units[members]
            found.append(max(1.0, effective_n(sums_by_unit(w[members], units))))
    n_in = len(inside) ** 2 / sum(1 / size for size in inside)
    return n_in, float(np.mean(outside))


def _interval(value: float, variance: float, sizes: tuple[float, float], confidence: float) -> Interval:
    score = newcombe_interval(value, *sizes, confidence)
    if variance <= 0 or not 0 < value < 1:
        return score
    reach = critical_value(confidence) * np.sqrt(variance) / (value * (1 - value))
    low, high = (float(end) for end in expit(logit(value) + np.array([-reach, reach])))
    method = "cross-validated-delong-logit"
    if min(sizes) < FEW:
        low, high = min(low, score.low), max(high, score.high)
        method += ", newcombe-score"
    return Interval(low=min(low, value), high=max(high, value), confidence=confidence, method=method)
