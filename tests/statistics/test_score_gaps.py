"""Gaps between score distributions and ROC curves: exact values, and ranges that hold."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import ks_2samp, wasserstein_distance

from auditkit.errors import DataError
from auditkit.statistics.auc import auc_delong
from auditkit.statistics.curve_noise import ScoreBins, roc_noise, selection_noise
from auditkit.statistics.score_gaps import (
    dkw_reach,
    largest_gap_by_chance,
    largest_selection_gap,
    roc_gap_area,
    roc_points,
    selection_gap_area,
)
from tests.tolerances import FLOAT, statistical


def samples(decimals, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random(40).round(decimals), (rng.random(60) ** 2).round(decimals)


@pytest.mark.parametrize("decimals", [9, 1])
def test_the_gap_and_its_area_are_those_of_scipy(decimals):
    first, second = samples(decimals)
    gap, threshold = largest_selection_gap(first, second)
    assert gap == pytest.approx(ks_2samp(first, second).statistic, **FLOAT)
    assert gap == pytest.approx(abs((first > threshold).mean() - (second > threshold).mean()), **FLOAT)
    assert selection_gap_area(first, second) == pytest.approx(wasserstein_distance(first, second), **FLOAT)


@pytest.mark.parametrize("decimals", [9, 1])
def test_the_area_between_roc_curves_is_that_of_a_fine_grid(decimals):
    rng = np.random.default_rng(1)
    curves = [
        (rng.normal(1, 1, 30).round(decimals), rng.normal(0, 1, 40).round(decimals)),
        (rng.normal(0.5, 2, 25).round(decimals), rng.normal(0, 1, 20).round(decimals)),
    ]
    middles = (np.arange(200_000) + 0.5) / 200_000
    first, second = (np.interp(middles, *roc_points(*scores)) for scores in curves)
    assert roc_gap_area(*curves) == pytest.approx(np.abs(first - second).mean(), abs=1e-5)


@pytest.mark.parametrize("decimals", [9, 1])
def test_the_area_under_the_corners_is_the_auc(decimals):
    high, low = samples(decimals, seed=2)
    false_positive, true_positive = roc_points(high, low)
    assert np.trapezoid(true_positive, false_positive) == pytest.approx(auc_delong(high, low)[0], **FLOAT)
    assert (false_positive[0], true_positive[0]) == (0, 0)
    assert (false_positive[-1], true_positive[-1]) == (1, 1)


def test_curves_that_cross_do_not_cancel():
    crossing = ([1.0, 1.0, -1.0, -1.0], [0.0, 0.0]), ([0.5], [0.5])
    assert auc_delong(*crossing[0])[0] == auc_delong(*crossing[1])[0] == 0.5
    # the first curve is 1/2 from 0 to 1, the second the diagonal
    assert roc_gap_area(*crossing) == pytest.approx(0.25, **FLOAT)


def test_equal_groups_have_no_gap():
    scores = [0.1, 0.4, 0.4, 0.8]
    assert largest_selection_gap(scores, scores)[0] == 0
    assert selection_gap_area(scores, scores) == 0
    assert roc_gap_area((scores, [0.2]), (scores, [0.2])) == 0


@pytest.mark.parametrize(("n_1", "n_2"), [(30, 50), (8, 400)])
def test_the_reach_holds_and_is_shorter_than_two_bands(n_1, n_2):
    rng, runs = np.random.default_rng(3), 2000
    reach = dkw_reach(n_1, n_2, error=0.05)

    def deviation(n):
        drawn = np.sort(rng.random((runs, n)), axis=1)
        steps = np.arange(n + 1) / n
        return np.maximum(np.abs(drawn - steps[1:]), np.abs(drawn - steps[:-1])).max(axis=1)

    # the deviations of both curves may add up at one threshold at worst
    assert (deviation(n_1) + deviation(n_2) > reach).mean() < 0.05 + statistical(runs, p=0.05)
    split = sum(np.sqrt(np.log(2 / 0.025) / (2 * n)) for n in (n_1, n_2))
    assert max(np.sqrt(np.log(2 / 0.05) / (2 * n)) for n in (n_1, n_2)) < reach < split


def test_the_gap_by_chance_is_what_equal_groups_show():
    rng = np.random.default_rng(4)
    drawn = [largest_selection_gap(rng.random(100), rng.random(150))[0] for _ in range(400)]
    spread = np.std(drawn) / np.sqrt(len(drawn))
    # the limit is a few per cent above samples of this size
    assert np.mean(drawn) == pytest.approx(largest_gap_by_chance(100, 150), abs=4 * spread + 0.005)


def areas(rng, n, shift):
    """Areas with their reach: of selection rates and of ROC curves, two groups of ``n`` rows per label."""
    first, second = ((rng.normal(1, 1, n), rng.normal(0, 1, n)) for _ in range(2))
    second = second[0] + shift, second[1]
    both = np.concatenate(first), np.concatenate(second)
    bins = ScoreBins.of(np.concatenate(both))
    settings = {"n_draws": 200, "confidence": 0.95, "rng": rng}
    selected = selection_noise([bins.count(one) for one in both], expit(bins.edges), **settings)
    ranked = roc_noise(
        [bins.count(one[0]) for one in (first, second)],
        [bins.count(one[1]) for one in (first, second)],
        **settings,
    )
    return [
        (selection_gap_area(*(expit(one) for one in both)), selected.reach[0]),
        (roc_gap_area(first, second), ranked.reach[0]),
    ]


@pytest.mark.parametrize("n", [12, 150])
def test_equal_groups_show_an_area_as_rarely_as_they_should(n):
    rng, runs = np.random.default_rng(5), 40
    shown = np.array([[value > reach for value, reach in areas(rng, n, 0.0)] for _ in range(runs)])
    assert (shown.mean(axis=0) < 0.05 + statistical(runs, p=0.05)).all()


def test_groups_far_apart_show_an_area():
    for value, reach in areas(np.random.default_rng(6), 150, 2.0):
        assert value > 2 * reach


def test_a_handful_of_rows_never_looks_certain():
    counts = [np.array([1, 0, 0]), np.array([0, 0, 1])]
    noise = selection_noise(
        counts, np.array([0.3, 0.6]), n_draws=200, confidence=0.95, rng=np.random.default_rng(7)
    )
    assert noise.reach[0] > 0.3


def test_equal_scores_share_a_bin():
    bins = ScoreBins.of([0.5] * 10)
    assert bins.count([0.5] * 10).tolist() == [10]
    tied = np.arange(1000) // 10
    counts = ScoreBins.of(tied).count(tied)
    assert counts.sum() == 1000
    assert (counts % 10 == 0).all()


@pytest.mark.parametrize("measure", [largest_selection_gap, selection_gap_area, roc_points])
def test_a_group_without_scores_is_refused(measure):
    with pytest.raises(DataError, match="0 and 1 scores"):
        measure([], [1.0])
