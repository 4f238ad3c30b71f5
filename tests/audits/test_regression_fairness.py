"""Errors and predictions by group against Fairlearn, hand formulas and simulations."""

import warnings

import numpy as np
import pytest
from fairlearn.metrics import MetricFrame
from scipy.stats import ks_2samp, wasserstein_distance
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from auditkit.audits.fairness.regression_fairness import RegressionFairness
from auditkit.errors import DataError
from auditkit.statistics.distribution_gaps import GroupedValues, parity_gap, transport_gap
from tests.audits.regression_scenes import measured, value_data
from tests.tolerances import FLOAT, statistical

ORACLE = 1e-12
QUICK = {"n_permutations": 99, "n_bootstrap": 100}


def drawn(n, seed, *, shift=0.0, shares=(0.5, 0.3, 0.2)):
    rng = np.random.default_rng(seed)
    groups = rng.choice(list("abc")[: len(shares)], n, p=shares)
    foretold = rng.normal(10, 2, n)
    outcome = foretold + rng.normal(size=n) - shift * (groups == "b")
    return outcome, foretold, groups


def test_figures_of_groups_are_those_of_fairlearn():
    outcome, foretold, groups = drawn(600, 0, shift=0.4)
    found, _ = measured(RegressionFairness(**QUICK), value_data(outcome, foretold, groups=groups))
    metrics = {
        "mean_absolute_error": mean_absolute_error,
        "root_mean_squared_error": root_mean_squared_error,
        "r2": r2_score,
        "bias": lambda y_true, y_pred: np.mean(y_pred - y_true),
        "mean_prediction": lambda y_true, y_pred: np.mean(y_pred),
    }
    frame = MetricFrame(metrics=metrics, y_true=outcome, y_pred=foretold, sensitive_features=groups)
    for metric in metrics:
        for group in "abc":
            expected = frame.by_group[metric][group]
            assert found[f"{metric}[{group}]"].value == pytest.approx(expected, abs=ORACLE)
        assert found[f"{metric}.difference"].value == pytest.approx(frame.difference()[metric], abs=ORACLE)
    for metric in ("mean_absolute_error", "root_mean_squared_error", "mean_prediction"):
        assert found[f"{metric}.ratio"].value == pytest.approx(frame.ratio()[metric], abs=ORACLE)
    assert found["bounded_group_loss"].value == pytest.approx(
        frame.group_max()["mean_absolute_error"], abs=ORACLE
    )


def test_the_distance_from_all_is_the_share_of_others_times_the_distance_from_them():
    """F_g - F = (1 - share) (F_g - F_rest), so the statistic of Kolmogorov and Smirnov gives it."""
    outcome, foretold, groups = drawn(300, 1)
    foretold = np.round(foretold + (groups == "c"), 1)
    found, _ = measured(RegressionFairness(**QUICK), value_data(outcome, foretold, groups=groups))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # its p-value with ties; only the statistic is used
        expected = max(
            ks_2samp(foretold[groups == g], foretold[groups != g]).statistic * (groups != g).mean()
            for g in "abc"
        )
    assert found["statistical_parity"].value == pytest.approx(expected, **FLOAT)


def test_the_shift_between_groups_is_wassersteins():
    outcome, foretold, groups = drawn(300, 2)
    foretold = foretold + 1.5 * (groups == "b")
    found, _ = measured(RegressionFairness(**QUICK), value_data(outcome, foretold, groups=groups))
    pairs = [("a", "b"), ("a", "c"), ("b", "c")]
    expected = max(wasserstein_distance(foretold[groups == g], foretold[groups == h]) for g, h in pairs)
    assert found["wasserstein"].value == pytest.approx(expected, **FLOAT)
    assert found["wasserstein"].interval.low > 0.5


def test_a_planted_gap_is_found_and_named():
    outcome, foretold, groups = drawn(3000, 3, shift=0.5)
    found, output = measured(RegressionFairness(**QUICK), value_data(outcome, foretold, groups=groups))
    gap = found["bias.difference"]
    assert gap.interval.low > 0.2
    assert "Highest: b" in str(gap.note)
    assert "for b than for" in str(output.evidence[0].title)
    assert abs(gap.value - 0.5) < 0.2


def test_equal_groups_show_no_gap():
    outcome, foretold, groups = drawn(2000, 40)
    found, output = measured(RegressionFairness(**QUICK), value_data(outcome, foretold, groups=groups))
    for metric in ("bias", "mean_absolute_error", "mean_prediction"):
        assert found[f"{metric}.difference"].interval.low == 0
    assert found["statistical_parity"].interval.low == 0
    assert "no gap beyond chance" in str(output.evidence[0].title)
    assert "no difference in distribution" in str(output.evidence[3].title)


def test_unknown_groups_are_kept_and_never_the_benchmark():
    outcome, foretold, groups = drawn(600, 5)
    known = groups.astype(object)
    far = np.arange(600) % 10 == 0
    known[far] = None
    foretold = foretold + 50 * far
    found, output = measured(RegressionFairness(**QUICK), value_data(outcome, foretold, groups=known))
    assert found["bias[unknown]"].value > 40
    assert found["bias.difference"].value < 1
    assert found["mean_prediction.difference"].n == 540
    assert any("60 rows have no known group" in str(note) for note in output.notes)


def test_a_group_of_one_row_has_a_reason_and_takes_part_in_no_gap():
    outcome, foretold, groups = drawn(200, 6, shares=(0.5, 0.5))
    groups = np.append(groups, "c")
    data = value_data(np.append(outcome, 0.0), np.append(foretold, 1000.0), groups=groups)
    found, output = measured(RegressionFairness(**QUICK), data)
    assert found["bias[c]"].value is None
    assert "alone does not tell" in str(found["bias[c]"].missing)
    assert found["bias.difference"].value < 5
    assert any("fewer than 30 rows: c" in str(note) for note in output.notes)


def test_one_group_has_no_gap_but_the_reason():
    outcome, foretold, _ = drawn(50, 7)
    found, _ = measured(RegressionFairness(**QUICK), value_data(outcome, foretold, groups=["a"] * 50))
    assert found["bias[a]"].value is not None
    for metric in ("bias.difference", "mean_absolute_error.ratio", "statistical_parity", "wasserstein"):
        assert "Fewer than two known groups" in str(found[metric].missing)


def test_a_mean_that_may_be_below_zero_has_no_ratio():
    outcome, foretold, groups = drawn(300, 8)
    found, _ = measured(RegressionFairness(**QUICK), value_data(outcome - 10, foretold - 10, groups=groups))
    assert found["mean_prediction.ratio"].value is None
    assert "0 or below" in str(found["mean_prediction.ratio"].missing)


def test_persons_in_two_groups_are_not_dealt_out():
    outcome, foretold, groups = drawn(100, 9, shares=(0.5, 0.5))
    person = np.arange(100) // 2
    found, _ = measured(
        RegressionFairness(**QUICK), value_data(outcome, foretold, groups=groups, person=person)
    )
    assert "rows in two groups" in str(found["statistical_parity"].missing)


def test_repeated_rows_of_persons_change_no_figure_and_no_interval():
    outcome, foretold, groups = drawn(120, 10)
    once, _ = measured(RegressionFairness(**QUICK), value_data(outcome, foretold, groups=groups))
    person = np.repeat(np.arange(120), 2)
    twice, _ = measured(
        RegressionFairness(**QUICK),
        value_data(np.repeat(outcome, 2), np.repeat(foretold, 2), groups=np.repeat(groups, 2), person=person),
    )
    for metric, one in once.items():
        if one.value is None or metric.endswith("excess") or metric == "wasserstein":
            continue  # these two draw at random
        assert twice[metric].value == pytest.approx(one.value, **FLOAT)
        assert twice[metric].interval.low == pytest.approx(one.interval.low, **FLOAT)
        assert twice[metric].interval.high == pytest.approx(one.interval.high, **FLOAT)


def test_the_order_of_rows_changes_nothing():
    outcome, foretold, groups = drawn(200, 11)
    order = np.random.default_rng(0).permutation(200)
    one, _ = measured(RegressionFairness(**QUICK), value_data(outcome, foretold, groups=groups))
    other, _ = measured(
        RegressionFairness(**QUICK), value_data(outcome[order], foretold[order], groups=groups[order])
    )
    for metric, figure in one.items():
        if figure.value is not None:
            assert other[metric].value == pytest.approx(figure.value, **FLOAT)


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(DataError, match="weight 0"):
        measured(RegressionFairness(**QUICK), value_data([1.0, 2.0], [1.0, 2.0], groups="ab", weight=[0, 0]))


def grouped(value, group):
    n = len(value)
    return GroupedValues(np.asarray(value, float), np.asarray(group), np.ones(n), np.arange(n))


def test_chance_alone_seldom_gives_a_small_p():
    """Under no difference p is uniform: at most 5 % of samples have p <= 0.05."""
    runs, small = 200, 0
    for run in range(runs):
        rng = np.random.default_rng(run)
        rows = grouped(rng.normal(size=90), rng.permutation(np.repeat([0, 1, 2], 30)))
        small += parity_gap(rows, confidence=0.95, n_permutations=39, rng=rng).p_value <= 0.05
    assert small / runs < 0.05 + statistical(runs, p=0.05)


def test_the_level_of_chance_is_what_equal_groups_show_on_average():
    found, chance = [], []
    for run in range(100):
        rng = np.random.default_rng(run)
        rows = grouped(rng.normal(size=100), np.arange(100) % 2)
        gap = parity_gap(rows, confidence=0.95, n_permutations=39, rng=rng)
        found.append(gap.value)
        chance.append(gap.by_chance)
    assert np.mean(found) == pytest.approx(np.mean(chance), rel=0.1)


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_interval_of_the_shift_holds_the_truth(shift):
    """Two normal distributions apart by ``shift`` are that far apart; the interval is on the safe side."""
    runs, hits = 150, 0
    for run in range(runs):
        rng = np.random.default_rng(run)
        group = np.arange(200) % 2
        rows = grouped(rng.normal(size=200) + shift * group, group)
        gap = transport_gap(rows, confidence=0.95, n_draws=100, rng=rng)
        hits += gap.low <= shift <= gap.high
    assert hits / runs > 0.95 - statistical(runs, p=0.95)


def gap_coverage(runs, *, shift, n=240):
    """Share of samples whose interval of the largest difference in bias holds the truth."""
    hits = 0
    for run in range(runs):
        outcome, foretold, groups = drawn(n, run, shift=shift, shares=(0.4, 0.3, 0.3))
        found, _ = measured(
            RegressionFairness(n_permutations=19, n_bootstrap=50),
            value_data(outcome, foretold, groups=groups),
        )
        interval = found["bias.difference"].interval
        hits += interval.low <= shift <= interval.high
    return hits / runs


def test_the_interval_of_the_largest_gap_holds_although_groups_are_picked():
    runs = 100
    assert gap_coverage(runs, shift=0.0) > 0.95 - statistical(runs, p=0.95)


@pytest.mark.proof
@pytest.mark.parametrize("shift", [0.0, 0.3, 1.0])
def test_the_interval_of_the_largest_gap_holds_in_many_samples(shift):
    assert 0.93 <= gap_coverage(1000, shift=shift) <= 1.0
