"""The number of runs of a private tuning: its law, and that it is drawn first."""

import numpy as np
import pytest
from scipy.stats import geom, logser, poisson

from auditkit.errors import UsageError
from auditkit.privacy.tuning_cost import logarithmic_gamma
from auditkit.privacy.tuning_draw import draw_runs, none_drawn, probabilities, uniform_of

LAWS = {
    "poisson": (6.0, poisson(6.0)),
    "geometric": (4.0, geom(0.25)),
    "logarithmic": (3.0, logser(1 - logarithmic_gamma(3.0))),
}


@pytest.mark.parametrize("law", LAWS)
def test_the_chances_are_those_of_the_law(law):
    mean, expected = LAWS[law]
    found = np.fromiter(probabilities(law, mean), dtype=float)
    np.testing.assert_allclose(found, expected.pmf(np.arange(len(found))), rtol=1e-9, atol=1e-30)
    assert found.sum() == pytest.approx(1.0, abs=1e-12)
    assert found @ np.arange(len(found)) == pytest.approx(mean, abs=1e-9)
    assert none_drawn(law, mean) == pytest.approx(expected.pmf(0), abs=1e-15)


@pytest.mark.parametrize("law", LAWS)
def test_the_number_is_the_quantile_of_one_uniform_value(law):
    mean, expected = LAWS[law]
    for quantile in (0.0, 0.001, 0.3, 0.77, 0.9999):
        drawn = draw_runs(law, mean, 3, lambda quantile=quantile: quantile)
        assert len(drawn) == max(expected.ppf(quantile), expected.support()[0])


@pytest.mark.parametrize("law", LAWS)
def test_the_largest_uniform_value_gives_a_number_too(law):
    assert len(draw_runs(law, LAWS[law][0], 3, lambda: 1 - 2**-53)) > 30


def test_the_number_is_drawn_before_any_candidate():
    values = iter([0.5, 0.1, 0.4, 0.7, 0.9, 0.2, 0.6])
    drawn = draw_runs("poisson", 6.0, 3, lambda: next(values))
    assert drawn == (0, 1, 2, 2, 0, 1)
    assert len(drawn) == poisson(6.0).ppf(0.5)


def test_every_candidate_has_the_same_chance():
    uniform = uniform_of(0, certified=False)
    drawn = [one for _ in range(1000) for one in draw_runs("poisson", 6.0, 4, uniform)]
    counts = np.bincount(drawn, minlength=4)
    # 6000 draws in 4 cells: five standard deviations, one false alarm in a million seeds
    assert np.abs(counts - len(drawn) / 4).max() < 5 * (len(drawn) * 3 / 16) ** 0.5


def test_certified_draws_are_not_repeated_and_seeded_ones_are():
    def twelve(*, certified):
        uniform = uniform_of(7, certified=certified)
        return [uniform() for _ in range(12)]

    assert twelve(certified=False) == twelve(certified=False)
    assert twelve(certified=True) != twelve(certified=True)


def test_a_mean_that_the_law_cannot_have_is_refused():
    with pytest.raises(UsageError, match="above 1, got 1"):
        draw_runs("geometric", 1.0, 3, lambda: 0.5)
