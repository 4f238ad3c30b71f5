"""The honest price of choosing settings by training privately several times and keeping the best run.

The number of runs must be drawn at random before the first of them, and only the best one may be seen; the
others spend privacy all the same. The bound is on Rényi DP and so on one run's RDP curve.

Source: Papernot and Steinke (2022), arXiv:2110.03620, theorems 2 (truncated negative binomial: eta = 1 is
geometric, eta = 0 logarithmic) and 6 (Poisson).
"""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np

from auditkit.data.dataset import FloatArray
from auditkit.errors import UsageError
from auditkit.privacy.accounting import RDP_ORDERS, epsilon_from_rdp, rdp_curve
from auditkit.records import Spending

Law = Literal["poisson", "geometric", "logarithmic"]


def tuned_epsilon(run: Sequence[Spending], delta: float, *, law: Law, mean: float) -> float:
    """Upper bound on the epsilon of the best of a random number of runs.

    Args:
        run: What each of them spends.
        delta: Of the guarantee.
        law: Of the number of runs. Poisson may draw none; then nothing is released.
        mean: Expected number of runs, above 1 (any above 0 for Poisson).

    Raises:
        UsageError: ``mean`` is out of range, or nothing is spent.
    """
    if not run or not (math.isfinite(mean) and mean > (0 if law == "poisson" else 1)):
        raise UsageError(f"tuned by {law}: expected at least one run and a mean above 1, got {mean:g}")
    orders = np.array(RDP_ORDERS)
    curve = sum(
        (rdp_curve(one.noise_multiplier, one.sample_rate, one.steps) for one in run), np.zeros(len(orders))
    )
    if law == "poisson":
        tuned = _poisson(orders, curve, mean)
    elif law == "geometric":
        tuned = _negative_binomial(orders, curve, gamma=1 / mean, eta=1.0, mean=mean)
    else:
        tuned = _negative_binomial(orders, curve, gamma=_logarithmic_gamma(mean), eta=0.0, mean=mean)
    return epsilon_from_rdp(tuned, RDP_ORDERS, delta)[0]


def _poisson(orders: FloatArray, curve: FloatArray, mean: float) -> FloatArray:
    """Theorem 6: at each order, delta of the run at epsilon log(1 + 1/(order - 1))."""
    found = []
    for order, rdp in zip(orders, curve, strict=True):
        delta = _delta_from_rdp(orders, curve, math.log1p(1 / (order - 1)))
        found.append(rdp + mean * delta + math.log(mean) / (order - 1))
    return np.array(found)


def _negative_binomial(
    orders: FloatArray, curve: FloatArray, *, gamma: float, eta: float, mean: float
) -> FloatArray:
    """Theorem 2, with the second order chosen best."""
    second = ((1 - 1 / orders) * curve - math.log(gamma) / orders).min()
    return np.asarray(curve + (1 + eta) * second + math.log(mean) / (orders - 1))


def _delta_from_rdp(orders: FloatArray, curve: FloatArray, epsilon: float) -> float:
    """The least delta that an RDP curve implies at ``epsilon`` (Canonne et al. 2020, arXiv:2004.00010)."""
    logarithms = (orders - 1) * (curve - epsilon + np.log1p(-1 / orders)) - np.log(orders)
    return float(min(1.0, math.exp(min(0.0, logarithms.min()))))


def _logarithmic_gamma(mean: float) -> float:
    """The parameter at which the logarithmic distribution has this mean, by bisection.

    Its mean is ``(1 - g) / (g log(1/g))``, which falls with g.
    """
    low, high = 1e-12, 1 - 1e-9
    for _ in range(200):
        middle = math.sqrt(low * high)
        if (1 - middle) / (middle * math.log(1 / middle)) > mean:
            low = middle
        else:
            high = middle
    return low
