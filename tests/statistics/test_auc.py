import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from auditkit.errors import DataError
from auditkit.statistics.auc import auc_change_delong, auc_delong, tpr_at_fpr
from auditkit.statistics.intervals import clopper_pearson
from tests.statistics import reference
from tests.tolerances import FLOAT, statistical


def scores(n_in, n_out, distance, seed=0, decimals=None):
    rng = np.random.default_rng(seed)
    high, low = rng.normal(distance, 1, n_in), rng.normal(0, 1, n_out)
    return (high, low) if decimals is None else (high.round(decimals), low.round(decimals))


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_the_area_equals_counting_pairs_and_scikit_learn(decimals):
    high, low = scores(40, 70, 0.8, decimals=decimals)
    value, _ = auc_delong(high, low)
    assert value == pytest.approx(reference.auc(high, low), **FLOAT)
    truth = np.repeat([1, 0], [40, 70])
    assert value == pytest.approx(roc_auc_score(truth, np.concatenate([high, low])), **FLOAT)


def test_the_interval_is_delongs_on_the_logit_scale():
    high, low = scores(120, 150, 0.8)
    value, interval = auc_delong(high, low)
    reach = norm.ppf(0.975) * np.sqrt(reference.auc_variance(high, low)) / (value * (1 - value))
    assert interval.low == pytest.approx(expit(logit(value) - reach), **FLOAT)
    assert interval.high == pytest.approx(expit(logit(value) + reach), **FLOAT)
    assert interval.method == "delong-logit"


@pytest.mark.parametrize(
    ("high", "low", "value"),
    [([3.0, 4.0], [1.0, 2.0], 1.0), ([1.0, 2.0], [3.0, 4.0], 0.0), ([5.0], [5.0], 0.5)],
)
def test_few_scores_never_look_certain(high, low, value):
    found, interval = auc_delong(high, low)
    assert found == value
    assert interval.high - interval.low > 0.3


def test_swapping_the_kinds_mirrors_area_and_interval():
    high, low = scores(40, 70, 0.8)
    value, interval = auc_delong(high, low)
    mirrored, mirror = auc_delong(low, high)
    assert mirrored == pytest.approx(1 - value, **FLOAT)
    assert (mirror.low, mirror.high) == pytest.approx((1 - interval.high, 1 - interval.low), **FLOAT)


@pytest.mark.parametrize(
    ("area", "n_in", "n_out"), [(0.5, 100, 100), (0.8, 20, 50), (0.95, 30, 300), (0.99, 30, 300)]
)
def test_areas_are_covered(area, n_in, n_out):
    rng, runs = np.random.default_rng(1), 600
    distance = norm.ppf(area) * np.sqrt(2)
    covered = 0
    for _ in range(runs):
        _, interval = auc_delong(rng.normal(distance, 1, n_in), rng.normal(0, 1, n_out))
        covered += interval.low <= area <= interval.high
    assert covered / runs > 0.94 - statistical(runs, p=0.05)


def test_change_of_the_area_knows_that_the_rows_are_the_same():
    rng, runs, n = np.random.default_rng(2), 400, 120
    covered, width, unpaired = 0, 0.0, 0.0
    truth = norm.cdf(1 / np.sqrt(2 * 1.25)) - norm.cdf(1 / np.sqrt(2))
    for _ in range(runs):
        high, low = rng.normal(1, 1, n), rng.normal(0, 1, n)
        noisy = high + rng.normal(0, 0.5, n), low + rng.normal(0, 0.5, n)
        value, interval = auc_change_delong((high, low), noisy)
        covered += interval.low <= truth <= interval.high
        width += interval.high - interval.low
        unpaired += sum(i.high - i.low for _, i in (auc_delong(high, low), auc_delong(*noisy))) / np.sqrt(2)
        assert value == pytest.approx(auc_delong(*noisy)[0] - auc_delong(high, low)[0], **FLOAT)
    assert covered / runs > 0.94 - statistical(runs, p=0.05)
    assert width < 0.75 * unpaired


def test_unchanged_scores_leave_room_for_changes_elsewhere():
    high, low = scores(40, 70, 0.8)
    value, interval = auc_change_delong((high, low), (high, low))
    room = clopper_pearson(0, 40).high + clopper_pearson(0, 70).high
    assert value == 0
    assert (interval.low, interval.high) == pytest.approx((-room, room), **FLOAT)


def test_two_scorings_of_other_rows_are_refused():
    with pytest.raises(DataError, match="score the same rows twice"):
        auc_change_delong(([1.0], [0.0]), ([1.0, 2.0], [0.0]))


@pytest.mark.parametrize(
    ("fpr", "expected"), [(0.0, 2 / 4), (0.25, 2 / 4), (0.5, 3 / 4), (0.75, 3 / 4), (1.0, 1.0)]
)
def test_the_threshold_admits_no_more_false_positives_than_allowed(fpr, expected):
    value, _ = tpr_at_fpr([9.0, 8.0, 5.0, 1.0], [7.0, 6.0, 3.0, 2.0], fpr=fpr)
    assert value == expected


def test_ties_with_the_threshold_do_not_count():
    value, interval = tpr_at_fpr([1.0] * 50, [1.0] * 50, fpr=0.1)
    assert value == interval.low == 0
    assert interval.high < 0.1


def test_a_rate_that_is_a_whole_number_of_rows_is_not_rounded_down():
    others = np.arange(100.0)
    value, _ = tpr_at_fpr(others + 0.5, others, fpr=0.29)
    assert value == 0.30


def test_too_few_others_leave_the_rate_unbounded_from_below():
    members, others = np.full(100, 10.0), np.arange(100) / 100
    value, interval = tpr_at_fpr(members, others, fpr=0.001)
    assert value == 1.0
    assert interval.low == 0.0


@pytest.mark.parametrize(("fpr", "distance", "n_out"), [(0.01, 1.0, 1000), (0.1, 0.0, 300), (0.1, 2.0, 300)])
def test_rates_at_a_fixed_false_positive_rate_are_covered(fpr, distance, n_out):
    rng, runs = np.random.default_rng(3), 400
    truth = norm.sf(norm.isf(fpr) - distance)
    covered = 0
    for _ in range(runs):
        _, interval = tpr_at_fpr(rng.normal(distance, 1, 300), rng.normal(0, 1, n_out), fpr=fpr)
        covered += interval.low <= truth <= interval.high
    assert covered / runs > 0.95 - statistical(runs, p=0.05)


@pytest.mark.parametrize("bad", [[], [[1.0]], [np.nan], [np.inf]])
@pytest.mark.parametrize("measure", [auc_delong, lambda a, b: tpr_at_fpr(a, b, fpr=0.1)])
def test_scores_that_cannot_be_ranked_are_refused(measure, bad):
    with pytest.raises(DataError, match="in_scores"):
        measure(bad, [0.0, 1.0])
    with pytest.raises(DataError, match="out_scores"):
        measure([0.0, 1.0], bad)


def test_a_false_positive_rate_outside_its_range_is_refused():
    with pytest.raises(DataError, match=r"got 1\.5"):
        tpr_at_fpr([1.0], [0.0], fpr=1.5)
