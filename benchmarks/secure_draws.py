"""Draws of certified trainings against the law that accounting assumes: normal noise, rows at random.

Their keys come from the operating system, so nothing repeats a figure, and a sound implementation gives a p
of 0.01 or less once in a hundred times. Such a p is followed by one more, from new keys, and both are kept;
the bar is missed when both are that low: once in 10,000 sound measurements of a figure. The tests of the
package draw from the operating system, too, and on fewer values; their bar is a p of 1e-9, so that they do
not alarm anyone by chance.
"""

from collections.abc import Callable

import numpy as np
from scipy.stats import binom, chi2, chisquare, kstest

from auditkit.privacy.draws import Draws, EntropyDraws

N_VALUES = 10_000_000
DEVIATION = 0.7
BAR = 0.01


def noise_p_value(draws: Draws, n_values: int) -> float:
    """Kolmogorov and Smirnov's p of the noise that a certified step adds, on its grid."""
    values = np.zeros(n_values)
    draws.add_noise(values, DEVIATION, DEVIATION)
    return float(kstest(values, "norm").pvalue)


def index_sets_p_value(draws: Draws, n_rows: int, sample_rate: float, steps: int) -> float:
    """Chi-square p of how often every possible set of a few rows is drawn; all must be likely enough."""
    found = np.zeros(2**n_rows)
    for _ in range(steps):
        found[(1 << draws.poisson_rows(n_rows, sample_rate)).sum()] += 1
    sizes = np.array([index.bit_count() for index in range(2**n_rows)])
    expected = steps * sample_rate**sizes * (1 - sample_rate) ** (n_rows - sizes)
    if expected.min() < 5:
        raise ValueError(f"index sets: {steps} steps make one of the sets too rare to be tested")
    return float(chisquare(found, expected).pvalue)


def rows_p_value(draws: Draws, n_rows: int, sample_rate: float, steps: int) -> float:
    """Chi-square p of in how many steps every row is, against as many independent draws of each."""
    chosen = [draws.poisson_rows(n_rows, sample_rate) for _ in range(steps)]
    per_row = np.bincount(np.concatenate(chosen), minlength=n_rows)
    squared = (per_row - steps * sample_rate) ** 2 / binom.var(steps, sample_rate)
    return float(chi2.sf(squared.sum(), n_rows))


def at_most_twice(p_value: Callable[[Draws], float]) -> list[float]:
    """A p from keys of its own, and where it is at the bar or below a second one."""
    first = p_value(EntropyDraws())
    return [first] if first > BAR else [first, p_value(EntropyDraws())]


def run() -> dict[str, object]:
    """Every p, and whether one of each is above the bar."""
    found = {
        "noise on a grid": at_most_twice(lambda draws: noise_p_value(draws, N_VALUES)),
        "sets of 6 rows at rate 0.25": at_most_twice(
            lambda draws: index_sets_p_value(draws, 6, 0.25, 200_000)
        ),
        "sets of 3 rows at rate 0.02": at_most_twice(
            lambda draws: index_sets_p_value(draws, 3, 0.02, 1_000_000)
        ),
        "10,000 rows at rate 0.02": at_most_twice(lambda draws: rows_p_value(draws, 10_000, 0.02, 5000)),
    }
    return {
        "source": "keys from the operating system",
        "noise_values": N_VALUES,
        "p_values": found,
        "bar": BAR,
        "false_alarm_rate_per_figure": BAR**2,
        "holds": all(p[-1] > BAR for p in found.values()),
    }
