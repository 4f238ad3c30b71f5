import pytest

from auditkit.errors import DataError
from auditkit.records import Interval
from auditkit.statistics.decision import decide, minimum_detectable_difference, needed_n


def interval(low, high):
    return Interval(low=low, high=high, confidence=0.95, method="wilson")


@pytest.mark.parametrize(
    ("low", "high", "thresholds", "decision"),
    [
        (0.02, 0.08, {"at_most": 0.1}, "pass"),
        (0.02, 0.10, {"at_most": 0.1}, "pass"),
        (0.12, 0.20, {"at_most": 0.1}, "fail"),
        (0.10, 0.20, {"at_most": 0.1}, "inconclusive"),
        (0.02, 0.20, {"at_most": 0.1}, "inconclusive"),
        (0.85, 0.90, {"at_least": 0.8}, "pass"),
        (0.70, 0.79, {"at_least": 0.8}, "fail"),
        (0.70, 0.80, {"at_least": 0.8}, "inconclusive"),
        (0.4, 0.6, {"at_least": 0.3, "at_most": 0.7}, "pass"),
        (0.4, 0.8, {"at_least": 0.3, "at_most": 0.7}, "inconclusive"),
        (0.71, 0.8, {"at_least": 0.3, "at_most": 0.7}, "fail"),
        (0.1, 0.2, {"at_least": 0.3, "at_most": 0.7}, "fail"),
    ],
)
def test_the_whole_interval_decides(low, high, thresholds, decision):
    assert decide(interval(low, high), **thresholds) == decision


@pytest.mark.parametrize(
    ("kind", "thresholds", "decision"),
    [
        ("lower_bound", {"at_most": 0.9}, "inconclusive"),
        ("lower_bound", {"at_most": 0.1}, "fail"),
        ("lower_bound", {"at_least": 0.1}, "pass"),
        ("lower_bound", {"at_least": 0.9}, "inconclusive"),
        ("upper_bound", {"at_most": 0.9}, "pass"),
        ("upper_bound", {"at_most": 0.1}, "inconclusive"),
        ("upper_bound", {"at_least": 0.1}, "inconclusive"),
        ("upper_bound", {"at_least": 0.9}, "fail"),
    ],
)
def test_a_bound_decides_only_on_its_own_side(kind, thresholds, decision):
    assert decide(interval(0.4, 0.5), kind=kind, **thresholds) == decision


def test_a_decision_without_threshold_is_refused_with_the_remedy():
    with pytest.raises(DataError, match="give one of them"):
        decide(interval(0.1, 0.2))


def test_twice_too_wide_needs_four_times_the_samples():
    assert needed_n(0.05, interval(0.0, 0.15), 100, at_most=0.1) == 400


def test_a_breach_is_measured_on_the_side_of_the_threshold():
    assert needed_n(0.2, interval(0.0, 0.25), 100, at_most=0.1) == 400
    assert needed_n(0.5, interval(0.45, 1.0), 100, at_least=0.6) == 2500


def test_a_value_between_two_thresholds_must_clear_both():
    assert needed_n(0.5, interval(0.3, 0.7), 100, at_least=0.4, at_most=0.6) == 400
    assert needed_n(0.5, interval(0.3, 0.7), 100, at_least=0.45, at_most=0.6) == 1600


def test_a_decided_sample_needs_no_more_rows():
    assert needed_n(0.05, interval(0.02, 0.08), 100, at_most=0.1) == 100


@pytest.mark.parametrize(
    ("value", "n", "kind", "thresholds"),
    [
        (0.1, 100, "estimate", {"at_most": 0.1}),
        (0.1 + 1e-9, 100, "estimate", {"at_most": 0.1}),
        (0.05, 0, "estimate", {"at_most": 0.1}),
        (0.05, 100, "lower_bound", {"at_most": 0.1}),
        (0.2, 100, "upper_bound", {"at_most": 0.1}),
        (0.05, 100, "lower_bound", {"at_least": 0.1}),
        (0.2, 100, "upper_bound", {"at_least": 0.1}),
    ],
)
def test_no_sample_size_is_invented_where_none_can_be_told(value, n, kind, thresholds):
    assert needed_n(value, interval(0.0, 0.3), n, kind=kind, **thresholds) is None


@pytest.mark.parametrize(
    ("p", "n", "published"),
    [
        (0.5, 30, 0.362),
        (0.5, 100, 0.198),
        (0.5, 500, 0.089),
        (0.5, 1000, 0.063),
        (0.5, 5000, 0.028),
        (0.1, 30, 0.217),
        (0.1, 100, 0.119),
        (0.1, 500, 0.053),
        (0.1, 1000, 0.038),
        (0.1, 5000, 0.017),
    ],
)
def test_detectable_differences_equal_the_published_table(p, n, published):
    assert round(minimum_detectable_difference(p, n, n), 3) == published


def test_detectable_differences_of_compas():
    pooled = (805 + 349) / (1795 + 1488)
    assert round(minimum_detectable_difference(pooled, 1795, 1488), 4) == 0.0469
    assert round(minimum_detectable_difference(pooled, 8, 1795), 3) == 0.474


@pytest.mark.parametrize(("p", "n1", "n2"), [(0.5, 0, 10), (0.0, 10, 10), (1.0, 10, 10)])
def test_a_detectable_difference_that_cannot_be_told_is_none(p, n1, n2):
    assert minimum_detectable_difference(p, n1, n2) is None


def test_a_handful_of_rows_detects_nothing_short_of_everything():
    assert minimum_detectable_difference(0.5, 2, 2) == 1.0


def test_a_proportion_outside_its_range_is_refused():
    with pytest.raises(DataError, match=r"got 1\.5"):
        minimum_detectable_difference(1.5, 10, 10)
