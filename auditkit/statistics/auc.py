"""Area under the ROC curve and the true-positive rate at a small false-positive rate, with intervals."""

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import betainc, expit, logit
from scipy.stats import binom, norm, rankdata

from auditkit.errors import DataError
from auditkit.records import Interval
from auditkit.statistics.intervals import clopper_pearson

FloatArray = npt.NDArray[np.float64]

FEW = 100
"""Below this many scores of a kind DeLong's interval is widened by the score interval."""

NEGLIGIBLE = 1e-12
"""Binomial ranks rarer than this are left out of the threshold's distribution."""


def auc_delong(
    in_scores: npt.ArrayLike, out_scores: npt.ArrayLike, *, confidence: float = 0.95
) -> tuple[float, Interval]:
    """Chance that a score of the first kind exceeds one of the second, ties counting half.

    The variance is DeLong's, the interval symmetric on the logit scale, so that it stays inside (0, 1). With
    fewer than 100 scores of a kind that interval is too short where the area is near 1 (30 against 500 at
    0.99: 86 % coverage in simulation), so the wider end of it and of Newcombe's score interval is taken.
    Where the variance is zero (perfect separation, a single score of a kind) the score interval stands alone.

    Args:
        in_scores: Scores that should be high, shape ``(n_in,)``.
        out_scores: Scores that should be low, shape ``(n_out,)``.
        confidence: Of the interval, in ``(0, 1)``.

    Returns:
        The area in ``[0, 1]`` and its interval.

    Raises:
        DataError: A score array is empty, not 1-D, or not finite.

    Source:
        DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837-845. Newcombe (2006), Statistics in
        Medicine 25:559-573, method 5.

    >>> value, interval = auc_delong([0.9, 0.8, 0.4], [0.5, 0.3, 0.2])
    >>> round(value, 4)
    0.8889
    """
    high, low = _checked("in_scores", in_scores), _checked("out_scores", out_scores)
    above, below = _placements(high, low)
    value = float(above.mean())
    variance = _variance_of_mean(above) + _variance_of_mean(below)
    scarcer = min(len(high), len(low))
    score = newcombe_interval(value, len(high), len(low), confidence)
    if scarcer < 2 or variance <= 0 or not 0 < value < 1:
        return value, score
    z = float(norm.ppf((1 + confidence) / 2))
    reach = z * np.sqrt(variance) / (value * (1 - value))
    low_end, high_end = (float(end) for end in expit(logit(value) + np.array([-reach, reach])))
    method = "delong-logit"
    if scarcer < FEW:
        low_end, high_end = min(low_end, score.low), max(high_end, score.high)
        method = "delong-logit, newcombe-score"
    return value, Interval(low=low_end, high=high_end, confidence=confidence, method=method)


def auc_change_delong(
    before: tuple[npt.ArrayLike, npt.ArrayLike],
    after: tuple[npt.ArrayLike, npt.ArrayLike],
    *,
    confidence: float = 0.95,
) -> tuple[float, Interval]:
    """Change of the area when the same rows are scored twice, with the correlation of the two areas.

    Where no row's placement differs by another amount, a variance of zero would claim certainty. As many rows
    as zero out of ``n`` leaves possible (Clopper and Pearson) might then still change places; each moves the
    area by at most its share.

    Args:
        before: Scores that should be high and that should be low, row by row.
        after: The same of the second scoring, in the same order.
        confidence: Of the interval, in ``(0, 1)``.

    Returns:
        The change in ``[-1, 1]`` and its interval.

    Raises:
        DataError: A score array is empty, not 1-D, not finite, or the two scorings differ in length.

    Source:
        DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837-845.
    """
    first = [_checked("before", scores) for scores in before]
    second = [_checked("after", scores) for scores in after]
    if [len(scores) for scores in first] != [len(scores) for scores in second]:
        raise DataError("auc change: the two scorings differ in length; score the same rows twice")
    steps = [
        later - earlier for earlier, later in zip(_placements(*first), _placements(*second), strict=True)
    ]
    value = float(steps[0].mean())
    variance = sum(_variance_of_mean(step) for step in steps)
    if variance > 0 and min(len(step) for step in steps) > 1:
        reach = float(norm.ppf((1 + confidence) / 2)) * variance**0.5
        low, high, method = value - reach, value + reach, "delong-paired"
    else:
        reach = sum(clopper_pearson(0, len(step), confidence=confidence).high for step in steps)
        low, high, method = value - reach, value + reach, "clopper-pearson"
    return value, Interval(low=max(-1.0, low), high=min(1.0, high), confidence=confidence, method=method)


def tpr_at_fpr(
    in_scores: npt.ArrayLike, out_scores: npt.ArrayLike, *, fpr: float, confidence: float = 0.95
) -> tuple[float, Interval]:
    """True-positive rate of the best threshold with at most ``fpr`` false positives.

    A higher score means "more likely a member". Scores equal to the threshold count as negative on both
    sides, so ties never flatter, and the value never exceeds that of a randomised rule.

    The interval is for the true-positive rate at the threshold whose *true* false-positive rate is ``fpr``.
    That threshold is unknown too: how many of the ``n_out`` scores lie above it is Binomial(``n_out``,
    ``fpr``). The interval takes the Clopper-Pearson distribution of the true-positive rate at every such
    count, weighted by its binomial chance, the lower end at the nearest score above the threshold and the
    upper end at the nearest below. With fewer than about ``3.7 / fpr`` scores in ``out_scores`` the threshold
    may lie above all of them, and the lower end is 0.

    Args:
        in_scores: Scores of members, shape ``(n_in,)``.
        out_scores: Scores of non-members, shape ``(n_out,)``.
        fpr: Largest false-positive rate allowed, in ``[0, 1]``.
        confidence: Of the interval, in ``(0, 1)``.

    Returns:
        Rate in steps of ``1 / n_in`` and its interval.

    Raises:
        DataError: A score array is empty, not 1-D, or not finite, or ``fpr`` is no rate.

    Source:
        The figure: Carlini et al. (2022), arXiv:2112.03570.

    >>> tpr_at_fpr([3.0, 2.0, 1.0], [2.5, 0.0, 0.0], fpr=0.0)[0]  # doctest: +ELLIPSIS
    0.333...
    """
    if not 0 <= fpr <= 1:
        raise DataError(f"tpr at fpr: fpr must be in [0, 1], got {fpr}")
    members, others = _checked("in_scores", in_scores), _checked("out_scores", out_scores)
    # thresholds[j] admits at most j false positives; the last admits everything
    thresholds = np.concatenate([np.sort(others)[::-1], [-np.inf]])
    # 0.29 * 100 is 28.999999999999996 and must still allow 29
    allowed = int(fpr * len(others) + 1e-9)
    value = float((members > thresholds[allowed]).mean())

    ranks = np.arange(len(others) + 1)
    chances = binom.pmf(ranks, len(others), fpr)
    kept = chances > NEGLIGIBLE
    ranks, chances = ranks[kept], chances[kept] / chances[kept].sum()
    ordered = np.sort(members)
    beyond = np.concatenate([[np.inf], thresholds[:-1]])
    fewest = len(members) - np.searchsorted(ordered, beyond[ranks], side="right")
    most = len(members) - np.searchsorted(ordered, thresholds[ranks], side="right")
    tail = (1 - confidence) / 2
    low = _mixture_quantile(fewest, len(members) - fewest + 1, chances, tail)
    high = _mixture_quantile(most + 1, len(members) - most, chances, 1 - tail)
    return value, Interval(
        low=min(low, value), high=max(high, value), confidence=confidence, method="binomial-rank-beta"
    )


def _checked(name: str, scores: npt.ArrayLike) -> FloatArray:
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or not len(array):
        raise DataError(f"{name}: expected at least one score in one dimension, got shape {array.shape}")
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise DataError(f"{name}: {bad} scores are NaN or infinite; leave such rows out and report them")
    return array


def _placements(high: FloatArray, low: FloatArray) -> tuple[FloatArray, FloatArray]:
    """For each score the share of the other kind that it beats, ties half."""
    ranks = rankdata(np.concatenate([high, low]))
    above = (ranks[: len(high)] - rankdata(high)) / len(low)
    below = 1 - (ranks[len(high) :] - rankdata(low)) / len(high)
    return above, below


def _variance_of_mean(placements: FloatArray) -> float:
    return float(placements.var(ddof=1)) / len(placements) if len(placements) > 1 else 0.0


def newcombe_interval(value: float, n_in: float, n_out: float, confidence: float) -> Interval:
    """Score interval of an area: values whose own Hanley-McNeil standard error reaches the observed one.

    Args:
        value: The area, in ``[0, 1]``.
        n_in: Scores that should be high; may be an effective number.
        n_out: Scores that should be low, likewise.
        confidence: Of the interval, in ``(0, 1)``.

    Source:
        Newcombe (2006), Statistics in Medicine 25:559-573, method 5.
    """
    z = float(norm.ppf((1 + confidence) / 2))
    pairs = (n_in + n_out) / 2 - 1

    def unit_variance(area: float) -> float:
        spread = 1 + pairs * ((1 - area) / (2 - area) + area / (1 + area))
        return z**2 * spread / (n_in * n_out)

    def excess(area: float) -> float:
        return (area - value) ** 2 - unit_variance(area) * area * (1 - area)

    # at 0 and 1 the excess has a second, trivial root; dividing by the distance to it leaves the one sought
    if value >= 1:
        low, high = brentq(lambda area: 1 - area - unit_variance(area) * area, 0, 1), 1.0
    elif value <= 0:
        low, high = 0.0, brentq(lambda area: area - unit_variance(area) * (1 - area), 0, 1)
    else:
        low, high = brentq(excess, 0, value), brentq(excess, value, 1)
    return Interval(low=low, high=high, confidence=confidence, method="newcombe-score")


def _mixture_quantile(
    a: npt.NDArray[np.int64], b: npt.NDArray[np.int64], weights: FloatArray, level: float
) -> float:
    """Quantile of a mixture of Beta(a, b); a = 0 is a point at 0 and b = 0 a point at 1."""
    at_zero, at_one = a == 0, b == 0
    inside = ~(at_zero | at_one)
    mass_at_zero, mass_at_one = float(weights[at_zero].sum()), float(weights[at_one].sum())
    if level <= mass_at_zero:
        return 0.0
    if level >= 1 - mass_at_one:
        return 1.0

    def excess(x: float) -> float:
        return mass_at_zero + float(weights[inside] @ betainc(a[inside], b[inside], x)) - level

    return float(brentq(excess, 0.0, 1.0, xtol=1e-12))
