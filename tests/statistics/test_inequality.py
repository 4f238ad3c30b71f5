"""Indices of inequality and differential fairness: definitions row by row, and coverage."""

import itertools
import math

import numpy as np
import pytest

from auditkit.errors import DataError
from auditkit.statistics.inequality import (
    BENEFITS,
    between_groups,
    differential_fairness,
    generalized_entropy,
    index_intervals,
    theil_index,
)
from tests.tolerances import statistical

EXACTLY = 1e-12


def entropy_by_rows(benefits, alpha):
    """Generalised entropy as defined, one person at a time."""
    mean = sum(benefits) / len(benefits)
    ratios = [b / mean for b in benefits]
    if alpha == 1:
        return sum(r * math.log(r) if r else 0.0 for r in ratios) / len(ratios)
    return sum(r**alpha - 1 for r in ratios) / (len(ratios) * alpha * (alpha - 1))


@pytest.mark.parametrize("counts", [(3, 5, 2), (0, 7, 1), (4, 0, 1), (0, 9, 0)])
def test_indices_follow_from_how_many_have_which_benefit(counts):
    people = np.repeat(BENEFITS, counts).tolist()
    assert float(generalized_entropy(counts)) == pytest.approx(entropy_by_rows(people, 2), abs=EXACTLY)
    assert float(theil_index(counts)) == pytest.approx(entropy_by_rows(people, 1), abs=EXACTLY)


def test_without_any_benefit_indices_are_undefined():
    assert np.isnan(generalized_entropy([5, 0, 0]))
    assert np.isnan(theil_index([5, 0, 0]))


def test_between_groups_everyone_has_the_mean_of_their_group():
    counts = np.array([[3, 5, 2], [1, 8, 4], [0, 2, 0]])
    people = np.repeat(counts @ BENEFITS / counts.sum(axis=1), counts.sum(axis=1)).tolist()
    value, interval = between_groups(counts, confidence=0.95)
    assert value == pytest.approx(entropy_by_rows(people, 2), abs=EXACTLY)
    assert interval.low <= value <= interval.high


def test_between_groups_needs_groups_with_rows():
    with pytest.raises(DataError, match="two groups"):
        between_groups([[1, 2, 3]], confidence=0.95)


def test_differential_fairness_is_the_largest_of_all_smoothed_log_ratios():
    counts = np.array([[30, 10, 4], [5, 5, 0], [40, 60, 20]])
    smoothed = (counts + 1 / 3) / (counts.sum(axis=1, keepdims=True) + 1)
    expected = max(
        abs(math.log(smoothed[a, y] / smoothed[b, y]))
        for a, b in itertools.combinations(range(3), 2)
        for y in range(3)
    )
    found = differential_fairness(counts, confidence=0.95)
    assert found.value == pytest.approx(expected, abs=EXACTLY)
    assert found.interval.low <= found.value <= found.interval.high


def test_one_group_or_one_outcome_has_no_differential_fairness():
    assert differential_fairness([[3, 4]], confidence=0.95) is None
    assert differential_fairness([[3], [4]], confidence=0.95) is None
    with pytest.raises(DataError, match="no rows"):
        differential_fairness([[3, 4], [0, 0]], confidence=0.95)


EPSILON = {
    "equal": ((100, 100, 100), (0.5, 0.5, 0.5)),
    "six equal": ((300,) * 6, (0.3,) * 6),
    "uneven sizes, equal": ((500, 50, 30), (0.2, 0.2, 0.2)),
    "apart": ((200, 100, 60), (0.2, 0.4, 0.3)),
    "two apart": ((300, 300), (0.5, 0.4)),
    "small ones apart": ((2000, 1000, 40, 20), (0.5, 0.35, 0.3, 0.6)),
}


def coverage_of_epsilon(sizes, rates, runs):
    n, p = np.array(sizes), np.array(rates)
    smoothed = [np.log((n * q + 0.5) / (n + 1)) for q in (p, 1 - p)]
    truth = max(np.ptp(one) for one in smoothed)
    rng, covered = np.random.default_rng(0), 0
    for _ in range(runs):
        x = rng.binomial(n, p)
        interval = differential_fairness(np.column_stack([x, n - x]), confidence=0.95).interval
        covered += interval.low <= truth <= interval.high
    return covered / runs


@pytest.mark.parametrize("design", ["equal", "two apart"])
def test_differential_fairness_is_covered(design):
    runs = 400
    assert coverage_of_epsilon(*EPSILON[design], runs) > 0.95 - statistical(runs, p=0.05, k=3)


@pytest.mark.proof
@pytest.mark.parametrize("design", EPSILON)
def test_differential_fairness_is_covered_as_often_as_stated(design):
    assert coverage_of_epsilon(*EPSILON[design], 3000) >= 0.93


BETWEEN = {
    "equal": ((100, 100, 100), [[0.1, 0.8, 0.1]] * 3),
    "apart": ((300, 200), [[0.1, 0.8, 0.1], [0.2, 0.75, 0.05]]),
    "uneven spread": ((400, 40, 200), [[0.05, 0.9, 0.05], [0.4, 0.5, 0.1], [0.1, 0.7, 0.2]]),
}


@pytest.mark.proof
@pytest.mark.parametrize("design", BETWEEN)
def test_inequality_between_groups_is_covered(design):
    sizes, shares = (np.array(part) for part in BETWEEN[design])
    means, runs, covered = shares @ BENEFITS, 600, 0
    mean = sizes @ means / sizes.sum()
    truth = sizes @ (means - mean) ** 2 / sizes.sum() / (2 * mean**2)
    rng = np.random.default_rng(1)
    for _ in range(runs):
        counts = np.array([rng.multinomial(n, p) for n, p in zip(sizes, shares, strict=True)])
        _, interval = between_groups(counts, confidence=0.95)
        covered += interval.low - EXACTLY <= truth <= interval.high
    assert covered / runs > 0.95 - statistical(runs, p=0.05)


@pytest.mark.parametrize("shares", [(0.1, 0.8, 0.1), (0.02, 0.95, 0.03)])
def test_indices_are_covered(shares):
    rng, runs, covered = np.random.default_rng(2), 300, np.zeros(2)
    truth = (float(generalized_entropy(shares)), float(theil_index(shares)))
    for _ in range(runs):
        intervals = index_intervals(rng.multinomial(200, shares), confidence=0.95, rng=rng)
        covered += [one.low <= value <= one.high for one, value in zip(intervals, truth, strict=True)]
    assert (covered / runs > 0.95 - statistical(runs, p=0.05)).all()
