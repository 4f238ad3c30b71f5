"""How much one categorical column tells about another, and whether that is more than chance."""

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy
from scipy.stats import chi2

from auditkit.errors import DataError

FloatArray = npt.NDArray[np.float64]

SMALLEST = -1e9
"""Logarithm of a chance; beyond it the distribution underflows to minus infinity."""


def uncertainty_removed(table: npt.ArrayLike, *, n: float | None = None) -> float:
    """Share of the entropy of the columns that knowing the row removes, freed of its bias.

    The mutual information of independent samples is too large by about
    ``(rows - 1) (columns - 1) / (2 n)``, which is taken off; what is then below 0 is 0.

    Args:
        table: Counts or sums of weights, not negative, shape ``(rows, columns)``.
        n: Number of observations behind it; default the sum of the table.

    Returns:
        In ``[0, 1]``; 0 where all observations are in one column.

    Raises:
        DataError: The table is empty or has a negative entry.

    Source:
        Theil (1970), American Journal of Sociology 76:103-154 (the coefficient). Miller (1955), Information
        Theory in Psychology 95-100 (the bias).

    >>> uncertainty_removed([[500, 0], [0, 500]]) > 0.99
    True
    """
    counts = np.asarray(table, dtype=np.float64)
    if counts.ndim != 2 or (counts < 0).any() or not counts.sum() > 0:
        raise DataError("mutual information: expected a table of counts with a sum above 0")
    size = float(counts.sum()) if n is None else n
    shares = counts / counts.sum()
    in_rows, in_columns = shares.sum(axis=1), shares.sum(axis=0)
    entropy = -float(xlogy(in_columns, in_columns).sum())
    if entropy <= 0:
        return 0.0
    joint = float(xlogy(shares, shares).sum() - xlogy(in_rows, in_rows).sum()) + entropy
    bias = ((in_rows > 0).sum() - 1) * ((in_columns > 0).sum() - 1) / (2 * size)
    return float(np.clip((joint - bias) / entropy, 0.0, 1.0))


def log_p_of_independence(tables: npt.ArrayLike) -> FloatArray:
    """Logarithm of the chance of so large a likelihood ratio, if rows and columns were independent.

    By the chi-square distribution, which is rough where counts are small: permute to be exact.

    Args:
        tables: Counts, shape ``(..., rows, columns)``.

    Returns:
        Not above 0, shape ``(...)``.

    Source:
        Agresti (2013), Categorical Data Analysis, section 3.2.
    """
    counts = np.asarray(tables, dtype=np.float64)
    in_rows, in_columns = counts.sum(axis=-1), counts.sum(axis=-2)
    n = in_rows.sum(axis=-1)
    statistic = 2 * (
        xlogy(counts, counts).sum(axis=(-2, -1))
        - xlogy(in_rows, in_rows).sum(axis=-1)
        - xlogy(in_columns, in_columns).sum(axis=-1)
        + xlogy(n, n)
    )
    freedom = np.maximum((in_rows > 0).sum(axis=-1) - 1, 0) * np.maximum((in_columns > 0).sum(axis=-1) - 1, 0)
    log_p = chi2.logsf(np.maximum(statistic, 0.0), np.maximum(freedom, 1))
    return np.where(freedom > 0, np.maximum(log_p, SMALLEST), 0.0)


def step_down(observed: npt.ArrayLike, permuted: npt.ArrayLike) -> FloatArray:
    """Adjusted p-values from the joint distribution of all statistics under permutation.

    Bounds the chance of even one false finding; sharper than Holm's where the tests are dependent, and not
    limited by the number of permutations per test.

    Args:
        observed: Small is extreme, shape ``(m,)``.
        permuted: The same in ``b`` permutations, shape ``(b, m)``.

    Returns:
        In ``[1 / (b + 1), 1]``, in the order given.

    Source:
        Westfall and Young (1993), Resampling-Based Multiple Testing, algorithm 2.8.
    """
    found = np.asarray(observed, dtype=np.float64)
    draws = np.asarray(permuted, dtype=np.float64)
    order = np.argsort(found, kind="stable")
    smallest = np.minimum.accumulate(draws[:, order[::-1]], axis=1)[:, ::-1]
    # rounding must not make a permutation that gives the same table less extreme
    reached = (smallest <= found[order] + 1e-9 * (1 + np.abs(found[order]))).sum(axis=0)
    result = np.empty(len(found))
    result[order] = np.maximum.accumulate((1 + reached) / (1 + len(draws)))
    return result
