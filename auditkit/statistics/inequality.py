"""How unevenly benefits are spread over people, and outcomes over groups.

A row's benefit is ``prediction - label + 1`` with the favourable class as 1: 0 for a favourable label
refused, 2 for one granted without it, 1 for everything right. So all figures follow from how many rows have
benefit 0, 1 and 2.

Source:
    Speicher et al. (2018), A unified approach to quantifying algorithmic unfairness, KDD; Foulds, Islam, Keya
    and Pan (2020), An intersectional definition of fairness, ICDE.
"""

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import xlogy
from scipy.stats import chi2, ncx2

from auditkit.errors import DataError
from auditkit.records import Interval
from auditkit.statistics.intervals import Bounds, clopper_pearson_bounds, percentile_interval, wilson_bounds
from auditkit.statistics.simultaneous import Disparity, largest_gap, pair_confidence

FloatArray = npt.NDArray[np.float64]

BENEFITS = np.array([0.0, 1.0, 2.0])
N_DRAWS = 10_000
NO_SPREAD = 1e-12
CONCENTRATION = 1.0
"""Of the Dirichlet distribution that smooths a group's outcomes, over all outcomes together."""


def generalized_entropy(counts: npt.ArrayLike) -> FloatArray:
    """Half the squared coefficient of variation of the benefits: generalised entropy with exponent 2.

    Args:
        counts: Rows with benefit 0, 1 and 2, shape ``(..., 3)``.

    Returns:
        0 where all benefits are equal, NaN where they are all 0; shape ``(...)``.

    >>> round(float(generalized_entropy([1, 2, 1])), 6)
    0.25
    """
    share = _shares(counts)
    mean = share @ BENEFITS
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(((share @ BENEFITS**2) / mean**2 - 1) / 2)


def theil_index(counts: npt.ArrayLike) -> FloatArray:
    """Theil's index of the benefits: generalised entropy with exponent 1, where ``0 ln 0`` is 0.

    >>> round(float(theil_index([1, 0, 1])), 6)
    0.693147
    """
    share = _shares(counts)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = BENEFITS / (share @ BENEFITS)[..., None]
        return np.asarray((share * xlogy(relative, relative)).sum(axis=-1))


def index_intervals(
    counts: npt.ArrayLike, *, confidence: float, rng: np.random.Generator
) -> tuple[Interval | None, Interval | None]:
    """Intervals of :func:`generalized_entropy` and :func:`theil_index`, from the same draws.

    Shares of the benefits are drawn from their posterior under Jeffreys' prior, which also says something
    where no error was seen.

    Args:
        counts: Rows with benefit 0, 1 and 2 (effective ones where rows are weighted), shape ``(3,)``.
        confidence: Of both intervals.
        rng: Source of randomness.
    """
    seen = np.asarray(counts, dtype=np.float64)
    draws = rng.dirichlet(seen + 0.5, size=N_DRAWS)
    entropy, theil = (
        percentile_interval(
            index(draws), float(index(seen)), confidence=confidence, method="jeffreys-multinomial"
        )
        for index in (generalized_entropy, theil_index)
    )
    return entropy, theil


def between_groups(counts: npt.ArrayLike, *, confidence: float) -> tuple[float, Interval]:
    """Generalised entropy (exponent 2) that remains when everyone has the mean benefit of their group.

    The squares of the groups' distances from the overall mean are, in units of the spread within groups,
    those of a noncentral chi-square variable; its noncentrality gives the interval, which starts at 0 where
    equal groups would often be as far apart.

    Args:
        counts: Rows with benefit 0, 1 and 2 (effective ones where rows are weighted), shape
            ``(n_groups, 3)``, at least two groups, none of them empty, and not all benefits 0.
        confidence: Of the interval.

    Raises:
        DataError: The counts are not like that.
    """
    seen = np.asarray(counts, dtype=np.float64)
    n, total = seen.sum(axis=1), seen.sum()
    if len(seen) < 2 or not (n > 0).all() or not (seen @ BENEFITS).sum() > 0:
        raise DataError("between groups: expected two groups or more, each with rows, and some benefit")
    means = seen @ BENEFITS / n
    mean = float(seen.sum(axis=0) @ BENEFITS / total)
    squares = float(n @ (means - mean) ** 2)
    spread = _spread_within(seen)
    low, high = _noncentrality(squares / spread, len(seen) - 1, confidence)
    scale = 1 / (2 * total * mean**2)
    value = squares * scale
    return value, Interval(
        low=min(value, low * spread * scale),
        high=max(value, high * spread * scale),
        confidence=confidence,
        method="noncentral-chi-square",
    )


def _spread_within(seen: FloatArray) -> float:
    """Variance of the benefits within groups, pooled so that unequal groups weigh as in the squares."""
    pooled = _pooled_variance(seen, seen)
    # where nobody differs from their group, the spread is that with half a row of each benefit more
    return pooled if pooled > NO_SPREAD else _pooled_variance(seen + 0.5, seen)


def _pooled_variance(counts: FloatArray, seen: FloatArray) -> float:
    size, n = counts.sum(axis=1), seen.sum(axis=1)
    means = counts @ BENEFITS / size
    variance = (counts @ BENEFITS**2 / size - means**2) * size / np.maximum(size - 1, 1)
    return float((1 - n / n.sum()) @ variance) / (len(seen) - 1)


def _noncentrality(statistic: float, degrees: int, confidence: float) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    most = statistic + 50 * np.sqrt(statistic + degrees) + 50

    def end(chance: float) -> float:
        if chi2.cdf(statistic, degrees) <= chance:
            return 0.0
        return float(brentq(lambda far: ncx2.cdf(statistic, degrees, far) - chance, 1e-12, most))

    return end(1 - tail), end(tail)


def differential_fairness(counts: npt.ArrayLike, *, confidence: float) -> Disparity | None:
    """Largest ``|ln P(outcome | a) / P(outcome | b)|`` over outcomes and pairs of groups, smoothed.

    Each rate is ``(count + 1 / n_outcomes) / (n + 1)``, and so is the figure that the interval holds for, at
    the rates of the population. The lower end allows for the pair and the outcome having been picked; from
    above nothing is picked (see :mod:`~auditkit.statistics.simultaneous`).

    Args:
        counts: Rows per outcome (effective ones where rows are weighted), shape ``(n_groups, n_outcomes)``,
            no group empty.
        confidence: Of the interval.

    Returns:
        ``None`` with fewer than two groups or outcomes.

    Raises:
        DataError: A group has no rows.

    >>> round(differential_fairness([[30, 10], [20, 20]], confidence=0.95).value, 4)
    0.669
    """
    seen = np.asarray(counts, dtype=np.float64)
    if len(seen) < 2 or seen.shape[1] < 2:
        return None
    n = seen.sum(axis=1)
    if not (n > 0).all():
        raise DataError("differential fairness: a group has no rows; leave it out and name it")
    n_outcomes = seen.shape[1]
    joint = pair_confidence(len(seen), 1 - (1 - confidence) / n_outcomes)
    found = [
        _log_gap(np.minimum(seen[:, outcome], n), n, CONCENTRATION / n_outcomes, joint, confidence)
        for outcome in range(n_outcomes)
    ]
    largest = max(found, key=lambda one: one.value)
    return Disparity(
        largest.value,
        Interval(
            low=max(one.interval.low for one in found),
            high=max(one.interval.high for one in found),
            confidence=confidence,
            method="simultaneous-log-ratio",
        ),
        largest.lowest,
        largest.highest,
        largest.clearest,
    )


def _log_gap(hits: FloatArray, n: FloatArray, alpha: float, joint: float, confidence: float) -> Disparity:
    def smoothed(rate: FloatArray) -> FloatArray:
        return np.asarray(np.log((n * rate + alpha) / (n + CONCENTRATION)))

    def on_logs(bounds: Bounds) -> Bounds:
        return smoothed(bounds[0]), smoothed(bounds[1])

    gap = largest_gap(
        smoothed(hits / n),
        on_logs(wilson_bounds(hits, n, confidence=joint)),
        on_logs(clopper_pearson_bounds(hits, n, confidence=confidence)),
        confidence=confidence,
        method="simultaneous-log-ratio",
    )
    if gap is None:
        raise DataError("differential fairness: got fewer than two groups")
    return gap


def _shares(counts: npt.ArrayLike) -> FloatArray:
    seen = np.asarray(counts, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(seen / seen.sum(axis=-1, keepdims=True))
