"""A mean over rows that were each given the value of another row.

When a feature is permuted among rows, what comes of it depends on the row that is asked about and on the row
that lends its value. Every row plays both parts, and the two parts of one row tend to cancel: an interval
from the rows asked about alone is much too wide where the feature matters and may be too short elsewhere.
"""

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from auditkit.errors import DataError
from auditkit.records import Interval
from auditkit.statistics.clustered import sums_by_unit, variance_of_sum

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SWEEPS = 30
"""Of the fit of both parts; ten values for each leave less than 1e-6 of the error after so many."""


def exchanged_mean(
    changes: FloatArray,
    donors: IntArray,
    *,
    strata: IntArray | None = None,
    units: IntArray | None = None,
    confidence: float = 0.95,
) -> tuple[float, Interval | None]:
    """Mean of ``changes`` over permutations and rows, with an interval for other rows drawn alike.

    ``changes[k, i]`` is split into the part of the row asked about, the part of its donor ``donors[k, i]``
    and a rest. The variance is that of the sum of both parts over rows (the projection of a two-sample
    U-statistic) plus that of the rest over all exchanges, freed of the noise of the fit.

    Args:
        changes: Of each row in each permutation, shape ``(n_permutations, n)``.
        donors: Each row of it a permutation of ``range(n)``, shape ``(n_permutations, n)``.
        strata: Code of the stratum within which values were exchanged, shape ``(n,)``; ``None``: all rows.
        units: Which rows belong to one person, shape ``(n,)``; ``None``: every row stands alone.
        confidence: Of the interval, in ``(0, 1)``.

    Returns:
        The mean; its interval is ``None`` where fewer than two rows or persons are there.

    Raises:
        DataError: The shapes differ, or there is no row.

    Source:
        Hoeffding (1948), Annals of Mathematical Statistics 19:293-325; van der Vaart (1998), Asymptotic
        Statistics, section 12.2.

    >>> exchanged_mean(np.array([[1.0, 3.0], [0.0, 0.0]]), np.array([[1, 0], [0, 1]]))[0]
    1.0
    """
    changes, donors = np.asarray(changes, dtype=np.float64), np.asarray(donors, dtype=np.int64)
    if changes.shape != donors.shape or changes.ndim != 2 or not changes.size:
        raise DataError(
            f"exchanged values: got changes of shape {changes.shape} and donors of {donors.shape}, expected "
            "(n_permutations, n) of both with n >= 1"
        )
    k, n = changes.shape
    value = float(changes.mean())
    n_units = len(sums_by_unit(np.ones(n), units))
    if n_units < 2:
        return value, None
    asked, lent = _parts(changes, donors, np.zeros(n, dtype=np.int64) if strata is None else strata)
    rest = changes - asked - lent[donors]
    freedom = k * n - 2 * n + 1
    noise = float((rest**2).sum()) / freedom / (k * n) if freedom > 0 else 0.0
    spread = variance_of_sum((asked + lent - value) / n, units)
    # The fit puts the variance of the rest over k into both parts; once is right, and half is the least.
    variance = max(spread - noise, spread / 2)
    reach = float(t.ppf((1 + confidence) / 2, n_units - 1)) * variance**0.5
    return value, Interval(low=value - reach, high=value + reach, confidence=confidence, method="u-statistic")


def _parts(changes: FloatArray, donors: IntArray, strata: IntArray) -> tuple[FloatArray, FloatArray]:
    """Least squares of ``changes[k, i] = asked[i] + lent[donors[k, i]]``; ``lent`` has mean 0 per stratum."""
    n = changes.shape[1]
    borrowers = np.argsort(donors, axis=1)
    by_donor = np.take_along_axis(changes, borrowers, axis=1)
    sizes = np.bincount(strata, minlength=int(strata.max()) + 1)
    asked, lent = np.zeros(n), np.zeros(n)
    for _ in range(SWEEPS):
        asked = (changes - lent[donors]).mean(axis=0)
        lent = (by_donor - asked[borrowers]).mean(axis=0)
        centre = np.bincount(strata, weights=lent, minlength=len(sizes)) / np.maximum(sizes, 1)
        lent = lent - centre[strata]
    return (changes - lent[donors]).mean(axis=0), lent
