"""How far apart the score distributions, or the ROC curves, of two groups are over all thresholds.

Values are exact, ties included. The largest gap gets a range that holds for any sample size, from the
inequality of Dvoretzky, Kiefer and Wolfowitz; areas get theirs by resampling (:mod:`~.curve_noise`).
"""

import math

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq

from auditkit.errors import DataError

FloatArray = npt.NDArray[np.float64]

MEAN_OF_KOLMOGOROV = math.sqrt(math.pi / 2) * math.log(2)
"""Mean of the limit of ``sqrt(n) * sup|F_n - F|`` (Kolmogorov's distribution)."""

_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(400)


def largest_selection_gap(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[float, float]:
    """Largest difference between the shares of two groups that score above one common threshold.

    It is the statistic of Kolmogorov and Smirnov for two samples.

    Args:
        first: Scores of one group, shape ``(n_1,)``.
        second: Scores of the other, shape ``(n_2,)``.

    Returns:
        The gap in ``[0, 1]`` and a score at which it occurs: rows with a higher one are selected.

    Raises:
        DataError: A group has no scores.

    >>> largest_selection_gap([1.0, 2.0, 3.0], [2.0, 4.0])[0]
    0.5
    """
    one, two, scores = _sorted(first, second)
    gap = np.abs(_share_at_most(one, scores) - _share_at_most(two, scores))
    largest = int(gap.argmax())
    return float(gap[largest]), float(scores[largest])


def selection_gap_area(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Mean difference between two groups' selection rates over all thresholds from 0 to 1.

    For scores in ``[0, 1]`` it is the area between the two curves, and equals the Wasserstein distance.

    Raises:
        DataError: A group has no scores.

    >>> round(selection_gap_area([0.25, 0.5], [0.75, 0.5]), 4)
    0.25
    """
    one, two, scores = _sorted(first, second)
    gap = np.abs(_share_at_most(one, scores) - _share_at_most(two, scores))
    return float(gap[:-1] @ np.diff(scores))


def roc_points(high: npt.ArrayLike, low: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """The corners of a ROC curve from (0, 0) to (1, 1); equal scores make one slanted step.

    Args:
        high: Scores of the positive rows, shape ``(n_pos,)``.
        low: Scores of the others, shape ``(n_neg,)``.

    Returns:
        False- and true-positive rates, neither falling.

    Raises:
        DataError: There are no positive rows or no others.
    """
    positive, negative, scores = _sorted(high, low)
    # selecting everything above each score in turn, from the highest down
    thresholds = np.concatenate([scores[::-1], [-np.inf]])
    return 1 - _share_at_most(negative, thresholds), 1 - _share_at_most(positive, thresholds)


def roc_gap_area(
    first: tuple[npt.ArrayLike, npt.ArrayLike], second: tuple[npt.ArrayLike, npt.ArrayLike]
) -> float:
    """Area between two ROC curves, wherever either lies above (ABROCA), in ``[0, 1]``.

    Args:
        first: Scores of the positive rows and of the others in one group.
        second: The same in the other group.

    Raises:
        DataError: A group lacks positive rows or others.

    Source:
        Gardner, Brooks and Baker (2019), Evaluating the fairness of predictive student models, LAK.

    >>> round(roc_gap_area(([1.0], [0.0]), ([0.0], [1.0])), 6)
    1.0
    """
    curves = [roc_points(*scores) for scores in (first, second)]
    cuts = np.unique(np.concatenate([curve[0] for curve in curves]))
    width = np.diff(cuts)
    # both curves are straight between two cuts; taken inside, where upright steps cannot mislead
    quarter, three_quarters = (
        _height(curves[0], cuts[:-1] + part * width) - _height(curves[1], cuts[:-1] + part * width)
        for part in (0.25, 0.75)
    )
    start = 1.5 * quarter - 0.5 * three_quarters
    end = 1.5 * three_quarters - 0.5 * quarter
    total = np.abs(start) + np.abs(end)
    crossed = np.divide(start**2 + end**2, 2 * total, out=np.zeros_like(total), where=total > 0)
    return float(np.where(start * end < 0, crossed, total / 2) @ width)


def dkw_reach(n_1: int, n_2: int, *, error: float) -> float:
    """How far the empirical gap curve of two independent samples may lie from the true one, at any threshold.

    Each sample's largest deviation has a tail of at most ``2 exp(-2 n x^2)``, whatever the distribution
    (Massart's constant); the sum of two independent ones stays below this reach but for ``error``. It is
    shorter than two bands at half the error each.

    Args:
        n_1: Rows of one group, at least 1.
        n_2: Rows of the other, at least 1.
        error: Chance that the reach is exceeded, in ``(0, 1)``.

    Returns:
        At most 1.

    Source:
        Massart (1990), Annals of Probability 18:1269-1283.

    >>> round(dkw_reach(1000, 1000, error=0.05), 3)
    0.076
    """
    # cubed, so that the nodes reach far into the tail
    half = (_NODES + 1) / 2
    tails, weights = half**3, _NODE_WEIGHTS / 2 * 3 * half**2
    deviations = np.sqrt(np.log(2 / tails) / (2 * n_1))

    def excess(reach: float) -> float:
        rest = np.maximum(reach - deviations, 0.0)
        return float(weights @ np.minimum(1.0, 2 * np.exp(-2 * n_2 * rest**2))) - error

    widest = sum(math.sqrt(math.log(4 / error) / (2 * n)) for n in (n_1, n_2))
    return min(1.0, float(brentq(excess, 0.0, widest)))


def largest_gap_by_chance(n_1: int, n_2: int) -> float:
    """Mean of :func:`largest_selection_gap` of two samples of one continuous distribution; less with ties.

    Source:
        Kolmogorov's limit distribution; good to a few per cent from 20 rows on.
    """
    return min(1.0, MEAN_OF_KOLMOGOROV * math.sqrt(1 / n_1 + 1 / n_2))


def _sorted(first: npt.ArrayLike, second: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Both samples in order, and the distinct scores of them together."""
    one, two = (np.sort(np.asarray(scores, dtype=np.float64)) for scores in (first, second))
    if not (len(one) and len(two)):
        raise DataError(
            f"score gap: got {len(one)} and {len(two)} scores, expected at least one of each; leave the "
            "figure out and say why"
        )
    return one, two, np.unique(np.concatenate([one, two]))


def _share_at_most(ordered: FloatArray, thresholds: FloatArray) -> FloatArray:
    return np.asarray(np.searchsorted(ordered, thresholds, side="right") / len(ordered))


def _height(curve: tuple[FloatArray, FloatArray], at: FloatArray) -> FloatArray:
    return np.asarray(np.interp(at, *curve))
