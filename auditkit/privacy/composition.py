"""What several private trainings on the same rows spend together.

All of them are composed jointly, from their public inputs; the sum of their epsilons would be far larger.
Two bounds stand side by side. PRV is the tight one and assumes that the settings of a run were not chosen by
looking at the results of an earlier one. RDP is looser and needs no such assumption.

What a private tuning spends is known by RDP only. With it two bounds stand side by side again: RDP of
everything, whose curves add up at each order; or PRV of all trainings at half of delta plus RDP of all
tunings at the other half, as (epsilon_1, delta_1) and (epsilon_2, delta_2) together are (epsilon_1 +
epsilon_2, delta_1 + delta_2). That holds in whatever order they were run and also where one looks at what
another gave: a pair of distributions that dominates each of them does so whatever it is given, and the
product of such pairs dominates the whole. Both bounds hold, so the smaller one does.

A run may fail, with a probability that is known, to be the mechanism that is composed. The probabilities of
all runs, of a tuning times the number of runs that is expected, are taken off delta first: that is what
approximate differential privacy gives, and epsilon holds at the whole of delta again. Where nothing is left,
no epsilon does.

Sources: Gopi, Lee and Wutschitz (2021), arXiv:2106.02848 (PRV); Mironov, Talwar and Zhang (2019),
arXiv:1908.10530 (RDP); Balle et al. (2020), arXiv:1905.09982, theorem 21 (from
RDP to epsilon); Bun and Steinke (2016), arXiv:1605.02065, section 8 (mechanisms that may fail); Feldman and
Zrnic (2021), arXiv:2008.11193 (settings chosen by looking at results); Dwork and
Roth (2014), The Algorithmic Foundations of Differential Privacy, theorem 3.16 (sums of epsilon and delta);
Zhu, Dong and Wang (2022), arXiv:2106.08567, theorem 10 (dominating pairs compose).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

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
from auditkit.privacy.rdp import rdp_of_a_step
from auditkit.privacy.tuning_cost import failure_of_tuning, tuned_curve
from auditkit.records import Spending, Tuned

RDP_ACCOUNTANT = "RDP, upper bound"
SPLIT_ACCOUNTANT = "PRV of trainings and RDP of tunings, each at half of delta, upper bound"
INTEGER_ORDERS = tuple(int(order) for order in RDP_ORDERS if order == int(order))
_SURE = 1 - 2.0**-53
"""The largest probability below 1."""
_PLACES = np.array([place for place, order in enumerate(RDP_ORDERS) if order == int(order)])


@dataclass(frozen=True, slots=True)
class Composed:
    """Upper bounds on the epsilon of several runs together, at one delta.

    Attributes:
        epsilon: The smaller of the two.
        accountant: Which one that is.
        rdp: By Rényi DP, at its best ``order``.
        prv: By PRV; ``None`` where it cannot be computed: above epsilon 100, or with tunings.
    """

    epsilon: float
    accountant: str
    rdp: float
    order: float
    prv: float | None


def merged(spendings: Iterable[Spending]) -> tuple[Spending, ...]:
    """Steps of the same noise and sampling rate counted together, in order of first appearance."""
    steps: Counter[tuple[float, float]] = Counter()
    failing: defaultdict[tuple[float, float], float] = defaultdict(float)
    for one in spendings:
        steps[one.noise_multiplier, one.sample_rate] += one.steps
        failing[one.noise_multiplier, one.sample_rate] += one.failure_probability
    return tuple(
        Spending(
            noise_multiplier=key[0], sample_rate=key[1], steps=n, failure_probability=min(failing[key], _SURE)
        )
        for key, n in steps.items()
    )


def composed(spendings: Iterable[Spending], delta: float, tunings: Iterable[Tuned] = ()) -> Composed:
    """Both bounds on all of ``spendings`` and ``tunings`` together; nothing spent is epsilon 0.

    Infinite where they fail with a probability of ``delta`` or more.

    Raises:
        UsageError: ``delta`` is not in (0, 1).
    """
    if not 0 < delta < 1:
        raise UsageError(f"delta must be between 0 and 1, got {delta:g}")
    parts = tuple(sorted(merged(spendings), key=_tuple))
    chosen = tuple(sorted(tunings, key=Tuned.model_dump_json))
    left = _left_of(delta, parts, chosen)
    if left <= 0:
        return Composed(math.inf, RDP_ACCOUNTANT, math.inf, RDP_ORDERS[0], None)
    return _composed_with(parts, chosen, left) if chosen else _composed(parts, left)


def _left_of(delta: float, spendings: Iterable[Spending], tunings: Iterable[Tuned]) -> float:
    """What may be composed at: ``delta`` without the probabilities of failing."""
    failing = math.fsum(one.failure_probability for one in spendings)
    return delta - failing - math.fsum(failure_of_tuning(one) for one in tunings)


@lru_cache(maxsize=512)
def _composed_with(spendings: tuple[Spending, ...], tunings: tuple[Tuned, ...], delta: float) -> Composed:
    tuned = sum((tuned_curve(one) for one in tunings), np.zeros(len(RDP_ORDERS)))
    rdp, order = epsilon_from_rdp(tuned + _curve(spendings), RDP_ORDERS, delta)
    if not spendings:
        return Composed(rdp, RDP_ACCOUNTANT, rdp, order, None)
    trained = _composed(spendings, delta / 2)
    split = trained.epsilon + epsilon_from_rdp(tuned, RDP_ORDERS, delta / 2)[0]
    if trained.prv is not None and split < rdp:
        return Composed(split, SPLIT_ACCOUNTANT, rdp, order, None)
    return Composed(rdp, RDP_ACCOUNTANT, rdp, order, None)


@lru_cache(maxsize=512)
def _composed(spendings: tuple[Spending, ...], delta: float) -> Composed:
    if not spendings:
        return Composed(0.0, ACCOUNTANT, 0.0, RDP_ORDERS[0], 0.0)
    rdp, order = epsilon_from_rdp(_curve(spendings), RDP_ORDERS, delta)
    prv = _prv(spendings, delta) if rdp <= LARGEST_EPSILON else None
    if prv is not None and prv <= rdp:
        return Composed(prv, ACCOUNTANT, rdp, order, prv)
    return Composed(rdp, RDP_ACCOUNTANT, rdp, order, prv)


def _curve(spendings: Iterable[Spending]) -> FloatArray:
    return np.asarray(sum((rdp_curve(*_tuple(one)) for one in spendings), np.zeros(len(RDP_ORDERS))))


def _prv(spendings: Sequence[Spending], delta: float) -> float | None:
    try:
        return run_prv([_tuple(one) for one in spendings], delta)
    except UsageError:  # RDP bounds what the numerical composition cannot
        return None


def _tuple(one: Spending) -> tuple[float, float, int]:
    return one.noise_multiplier, one.sample_rate, one.steps


def quick_rdp(spendings: Iterable[Spending], delta: float, tunings: Iterable[Tuned] = ()) -> float:
    """An upper bound on epsilon, cheap enough to follow a schedule step by step: integer orders only."""
    curve = np.zeros(len(INTEGER_ORDERS))
    spendings, tunings = tuple(spendings), tuple(tunings)
    if not (spendings or tunings):
        return 0.0
    if (delta := _left_of(delta, spendings, tunings)) <= 0:
        return math.inf
    for one in spendings:
        curve = curve + one.steps * rdp_of_a_step(one.noise_multiplier, one.sample_rate, INTEGER_ORDERS)
    for tuned in tunings:
        curve = curve + tuned_curve(tuned)[_PLACES]
    orders = np.array(INTEGER_ORDERS, dtype=np.float64)
    epsilon = curve + np.log1p(-1 / orders) - (np.log(delta) + np.log(orders)) / (orders - 1)
    return float(max(0.0, epsilon.min()))
