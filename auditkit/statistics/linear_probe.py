"""How well a ridge regression foretells the level of rows that it was not trained on."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import Ridge

from auditkit.records import Interval
from auditkit.statistics.cross_validated_auc import ScoredFolds, cross_validated_auc, overlap_factor
from auditkit.statistics.units import permuted_codes

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PENALTY = 1.0
"""Of the squared weights of standardised columns: keeps collinear one-hot levels solvable, shrinks little."""

AT_ONCE = 4_000_000
"""Numbers of permuted targets that are fitted together: 32 MB."""

SCORE_DIGITS = 9
"""Of scores: rows that are alike must tie, also where sums are taken in another order."""

ROUNDING = 1e-6
"""Of the size of a column: what varies less is one value in single precision."""

COLUMN_DIGITS = 4


@dataclass(frozen=True, slots=True)
class ProbedRows:
    """The rows whose level is to be foretold.

    Attributes:
        codes: Level of each, shape ``(n,)``, from 0 to ``n_levels - 1``.
        n_levels: At least 2.
        folds: Fold of each row; all rows of a person are in one.
        weights: ``None`` where rows count alike.
        units: Which rows belong to one person, or ``None``.
    """

    codes: IntArray
    n_levels: int
    folds: IntArray
    weights: FloatArray | None = None
    units: IntArray | None = None

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def columns(self) -> tuple[int, ...]:
        """Levels that need a score of their own: of two levels the second says all of the first."""
        return (1,) if self.n_levels == 2 else tuple(range(self.n_levels))

    def members(self, codes: IntArray) -> FloatArray:
        """1 where a row has the level of a column, shape ``(n, columns)``."""
        return np.asarray(codes[:, None] == np.array(self.columns), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """How well a probe foretells the level.

    Attributes:
        auc: Area on rows that the probe was not trained on.
        interval: Of it.
        p: Chance of so large an area if the levels had nothing to do with the rows.
        n: Rows scored.
    """

    auc: float
    interval: Interval
    p: float
    n: int


def linear_probe(
    columns: FloatArray,
    rows: ProbedRows,
    *,
    n_permutations: int,
    rng: np.random.Generator,
    confidence: float,
) -> ProbeResult:
    """Ridge regression of the level's indicators: the direction of Fisher's linear discriminant.

    It is fitted again for every permutation of the levels, fold by fold. The p-value is the share of
    permutations in which scores and levels correlate as much on rows that the probe was not trained on.

    Args:
        columns: Standardised, shape ``(n, d)``.
        rows: The rows they belong to.
        n_permutations: Of the levels.
        rng: Draws them.
        confidence: Of the interval.
    """
    scores = _out_of_fold(columns, rows.members(rows.codes), rows)
    auc, interval = area_of(scores, rows, confidence)
    observed = _mean_correlation(scores, rows.members(rows.codes), rows)[0]
    permuted = permuted_codes(rows.codes, rows.units, n_permutations, rng)
    per_block = max(1, AT_ONCE // (len(rows) * len(rows.columns)))
    reached, done = 0, 0
    while done < n_permutations:
        number = min(per_block, n_permutations - done)
        targets = np.column_stack([rows.members(next(permuted)) for _ in range(number)])
        found = _mean_correlation(_out_of_fold(columns, targets, rows), targets, rows)
        reached += int((found >= observed - 1e-12).sum())
        done += number
    return ProbeResult(auc, interval, (1 + reached) / (1 + n_permutations), len(rows))


def area_of(scores: FloatArray, rows: ProbedRows, confidence: float) -> tuple[float, Interval]:
    """Area of scores that were given by models trained on the other folds, one column per level."""
    found = ScoredFolds(scores, rows.codes, rows.columns, rows.folds, rows.weights, rows.units)
    factor = overlap_factor(len(np.unique(rows.folds)))
    return cross_validated_auc(found, variance_factor=factor, confidence=confidence)


def standardised(columns: FloatArray) -> FloatArray:
    """Mean 0 and standard deviation 1, rounded; columns that do not vary are left out.

    Without the digits that single precision does not hold, figures do not hang on the size of batches.
    """
    spread = columns.std(axis=0)
    varies = spread > ROUNDING * (1 + np.abs(columns).max(axis=0, initial=0.0))
    kept = columns[:, varies]
    return np.asarray(np.round((kept - kept.mean(axis=0)) / spread[varies], COLUMN_DIGITS))


def _out_of_fold(columns: FloatArray, targets: FloatArray, rows: ProbedRows) -> FloatArray:
    """Scores of every row by a model trained on the other folds, one column per target."""
    scores = np.zeros_like(targets)
    for fold in np.unique(rows.folds):
        held = rows.folds == fold
        model = Ridge(alpha=PENALTY, solver="cholesky")
        weights = None if rows.weights is None else rows.weights[~held] / rows.weights[~held].mean()
        model.fit(columns[~held], targets[~held], sample_weight=weights)
        scores[held] = model.predict(columns[held]).reshape(-1, targets.shape[1])
    return np.round(scores, SCORE_DIGITS)


def _mean_correlation(scores: FloatArray, targets: FloatArray, rows: ProbedRows) -> FloatArray:
    """Correlation of scores and levels within folds, averaged over the levels of each permutation.

    Ranking every permutation would take far longer and tell nearly the same. Every row counts once.
    """
    products, squares, spread = (np.zeros(scores.shape[1]) for _ in range(3))
    for fold in np.unique(rows.folds):
        held = rows.folds == fold
        score = scores[held] - scores[held].mean(axis=0)
        target = targets[held] - targets[held].mean(axis=0)
        products += np.einsum("ij,ij->j", score, target)
        squares += np.einsum("ij,ij->j", score, score)
        spread += np.einsum("ij,ij->j", target, target)
    scale = np.sqrt(squares * spread)
    found = np.divide(products, scale, out=np.zeros(len(scale)), where=scale > 0)
    return np.asarray(found.reshape(-1, len(rows.columns)).mean(axis=1))
