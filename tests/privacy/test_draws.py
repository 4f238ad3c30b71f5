"""The random draws of the mechanism have the distribution that the accounting assumes."""

import numpy as np
import pytest
from scipy.stats import binom, kstest

from auditkit.privacy.draws import EntropyDraws, SeededDraws

ALMOST_NEVER = 1e-9
"""Operating-system entropy cannot be seeded: chance of a false alarm."""


def draws_of(kind: str):
    return EntropyDraws() if kind == "entropy" else SeededDraws.from_seed(3)


@pytest.mark.parametrize("kind", ["seeded", "entropy"])
def test_every_row_is_in_a_step_with_the_sampling_rate_independently(kind):
    n_rows, rate, steps = 200, 0.1, 500
    draws = draws_of(kind)
    chosen = [draws.poisson_rows(n_rows, rate) for _ in range(steps)]
    per_row = np.bincount(np.concatenate(chosen), minlength=n_rows)
    per_step = np.array([len(rows) for rows in chosen])
    tail = ALMOST_NEVER / n_rows
    assert binom.cdf(per_row.min(), steps, rate) > tail
    assert binom.sf(per_row.max() - 1, steps, rate) > tail
    # the sizes of the batches vary as Poisson sampling makes them, not as fixed-size batches would
    spread = per_step.var() / (n_rows * rate * (1 - rate))
    assert abs(spread - 1) < 6.2 * np.sqrt(2 / steps)


@pytest.mark.parametrize("kind", ["seeded", "entropy"])
def test_noise_is_standard_normal(kind):
    values = draws_of(kind).normal(100_000)
    assert values.dtype == np.float64
    assert kstest(values, "norm").pvalue > ALMOST_NEVER
    assert abs(values.std() - 1) < 6.2 / np.sqrt(2 * len(values))


def test_all_rows_and_no_row_are_possible():
    for draws in (EntropyDraws(), SeededDraws.from_seed(0)):
        assert draws.poisson_rows(50, 1.0).tolist() == list(range(50))
        assert draws.poisson_rows(50, 1e-12).tolist() == []
        assert draws.normal(0).shape == (0,)


def test_a_seed_repeats_and_entropy_does_not():
    first, again = SeededDraws.from_seed(5), SeededDraws.from_seed(5)
    assert np.array_equal(first.normal(10), again.normal(10))
    assert np.array_equal(first.poisson_rows(100, 0.5), again.poisson_rows(100, 0.5))
    assert not np.array_equal(SeededDraws.from_seed(6).normal(10), SeededDraws.from_seed(5).normal(10))
    assert not np.array_equal(EntropyDraws().normal(10), EntropyDraws().normal(10))


def test_noise_does_not_depend_on_how_many_rows_were_drawn():
    one, other = SeededDraws.from_seed(5), SeededDraws.from_seed(5)
    one.poisson_rows(1000, 0.1)
    assert np.array_equal(one.normal(10), other.normal(10))
