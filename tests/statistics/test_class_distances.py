"""Distances between predictions among several classes: closed forms, and intervals at and off equality."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from auditkit.statistics.class_distances import (
    cramers_v,
    cramers_v_bounds,
    largest_total_variation,
    macro_f1,
    macro_f1_bounds,
    macro_f1_influence,
)
from tests.tolerances import statistical

EQUAL = np.array([[0.5, 0.3, 0.2]] * 3)
APART = np.array([[0.5, 0.3, 0.2], [0.3, 0.3, 0.4], [0.45, 0.3, 0.25]])


def total_variation(shares, n, *, n_draws=400):
    return largest_total_variation(
        np.asarray(shares, dtype=np.float64),
        np.asarray(n, dtype=np.float64),
        confidence=0.95,
        n_draws=n_draws,
        rng=np.random.default_rng(0),
    )


def test_total_variation_is_half_the_sum_of_gaps():
    found = total_variation([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.4, 0.3, 0.3]], [1000, 1000, 1000])
    assert found.value == pytest.approx(0.3, abs=1e-12)
    assert found.pair == (0, 1)
    assert found.low < 0.3 < found.high


def test_groups_without_a_class_in_common_are_as_far_apart_as_can_be():
    found = total_variation([[1, 0], [0, 1]], [500, 500])
    assert found.value == found.high == 1
    assert found.low > 0.9


def test_one_group_has_no_distance():
    assert total_variation([[0.5, 0.5]], [100]) is None


def test_a_handful_of_rows_of_one_class_proves_no_distance():
    assert total_variation([[1, 0, 0], [1, 0, 0]], [3, 3]).high > 0.3


@pytest.mark.parametrize(("shares", "n"), [(EQUAL, (60, 200, 900)), (APART, (200, 150, 400))])
def test_the_interval_of_the_largest_distance_holds_at_equality_and_off_it(shares, n):
    rng, runs, held, above = np.random.default_rng(1), 250, 0, 0
    truth = max(np.abs(a - b).sum() / 2 for a in shares for b in shares)
    for _ in range(runs):
        drawn = np.array([rng.multinomial(size, share) / size for share, size in zip(shares, n, strict=True)])
        found = total_variation(drawn, n)
        held += found.low <= truth <= found.high
        above += found.low > 0
    assert held / runs > 0.95 - statistical(runs, p=0.05)
    if truth == 0:
        assert above / runs < 0.05 + statistical(runs, p=0.05)


def test_what_chance_alone_gives_is_told():
    rng = np.random.default_rng(2)
    drawn = [np.abs(np.subtract(*rng.multinomial(80, EQUAL[0], size=2))).sum() / 160 for _ in range(4000)]
    found = total_variation(EQUAL[:2], (80, 80), n_draws=4000)
    assert found.by_chance == pytest.approx(np.mean(drawn), rel=0.05)


def test_many_groups_take_the_conservative_bound():
    rng = np.random.default_rng(3)
    drawn = rng.multinomial(200, EQUAL[0], size=80) / 200
    found = total_variation(drawn, np.full(80, 200), n_draws=200)
    assert found.low == 0
    assert found.value < found.high


def test_association_is_zero_for_equal_shares_and_one_for_a_copy_of_the_group():
    assert cramers_v(np.array([[30.0, 20, 10], [60, 40, 20]])) == 0
    assert cramers_v(np.diag([10.0, 10.0])) == pytest.approx(1, abs=1e-12)
    assert cramers_v(np.diag([20.0, 30.0, 40.0])) == pytest.approx(1, abs=1e-12)
    low, high = cramers_v_bounds(np.diag([20.0, 30.0, 40.0]), confidence=0.95)
    assert low > 0.8
    assert high == 1


def test_association_follows_bergsma_row_by_row():
    table = np.array([[30.0, 20.0, 15.0], [12.0, 28.0, 25.0]])
    n = table.sum()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / n
    phi2 = ((table - expected) ** 2 / expected).sum() / n
    corrected = max(0.0, phi2 - 2 / (n - 1))
    rows, columns = 2 - 1 / (n - 1), 3 - 4 / (n - 1)
    assert cramers_v(table) == pytest.approx(np.sqrt(corrected / (min(rows, columns) - 1)), abs=1e-12)


@pytest.mark.parametrize(
    "table", [np.array([[5.0, 0.0], [7.0, 0.0]]), np.array([[5.0, 3.0]]), np.zeros((2, 2))]
)
def test_association_needs_two_groups_and_two_classes(table):
    assert cramers_v(table) is None


@pytest.mark.parametrize("shares", [EQUAL, APART])
def test_the_interval_of_the_association_holds(shares):
    rng, runs, held = np.random.default_rng(4), 300, 0
    truth = cramers_v(shares * 1e9)
    for _ in range(runs):
        table = np.array([rng.multinomial(200, share) for share in shares], dtype=np.float64)
        low, high = cramers_v_bounds(table, confidence=0.95)
        held += low - 1e-3 <= truth <= high
    assert held / runs > 0.95 - statistical(runs, p=0.05)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000), n=st.integers(1, 40))
def test_macro_f1_equals_scikit_learn(seed, n):
    rng = np.random.default_rng(seed)
    y_true, y_pred = rng.integers(0, 4, n), rng.integers(0, 4, n)
    counts = np.zeros((1, 4, 4))
    np.add.at(counts[0], (y_true, y_pred), 1)
    expected = f1_score(y_true, y_pred, average="macro", zero_division=0.0)
    assert macro_f1(counts)[0] == pytest.approx(expected, abs=1e-12)
    low, high = macro_f1_bounds(counts, 0.95)
    assert 0 <= low[0] <= expected + 1e-12
    assert expected - 1e-12 <= high[0] <= 1


def test_macro_f1_of_no_rows_is_undefined():
    assert np.isnan(macro_f1(np.zeros((1, 3, 3)))[0])


def test_what_a_row_adds_to_macro_f1_is_the_derivative():
    counts = np.random.default_rng(5).integers(1, 20, (1, 3, 3)).astype(np.float64)
    found, step = macro_f1_influence(counts), 1e-5
    for row in range(3):
        for column in range(3):
            shift = np.zeros((1, 3, 3))
            shift[0, row, column] = step
            slope = (macro_f1(counts + shift) - macro_f1(counts - shift)) / (2 * step)
            assert found[0, row, column] == pytest.approx(slope[0], rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("n", [60, 400])
def test_intervals_of_macro_f1_hold(n):
    shares = np.array([0.2, 0.05, 0.05, 0.04, 0.3, 0.06, 0.05, 0.05, 0.2])
    truth = macro_f1(shares.reshape(1, 3, 3))[0]
    drawn = np.random.default_rng(6).multinomial(n, shares, size=1000).reshape(-1, 3, 3).astype(np.float64)
    low, high = macro_f1_bounds(drawn, 0.95)
    assert ((low <= truth) & (truth <= high)).mean() == pytest.approx(0.95, abs=statistical(1000, p=0.05))
