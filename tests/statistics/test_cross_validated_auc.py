"""Areas over folds: DeLong's where there is one fold, scikit-learn's within folds, coverage with persons."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from auditkit.errors import DataError
from auditkit.statistics.auc import auc_delong
from auditkit.statistics.cross_validated_auc import ScoredFolds, cross_validated_auc
from tests.tolerances import FLOAT, statistical


def rows(scores, codes, folds=None, levels=(1,), **more):
    scores, codes = np.asarray(scores, dtype=float), np.asarray(codes)
    folds = np.zeros(len(codes), dtype=int) if folds is None else folds
    return ScoredFolds(scores.reshape(len(codes), -1), codes, levels, folds, **more)


def shifted(rng, n, distance=1.0):
    codes = rng.integers(0, 2, n)
    return rng.normal(size=n) + distance * codes, codes


def test_one_fold_is_delong():
    scores, codes = shifted(np.random.default_rng(0), 500)
    value, interval = cross_validated_auc(rows(scores, codes))
    expected, own = auc_delong(scores[codes == 1], scores[codes == 0])
    assert value == pytest.approx(expected, **FLOAT)
    assert interval.low == pytest.approx(own.low, abs=2e-4)
    assert interval.high == pytest.approx(own.high, abs=2e-4)


def test_scores_of_different_folds_are_never_compared():
    rng = np.random.default_rng(1)
    scores, codes = shifted(rng, 400)
    folds = np.arange(400) % 4
    parts = [roc_auc_score(codes[folds == k], scores[folds == k]) for k in range(4)]
    pairs = [(codes[folds == k] == 1).sum() * (codes[folds == k] == 0).sum() for k in range(4)]
    value, _ = cross_validated_auc(rows(scores + 1000 * folds, codes, folds))
    assert value == pytest.approx(np.average(parts, weights=pairs), **FLOAT)


def test_weights_that_are_whole_numbers_are_repeated_rows():
    rng = np.random.default_rng(2)
    scores, codes = shifted(rng, 120)
    weights = rng.integers(0, 4, 120).astype(float)
    value, _ = cross_validated_auc(rows(scores.round(1), codes, weights=weights))
    repeated = np.repeat(np.arange(120), weights.astype(int))
    assert value == pytest.approx(roc_auc_score(codes[repeated], scores.round(1)[repeated]), **FLOAT)


def test_several_levels_are_the_macro_average_of_scikit_learn():
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 3, 300)
    scores = rng.random((300, 3)) + 0.5 * (codes[:, None] == np.arange(3))
    scores /= scores.sum(axis=1, keepdims=True)
    value, interval = cross_validated_auc(rows(scores, codes, levels=(0, 1, 2)))
    assert value == pytest.approx(roc_auc_score(codes, scores, multi_class="ovr"), **FLOAT)
    assert interval.low < value < interval.high


def test_perfect_scores_are_not_certain():
    value, interval = cross_validated_auc(rows(np.arange(20), np.arange(20) >= 10))
    assert value == 1.0
    assert interval.low < 0.95
    assert interval.high == 1.0


def test_one_level_alone_is_refused():
    with pytest.raises(DataError, match="fold"):
        cross_validated_auc(rows([1.0, 2.0], [1, 1]))


@pytest.mark.parametrize("per_person", [1, 4])
def test_intervals_cover_the_area_also_where_rows_share_persons(per_person):
    """Half of the spread belongs to the person; five folds, persons kept together."""
    rng, covered = np.random.default_rng(per_person), 0
    truth = float(norm.cdf(1 / np.sqrt(2)))
    for _ in range(400):
        person = np.repeat(np.arange(160), per_person)
        codes = rng.permutation(np.arange(160) % 2)[person]
        own = rng.normal(size=160)[person] * np.sqrt(0.5)
        scores = own + rng.normal(size=len(person)) * np.sqrt(0.5) + codes
        folds = (rng.permutation(160) % 5)[person]
        _, interval = cross_validated_auc(rows(scores, codes, folds, units=person))
        covered += interval.low <= truth <= interval.high
    assert abs(covered / 400 - 0.95) < statistical(400, p=0.95)
