"""Errors of numbers that were foretold: their means and spreads, with intervals.

Rows of a person are not independent: whole persons are the unit. Means get the linearised variance of a
weighted mean; figures that cannot be negative, and the share that R2 leaves unexplained, get theirs on the
scale of logarithms by leaving out one person after the other (jackknife; Efron and Tibshirani 1993, chapter
11). Student's quantile has one degree of freedom less than there are effective persons (Kish).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import t

from auditkit.records import Interval
from auditkit.statistics.intervals import effective_n

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_NOTHING = 1e-12
"""A spread below this share of the values is rounding."""


@dataclass(frozen=True, slots=True)
class Foretold:
    """Outcomes and what was foretold; arrays of shape ``(n,)``.

    Attributes:
        outcome: The numbers that came.
        value: The numbers that were foretold.
        weight: Above 0; ``None`` where all rows count alike.
        person: Equal for rows of one person; ``None`` where every row stands alone.
    """

    outcome: FloatArray
    value: FloatArray
    weight: FloatArray | None = None
    person: IntArray | None = None

    def __len__(self) -> int:
        return len(self.outcome)

    @property
    def error(self) -> FloatArray:
        """Foretold minus outcome: above 0 where too much was foretold."""
        return self.value - self.outcome

    def take(self, rows: npt.NDArray[np.int64] | npt.NDArray[np.bool_]) -> "Foretold":
        """Some of the rows."""
        weight, person = self.weight, self.person
        return Foretold(
            self.outcome[rows],
            self.value[rows],
            None if weight is None else weight[rows],
            None if person is None else person[rows],
        )

    def mean(self, values: FloatArray) -> float:
        """Weighted mean over the rows."""
        return float(np.average(values, weights=self.weight))

    @property
    def n_persons(self) -> int:
        """Rows that stand alone, or different persons."""
        return len(self) if self.person is None else len(np.unique(self.person))


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and its spread.

    Attributes:
        value: The figure.
        centre: The same on the scale on which its error is symmetric.
        spread: Standard error on that scale; ``None`` where the rows do not tell it: fewer than two persons,
            or no variation at all.
        freedom: Degrees of freedom.
        back: From that scale to the figure; rises, or falls throughout.
    """

    value: float
    centre: float
    spread: float | None
    freedom: float
    back: Callable[[float], float]

    def bounds(self, confidence: float) -> tuple[float, float] | None:
        """Ends of its interval; ``None`` where there is no spread."""
        if self.spread is None:
            return None
        reach = float(t.ppf((1 + confidence) / 2, self.freedom)) * self.spread
        with np.errstate(over="ignore"):
            one, other = self.back(self.centre - reach), self.back(self.centre + reach)
        low, high = min(one, other), max(one, other)
        return (low, high) if np.isfinite([low, high]).all() else None

    def interval(self, confidence: float) -> Interval | None:
        """The same as a record."""
        found = self.bounds(confidence)
        if found is None:
            return None
        low, high = min(found[0], self.value), max(found[1], self.value)
        return Interval(low=low, high=high, confidence=confidence, method="t")


def mean_prediction(rows: Foretold) -> Figure:
    """Mean of the numbers foretold."""
    return _mean(rows, rows.value)


def mean_error(rows: Foretold) -> Figure:
    """Mean signed error, foretold minus outcome: the bias."""
    return _mean(rows, rows.error)


def mean_absolute_error(rows: Foretold) -> Figure:
    """Mean distance between foretold and outcome."""
    return _on_logs(rows, np.abs(rows.error), lambda x: float(np.exp(x)), power=1.0)


def root_mean_squared_error(rows: Foretold) -> Figure:
    """Root of the mean squared error."""
    return _on_logs(rows, rows.error**2, lambda x: float(np.exp(x / 2)), power=0.5)


def r_squared(rows: Foretold) -> Figure | None:
    """One minus mean squared error over variance of the outcome; ``None`` where outcomes do not vary.

    The variance is that of these rows about their own mean, so that R2 of a group is about differences
    within the group. It is below 0 where their mean would foretell better.
    """
    deviation = rows.outcome - rows.mean(rows.outcome)
    left, variance = rows.mean(rows.error**2), rows.mean(deviation**2)
    if variance <= (_NOTHING * max(1.0, float(np.abs(rows.outcome).max()))) ** 2:
        return None
    share = left / variance
    if share == 0:
        return Figure(1.0, 1.0, None, 1.0, float)

    def log_share(means: FloatArray) -> FloatArray:
        return np.asarray(np.log(means[0] / np.maximum(means[2] - means[1] ** 2, 0.0)))

    columns = np.stack([rows.error**2, deviation, deviation**2])
    spread, freedom = _jackknife(rows, columns, log_share)
    return Figure(1 - share, float(np.log(share)), spread, freedom, lambda x: 1 - float(np.exp(x)))


def mean_change(rows: Foretold, change: FloatArray) -> Figure:
    """Mean over the same rows of something that changed, shape ``(n,)``."""
    return _mean(rows, change)


def _mean(rows: Foretold, values: FloatArray) -> Figure:
    mean = rows.mean(values)
    spread, freedom = _spread(rows, values - mean, float(np.abs(values).max()))
    return Figure(mean, mean, spread, freedom, float)


def _on_logs(rows: Foretold, values: FloatArray, back: Callable[[float], float], *, power: float) -> Figure:
    """``mean(values) ** power`` of values that are not negative."""
    mean = rows.mean(values)
    if mean == 0:
        return Figure(0.0, 0.0, None, 1.0, float)
    spread, freedom = _jackknife(rows, values[None], lambda means: np.log(means[0]))
    return Figure(mean**power, float(np.log(mean)), spread, freedom, back)


def _spread(rows: Foretold, deviation: FloatArray, size: float) -> tuple[float | None, float]:
    """Standard error of a mean from the deviations of its rows, and its degrees of freedom."""
    sums, totals = _of_persons(rows, deviation[None])
    n = len(totals)
    if n < 2:
        return None, 1.0
    spread = float(np.sqrt((sums[0] ** 2).sum() * n / (n - 1)))
    return (spread if spread > _NOTHING * size else None), max(1.0, effective_n(totals) - 1)


def _jackknife(
    rows: Foretold, columns: FloatArray, figure: Callable[[FloatArray], FloatArray]
) -> tuple[float | None, float]:
    """As :func:`_spread` for a function of several means, by leaving out one person after the other.

    Where one large error dominates, this is wider than the linearised variance, and rightly so.

    Args:
        rows: Weights and persons.
        columns: What the means are of, shape ``(k, n)``.
        figure: From means, shape ``(k, m)``, to ``m`` figures.
    """
    sums, totals = _of_persons(rows, columns)
    n = len(totals)
    if n < 2:
        return None, 1.0
    rest = 1 - totals
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = figure(sums.sum(axis=1, keepdims=True))[0]
        apart = figure((sums.sum(axis=1, keepdims=True) - sums) / rest)
    spread = float(np.sqrt((rest * (whole - apart) ** 2).sum()))
    if not np.isfinite(spread) or spread <= _NOTHING:
        return None, 1.0
    return spread, max(1.0, effective_n(totals) - 1)


def _of_persons(rows: Foretold, columns: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Share of the weight times the columns, shape ``(k, n)``, and share of the weight, summed by person."""
    weight = np.ones(len(rows)) if rows.weight is None else rows.weight
    share = weight / weight.sum()
    sums = columns * share
    if rows.person is None:
        return sums, share
    code = np.unique(rows.person, return_inverse=True)[1].reshape(-1)
    summed = np.array([np.bincount(code, weights=one) for one in sums], dtype=np.float64)
    return summed, np.asarray(np.bincount(code, weights=share), dtype=np.float64)
