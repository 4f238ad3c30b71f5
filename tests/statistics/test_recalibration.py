"""Calibration intercept and slope: against scikit-learn, planted values, and where there is none."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from auditkit.statistics.recalibration import calibration_intercept, calibration_slope
from tests.tolerances import FLOAT, statistical


def rows(n=300, intercept=0.4, slope=0.7, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.normal(0.3, 1.5, n)
    return score, (rng.random(n) < expit(intercept + slope * score)).astype(float)


def test_the_slope_is_that_of_an_unpenalised_logistic_regression():
    score, outcome = rows()
    value, interval = calibration_slope(score, outcome)
    oracle = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(score[:, None], outcome)
    assert value == pytest.approx(oracle.coef_[0, 0], rel=1e-6)
    assert interval.low < value < interval.high


def test_the_intercept_makes_the_labels_come_out_as_often_as_stated():
    score, outcome = rows()
    value, _ = calibration_intercept(score, outcome)
    assert expit(score + value).sum() == pytest.approx(outcome.sum(), **FLOAT)


def test_shifting_or_stretching_the_scores_is_found_out():
    score, outcome = rows()
    shift, slope = calibration_intercept(score, outcome)[0], calibration_slope(score, outcome)[0]
    assert calibration_intercept(score + 1, outcome)[0] == pytest.approx(shift - 1, **FLOAT)
    assert calibration_slope(2 * score + 5, outcome)[0] == pytest.approx(slope / 2, rel=1e-8)


def test_whole_weights_count_like_repeated_rows():
    score, outcome = rows(80)
    weight = np.arange(80) % 3 + 1
    for figure in (calibration_intercept, calibration_slope):
        weighted, _ = figure(score, outcome, weights=weight)
        repeated, _ = figure(np.repeat(score, weight), np.repeat(outcome, weight))
        assert weighted == pytest.approx(repeated, rel=1e-8)


def test_equal_weights_change_nothing():
    score, outcome = rows(80)
    for figure in (calibration_intercept, calibration_slope):
        plain, interval = figure(score, outcome)
        scaled, same = figure(score, outcome, weights=np.full(80, 7.0))
        assert scaled == pytest.approx(plain, **FLOAT)
        assert (same.low, same.high) == pytest.approx((interval.low, interval.high), **FLOAT)


@pytest.mark.parametrize(
    ("score", "outcome"),
    [
        ([0.0, 1.0, 2.0, 3.0], [0, 0, 1, 1]),
        ([3.0, 2.0, 1.0, 0.0], [0, 0, 1, 1]),
        ([0.0, 1.0, 1.0, 3.0], [0, 0, 1, 1]),
        ([1.0, 1.0, 1.0, 1.0], [0, 1, 0, 1]),
        ([0.0, 1.0, 2.0, 3.0], [1, 1, 1, 1]),
    ],
    ids=["separated", "separated the wrong way", "touching", "constant", "one label"],
)
def test_there_is_no_slope_where_none_is_finite(score, outcome):
    assert calibration_slope(score, outcome) is None


def test_there_is_no_intercept_with_one_label_or_where_a_range_fits_alike():
    assert calibration_intercept([0.0, 1.0], [1, 1]) is None
    assert calibration_intercept([-1000.0, 1000.0], [1, 0]) is None


@pytest.mark.parametrize("n", [40, 300])
def test_planted_values_are_covered(n):
    runs, covered = 300, np.zeros(2)
    for run in range(runs):
        slope = calibration_slope(*rows(n, seed=run))
        shift = calibration_intercept(*rows(n, intercept=0.4, slope=1.0, seed=run))
        covered += [slope[1].low <= 0.7 <= slope[1].high, shift[1].low <= 0.4 <= shift[1].high]
    assert (covered / runs > 0.95 - statistical(runs, p=0.05)).all()
