"""The honest price of choosing settings by training privately several times and keeping the best run.

The number of runs must be drawn at random before the first of them, and only the best one may be seen; the
others spend privacy all the same. The bound is on Rényi DP and so on one run's RDP curve. All runs must be
the same randomised mechanism: one that draws its settings from a fixed set, whatever came before, trains with
them, and gives the result with its score.

Source: Papernot and Steinke (2022), arXiv:2110.03620, theorems 2 (truncated negative binomial: eta = 1 is
geometric, eta = 0 logarithmic) and 6 (Poisson).
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from auditkit.data.dataset import FloatArray
from auditkit.errors import UsageError
from auditkit.privacy.accounting import RDP_ORDERS, epsilon_from_rdp, rdp_curve
from auditkit.records import Law, Spending, Tuned


def tuned_epsilon(run: Sequence[Spending], delta: float, *, law: Law, mean: float) -> float:
    """Upper bound on the epsilon of the best of a random number of runs.

    Args:
        run: What each of them spends.
        delta: Of the guarantee.
        law: Of the number of runs. Poisson may draw none; then nothing is released.
        mean: Expected number of runs, above 1 (1 or more for Poisson).

    Raises:
        UsageError: ``mean`` is out of range, or nothing is spent.
    """
    check_mean(law, mean)
    if not run:
        raise UsageError(f"tuned by {law}: expected runs that spend something, got none")
    return epsilon_of_tuning(Tuned(law=law, mean=mean, alternatives=(tuple(run),)), delta)


def check_mean(law: Law, mean: float) -> None:
    """Refuse an expected number of runs that the law cannot have.

    Raises:
        UsageError: It is not above 1 (1 or more for Poisson), or not finite.
    """
    if not math.isfinite(mean) or mean < 1 or (mean == 1 and law != "poisson"):
        least = "of at least 1" if law == "poisson" else "above 1"
        raise UsageError(f"tuned by {law}: expected a mean {least}, got {mean:g}")


def epsilon_of_tuning(tuned: Tuned, delta: float) -> float:
    """Upper bound on the epsilon of a whole tuning, by RDP; infinite where it fails too often."""
    left = delta - failure_of_tuning(tuned)
    return epsilon_from_rdp(tuned_curve(tuned), RDP_ORDERS, left)[0] if left > 0 else math.inf


def failure_of_tuning(tuned: Tuned) -> float:
    """A bound on the probability that one of its runs fails.

    The law of the number of runs, given that none does, is one of the same kind with a smaller mean, for
    which the bounds on Rényi DP are no larger.
    """
    dearest = max(math.fsum(one.failure_probability for one in runs) for runs in tuned.alternatives)
    return tuned.mean * dearest


@lru_cache(maxsize=256)
def tuned_curve(tuned: Tuned) -> FloatArray:
    """RDP of a whole tuning at every order of ``RDP_ORDERS``; adds up with the curves of other runs.

    Raises:
        UsageError: The mean is out of range.
    """
    check_mean(tuned.law, tuned.mean)
    orders, curve, mean = np.array(RDP_ORDERS), _run_curve(tuned), tuned.mean
    if tuned.law == "poisson":
        return _poisson(orders, curve, mean)
    if tuned.law == "geometric":
        return _negative_binomial(orders, curve, gamma=1 / mean, eta=1.0, mean=mean)
    return _negative_binomial(orders, curve, gamma=logarithmic_gamma(mean), eta=0.0, mean=mean)


def _run_curve(tuned: Tuned) -> FloatArray:
    """RDP of one run that draws one of the alternatives: at each order at most that of the dearest.

    With the alternative named beside the result, the order-``a`` moment of the whole is the mean of those of
    the alternatives, which their largest bounds.
    """
    curves = [
        sum(
            (rdp_curve(one.noise_multiplier, one.sample_rate, one.steps) for one in alternative),
            np.zeros(len(RDP_ORDERS)),
        )
        for alternative in dict.fromkeys(tuned.alternatives)
    ]
    return np.asarray(np.max(curves, axis=0))


def _poisson(orders: FloatArray, curve: FloatArray, mean: float) -> FloatArray:
    """Theorem 6: at each order, delta of the run at epsilon log(1 + 1/(order - 1)).

    For a mean below 1 it would be no bound: of runs that spend nothing it would say less than nothing. From 1
    on it covers the outcome without any run, too, which the moment of the whole holds with its chance.
    """
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


def logarithmic_gamma(mean: float) -> float:
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
