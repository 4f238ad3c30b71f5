"""What several private trainings on the same rows spend together.

All of them are composed jointly, from their public inputs; the sum of their epsilons would be far larger.
Two bounds stand side by side. PRV is the tight one and assumes that the settings of a run were not chosen by
looking at the results of an earlier one. RDP is looser and needs no such assumption.

Sources: Gopi, Lee and Wutschitz (2021), arXiv:2106.02848 (PRV); Mironov, Talwar and Zhang (2019),
arXiv:1908.10530, section 3.3 (RDP of integer order); Balle et al. (2020), arXiv:1905.09982, theorem 21 (from
RDP to epsilon); Feldman and Zrnic (2021), arXiv:2008.11193 (settings chosen by looking at results).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import gammaln, logsumexp

from auditkit.data.dataset import FloatArray
from auditkit.errors import UsageError
from auditkit.privacy.accounting import (
    ACCOUNTANT,
    LARGEST_EPSILON,
    RDP_ORDERS,
    epsilon_from_rdp,
    rdp_curve,
    run_prv,
)
from auditkit.records import Spending

RDP_ACCOUNTANT = "RDP, upper bound"
INTEGER_ORDERS = tuple(int(order) for order in RDP_ORDERS if order == int(order))


@dataclass(frozen=True, slots=True)
class Composed:
    """Upper bounds on the epsilon of several runs together, at one delta.

    Attributes:
        epsilon: The smaller of the two.
        accountant: Which one that is.
        rdp: By Rényi DP, at its best ``order``.
        prv: By PRV; ``None`` where it cannot be computed, above epsilon 100.
    """

    epsilon: float
    accountant: str
    rdp: float
    order: float
    prv: float | None


def merged(spendings: Iterable[Spending]) -> tuple[Spending, ...]:
    """Steps of the same noise and sampling rate counted together, in order of first appearance."""
    steps: Counter[tuple[float, float]] = Counter()
    for one in spendings:
        steps[one.noise_multiplier, one.sample_rate] += one.steps
    return tuple(Spending(noise_multiplier=sigma, sample_rate=q, steps=n) for (sigma, q), n in steps.items())


def composed(spendings: Iterable[Spending], delta: float) -> Composed:
    """Both bounds on all of ``spendings`` together; nothing spent is epsilon 0.

    Raises:
        UsageError: ``delta`` is not in (0, 1).
    """
    if not 0 < delta < 1:
        raise UsageError(f"delta must be between 0 and 1, got {delta:g}")
    return _composed(tuple(sorted(merged(spendings), key=_tuple)), delta)


@lru_cache(maxsize=512)
def _composed(spendings: tuple[Spending, ...], delta: float) -> Composed:
    if not spendings:
        return Composed(0.0, ACCOUNTANT, 0.0, RDP_ORDERS[0], 0.0)
    curve = sum((rdp_curve(*_tuple(one)) for one in spendings), np.zeros(len(RDP_ORDERS)))
    rdp, order = epsilon_from_rdp(curve, RDP_ORDERS, delta)
    prv = _prv(spendings, delta) if rdp <= LARGEST_EPSILON else None
    if prv is not None and prv <= rdp:
        return Composed(prv, ACCOUNTANT, rdp, order, prv)
    return Composed(rdp, RDP_ACCOUNTANT, rdp, order, prv)


def _prv(spendings: Sequence[Spending], delta: float) -> float | None:
    try:
        return run_prv([_tuple(one) for one in spendings], delta)
    except UsageError:  # RDP bounds what the numerical composition cannot
        return None


def _tuple(one: Spending) -> tuple[float, float, int]:
    return one.noise_multiplier, one.sample_rate, one.steps


def quick_rdp(spendings: Iterable[Spending], delta: float) -> float:
    """An upper bound on epsilon, cheap enough to follow a schedule step by step: integer orders only."""
    curve = np.zeros(len(INTEGER_ORDERS))
    spendings = tuple(spendings)
    if not spendings:
        return 0.0
    for one in spendings:
        curve = curve + one.steps * integer_rdp(one.noise_multiplier, one.sample_rate)
    orders = np.array(INTEGER_ORDERS, dtype=np.float64)
    epsilon = curve + np.log1p(-1 / orders) - (np.log(delta) + np.log(orders)) / (orders - 1)
    return float(max(0.0, epsilon.min()))


@lru_cache(maxsize=4096)
def integer_rdp(noise_multiplier: float, sample_rate: float) -> FloatArray:
    """RDP of one step at the orders of ``INTEGER_ORDERS``, computed here and not by Opacus.

    The logarithm of the binomial expansion in equation 6 of arXiv:1908.10530, all orders at once.
    """
    orders = np.array(INTEGER_ORDERS, dtype=np.float64)
    variance = noise_multiplier**2
    if sample_rate == 1.0:
        return orders / (2 * variance)
    binomials, left = _binomials()
    k = np.arange(binomials.shape[1])
    exponents = k * (np.log(sample_rate) + (k - 1) / (2 * variance))
    terms = binomials + exponents + left * np.log1p(-sample_rate)
    return np.asarray(np.maximum(logsumexp(terms, axis=1), 0.0) / (orders - 1))


@lru_cache(maxsize=1)
def _binomials() -> tuple[FloatArray, FloatArray]:
    """For each order and k: log(order over k), minus infinity beyond the order; and order - k, 0 beyond."""
    alpha = np.array(INTEGER_ORDERS, dtype=np.float64)[:, None]
    k = np.arange(max(INTEGER_ORDERS) + 1)
    left = np.maximum(alpha - k, 0.0)
    binomials = gammaln(alpha + 1) - gammaln(k + 1) - gammaln(left + 1)
    return np.where(k <= alpha, binomials, -np.inf), left


REFUSED = {
    "gdp": "the central-limit figure of Gaussian DP lies below the true epsilon and bounds nothing",
    "glw": "is the old name of prv",
}


def epsilon_by(accountant: str, spendings: Iterable[Spending], delta: float) -> float:
    """Epsilon by one accountant by name: ``prv`` or ``rdp``.

    Raises:
        UsageError: Another name, gdp among them with the reason; or PRV cannot bound so large an epsilon.
    """
    found = composed(spendings, delta)
    if accountant == "rdp":
        return found.rdp
    if accountant != "prv":
        why = f": {REFUSED[accountant]}" if accountant in REFUSED else ""
        raise UsageError(f"accountant {accountant!r} is refused{why}. Use prv or rdp")
    if found.prv is None:
        raise UsageError(
            f"PRV gives no bound here: epsilon is about {found.rdp:.3g}, above {LARGEST_EPSILON:g}. Use rdp"
        )
    return found.prv
