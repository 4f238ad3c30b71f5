"""Two groups compared within strata: differences of rates weighted over strata, and one common odds ratio.

Every function takes a 2 x 2 table per stratum: ``successes`` and ``n`` of both groups, arrays of shape
``(2, n_strata)``, fractional where rows are weighted. Strata in which one of the groups has no rows say
nothing about the two and have to be left out (and told) by the caller.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.stats import chi2

from auditkit.errors import DataError
from auditkit.records import Interval
from auditkit.statistics.intervals import critical_value

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class StratifiedDifference:
    """``rate_1 - rate_2`` within strata, weighted over them.

    Attributes:
        value: ``sum(weight * difference)`` with weights that add up to 1.
        interval: For the strata's shares in the population, not only for those in the sample.
    """

    value: float
    interval: Interval


def stratified_difference(
    successes: npt.ArrayLike, n: npt.ArrayLike, weight: npt.ArrayLike, *, confidence: float = 0.95
) -> StratifiedDifference:
    """Difference of two rates within strata, with the stratified score interval.

    The variance of every stratum is taken at the rates that fit best under the difference in question, with
    the factor ``N / (N - 1)``; it is not 0 in strata of a few rows where all outcomes happen to be equal on
    average over strata, which is where adding up Wald or Wilson intervals fails. The spread of the strata's
    differences beyond their sampling error adds the part that comes from the shares of the strata being
    estimated too.

    Args:
        successes: Shape ``(2, n_strata)``.
        n: Denominators, positive, same shape.
        weight: What each stratum counts for, not negative, some above 0, shape ``(n_strata,)``.
        confidence: Of the interval.

    Raises:
        DataError: Shapes differ, a denominator is not positive, or nothing has weight.

    Source:
        Miettinen and Nurminen (1985), Statistics in Medicine 4:213-226, section on stratified data.
    """
    x, size = _checked(successes, n)
    share = np.asarray(weight, dtype=np.float64)
    if share.shape != x.shape[1:] or not share.sum() > 0 or (share < 0).any():
        raise DataError("strata: expected one weight per stratum, not negative, some of them above 0")
    share = share / share.sum()
    differences = x[0] / size[0] - x[1] / size[1]
    value = float(share @ differences)
    between = _variance_of_shares(differences, share, size, x)
    critical = critical_value(confidence) ** 2

    def excess(delta: float) -> float:
        variance = float(share**2 @ _restricted_variance(x, size, delta)) + between
        return (value - delta) ** 2 - critical * variance

    low = _end(excess, value, -1.0)
    high = _end(excess, value, 1.0)
    return StratifiedDifference(
        value, Interval(low=low, high=high, confidence=confidence, method="stratified-miettinen-nurminen")
    )


def mantel_haenszel_odds_ratio(
    successes: npt.ArrayLike, n: npt.ArrayLike, *, confidence: float = 0.95
) -> tuple[float, Interval] | None:
    """Common odds ratio of success of group 1 against group 2.

    Returns:
        The ratio and its interval; ``None`` where it is 0, infinite or undefined, so that it has none.

    Raises:
        DataError: Shapes differ or a denominator is not positive.

    Source:
        Mantel and Haenszel (1959), JNCI 22:719-748; variance: Robins, Breslow and Greenland (1986),
        Biometrics 42:311-323.
    """
    x, size = _checked(successes, n)
    (a, c), (b, d) = x, size - x
    total = size.sum(axis=0)
    agree, oppose = a * d / total, b * c / total
    r, s = float(agree.sum()), float(oppose.sum())
    if r <= 0 or s <= 0:
        return None
    p, q = (a + d) / total, (b + c) / total
    variance = (
        float(p @ agree) / (2 * r**2)
        + float(p @ oppose + q @ agree) / (2 * r * s)
        + float(q @ oppose) / (2 * s**2)
    )
    reach = critical_value(confidence) * variance**0.5
    centre = float(np.log(r / s))
    return r / s, Interval(
        low=float(np.exp(centre - reach)),
        high=float(np.exp(centre + reach)),
        confidence=confidence,
        method="robins-breslow-greenland",
    )


@dataclass(frozen=True, slots=True)
class ChiSquareTest:
    """A statistic that is chi-square distributed under the hypothesis, and its p-value."""

    statistic: float
    degrees: int
    p_value: float


def cochran_mantel_haenszel(
    successes: npt.ArrayLike, n: npt.ArrayLike, *, continuity: bool = True
) -> ChiSquareTest | None:
    """Test that within strata the outcome does not depend on the group.

    Returns:
        ``None`` where every stratum has one outcome only.

    Raises:
        DataError: Shapes differ or a denominator is not positive.

    Source:
        Mantel and Haenszel (1959), JNCI 22:719-748.
    """
    x, size = _checked(successes, n)
    total, hits = size.sum(axis=0), x.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = np.where(
            total > 1, size[0] * size[1] * hits * (total - hits) / (total**2 * (total - 1)), 0.0
        ).sum()
    if variance <= 0:
        return None
    distance = abs(float((x[0] - size[0] * hits / total).sum()))
    # the correction must not turn a distance below one half into one on the other side
    distance = max(0.0, distance - 0.5) if continuity else distance
    statistic = float(distance**2 / variance)
    return ChiSquareTest(statistic, 1, float(chi2.sf(statistic, 1)))


def breslow_day(successes: npt.ArrayLike, n: npt.ArrayLike) -> ChiSquareTest | None:
    """Test that the odds ratio is the same in every stratum, with Tarone's correction.

    Only strata with both outcomes say something about it.

    Returns:
        ``None`` with fewer than two such strata, or where there is no common odds ratio.

    Raises:
        DataError: Shapes differ or a denominator is not positive.

    Source:
        Breslow and Day (1980), Statistical Methods in Cancer Research I, section 4.4; Tarone (1985),
        Biometrika 72:91-95.
    """
    x, size = _checked(successes, n)
    hits, total = x.sum(axis=0), size.sum(axis=0)
    telling = (hits > 0) & (hits < total)
    common = mantel_haenszel_odds_ratio(x, size)
    if telling.sum() < 2 or common is None:
        return None
    first, second, drawn, seen = size[0, telling], size[1, telling], hits[telling], x[0, telling]
    expected = _expected_under(common[0], first, second, drawn)
    variance = 1 / (
        1 / expected + 1 / (drawn - expected) + 1 / (first - expected) + 1 / (second - drawn + expected)
    )
    gap = seen - expected
    statistic = float((gap**2 / variance).sum() - gap.sum() ** 2 / variance.sum())
    degrees = int(telling.sum()) - 1
    return ChiSquareTest(max(0.0, statistic), degrees, float(chi2.sf(statistic, degrees)))


def _expected_under(ratio: float, first: FloatArray, second: FloatArray, drawn: FloatArray) -> FloatArray:
    """Successes of group 1 at which a stratum with these margins has exactly this odds ratio."""
    if abs(ratio - 1) < 1e-9:
        return np.asarray(first * drawn / (first + second))
    half = ratio * (first + drawn) + second - drawn
    root = np.sqrt(np.maximum(half**2 - 4 * ratio * (ratio - 1) * first * drawn, 0))
    # the form without cancellation of the smaller root of a quadratic
    return np.asarray(2 * ratio * first * drawn / (half + root))


def _end(excess: Callable[[float], float], inside: float, limit: float) -> float:
    """Where ``excess`` turns positive between the value and the end of the scale."""
    if excess(limit) <= 0:
        return limit
    if excess(inside) >= 0:
        return inside
    return float(brentq(excess, inside, limit, xtol=1e-14))


def _variance_of_shares(differences: FloatArray, share: FloatArray, size: FloatArray, x: FloatArray) -> float:
    """What estimated shares of the strata add: the differences' spread, less what is sampling error."""
    value = float(share @ differences)
    noise = _restricted_variance(x, size, value)
    spread = float(share @ (differences - value) ** 2) - float(share @ noise)
    return max(0.0, spread) / float(size.sum())


def _restricted_variance(x: FloatArray, size: FloatArray, delta: float) -> FloatArray:
    """Variance of each stratum's difference at the likeliest rates that differ by ``delta``."""
    first, second = restricted_rates(x, size, delta)
    total = size.sum(axis=0)
    variance = first * (1 - first) / size[0] + second * (1 - second) / size[1]
    return np.asarray(variance * total / (total - 1))


def restricted_rates(x: FloatArray, size: FloatArray, delta: float) -> tuple[FloatArray, FloatArray]:
    """Likeliest rates of both groups among those that differ by ``delta``, per stratum.

    Source:
        Miettinen and Nurminen (1985), appendix 1: the root of a cubic equation.
    """
    (n_1, n_2), (x_1, x_2) = size, x
    total, hits = n_1 + n_2, x_1 + x_2
    b = (n_1 + 2 * n_2) * delta - total - hits
    c = (n_2 * delta - total - 2 * x_2) * delta + hits
    d = x_2 * delta * (1 - delta)
    q = b**3 / (3 * total) ** 3 - b * c / (6 * total**2) + d / (2 * total)
    p = np.where(q >= 0, 1.0, -1.0) * np.sqrt(np.maximum(b**2 / (3 * total) ** 2 - c / (3 * total), 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = np.where(p == 0, 0.0, q / p**3)
    angle = (np.pi + np.arccos(np.clip(cosine, -1, 1))) / 3
    second = 2 * p * np.cos(angle) - b / (3 * total)
    second = np.clip(second, max(0.0, -delta), min(1.0, 1 - delta))
    return np.clip(second + delta, 0, 1), second


def _checked(successes: npt.ArrayLike, n: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, size = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    slack = 1e-9 * np.maximum(size, 1)
    if x.shape != size.shape or x.ndim != 2 or x.shape[0] != 2 or not x.shape[1]:
        raise DataError(f"strata: got shapes {x.shape} and {size.shape}, expected (2, n_strata) for both")
    if not ((size > 0) & (x >= 0) & (x <= size + slack)).all():
        raise DataError(
            "strata: expected 0 <= successes <= n and n > 0 for both groups in every stratum; leave strata "
            "in which a group has no rows out and name them"
        )
    return np.minimum(x, size), size
