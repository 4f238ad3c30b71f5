"""How many runs a private tuning has, and with which settings: drawn once, before the first of them.

The bound on what a tuning spends needs that number to be random, independent of the rows and unknown to
whoever sees the result. It is kept in memory only.

Source: Papernot and Steinke (2022), arXiv:2110.03620, definition 1 and theorems 2 and 6.
"""

import math
import random
import secrets
from collections.abc import Callable, Iterator

from auditkit.privacy.tuning_cost import check_mean, logarithmic_gamma
from auditkit.randomness import derive_seed
from auditkit.records import Law

Uniform = Callable[[], float]
"""Gives independent values that are uniform in ``[0, 1)``."""

_NEGLIGIBLE = 2.0**-100
"""Chance of a number of runs that no uniform value of 53 bits comes near."""


def uniform_of(seed: int, *, certified: bool) -> Uniform:
    """From the operating system where certified, else from the seed."""
    if certified:
        return secrets.SystemRandom().random
    return random.Random(derive_seed(seed, "dp", "tuning")).random  # noqa: S311 - repeats on purpose


def draw_runs(law: Law, mean: float, n_candidates: int, uniform: Uniform) -> tuple[int, ...]:
    """The candidate of each run, as many as the law gives; none where Poisson gives 0.

    Args:
        law: Of the number of runs.
        mean: Of that number.
        n_candidates: Each is drawn with the same chance, again and again.
        uniform: The source of all of it; the number is drawn first.

    Raises:
        UsageError: ``mean`` is out of range.
    """
    check_mean(law, mean)
    number = _number(probabilities(law, mean), uniform())
    return tuple(min(int(n_candidates * uniform()), n_candidates - 1) for _ in range(number))


def probabilities(law: Law, mean: float) -> Iterator[float]:
    """Chance of 0, 1, 2, ... runs, as far as a chance is worth speaking of."""
    if law == "poisson":
        chances = _poisson(mean)
    elif law == "geometric":
        chances = _geometric(1 / mean)
    else:
        chances = _logarithmic(logarithmic_gamma(mean))
    for number, chance in enumerate(chances):
        if number > mean and chance < _NEGLIGIBLE:
            return
        yield chance


def none_drawn(law: Law, mean: float) -> float:
    """The chance that nothing is run and so nothing released."""
    return math.exp(-mean) if law == "poisson" else 0.0


def _number(chances: Iterator[float], uniform: float) -> int:
    number = 0
    for number, chance in enumerate(chances):  # noqa: B007 - the last one stands for all that follow
        uniform -= chance
        if uniform < 0:
            break
    return number


def _poisson(mean: float) -> Iterator[float]:
    number = 0
    while True:
        yield math.exp(number * math.log(mean) - mean - math.lgamma(number + 1))
        number += 1


def _geometric(gamma: float) -> Iterator[float]:
    yield 0.0
    chance = gamma
    while True:
        yield chance
        chance *= 1 - gamma


def _logarithmic(gamma: float) -> Iterator[float]:
    yield 0.0
    number, power = 1, 1 - gamma
    while True:
        yield power / (number * math.log(1 / gamma))
        number, power = number + 1, power * (1 - gamma)
