import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from auditkit.errors import DataError
from auditkit.statistics.intervals import (
    clopper_pearson,
    clopper_pearson_bounds,
    effective_n,
    mean_interval,
    percentile_interval,
    rate,
    rate_bounds,
    wilson,
    wilson_bounds,
)
from tests.statistics import reference
from tests.tolerances import FLOAT

COUNTS = [(0, 10), (1, 10), (5, 10), (10, 10), (3, 7), (805, 1795), (0, 1), (1, 1)]


@pytest.mark.parametrize(("successes", "n"), COUNTS)
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_wilson_equals_scipy(successes, n, confidence):
    expected = binomtest(successes, n).proportion_ci(confidence, method="wilson")
    found = wilson(successes, n, confidence=confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), **FLOAT)


@pytest.mark.parametrize(("successes", "n"), COUNTS)
def test_clopper_pearson_equals_its_definition(successes, n):
    found = clopper_pearson(successes, n)
    assert (found.low, found.high) == pytest.approx(reference.clopper_pearson(successes, n, 0.95), **FLOAT)


def test_wilson_of_compas_equals_the_published_figures():
    african_american, caucasian = wilson(805, 1795), wilson(349, 1488)
    assert [round(african_american.low, 4), round(african_american.high, 4)] == [0.4256, 0.4716]
    assert [round(caucasian.low, 4), round(caucasian.high, 4)] == [0.2137, 0.2567]


@pytest.mark.parametrize(
    ("successes", "n", "method"),
    [
        (5, 19, "clopper-pearson"),
        (5, 20, "wilson"),
        (0, 500, "clopper-pearson"),
        (500, 500, "clopper-pearson"),
    ],
)
def test_rates_are_exact_where_few_rows_or_none_fail(successes, n, method):
    found = rate(successes, n)
    assert found.method == method
    low, high = rate_bounds([successes], [n])
    assert (found.low, found.high) == (low[0], high[0])


@pytest.mark.parametrize("bounds", [wilson_bounds, clopper_pearson_bounds, rate_bounds])
def test_bounds_of_no_rows_are_undefined(bounds):
    low, high = bounds([0, 3], [0, 5])
    assert np.isnan([low[0], high[0]]).all()
    assert np.isfinite([low[1], high[1]]).all()


@pytest.mark.parametrize("interval", [wilson, clopper_pearson, rate])
@pytest.mark.parametrize(("successes", "n"), [(0, 0), (3, 2), (-1, 5)])
def test_impossible_counts_are_refused(interval, successes, n):
    with pytest.raises(DataError, match=f"got {successes} of {n}"):
        interval(successes, n)


def test_clopper_pearson_covers_at_least_as_promised():
    n = 12
    counts = np.arange(n + 1)
    low, high = clopper_pearson_bounds(counts, n)
    for p in np.linspace(0.01, 0.99, 99):
        chances = np.exp(
            counts * np.log(p) + (n - counts) * np.log(1 - p) + np.log([_choose(n, k) for k in counts])
        )
        assert chances[(low <= p) & (p <= high)].sum() >= 0.95


def _choose(n, k):
    return reference.math.comb(n, k)


def test_mean_interval_equals_students():
    values = np.array([1.0, 2.5, 2.0, 7.0, 3.5])
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    found = mean_interval(values)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), **FLOAT)


def test_equal_weights_change_no_mean_interval():
    values = np.array([1.0, 2.5, 2.0, 7.0, 3.5])
    weighted = mean_interval(values, weights=np.full(5, 3.0))
    assert (weighted.low, weighted.high) == pytest.approx(
        (mean_interval(values).low, mean_interval(values).high), **FLOAT
    )


def test_a_single_value_has_no_interval():
    assert mean_interval([1.0]) is None
    assert mean_interval([1.0, 2.0], weights=[1.0, 0.0]) is None


def test_mean_of_nan_is_refused():
    with pytest.raises(DataError, match="NaN"):
        mean_interval([1.0, np.nan])


def test_percentiles_hold_the_figure():
    found = percentile_interval(np.arange(101) / 100, 0.999)
    assert (found.low, found.high) == pytest.approx((0.025, 0.999), **FLOAT)


def test_a_figure_undefined_in_many_replicates_gets_no_interval():
    draws = np.full(100, 0.5)
    draws[:5] = np.nan
    assert percentile_interval(draws, 0.5) is None
    draws[0] = 0.5
    assert percentile_interval(draws, 0.5) is not None


def test_effective_n_of_equal_weights_is_their_number():
    assert effective_n([2.0, 2.0, 2.0]) == 3.0
    assert effective_n([1.0, 0.0, 0.0]) == 1.0
    assert effective_n([0.0, 0.0]) == 0.0
