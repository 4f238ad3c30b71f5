import numpy as np
import pytest

from auditkit.errors import DataError
from auditkit.statistics.comparisons import newcombe_difference
from auditkit.statistics.simultaneous import largest_difference, pair_confidence, smallest_ratio
from tests.tolerances import FLOAT, statistical

RUNS = 1000


def simulated(sizes, rates):
    """Gap and ratio of many samples of groups with these true rates."""
    rng = np.random.default_rng(17)
    draws = rng.binomial(sizes, rates, size=(RUNS, len(sizes)))
    return [(largest_difference(draw, sizes), smallest_ratio(draw, sizes)) for draw in draws]


@pytest.mark.proof
@pytest.mark.parametrize(("sizes", "rates"), [((100,) * 3, 0.5), ((300,) * 6, 0.5)])
def test_groups_that_do_not_differ_are_seldom_told_apart(sizes, rates):
    found = simulated(sizes, rates)
    slack = statistical(RUNS, p=0.05)
    for share in (
        np.mean([gap.interval.low > 0 for gap, _ in found]),
        np.mean([ratio.interval.high < 1 for _, ratio in found]),
    ):
        assert 0.05 - slack < share < 0.05 + slack


@pytest.mark.proof
@pytest.mark.parametrize(
    ("sizes", "rates"),
    [
        ((100, 50, 20), (0.5, 0.3, 0.3)),
        ((30, 30, 30, 30), (0.1, 0.3, 0.5, 0.9)),
        ((1000, 30), (0.9, 0.6)),
        ((200, 100, 100, 8), (0.2, 0.2, 0.3, 0.2)),
    ],
)
def test_true_gaps_are_covered(sizes, rates):
    found = simulated(sizes, rates)
    difference, ratio = max(rates) - min(rates), min(rates) / max(rates)
    least = 0.95 - statistical(RUNS, p=0.05)
    assert np.mean([gap.interval.low <= difference <= gap.interval.high for gap, _ in found]) > least
    assert np.mean([r.interval.low <= ratio <= r.interval.high for _, r in found if r is not None]) > least


def test_two_groups_get_newcombes_interval():
    gap = largest_difference([805, 349], [1795, 1488])
    pair = newcombe_difference(805, 1795, 349, 1488)
    assert (gap.interval.low, gap.interval.high) == pytest.approx((pair.low, pair.high), **FLOAT)
    assert gap.value == 805 / 1795 - 349 / 1488


def test_the_gap_is_named_by_the_pair_that_shows_it():
    gap = largest_difference([600, 300, 0], [1000, 1000, 2])
    assert (gap.lowest, gap.highest) == (2, 0)
    assert gap.clearest == (1, 0)
    assert smallest_ratio([600, 300, 0], [1000, 1000, 2]).clearest == (1, 0)


def test_equal_rates_still_name_two_groups():
    gap = largest_difference([5, 5, 5], [10, 10, 10])
    assert gap.value == 0
    assert gap.lowest != gap.highest
    assert gap.interval.low == 0 < gap.interval.high


def test_gap_and_ratio_agree_on_whether_there_is_one():
    rng = np.random.default_rng(3)
    for _ in range(300):
        sizes = rng.integers(2, 60, size=4)
        successes = rng.binomial(sizes, rng.uniform(0.05, 0.9, size=4))
        gap, ratio = largest_difference(successes, sizes), smallest_ratio(successes, sizes)
        if ratio is not None:
            assert (gap.interval.low > 0) == (ratio.interval.high < 1)


def test_a_group_without_successes_bounds_the_ratio_from_above():
    ratio = smallest_ratio([0, 50], [100, 100])
    assert ratio.value == ratio.interval.low == 0
    assert ratio.interval.high < 0.2


def test_fewer_than_two_groups_have_no_gap():
    assert largest_difference([3], [10]) is None
    assert smallest_ratio([3], [10]) is None
    assert largest_difference([], []) is None


def test_a_ratio_of_nothing_to_nothing_is_undefined():
    assert smallest_ratio([0, 0], [10, 10]) is None


def test_a_group_without_denominator_is_refused_with_the_remedy():
    with pytest.raises(DataError, match="leave groups without a denominator out"):
        largest_difference([0, 3], [0, 10])


def test_pairs_are_taken_more_strictly_the_more_groups_there_are():
    levels = [pair_confidence(k) for k in (2, 3, 6, 50, 500)]
    assert levels == sorted(levels)
    assert levels[0] == pytest.approx(0.95, **FLOAT)
    # between no correction and Bonferroni's
    assert all(
        level < 1 - 0.05 / (k * (k - 1) / 2) for level, k in zip(levels[1:], (3, 6, 50, 500), strict=True)
    )


def test_a_single_group_has_no_pairs():
    with pytest.raises(DataError, match="at least 2"):
        pair_confidence(1)


def test_from_above_each_pair_is_taken_as_if_it_were_the_only_one():
    """No pair is picked there, so more groups that are alike do not move that end."""
    few, many = ([600, *[300] * k] for k in (2, 20))
    ends = [largest_difference(x, [1000] * len(x)).interval.high for x in (few, many)]
    assert ends[0] == pytest.approx(ends[1], **FLOAT)
    ratios = [smallest_ratio(x, [1000] * len(x)).interval.low for x in (few, many)]
    assert ratios[0] == pytest.approx(ratios[1], **FLOAT)
    assert ends[0] == pytest.approx(newcombe_difference(600, 1000, 300, 1000).high, abs=0.002)
