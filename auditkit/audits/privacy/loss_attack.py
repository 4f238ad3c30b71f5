"""Statistics of a membership attack: separation of two sets of scores, and how it changes between models.

Scores are pairs ``(members, others)``; a higher score means "more likely a member". In paired functions the
same position is the same row under both models.
"""

import math

import numpy as np
from scipy.stats import norm, rankdata
from scipy.stats import t as student_t

from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Interval
from auditkit.statistics.auc import auc_delong

Pair = tuple[FloatArray, FloatArray]


def resolvable(fpr: float, n_out: int, allowed: int = 1) -> bool:
    """Whether ``fpr`` allows at least ``allowed`` false positives among ``n_out`` non-members."""
    return n_out * fpr >= allowed - 1e-9


def advantage_dkw(
    in_scores: FloatArray, out_scores: FloatArray, *, confidence: float
) -> tuple[float, Interval]:
    """Largest difference of true- and false-positive rate over all thresholds, with its interval.

    The interval holds for every sample size and although the best threshold is chosen on the same rows: both
    empirical distributions lie within their Dvoretzky-Kiefer-Wolfowitz bands at once. It is wide.

    Source: Massart (1990), Annals of Probability 18:1269-1283; the figure: Yeom et al. (2018).

    >>> advantage_dkw(np.array([2.0, 3.0]), np.array([0.0, 1.0]), confidence=0.95)[0]
    1.0
    """
    thresholds = np.unique(np.concatenate([in_scores, out_scores]))
    above = 1 - np.searchsorted(np.sort(in_scores), thresholds, side="left") / len(in_scores)
    false = 1 - np.searchsorted(np.sort(out_scores), thresholds, side="left") / len(out_scores)
    value = max(0.0, float((above - false).max()))
    share = (1 - confidence) / 2
    reach = sum(math.sqrt(math.log(2 / share) / (2 * len(scores))) for scores in (in_scores, out_scores))
    return value, Interval(
        low=max(0.0, value - reach), high=min(1.0, value + reach), confidence=confidence, method="dkw"
    )


def welch_gap(high: FloatArray, low: FloatArray, *, confidence: float) -> tuple[float, Interval]:
    """Difference of means with Welch's interval; at least two values of each.

    >>> welch_gap(np.array([1.0, 3.0]), np.array([0.0, 0.0]), confidence=0.95)[0]
    2.0
    """
    value = float(high.mean() - low.mean())
    parts = [float(values.var(ddof=1)) / len(values) for values in (high, low)]
    total = sum(parts)
    if total <= 0:
        return value, Interval(low=value, high=value, confidence=confidence, method="welch")
    freedom = total**2 / sum(
        part**2 / (len(values) - 1) for part, values in zip(parts, (high, low), strict=True)
    )
    reach = float(student_t.ppf((1 + confidence) / 2, freedom)) * math.sqrt(total)
    return value, Interval(low=value - reach, high=value + reach, confidence=confidence, method="welch")


def auc_change(before: Pair, after: Pair, *, confidence: float) -> tuple[float, Interval]:
    """Area after minus area before, with DeLong's interval for two curves on the same rows.

    Where DeLong's variance is zero although the scores differ (both areas 0 or 1), the intervals of the two
    areas are combined as if independent.

    Source: DeLong, DeLong and Clarke-Pearson (1988), Biometrics 44:837-845; the combination: Zou and Donner
    (2008), Statistics in Medicine 27:1693-1702.
    """
    first, second = _placements(*before), _placements(*after)
    value = float(second[0].mean() - first[0].mean())
    variance = sum(_variance_of_mean(b - a) for a, b in zip(first, second, strict=True))
    same = all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    scarce = min(len(before[0]), len(before[1])) < 2
    if same or (variance > 0 and not scarce):
        reach = float(norm.ppf((1 + confidence) / 2)) * math.sqrt(variance)
        low, high, method = value - reach, value + reach, "delong-paired"
    else:
        (area_1, one), (area_2, two) = (auc_delong(*pair, confidence=confidence) for pair in (before, after))
        low = value - math.hypot(area_2 - two.low, one.high - area_1)
        high = value + math.hypot(two.high - area_2, area_1 - one.low)
        method = "mover"
    return value, Interval(low=max(-1.0, low), high=min(1.0, high), confidence=confidence, method=method)


def tpr_change(
    before: Pair,
    after: Pair,
    *,
    fpr: float,
    n_bootstrap: int,
    confidence: float,
    rng: np.random.Generator,
) -> tuple[float, Interval]:
    """True-positive rate at ``fpr`` after minus before, with a percentile bootstrap over rows.

    Members and non-members are drawn apart; a drawn row counts under both models, and each draw has its own
    thresholds.
    """
    ranked = [RankedScores(*pair) for pair in (before, after)]
    n_in, n_out = len(before[0]), len(before[1])

    def change(in_counts: IntArray, out_counts: IntArray) -> float:
        rates = [one.tpr(in_counts, out_counts, fpr) for one in ranked]
        return rates[1] - rates[0]

    value = change(np.ones(n_in, dtype=np.int64), np.ones(n_out, dtype=np.int64))
    draws = [change(_counts(n_in, rng), _counts(n_out, rng)) for _ in range(n_bootstrap)]
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return value, Interval(
        low=min(float(low), value),
        high=max(float(high), value),
        confidence=confidence,
        method="bootstrap-percentile",
    )


class RankedScores:
    """Scores ranked once, so that a draw of rows costs a sum and not a sort.

    Attributes:
        in_order: Members by falling score.
        out_order: Non-members by falling score.
        beating: For each place in ``out_order`` how many members score higher.
    """

    def __init__(self, in_scores: FloatArray, out_scores: FloatArray) -> None:
        self.in_order = np.argsort(-in_scores, kind="stable")
        self.out_order = np.argsort(-out_scores, kind="stable")
        rising = np.sort(in_scores)
        thresholds = out_scores[self.out_order]
        self.beating = len(in_scores) - np.searchsorted(rising, thresholds, side="right")

    def tpr(self, in_counts: IntArray, out_counts: IntArray, fpr: float) -> float:
        """True-positive rate at ``fpr`` when row ``i`` counts ``counts[i]`` times."""
        allowed = int(fpr * int(out_counts.sum()) + 1e-9)
        place = int(np.searchsorted(out_counts[self.out_order].cumsum(), allowed, side="right"))
        if place == len(self.out_order):
            return 1.0
        found = in_counts[self.in_order][: self.beating[place]].sum()
        return float(found / in_counts.sum())


def _counts(n: int, rng: np.random.Generator) -> IntArray:
    """How often each of ``n`` rows comes up in ``n`` draws with replacement."""
    return np.bincount(rng.integers(0, n, n), minlength=n)


def _placements(in_scores: FloatArray, out_scores: FloatArray) -> Pair:
    """For each member the share of non-members it beats, for each non-member that of members beating it."""
    ranks = rankdata(np.concatenate([in_scores, out_scores]))
    n_in = len(in_scores)
    above = (ranks[:n_in] - rankdata(in_scores)) / len(out_scores)
    below = 1 - (ranks[n_in:] - rankdata(out_scores)) / n_in
    return above, below


def _variance_of_mean(values: FloatArray) -> float:
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else 0.0
