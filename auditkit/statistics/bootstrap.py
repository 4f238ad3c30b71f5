"""Bootstrap replicates, drawn on counts wherever the figure is made of counts.

Resampling rows and recounting them has the same law as one multinomial draw over the cells of the table, so a
thousand replicates of a million rows cost no more than those of a hundred.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from auditkit.errors import DataError
from auditkit.statistics.counts import Cells, RateMetric

FloatArray = npt.NDArray[np.float64]

CHUNK_ENTRIES = 4_000_000
"""Entries of a weights matrix held at once: 32 MB."""


def multinomial_draws(counts: npt.ArrayLike, n_draws: int, rng: np.random.Generator) -> FloatArray:
    """Counts of ``n_draws`` bootstrap samples of rows, shape ``(n_draws, *counts.shape)``.

    Args:
        counts: Rows per cell, whole numbers, any shape.
        n_draws: Number of replicates.
        rng: Source of randomness.

    Raises:
        DataError: There are no rows.
    """
    table = np.asarray(counts)
    flat = table.ravel()
    occupied = np.flatnonzero(flat)
    total = int(flat.sum())
    if not total:
        raise DataError("bootstrap: the table has no rows; leave the figure out and say why")
    draws = np.zeros((n_draws, flat.size))
    draws[:, occupied] = rng.multinomial(total, flat[occupied] / total, size=n_draws)
    return draws.reshape(n_draws, *table.shape)


def weighted_draws(
    weight: npt.ArrayLike, weight_squared: npt.ArrayLike, n_draws: int, rng: np.random.Generator
) -> FloatArray:
    """Cell weights of ``n_draws`` Bayesian bootstrap samples, shape ``(n_draws, *weight.shape)``.

    Each row's weight is multiplied by a standard exponential. The sum over a cell is drawn at once from the
    gamma distribution with its mean ``sum w`` and variance ``sum w^2``, exact for equal weights in the cell.

    Source:
        Rubin (1981), Annals of Statistics 9:130-134.
    """
    mean, variance = np.asarray(weight, dtype=np.float64), np.asarray(weight_squared, dtype=np.float64)
    draws = np.zeros((n_draws, *mean.shape))
    occupied = mean > 0
    shape, scale = mean[occupied] ** 2 / variance[occupied], variance[occupied] / mean[occupied]
    draws[:, occupied] = rng.gamma(shape, scale, size=(n_draws, len(shape)))
    return draws


def bootstrap_rates(
    cells: Cells, metrics: Sequence[RateMetric], *, n_draws: int, rng: np.random.Generator
) -> FloatArray:
    """Replicates of group rates, shape ``(n_draws, n_groups, n_metrics)``; NaN where one is undefined.

    Rows are resampled over all groups together, as they were sampled. Weighted rows get the Bayesian
    bootstrap.
    """
    unweighted = np.array_equal(cells.n, cells.weight)
    draws = (
        multinomial_draws(cells.n, n_draws, rng)
        if unweighted
        else weighted_draws(cells.weight, cells.weight_squared, n_draws, rng)
    )
    numerators = np.array([metric.numerator for metric in metrics], dtype=np.float64).T
    denominators = np.array([metric.denominator for metric in metrics], dtype=np.float64).T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray((draws @ numerators) / (draws @ denominators))


def bootstrap_rows(
    statistic: Callable[[FloatArray], npt.ArrayLike], n_rows: int, *, n_draws: int, rng: np.random.Generator
) -> FloatArray:
    """Replicates of a statistic that is not made of counts, shape ``(n_draws, *figures)``.

    Args:
        statistic: Given how often each row occurs in each replicate, shape ``(m, n_rows)``, it returns the
            figures of the ``m`` replicates. Figures of two subjects on the same rows are paired by computing
            both from the same matrix.
        n_rows: Rows of the sample.
        n_draws: Number of replicates.
        rng: Source of randomness.

    Raises:
        DataError: There are no rows.
    """
    if n_rows <= 0:
        raise DataError("bootstrap: there are no rows; leave the figure out and say why")
    return np.concatenate(
        [np.asarray(statistic(m), dtype=np.float64) for m in _resamples(n_rows, n_draws, rng)]
    )


def _resamples(n_rows: int, n_draws: int, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Matrices of row counts, cut so that one never takes more than 32 MB (or one replicate)."""
    height = max(1, CHUNK_ENTRIES // n_rows)
    for start in range(0, n_draws, height):
        rows = min(height, n_draws - start)
        drawn = rng.integers(0, n_rows, size=(rows, n_rows)) + np.arange(rows)[:, None] * n_rows
        yield np.bincount(drawn.ravel(), minlength=rows * n_rows).reshape(rows, n_rows).astype(np.float64)
