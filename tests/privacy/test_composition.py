"""Several runs together: against published figures, against Opacus, and cheap enough to follow a schedule."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.errors import UsageError
from auditkit.privacy.accounting import RDP_ORDERS, epsilon_from_rdp, epsilon_prv, epsilon_rdp, rdp_curve
from auditkit.privacy.composition import (
    composed,
    merged,
    quick_rdp,
)
from auditkit.privacy.tuning_cost import tuned_epsilon
from auditkit.records import Spending
from tests.privacy.reference import gaussian_epsilon
from tests.tolerances import FLOAT

DELTA = 1e-5


def spending(sigma: float, q: float, steps: int) -> Spending:
    return Spending(noise_multiplier=sigma, sample_rate=q, steps=steps)


def test_one_run_alone_is_as_before():
    found = composed([spending(1.54, 1024 / 50000, 1464)], DELTA)
    assert found.prv == found.epsilon == epsilon_prv(1.54, 1024 / 50000, 1464, DELTA)
    assert found.rdp == pytest.approx(epsilon_rdp(1.54, 1024 / 50000, 1464, DELTA), **FLOAT)
    assert found.order in RDP_ORDERS


def test_runs_without_subsampling_compose_to_the_closed_form():
    """Gaussian mechanisms together are one whose inverse variances add up."""
    together = composed([spending(4.0, 1.0, 3), spending(2.0, 1.0, 1)], DELTA)
    sigma = (3 / 4.0**2 + 1 / 2.0**2) ** -0.5
    exact = gaussian_epsilon(sigma, DELTA, 1)
    assert exact <= together.epsilon <= exact + 0.02
    assert exact <= together.rdp


def test_equal_steps_are_counted_together_in_any_order():
    parts = [spending(2.0, 0.1, 30), spending(3.0, 0.1, 5), spending(2.0, 0.1, 70)]
    assert merged(parts) == (spending(2.0, 0.1, 100), spending(3.0, 0.1, 5))
    assert composed(parts, DELTA) == composed(parts[::-1], DELTA)


def failing(sigma: float, q: float, steps: int, probability: float) -> Spending:
    return Spending(noise_multiplier=sigma, sample_rate=q, steps=steps, failure_probability=probability)


def test_probabilities_of_failing_of_all_runs_are_taken_off_delta():
    runs = [failing(2.0, 0.1, 30, 1e-7), failing(2.0, 0.1, 30, 2e-7), failing(3.0, 0.1, 5, 3e-7)]
    surely = [spending(2.0, 0.1, 60), spending(3.0, 0.1, 5)]
    found, expected = composed(runs, DELTA), composed(surely, DELTA - 6e-7)
    assert found.epsilon == pytest.approx(expected.epsilon, **FLOAT)
    assert found.rdp == pytest.approx(expected.rdp, **FLOAT)
    assert found.epsilon > composed(surely, DELTA).epsilon
    assert quick_rdp(runs, DELTA) == pytest.approx(quick_rdp(surely, DELTA - 6e-7), **FLOAT)


def test_what_fails_as_often_as_delta_has_no_epsilon():
    assert composed([failing(2.0, 0.1, 30, DELTA)], DELTA).epsilon == math.inf
    assert quick_rdp([failing(2.0, 0.1, 30, DELTA)], DELTA) == math.inf


def test_a_spending_that_cannot_fail_is_written_as_before_failures_were_known():
    assert "failure" not in spending(2.0, 0.1, 30).model_dump_json()
    again = Spending.model_validate_json(failing(2.0, 0.1, 30, 1e-8).model_dump_json())
    assert again.failure_probability == 1e-8


def test_nothing_spent_is_nothing():
    assert composed([], DELTA).epsilon == 0.0
    assert quick_rdp([], DELTA) == 0.0


def test_above_epsilon_100_the_bound_is_that_of_rdp():
    found = composed([spending(0.3, 0.5, 1000)], DELTA)
    assert found.prv is None
    assert found.epsilon == found.rdp > 100


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    st.lists(st.tuples(st.floats(0.7, 20), st.floats(1e-3, 1), st.integers(1, 200)), min_size=1, max_size=4)
)
def test_the_quick_bound_is_never_below_the_full_one_and_grows_with_every_run(runs):
    parts = [spending(*run) for run in runs]
    curve = np.sum([rdp_curve(*run) for run in runs], axis=0)
    full, _ = epsilon_from_rdp(curve, RDP_ORDERS, DELTA)
    assert quick_rdp(parts, DELTA) >= full - 1e-9
    assert quick_rdp(parts, DELTA) >= quick_rdp(parts[:-1], DELTA)


def test_a_schedule_of_two_hundred_entries_is_followed_entry_by_entry():
    parts = [spending(1.3 + 0.003 * index, 0.02, 7) for index in range(200)]
    seen = [quick_rdp(parts[:n], DELTA) for n in (1, 50, 100, 150, 200)]
    assert seen == sorted(seen)
    assert seen[-1] == pytest.approx(2.446, abs=1e-3)


def test_both_bounds_of_one_training_stand_beside_the_smaller():
    found = composed([spending(2.0, 0.1, 100)], 1e-4)
    assert found.epsilon == found.prv == pytest.approx(1.976, abs=1e-3)
    assert found.rdp == pytest.approx(2.214, abs=1e-3)


# The published program of Papernot and Steinke (2022), run on two known trainings.
TUNED = [
    ((9.922, 0.08192, 875), "poisson", 10, 2.31),
    ((9.922, 0.08192, 875), "poisson", 20, 3.46),
    ((9.922, 0.08192, 875), "geometric", 10, 2.12),
    ((9.922, 0.08192, 875), "logarithmic", 21.5, 1.88),
    ((1.401, 0.02048, 1464), "poisson", 10, 6.51),
    ((1.401, 0.02048, 1464), "poisson", 20, 9.70),
    ((1.401, 0.02048, 1464), "geometric", 10, 5.71),
    ((1.401, 0.02048, 1464), "logarithmic", 21.5, 5.24),
]


@pytest.mark.parametrize(("run", "law", "mean", "epsilon"), TUNED)
def test_tuning_costs_what_was_published(run, law, mean, epsilon):
    found = tuned_epsilon([spending(*run)], DELTA, law=law, mean=mean)
    assert found == pytest.approx(epsilon, rel=0.01)
    naive = epsilon_rdp(run[0], run[1], 10 * run[2], DELTA)
    assert epsilon_rdp(*run, DELTA) < found < naive


@pytest.mark.parametrize(("law", "mean"), [("geometric", 1.0), ("poisson", 0.9), ("logarithmic", 0.5)])
def test_a_number_of_runs_that_is_no_choice_is_refused(law, mean):
    with pytest.raises(UsageError, match="mean"):
        tuned_epsilon([spending(2.0, 0.1, 100)], DELTA, law=law, mean=mean)
