"""Small models that foretell a sensitive feature of rows they were not trained on."""

from dataclasses import dataclass

import numpy as np
from scipy.special import logit
from scipy.stats import norm
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_limits

from auditkit.audits.fairness.proxies_inputs import ProbeInputs
from auditkit.audits.fairness.proxies_rows import AttributeRows
from auditkit.data.dataset import FloatArray
from auditkit.records import Interval
from auditkit.statistics.cross_validated_auc import ScoredFolds, cross_validated_auc, overlap_factor
from auditkit.statistics.intervals import critical_value

PENALTY = 1.0
"""Of the squared weights of standardised columns: keeps collinear one-hot levels solvable, shrinks little."""

AT_ONCE = 4_000_000
"""Numbers of permuted targets that are fitted together: 32 MB."""

DIGITS = 9
"""Of scores: rows that are alike must tie, also where sums are taken in another order."""

TREES = 40
LEAVES = 8
RATE = 0.15


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
    rows: AttributeRows,
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
    auc, interval = _area(scores, rows, confidence)
    observed = _mean_correlation(scores, rows.members(rows.codes), rows)[0]
    per_block = max(1, AT_ONCE // (len(rows) * len(rows.columns)))
    reached, done = 0, 0
    while done < n_permutations:
        number = min(per_block, n_permutations - done)
        targets = np.column_stack([rows.members(codes) for codes in rows.permuted(number, rng)])
        found = _mean_correlation(_out_of_fold(columns, targets, rows), targets, rows)
        reached += int((found >= observed - 1e-12).sum())
        done += number
    return ProbeResult(auc, interval, (1 + reached) / (1 + n_permutations), len(rows))


def boosted_probe(inputs: ProbeInputs, rows: AttributeRows, *, seed: int, confidence: float) -> ProbeResult:
    """Gradient-boosted trees, which also find what needs two inputs together; the interval gives p.

    Args:
        inputs: Of the same rows.
        rows: Rows and folds.
        seed: Of the trees.
        confidence: Of the interval.
    """
    scores = np.zeros((len(rows), len(rows.columns)))
    weights = np.ones(len(rows)) if rows.weights is None else rows.weights
    for fold in np.unique(rows.folds):
        held = rows.folds == fold
        model = HistGradientBoostingClassifier(
            max_iter=TREES,
            max_leaf_nodes=LEAVES,
            learning_rate=RATE,
            early_stopping=False,
            categorical_features=inputs.categorical,
            random_state=seed % 2**32,
        )
        found = np.zeros((int(held.sum()), len(rows.levels)))
        # so few rows gain nothing from threads, which wait for each other on a busy machine
        with threadpool_limits(1, user_api="openmp"):
            model.fit(inputs.compact[~held], rows.codes[~held], sample_weight=weights[~held])
            found[:, model.classes_] = model.predict_proba(inputs.compact[held])
        scores[held] = found[:, list(rows.columns)]
    auc, interval = _area(scores, rows, confidence)
    return ProbeResult(auc, interval, _p_of(auc, interval), len(rows))


def _area(scores: FloatArray, rows: AttributeRows, confidence: float) -> tuple[float, Interval]:
    found = ScoredFolds(scores, rows.codes, rows.columns, rows.folds, rows.weights, rows.units)
    factor = overlap_factor(len(np.unique(rows.folds)))
    return cross_validated_auc(found, variance_factor=factor, confidence=confidence)


def _p_of(auc: float, interval: Interval) -> float:
    """One-sided, of an area of one half, from the wider side of the interval on the logit scale."""
    if not 0.5 < auc < 1:
        return 0.0 if auc == 1 and interval.low > 0.5 else 1.0
    reach = float(logit(auc) - logit(interval.low)) / critical_value(interval.confidence)
    return float(norm.sf(logit(auc) / reach)) if reach > 0 else 1.0


def _out_of_fold(columns: FloatArray, targets: FloatArray, rows: AttributeRows) -> FloatArray:
    """Scores of every row by a model trained on the other folds, one column per target."""
    scores = np.zeros_like(targets)
    for fold in np.unique(rows.folds):
        held = rows.folds == fold
        model = Ridge(alpha=PENALTY, solver="cholesky")
        weights = None if rows.weights is None else rows.weights[~held] / rows.weights[~held].mean()
        model.fit(columns[~held], targets[~held], sample_weight=weights)
        scores[held] = model.predict(columns[held]).reshape(-1, targets.shape[1])
    return np.round(scores, DIGITS)


def _mean_correlation(scores: FloatArray, targets: FloatArray, rows: AttributeRows) -> FloatArray:
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
