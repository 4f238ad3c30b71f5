"""Differences between the means of two sets of rows, many at once, with intervals that all hold."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import norm, t

from auditkit.errors import DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

DRAWS = 10_000
"""Of the largest of all errors; its 95 % point is then off by about one per cent."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two sets of rows; shapes ``(n,)``."""

    first: BoolArray
    second: BoolArray


@dataclass(frozen=True, slots=True)
class MeanDifferences:
    """Mean over the first rows of a contrast minus that over the second, column by column.

    Attributes:
        values: Shape ``(contrasts, columns)``.
        low: Ends of intervals that hold for all contrasts and columns together.
        high: The same.
    """

    values: FloatArray
    low: FloatArray
    high: FloatArray


def mean_differences(
    columns: FloatArray,
    contrasts: list[Contrast],
    *,
    weights: FloatArray | None = None,
    units: IntArray | None = None,
    confidence: float = 0.95,
    rng: np.random.Generator,
) -> MeanDifferences:
    """Two-sample differences whose intervals hold together.

    The critical value is the quantile of the largest of normal errors that are correlated as the differences
    are, taken to Student's t with the persons (or rows) of the smallest set. Every difference has its own
    variance, that of the influences of its rows summed over persons.

    Args:
        columns: Finite, shape ``(n, m)``.
        contrasts: Sets of rows; each set has rows with weight.
        weights: Not negative, shape ``(n,)``; ``None`` counts every row once.
        units: Which rows belong to one person, shape ``(n,)``; ``None``: every row stands alone.
        confidence: That all intervals hold.
        rng: Draws the errors.

    Raises:
        DataError: A set has no row with weight.

    Source:
        Hothorn, Bretz and Westfall (2008), Biometrical Journal 50:346-363. Persons: Cochran (1977), Sampling
        Techniques, section 9A.5.
    """
    w = np.ones(len(columns)) if weights is None else weights
    own = np.arange(len(columns)) if units is None else units
    unit = np.unique(own, return_inverse=True)[1].reshape(-1)
    values, parts, sizes = [], [], []
    for contrast in contrasts:
        value, influence, smallest = _one(columns, contrast, w, unit)
        values.append(value)
        parts.append(influence)
        sizes.append(smallest)
    influence = np.concatenate(parts, axis=1)
    errors = np.sqrt((influence**2).sum(axis=0))
    critical = _critical(influence, errors, min(sizes) - 1, confidence, rng)
    found = np.array(values)
    reach = (critical * errors).reshape(found.shape)
    return MeanDifferences(found, found - reach, found + reach)


def _one(
    columns: FloatArray, contrast: Contrast, w: FloatArray, unit: IntArray
) -> tuple[FloatArray, FloatArray, int]:
    """Differences, the influence of every person on each, ``(persons, m)``, and the smaller set's size."""
    value = np.zeros(columns.shape[1])
    influence = np.zeros((int(unit.max()) + 1, columns.shape[1]))
    sizes = []
    for rows, sign in ((contrast.first, 1.0), (contrast.second, -1.0)):
        index = np.flatnonzero(rows & (w > 0))
        if not len(index):
            raise DataError("means: a group has no row with weight; leave the figure out and say why")
        share = w[index] / w[index].sum()
        mean = share @ columns[index]
        size = len(np.unique(unit[index]))
        small = np.sqrt(size / (size - 1)) if size > 1 else 1.0
        np.add.at(influence, unit[index], sign * small * share[:, None] * (columns[index] - mean))
        value += sign * mean
        sizes.append(size)
    return value, influence, min(sizes)


def _critical(
    influence: FloatArray, errors: FloatArray, df: int, confidence: float, rng: np.random.Generator
) -> float:
    """How many standard errors the largest of all errors reaches with ``confidence``."""
    varies = errors > 1e-12 * errors.max(initial=0.0)
    single = (1 + confidence) / 2
    if df < 1:
        return float(t.ppf(single, 1))
    if not varies.any():
        return float(t.ppf(single, df))
    unit = influence[:, varies] / errors[varies]
    size, vectors = np.linalg.eigh(unit.T @ unit)
    root = vectors * np.sqrt(np.maximum(size, 0.0))
    largest = np.abs(rng.normal(size=(DRAWS, root.shape[1])) @ root.T).max(axis=1)
    z = max(float(np.quantile(largest, confidence)), float(norm.ppf(single)))
    # the same chance in the tails of Student's t, which are heavier where persons are few
    return float(t.isf(norm.sf(z), df))
