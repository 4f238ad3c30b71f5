"""The mean over rows that got the value of another row: its interval knows that rows lend as well as ask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.errors import DataError
from auditkit.statistics.exchanged_values import exchanged_mean
from tests.tolerances import FLOAT, statistical


def cyclic(n):
    """Every row gets the value of every row once."""
    return np.stack([(np.arange(n) + shift) % n for shift in range(n)])


def parts_of(asked, lent, donors):
    return asked[None, :] + lent[donors]


def test_parts_of_the_asked_and_the_lending_row_cancel():
    """What a row adds when asked and takes away when lending leaves the mean at 0 for any rows: no error."""
    rng = np.random.default_rng(0)
    part, donors = rng.normal(size=50), np.stack([rng.permutation(50) for _ in range(10)])
    value, interval = exchanged_mean(parts_of(part, -part, donors), donors)
    assert value == pytest.approx(0.0, **FLOAT)
    assert interval.high - interval.low < 1e-4


def test_parts_that_agree_have_the_variance_of_their_sum():
    rng = np.random.default_rng(1)
    part, donors = rng.normal(size=40), cyclic(40)
    _, interval = exchanged_mean(parts_of(part, part, donors), donors)
    alone = exchanged_mean(parts_of(2 * part, 0 * part, donors), donors)[1]
    assert interval.high - interval.low == pytest.approx(alone.high - alone.low, rel=1e-3)


def test_rows_of_one_person_do_not_count_as_many():
    rng = np.random.default_rng(2)
    part, donors = rng.normal(size=30), np.stack([rng.permutation(30) for _ in range(10)])
    once = exchanged_mean(parts_of(part, 0 * part, donors), donors)[1]
    twice_donors = np.concatenate([donors, donors + 30], axis=1)
    twice = np.tile(part, 2)
    apart = exchanged_mean(parts_of(twice, 0 * twice, twice_donors), twice_donors)[1]
    persons = np.tile(np.arange(30), 2)
    together = exchanged_mean(parts_of(twice, 0 * twice, twice_donors), twice_donors, units=persons)[1]
    assert together.high - together.low == pytest.approx(once.high - once.low, rel=1e-3)
    assert apart.high - apart.low < 0.75 * (once.high - once.low)


@pytest.mark.parametrize("weight", [0.3, 1.0])
def test_an_input_without_a_say_in_the_outcome_is_covered_as_often_as_stated(weight):
    """The model uses it, the outcome does not hang on it: the expected rise of the squared error is 0."""
    rng, runs, covered = np.random.default_rng(3), 300, 0
    for _ in range(runs):
        error, value = rng.normal(size=(2, 120))
        donors = np.stack([rng.permutation(120) for _ in range(10)])
        changes = (error - weight * value[donors]) ** 2 - (error - weight * value) ** 2
        _, interval = exchanged_mean(changes, donors)
        covered += interval.low <= 0 <= interval.high
    assert abs(covered / runs - 0.95) < statistical(runs, p=0.95)


def test_a_single_row_has_a_mean_and_no_interval():
    assert exchanged_mean(np.zeros((3, 1)), np.zeros((3, 1), dtype=np.int64)) == (0.0, None)
    assert exchanged_mean(np.ones((1, 2)), np.array([[1, 0]]), units=np.array([4, 4]))[1] is None


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="n_permutations, n"):
        exchanged_mean(np.zeros((2, 3)), np.zeros((3, 2), dtype=np.int64))


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10_000), st.floats(-5, 5))
def test_a_constant_moves_the_mean_and_not_the_width(seed, shift):
    rng = np.random.default_rng(seed)
    donors = np.stack([rng.permutation(12) for _ in range(4)])
    changes = rng.normal(size=(4, 12))
    value, interval = exchanged_mean(changes, donors)
    moved, shifted = exchanged_mean(changes + shift, donors)
    assert moved == pytest.approx(value + shift, rel=1e-9, abs=1e-9)
    assert shifted.high - shifted.low == pytest.approx(interval.high - interval.low, rel=1e-6)
