"""Rates and changes of weighted rows that share persons: closed forms, plain ones, coverage."""

import numpy as np
import pytest

from auditkit.errors import DataError
from auditkit.statistics.clustered import clustered_change, clustered_mean, clustered_rate
from auditkit.statistics.intervals import mean_interval, wilson
from auditkit.statistics.paired import tango
from tests.tolerances import FLOAT, statistical


def test_without_weights_and_persons_a_rate_is_wilsons():
    hits = np.arange(100) < 30
    value, interval = clustered_rate(hits)
    assert value == pytest.approx(0.3, **FLOAT)
    assert interval.low == pytest.approx(wilson(30, 100).low, **FLOAT)
    assert interval.high == pytest.approx(wilson(30, 100).high, **FLOAT)


def test_rows_of_a_person_that_are_all_alike_count_as_one():
    hits, persons = np.repeat(np.arange(60) < 20, 5), np.repeat(np.arange(60), 5)
    value, interval = clustered_rate(hits, units=persons)
    assert value == pytest.approx(1 / 3, **FLOAT)
    # the factor C / (C - 1) of the variance leaves 59 of 60 persons
    assert interval.high == pytest.approx(wilson(59 / 3, 59).high, **FLOAT)


@pytest.mark.parametrize("hit", [True, False])
def test_no_spread_counts_persons(hit):
    _, interval = clustered_rate(np.full(50, hit), units=np.repeat(np.arange(10), 5))
    _, ten = clustered_rate(np.full(10, hit))
    assert (interval.low, interval.high) == pytest.approx((ten.low, ten.high), **FLOAT)


def test_integer_weights_give_the_rate_of_repeated_rows():
    rng = np.random.default_rng(0)
    hits, weights = rng.random(50) < 0.4, rng.integers(0, 4, 50)
    value, _ = clustered_rate(hits, weights=weights)
    assert value == pytest.approx(float(np.repeat(hits, weights).mean()), **FLOAT)


def test_a_change_of_independent_rows_is_tangos():
    steps = np.concatenate([np.ones(7), -np.ones(3), np.zeros(30)])
    value, interval = clustered_change(steps)
    assert value == pytest.approx(0.1, **FLOAT)
    expected = tango(7, 3, 40)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), **FLOAT)


def test_a_mean_of_independent_rows_is_students():
    x = np.random.default_rng(1).normal(size=30)
    value, interval = clustered_mean(x)
    assert value == pytest.approx(x.mean(), **FLOAT)
    assert interval == mean_interval(x)


def test_intervals_cover_a_rate_whose_rows_share_persons():
    """150 persons of 1 to 6 rows; a person's own rate is Beta(2, 3), the truth 0.4."""
    rng, covered, plain = np.random.default_rng(2), 0, 0
    for _ in range(600):
        sizes = rng.integers(1, 7, 150)
        persons = np.repeat(np.arange(150), sizes)
        hits = rng.random(len(persons)) < np.repeat(rng.beta(2, 3, 150), sizes)
        _, interval = clustered_rate(hits, units=persons)
        covered += interval.low <= 0.4 <= interval.high
        _, naive = clustered_rate(hits)
        plain += naive.low <= 0.4 <= naive.high
    assert abs(covered / 600 - 0.95) < statistical(600, p=0.95)
    assert plain < covered


@pytest.mark.parametrize("call", [clustered_rate, clustered_change, clustered_mean])
def test_rows_without_weight_are_refused(call):
    with pytest.raises(DataError, match="weight"):
        call([True, False], weights=[0.0, 0.0])
