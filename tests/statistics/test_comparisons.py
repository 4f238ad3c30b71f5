import numpy as np
import pytest

from auditkit.errors import DataError
from auditkit.statistics.comparisons import (
    difference_bounds,
    katz_bounds,
    katz_ratio,
    newcombe_bounds,
    newcombe_difference,
    ratio_bounds,
)
from auditkit.statistics.intervals import wilson_bounds
from tests.tolerances import FLOAT, statistical


@pytest.mark.parametrize(
    ("counts", "published"),
    [
        # Newcombe (1998), table II, examples (a) to (f), method 10
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((6, 7, 2, 7), (0.0582, 0.8062)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
        ((0, 10, 0, 10), (-0.2775, 0.2775)),
    ],
)
def test_newcombe_equals_his_examples(counts, published):
    found = newcombe_difference(*counts)
    assert (round(found.low, 4), round(found.high, 4)) == published


def test_gap_of_compas_equals_the_published_figures():
    difference = newcombe_difference(805, 1795, 349, 1488)
    ratio = katz_ratio(805, 1795, 349, 1488)
    assert [round(difference.low, 4), round(difference.high, 4)] == [0.1821, 0.2450]
    assert [round(ratio.low, 3), round(ratio.high, 3)] == [1.721, 2.124]


def test_a_ratio_to_nothing_is_undefined():
    assert katz_ratio(3, 10, 0, 10) is None
    assert np.isnan(katz_bounds([3], [10], [0], [10])).all()
    assert np.isnan(ratio_bounds([0.3], wilson_bounds([3], [10]), [0.0], wilson_bounds([0], [10]))).all()


@pytest.mark.parametrize("counts", [(0, 10, 5, 10), (10, 10, 10, 10), (10, 10, 5, 10), (1, 10, 10, 10)])
def test_extreme_rates_still_leave_room_around_the_ratio(counts):
    found = katz_ratio(*counts)
    ratio = (counts[0] / counts[1]) / (counts[2] / counts[3])
    assert found.low <= ratio <= found.high
    assert found.high - found.low > 0.1


def test_katz_of_swapped_groups_is_the_reciprocal():
    one, other = katz_ratio(805, 1795, 349, 1488), katz_ratio(349, 1488, 805, 1795)
    assert (one.low, one.high) == pytest.approx((1 / other.high, 1 / other.low), **FLOAT)


def test_impossible_counts_are_refused():
    with pytest.raises(DataError, match="got 11 of 10"):
        newcombe_difference(1, 10, 11, 10)


def test_ratio_excludes_one_exactly_when_difference_excludes_zero():
    x1, n1, x2, n2 = (grid.ravel() for grid in np.meshgrid(range(13), [12], range(1, 31), [30]))
    p1, p2 = x1 / n1, x2 / n2
    keep = p1 <= 1
    bounds_1, bounds_2 = wilson_bounds(x1, n1), wilson_bounds(x2, n2)
    low, high = difference_bounds(p1, bounds_1, p2, bounds_2)
    ratio_low, ratio_high = ratio_bounds(p1, bounds_1, p2, bounds_2)
    assert np.array_equal(low[keep] > 0, ratio_low[keep] > 1)
    assert np.array_equal(high[keep] < 0, ratio_high[keep] < 1)


@pytest.mark.parametrize(
    ("p1", "n1", "p2", "n2"), [(0.5, 100, 0.5, 50), (0.1, 40, 0.3, 60), (0.05, 200, 0.9, 30)]
)
def test_differences_and_ratios_are_covered(p1, n1, p2, n2):
    rng = np.random.default_rng(11)
    runs = 4000
    x1, x2 = rng.binomial(n1, p1, runs), rng.binomial(n2, p2, runs)
    low, high = newcombe_bounds(x1, n1, x2, n2)
    assert np.mean((low <= p1 - p2) & (p1 - p2 <= high)) > 0.95 - 0.01 - statistical(runs, p=0.05)
    low, high = ratio_bounds(x1 / n1, wilson_bounds(x1, n1), x2 / n2, wilson_bounds(x2, n2))
    defined = x2 > 0
    covered = ((low <= p1 / p2) & (p1 / p2 <= high))[defined]
    assert covered.mean() > 0.95 - 0.01 - statistical(runs, p=0.05)
