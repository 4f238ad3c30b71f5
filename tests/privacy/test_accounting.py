"""Epsilon against published figures, closed forms and a plain reference."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.errors import UsageError
from auditkit.privacy.accounting import default_delta, epsilon_prv, epsilon_rdp, noise_for_epsilon
from auditkit.privacy.second_accountant import contradicts, epsilon_pld
from tests.privacy.reference import discretised_epsilon, gaussian_epsilon

PRV_ERROR = 0.01
"""What the numerical composition may add."""

# noise multiplier, sample rate, steps, delta -> epsilon by RDP, by PRV, and Google's tight PLD figure
GOLDEN = [
    (1.1, 256 / 60000, 14062, 1e-5, 2.597, 2.392, 2.3817),
    (1.3, 256 / 60000, 3515, 1e-5, 0.954, 0.874, 0.8645),
    (10, 4096 / 50000, 875, 1e-5, 0.988, 0.913, 0.9028),
    (3, 4096 / 50000, 2500, 1e-5, 7.098, 6.589, 6.5789),
    (1.54, 1024 / 50000, 1464, 1e-5, 2.608, 2.396, 2.3863),
    (2, 0.1, 100, 1e-4, 2.214, 1.976, 1.9659),
    (0.5, 0.01, 1000, 1e-5, 15.464, 13.372, 13.3608),
    (0.6, 1e-5, 100000, 1e-5, 1.218, 0.052, 0.0483),
]


@pytest.mark.parametrize("row", GOLDEN, ids=str)
def test_epsilon_equals_the_measured_figures_and_bounds_the_tight_one(row):
    *mechanism, rdp, prv, pld = row
    found = epsilon_prv(*mechanism)
    assert found == pytest.approx(prv, abs=1e-3)
    assert epsilon_rdp(*mechanism) == pytest.approx(rdp, abs=1e-3)
    assert pld <= found <= pld + 2 * PRV_ERROR
    assert found <= epsilon_rdp(*mechanism)


@pytest.mark.proof
@pytest.mark.parametrize("row", GOLDEN, ids=str)
def test_the_second_accountant_gives_the_published_figures_and_does_not_contradict(row):
    pytest.importorskip("dp_accounting", reason="the extra `accounting` is not installed")
    *mechanism, _rdp, _prv, pld = row
    found = epsilon_pld(*mechanism)
    assert found == pytest.approx(pld, abs=1e-3)
    assert not contradicts(epsilon_prv(*mechanism), found)


def test_a_bound_below_the_tight_figure_or_far_above_it_is_a_contradiction():
    _, rdp, prv, pld = GOLDEN[0][3:]
    assert not contradicts(prv, pld)
    assert contradicts(2.324, pld)  # the figure of the central limit theorem, which is no bound
    assert contradicts(rdp, pld)
    assert not contradicts(prv, None)


@pytest.mark.parametrize(("sigma", "steps"), [(1.0, 1), (5.0, 10), (0.8, 1), (20.0, 100)])
def test_without_subsampling_epsilon_is_the_closed_form_of_the_gaussian_mechanism(sigma, steps):
    exact = gaussian_epsilon(sigma, 1e-5, steps)
    assert exact <= epsilon_prv(sigma, 1.0, steps, 1e-5) <= exact + 2 * PRV_ERROR
    assert exact <= epsilon_rdp(sigma, 1.0, steps, 1e-5)


@pytest.mark.parametrize("direction", ["add", "remove"])
@pytest.mark.parametrize(
    "mechanism", [(2, 0.1, 100, 1e-4), (1.54, 1024 / 50000, 1464, 1e-5), (1, 0.3, 10, 1e-5)]
)
def test_prv_bounds_both_adding_and_removing_a_row(mechanism, direction):
    reference = discretised_epsilon(*mechanism, direction=direction)
    found = epsilon_prv(*mechanism)
    assert reference <= found + 1e-3
    if direction == "remove":
        assert found <= reference + 2 * PRV_ERROR


def test_the_noise_for_the_published_run_is_found():
    sigma = noise_for_epsilon(3.0, 1e-5, 1024 / 50000, 1464)
    assert sigma == pytest.approx(1.326, abs=0.01)


@pytest.mark.parametrize("epsilon", [0.2, 3.0])
def test_noise_keeps_within_the_budget_and_a_thousandth_less_does_not(epsilon):
    mechanism = {"sample_rate": 0.1, "steps": 50, "delta": 1e-5}
    sigma = noise_for_epsilon(epsilon, **mechanism)
    assert sigma == round(sigma, 3)
    assert epsilon_prv(sigma, 0.1, 50, 1e-5) <= epsilon
    assert epsilon_prv(round(sigma - 0.001, 3), 0.1, 50, 1e-5) > epsilon


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    sigma=st.floats(0.8, 20),
    sample_rate=st.floats(1e-3, 1.0),
    steps=st.integers(1, 300),
)
def test_epsilon_falls_with_noise_and_rises_with_steps(sigma, sample_rate, steps):
    here = epsilon_rdp(sigma, sample_rate, steps, 1e-5)
    assert epsilon_rdp(1.1 * sigma, sample_rate, steps, 1e-5) <= here
    assert epsilon_rdp(sigma, sample_rate, steps + 10, 1e-5) >= here


def test_default_delta_is_below_one_over_n():
    assert default_delta(1000) == 1e-5
    assert default_delta(10**6) == pytest.approx(10**-6.6)
    assert all(default_delta(n) < 1 / n for n in (2, 100, 10**5, 10**8))


@pytest.mark.parametrize(
    ("call", "value"),
    [
        (lambda: epsilon_prv(0.0, 0.1, 10, 1e-5), "noise_multiplier"),
        (lambda: epsilon_prv(1.0, 1.5, 10, 1e-5), "1.5"),
        (lambda: epsilon_rdp(1.0, 0.1, 0, 1e-5), "steps"),
        (lambda: epsilon_rdp(1.0, 0.1, 10, 0.0), "delta"),
        (lambda: epsilon_prv(0.05, 0.5, 1000, 1e-5), "Raise the noise"),
        (lambda: noise_for_epsilon(0.0, 1e-5, 0.1, 10), "got 0"),
        (lambda: noise_for_epsilon(1e-7, 1e-9, 1.0, 10**6), "larger epsilon"),
    ],
)
def test_impossible_accounts_are_refused_with_the_value_and_the_remedy(call, value):
    with pytest.raises(UsageError, match=value):
        call()
