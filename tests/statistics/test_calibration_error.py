import numpy as np
import pytest

from auditkit.errors import DataError
from auditkit.statistics.calibration import equal_mass_bins, expected_calibration_error, resampled_errors
from tests.tolerances import FLOAT, statistical


def sample(n, truth, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.beta(2, 2, n)
    return score, (rng.random(n) < truth(score)).astype(float)


def measured(score, outcome, *, n_bins=15, weights=None, seed=0):
    bins = equal_mass_bins(score, outcome, n_bins=n_bins, weights=weights)
    rng = np.random.default_rng(seed)
    return expected_calibration_error(score, outcome, bins, rng=rng, weights=weights)


def test_the_error_of_hand_made_bins_is_exact():
    score = np.array([0.1, 0.1, 0.4, 0.4, 0.8, 0.8])
    outcome = np.array([0, 1, 0, 0, 1, 1])
    bins = equal_mass_bins(score, outcome, n_bins=3)
    assert bins.n.tolist() == [2, 2, 2]
    assert bins.gap.tolist() == pytest.approx([0.4, -0.4, 0.2], **FLOAT)
    assert bins.error == pytest.approx(1 / 3, **FLOAT)


def test_bins_hold_equal_numbers_of_rows():
    score, outcome = sample(1003, lambda s: s)
    bins = equal_mass_bins(score, outcome, n_bins=10)
    assert set(bins.n.tolist()) <= {100, 101}
    assert bins.n.sum() == 1003


def test_equal_scores_share_a_bin_whatever_their_order():
    score = np.array([0.2] * 50 + [0.9] * 3 + [0.95])
    outcome = np.random.default_rng(0).integers(0, 2, 54)
    bins = equal_mass_bins(score, outcome, n_bins=15)
    assert len({*bins.of_row[:50].tolist()}) == 1
    order = np.random.default_rng(1).permutation(54)
    shuffled = equal_mass_bins(score[order], outcome[order], n_bins=15)
    assert shuffled.error == pytest.approx(bins.error, **FLOAT)


def test_whole_weights_equal_repeated_rows():
    score, outcome = sample(60, lambda s: s)
    weights = np.tile([1.0, 2.0, 3.0], 20)
    bins = equal_mass_bins(score, outcome, n_bins=1, weights=weights)
    times = weights.astype(int)
    repeated = equal_mass_bins(np.repeat(score, times), np.repeat(outcome, times), n_bins=1)
    assert bins.error == pytest.approx(repeated.error, **FLOAT)


def test_the_floor_of_one_bin_is_the_mean_absolute_binomial_deviation():
    n = 40
    score, outcome = np.full(n, 0.5), np.repeat([0.0, 1.0], n // 2)
    found = measured(score, outcome, n_bins=1)
    k = np.arange(n + 1)
    chance = np.exp([np.sum(np.log(np.arange(1, n + 1))) - _log_factorials(i, n) - n * np.log(2) for i in k])
    expected = float(chance @ np.abs(k / n - 0.5))
    assert found.floor_interval.low <= expected <= found.floor_interval.high
    assert found.error == 0
    assert found.excess == -found.floor


def _log_factorials(i, n):
    return np.sum(np.log(np.arange(1, i + 1))) + np.sum(np.log(np.arange(1, n - i + 1)))


def test_calibrated_scores_are_seldom_called_miscalibrated():
    runs, shown = 150, 0
    for seed in range(runs):
        found = measured(*sample(400, lambda s: s, seed), seed=seed)
        assert found.interval.low <= found.error <= found.interval.high
        shown += found.interval.low > 0
    assert shown / runs < 0.025 + statistical(runs, p=0.025)


@pytest.mark.proof
def test_planted_overconfidence_is_found_and_covered():
    runs, covered, shown = 60, 0, 0
    for seed in range(runs):
        score, outcome = sample(2000, lambda s: 0.5 + (s - 0.5) * 0.6, seed)
        bins = equal_mass_bins(score, outcome, n_bins=15)
        truth = float(bins.share @ np.abs(0.4 * (bins.score - 0.5)))
        found = measured(score, outcome, seed=seed)
        covered += found.interval.low <= truth <= found.interval.high
        shown += found.excess_interval.low > 0
    assert shown == runs
    assert covered / runs > 0.95 - statistical(runs, p=0.05)


def test_rows_that_were_all_right_do_not_prove_certainty():
    found = measured(np.ones(50), np.ones(50))
    assert found.error == 0
    assert 0.05 < found.interval.high < 0.1


def test_a_single_row_says_nothing():
    found = measured([0.6], [1.0])
    assert (found.interval.low, found.interval.high) == (0.0, 1.0)


def test_resampling_every_row_once_returns_the_error():
    score, outcome = sample(200, lambda s: s)
    bins = equal_mass_bins(score, outcome, n_bins=10)
    assert resampled_errors(score, outcome, np.ones((1, 200)), bins)[0] == pytest.approx(bins.error, **FLOAT)


@pytest.mark.parametrize("score", [[], [1.2], [-0.1], [np.nan]])
def test_scores_that_are_no_probabilities_are_refused(score):
    with pytest.raises(DataError, match=r"scores in \[0, 1\]"):
        equal_mass_bins(score, np.zeros(len(score)), n_bins=5)
