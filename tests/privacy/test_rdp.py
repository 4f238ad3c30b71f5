"""Rényi DP of a step against Opacus, against an integral, and in closed form."""

import math
import warnings

import numpy as np
import pytest
from opacus.accountants import PRVAccountant
from opacus.accountants.analysis.rdp import compute_rdp
from scipy.integrate import quad

from auditkit.privacy.accounting import RDP_ORDERS, run_prv
from auditkit.privacy.rdp import rdp_of_a_step
from tests.tolerances import FLOAT

ENDED = 1e-11
"""Of a series that Opacus ends at a term of ``exp(-30)``, over the least order less one, 0.01."""

STEPS = [(1.1, 256 / 60000), (10.0, 0.08192), (0.5, 0.01), (0.3, 0.5), (0.6, 1e-5), (3.3, 0.4), (2.0, 0.9)]


@pytest.mark.parametrize(("sigma", "q"), STEPS)
def test_every_order_is_that_of_opacus(sigma, q):
    theirs = compute_rdp(q=q, noise_multiplier=sigma, steps=1, orders=RDP_ORDERS)
    np.testing.assert_allclose(rdp_of_a_step(sigma, q, RDP_ORDERS), theirs, rtol=1e-6, atol=ENDED)


@pytest.mark.parametrize("order", [1.05, 1.5, 2.0, 3.7, 8.0])
@pytest.mark.parametrize(("sigma", "q"), [(1.0, 0.1), (2.0, 0.5), (0.7, 0.02)])
def test_it_is_the_integral_that_defines_it(sigma, q, order):
    """Of the ratio of densities with and without the row, to the power of the order."""

    def integrand(x):
        ratio = 1 - q + q * math.exp((2 * x - 1) / (2 * sigma**2))
        return ratio**order * math.exp(-(x**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))

    expectation, _ = quad(integrand, -15 * sigma, order + 15 * sigma, limit=500, epsabs=1e-13, epsrel=1e-11)
    (found,) = rdp_of_a_step(sigma, q, (order,))
    assert found == pytest.approx(math.log(expectation) / (order - 1), rel=1e-6)


def test_without_sampling_it_is_half_the_order_over_the_variance():
    found = rdp_of_a_step(2.5, 1.0, (1.5, 4.0, 60.0))
    assert found.tolist() == pytest.approx([order / (2 * 2.5**2) for order in (1.5, 4.0, 60.0)], **FLOAT)


def test_an_order_just_above_one_converges_where_half_of_the_rows_are_in_a_step():
    (found,) = rdp_of_a_step(1.0, 0.5, (1.01,))
    (near,) = rdp_of_a_step(1.0, 0.5, (1.02,))
    assert 0 < found < near


def test_what_is_kept_of_it_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        rdp_of_a_step(1.0, 0.5, (2.0, 3.0))[0] = 1.0


@pytest.mark.parametrize(
    "history",
    [
        [(1.54, 1024 / 50000, 1464)],
        [(31.188, 0.9, 500)],
        [(2.0, 0.1, 100), (4.0, 0.3, 20), (3.0, 1.0, 2)],
    ],
)
def test_the_numerical_composition_is_that_of_opacus(history):
    accountant = PRVAccountant()
    accountant.history = list(history)
    with np.errstate(all="ignore"), warnings.catch_warnings():  # without sampling it takes log(0)
        warnings.simplefilter("ignore")
        theirs = accountant.get_epsilon(delta=1e-5)
    assert run_prv(history, 1e-5) == pytest.approx(theirs, rel=1e-9)
