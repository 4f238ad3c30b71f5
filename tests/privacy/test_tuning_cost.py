"""What a private tuning spends, against plain ways to compute it, and what it comes to with other runs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from auditkit.errors import UsageError
from auditkit.privacy.accounting import RDP_ORDERS, epsilon_from_rdp, rdp_curve
from auditkit.privacy.composition import RDP_ACCOUNTANT, SPLIT_ACCOUNTANT, composed, quick_rdp
from auditkit.privacy.tuning_cost import (
    _poisson,
    check_mean,
    epsilon_of_tuning,
    failure_of_tuning,
    logarithmic_gamma,
    tuned_curve,
)
from auditkit.privacy.tuning_plan import SCORE_SHARE, plan_tuning
from auditkit.records import Spending, Tuned
from tests.tolerances import FLOAT

DELTA = 1e-5
SIGMA = 2.0
LAWS = [("poisson", 1.0), ("poisson", 6.0), ("geometric", 4.0), ("logarithmic", 3.0)]


def spending(sigma: float, q: float, steps: int) -> Spending:
    return Spending(noise_multiplier=sigma, sample_rate=q, steps=steps)


def tuned(*alternatives: tuple[Spending, ...], law: str = "poisson", mean: float = 6.0) -> Tuned:
    return Tuned(law=law, mean=mean, alternatives=alternatives)


GAUSSIAN = (spending(SIGMA, 1.0, 1),)
TRAINING = spending(2.0, 0.1, 120)


def slope(law: str, mean: float, x: np.ndarray) -> np.ndarray:
    """The derivative of the generating function of the number of runs."""
    if law == "poisson":
        return mean * np.exp(mean * (x - 1))
    if law == "geometric":
        gamma = 1 / mean
        return gamma / (1 - (1 - gamma) * x) ** 2
    gamma = logarithmic_gamma(mean)
    return (1 - gamma) / ((1 - (1 - gamma) * x) * math.log(1 / gamma))


def divergence(law: str, mean: float, order: float, shifts: tuple[float, float], *, highest: bool) -> float:
    """Rényi divergence of the best of the runs on two neighbours, summed over a fine grid of outputs.

    Each run gives a normal value around one of ``shifts``; the best is the highest or the lowest of them.
    """
    outputs, step = np.linspace(-60, 60, 24_001, retstep=True)
    logs = []
    for shift in shifts:
        below = (norm.cdf if highest else norm.sf)(outputs, shift, SIGMA)
        logs.append(norm.logpdf(outputs, shift, SIGMA) + np.log(slope(law, mean, below)))
    none = math.exp(-mean) if law == "poisson" else 0.0
    moment = none + float(np.exp(order * logs[0] - (order - 1) * logs[1]).sum()) * step
    return math.log(moment) / (order - 1)


@pytest.mark.parametrize(("law", "mean"), LAWS)
@pytest.mark.parametrize("shifts", [(0.0, 1.0), (1.0, 0.0)], ids=["removed", "added"])
def test_the_divergence_of_the_best_run_is_within_the_bound(law, mean, shifts):
    curve = dict(zip(RDP_ORDERS, tuned_curve(tuned(GAUSSIAN, law=law, mean=mean)), strict=True))
    for order in (1.1, 2.0, 8.0, 32.0):
        exact = max(divergence(law, mean, order, shifts, highest=highest) for highest in (True, False))
        assert order / (2 * SIGMA**2) * 0.5 < exact <= curve[order]


def test_the_poisson_bound_is_the_formula_of_the_paper():
    """Written anew with closed forms: RDP of a Gaussian, its delta by the simpler conversion of Mironov."""
    mean, curve = 6.0, tuned_curve(tuned(GAUSSIAN, mean=6.0))
    for order, found in zip(RDP_ORDERS, curve, strict=True):
        threshold = math.log1p(1 / (order - 1))
        others = np.array(RDP_ORDERS)
        looser = np.exp(np.minimum(0, (others - 1) * (others / (2 * SIGMA**2) - threshold))).min()
        exact = norm.cdf(0.5 / SIGMA - threshold * SIGMA) - math.exp(threshold) * norm.cdf(
            -0.5 / SIGMA - threshold * SIGMA
        )
        own = order / (2 * SIGMA**2) + math.log(mean) / (order - 1)
        assert own + mean * exact <= found <= own + mean * looser + 1e-12


def test_the_geometric_bound_is_the_formula_of_the_paper():
    gamma, orders = 0.1, np.array(RDP_ORDERS)
    rdp = orders / (2 * SIGMA**2)
    second = min((1 - 1 / o) * r + math.log(1 / gamma) / o for o, r in zip(orders, rdp, strict=True))
    expected = rdp + 2 * second + math.log(10) / (orders - 1)
    np.testing.assert_allclose(tuned_curve(tuned(GAUSSIAN, law="geometric", mean=10.0)), expected)


def test_of_several_alternatives_the_dearest_counts_at_each_order():
    few, many = (spending(2.0, 0.1, 50), GAUSSIAN[0]), (spending(2.0, 0.1, 90), GAUSSIAN[0])
    both = tuned_curve(tuned(few, many, few))
    np.testing.assert_array_equal(both, tuned_curve(tuned(many)))
    assert (both > tuned_curve(tuned(few))).all()


def test_a_tuning_fails_as_often_as_a_run_times_the_runs_expected():
    failing = TRAINING.model_copy(update={"failure_probability": 1e-8})
    sure, unsure = tuned((TRAINING, GAUSSIAN[0]), (TRAINING,)), tuned((failing, GAUSSIAN[0]), (TRAINING,))
    assert failure_of_tuning(unsure) == pytest.approx(6e-8)
    assert epsilon_of_tuning(unsure, DELTA) == epsilon_of_tuning(sure, DELTA - 6e-8)
    assert epsilon_of_tuning(unsure, 6e-8) == math.inf
    assert composed([], DELTA, [unsure]).epsilon == pytest.approx(epsilon_of_tuning(unsure, DELTA), **FLOAT)


def test_fewer_than_one_run_expected_is_refused():
    """The formula would say less than nothing there, and the divergence of the best run is positive."""
    check_mean("poisson", 1.0)
    assert divergence("poisson", 0.5, 2.0, (0.0, 1.0), highest=True) > 0
    assert _poisson(np.array(RDP_ORDERS), rdp_curve(SIGMA, 1.0, 1), 0.5).min() < 0
    with pytest.raises(UsageError, match=r"a mean of at least 1, got 0\.5"):
        tuned_curve(tuned(GAUSSIAN, mean=0.5))


@pytest.mark.parametrize(("law", "epsilon"), [("poisson", 8.0), ("geometric", 1.0)])
def test_the_planned_noise_is_the_least_that_keeps_within_epsilon(law, epsilon):
    plan = plan_tuning(epsilon, DELTA, law=law, mean=4.0, trainings=[(0.2, 20), (0.2, 10)])
    assert 0.995 * epsilon < epsilon_of_tuning(plan, DELTA) <= epsilon
    (training, score), (shorter, same) = plan.alternatives
    assert (training.steps, shorter.steps) == (20, 10)
    assert training.noise_multiplier == shorter.noise_multiplier
    assert (score.sample_rate, score.steps) == (1.0, 1)
    assert same == score
    louder = score.noise_multiplier * math.sqrt(SCORE_SHARE)
    alone = Tuned(law=law, mean=4.0, alternatives=((spending(louder, 1.0, 1),),))
    assert epsilon_of_tuning(alone, DELTA) == pytest.approx(epsilon, rel=0.01)


def test_a_tuning_and_a_training_come_to_no_less_than_either():
    tuning = tuned((TRAINING, spending(8.0, 1.0, 1)))
    both = composed([TRAINING], DELTA, [tuning])
    alone = [composed([TRAINING], DELTA), composed([], DELTA, [tuning])]
    assert max(one.epsilon for one in alone) < both.epsilon < sum(one.epsilon for one in alone)
    assert alone[1].epsilon == pytest.approx(epsilon_of_tuning(tuning, DELTA), **FLOAT)
    assert (alone[1].accountant, alone[1].prv) == (RDP_ACCOUNTANT, None)


CHEAP = tuned((spending(40.0, 0.1, 120), spending(80.0, 1.0, 1)), mean=1.0)
DEAR = tuned((TRAINING, spending(8.0, 1.0, 1)))


@pytest.mark.parametrize(
    ("tuning", "accountant"), [(CHEAP, SPLIT_ACCOUNTANT), (DEAR, RDP_ACCOUNTANT)], ids=["cheap", "dear"]
)
def test_with_a_tuning_the_bound_is_the_smaller_of_rdp_and_halves(tuning, accountant):
    found = composed([TRAINING], DELTA, [tuning])
    curve = tuned_curve(tuning)
    rdp = epsilon_from_rdp(curve + rdp_curve(*_values(TRAINING)), RDP_ORDERS, DELTA)[0]
    half = epsilon_from_rdp(curve, RDP_ORDERS, DELTA / 2)[0]
    split = composed([TRAINING], DELTA / 2).epsilon + half
    assert found.rdp == pytest.approx(rdp, **FLOAT)
    assert found.epsilon == pytest.approx(min(rdp, split), **FLOAT)
    assert found.accountant == accountant


def _values(one: Spending) -> tuple[float, float, int]:
    return one.noise_multiplier, one.sample_rate, one.steps


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.floats(1.5, 20), st.integers(1, 200), st.floats(1.0, 12.0))
def test_the_quick_bound_of_tunings_is_never_below_the_full_one(sigma, steps, mean):
    one = tuned((spending(sigma, 0.1, steps),), mean=mean)
    found = composed([TRAINING], DELTA, [one, one])
    assert quick_rdp([TRAINING], DELTA, [one, one]) >= found.epsilon - 1e-9
    assert found.epsilon > composed([TRAINING], DELTA, [one]).epsilon
