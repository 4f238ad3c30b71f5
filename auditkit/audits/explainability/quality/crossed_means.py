"""Means over rows and over models drawn anew: both are samples, and both count as uncertainty."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t

from auditkit.audits.explainability.quality.defined import mean_of_defined
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Interval
from auditkit.statistics.clustered import sums_by_unit


@dataclass(frozen=True, slots=True)
class CrossedMean:
    """A mean over a table of rows and models.

    Attributes:
        value: ``None`` where nothing is defined.
        n: Rows with a value.
        n_models: Models drawn.
        of_rows: Variance of the mean due to the rows drawn.
        of_models: The same due to the models drawn.
        of_both: What each pair of row and model adds of its own, which is part of either.
        n_units: Persons, or rows where nobody knows persons.
    """

    value: float | None
    n: int
    n_models: int
    of_rows: float
    of_models: float
    of_both: float
    n_units: int

    def interval(self, confidence: float) -> Interval | None:
        """Student's, with Satterthwaite's degrees of freedom; ``None`` for one row or one model.

        Source:
            Satterthwaite (1946), Biometrics Bulletin 2:110-114.
        """
        if self.value is None or self.n_units < 2 or self.n_models < 2:
            return None
        variance = max(self.of_rows + self.of_models - self.of_both, self.of_rows, self.of_models)
        parts = self.of_rows**2 / (self.n_units - 1) + self.of_models**2 / (self.n_models - 1)
        freedom = variance**2 / parts if parts > 0 else 1.0
        reach = float(t.ppf((1 + confidence) / 2, freedom)) * variance**0.5
        return Interval(
            low=self.value - reach, high=self.value + reach, confidence=confidence, method="t, rows x models"
        )


def crossed_mean(table: FloatArray, person: IntArray | None) -> CrossedMean:
    """Mean of a table of shape ``(rows, models)``, NaN where undefined."""
    of_row, of_model = mean_of_defined(table.T), mean_of_defined(table)
    held = np.isfinite(of_row)
    if not held.any():
        return CrossedMean(None, 0, table.shape[1], 0.0, 0.0, 0.0, 0)
    value = float(of_row[held].mean())
    units = None if person is None else person[held]
    influence = sums_by_unit((of_row[held] - value) / held.sum(), units)
    n_units, models = len(influence), of_model[np.isfinite(of_model)]
    return CrossedMean(
        value=value,
        n=int(held.sum()),
        n_models=len(models),
        of_rows=float((influence**2).sum()) * n_units / max(1, n_units - 1),
        of_models=float(models.var(ddof=1)) / len(models) if len(models) > 1 else 0.0,
        of_both=_of_pairs(table) if person is None else 0.0,
        n_units=n_units,
    )


def _of_pairs(table: FloatArray) -> float:
    """Variance of the mean due to what is left of each cell without its row and its column."""
    whole = table[np.isfinite(table).all(axis=1)]
    n, models = whole.shape
    if n < 2 or models < 2:
        return 0.0
    rest = whole - whole.mean(axis=1, keepdims=True) - whole.mean(axis=0) + whole.mean()
    return float((rest**2).sum() / ((n - 1) * (models - 1)) / (n * models))
