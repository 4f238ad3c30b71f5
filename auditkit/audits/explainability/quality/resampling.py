"""Means over rows with bootstrap intervals; rows of one person are drawn together.

Source: Hesterberg (2015), The American Statistician 69:371-386: percentiles a little further out make up for
the bootstrap's narrowness in small samples.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm, t

from auditkit.audits.explainability.quality.defined import quotient
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Interval
from auditkit.statistics.bootstrap import bootstrap_rows
from auditkit.statistics.clustered import sums_by_unit


@dataclass(frozen=True, slots=True)
class RowMean:
    """The mean of one score over the rows in which it is defined.

    Attributes:
        value: ``None`` where it is defined in no row.
        n: Rows in which it is defined.
        n_units: Persons, or rows where nobody knows persons, that they belong to.
        draws: Sorted replicates, shape ``(n_draws,)``.
    """

    value: float | None
    n: int
    n_units: int
    draws: FloatArray

    def interval(self, confidence: float) -> Interval | None:
        """``None`` for fewer than two persons or rows, which have no spread."""
        if self.value is None or self.n_units < 2 or not len(self.draws):
            return None
        half = (1 - confidence) / 2
        tail = float(norm.cdf(t.ppf(half, self.n_units - 1) * (self.n_units / (self.n_units - 1)) ** 0.5))
        low, high = np.quantile(self.draws, [tail, 1 - tail])
        return Interval(
            low=min(float(low), self.value),
            high=max(float(high), self.value),
            confidence=confidence,
            method="bootstrap-percentile",
        )


def row_means(
    scores: Mapping[str, FloatArray], person: IntArray | None, *, n_draws: int, rng: np.random.Generator
) -> dict[str, RowMean]:
    """Means of several scores of the same rows, all from the same resamples.

    Args:
        scores: Shape ``(n,)`` each; NaN where undefined.
        person: Which rows belong together, shape ``(n,)``; ``None``: every row stands alone.
        n_draws: Replicates.
        rng: Source of randomness.
    """
    if not scores:
        return {}
    columns = np.stack(list(scores.values()), axis=1)
    defined = np.isfinite(columns)
    filled = np.where(defined, columns, 0.0)
    sums, counts = (
        np.stack([sums_by_unit(column, person) for column in table.T.astype(np.float64)], axis=1)
        for table in (filled, defined)
    )

    def means(drawn: FloatArray) -> FloatArray:
        total, n = drawn @ sums, drawn @ counts
        return quotient(total, n, np.asarray(n > 0))

    draws = bootstrap_rows(means, len(sums), n_draws=n_draws, rng=rng)
    return {name: _row_mean(columns[:, at], counts[:, at], draws[:, at]) for at, name in enumerate(scores)}


def _row_mean(column: FloatArray, counts: FloatArray, draws: FloatArray) -> RowMean:
    held = column[np.isfinite(column)]
    value = float(held.mean()) if len(held) else None
    return RowMean(value, len(held), int((counts > 0).sum()), np.sort(draws[np.isfinite(draws)]))
