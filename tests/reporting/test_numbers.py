"""Numbers in print: what the interval supports, and never another verdict than the true value has."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.records import Interval, Measurement, Message
from auditkit.records.bounds import bound_in_digits
from auditkit.reporting.numbers import (
    ABSENT,
    Number,
    Scale,
    Style,
    decimal,
    decimal_shortest,
    number_of,
    rounded,
    scale_for,
    signed,
    threshold_text,
)


def read(text: str) -> float:
    return float(text.replace(",", "").replace("−", "-"))


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (0.3581, 0.3403, 0.3799, ("0.358", "0.340", "0.380")),
        (0.06, -0.05, 0.19, ("0.06", "-0.05", "0.19")),
        (85.234, 84.68, 85.77, ("85.2", "84.7", "85.8")),
        (12345.0, 11000.0, 13700.0, ("12,300", "11,000", "13,700")),
        (6.0, 0.0, 19.0, ("6", "0", "19")),
    ],
)
def test_interval_decides_the_decimals(value, low, high, expected):
    number = rounded(value, low, high, Scale())
    assert (number.value, number.low, number.high) == tuple(text.replace("-", "−") for text in expected)


def test_value_without_sampling_error_has_no_range():
    assert rounded(9858.0, 9858.0, 9858.0, Scale()) == Number("9,858")


def test_absent_value_is_a_dash_not_a_zero():
    missing = Measurement(metric="m", value=None, n=0, better="lower", missing=Message(text="why"))
    number = number_of(missing, Scale())
    assert number.value == ABSENT
    assert number.is_absent


def test_bounds_say_so():
    measurement = Measurement(
        metric="m", value=0.04, n=9, better="lower", kind="lower_bound", interval=Interval.exact(0.04)
    )
    assert number_of(measurement, Scale()).plain == "≥ 0.04"


numbers = st.floats(min_value=-1e4, max_value=1e4, allow_nan=False).filter(lambda v: v == 0 or abs(v) > 1e-6)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(numbers, min_size=3, max_size=3))
def test_rounding_keeps_the_order_and_stays_close(points):
    low, value, high = sorted(points)
    number = rounded(value, low, high, Scale())
    if number.low:
        assert read(number.low) <= read(number.value) <= read(number.high)
        assert abs(read(number.value) - value) <= 0.1 * (high - low) + 1e-9


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    st.integers(min_value=0, max_value=1000),
    st.integers(min_value=1, max_value=300),
    st.integers(min_value=0, max_value=1000),
)
def test_rounding_never_moves_an_end_across_the_threshold(low, width, threshold):
    low, high, threshold = low / 1000, (low + width) / 1000, threshold / 1000
    number = rounded((low + high) / 2, low, high, Scale(100.0, "%"), keep=[threshold])
    for end, text in ((low, number.low), (high, number.high)):
        shown = read(text)
        if math.isclose(end, threshold):
            assert math.isclose(shown, 100 * threshold, rel_tol=1e-9, abs_tol=1e-9)
        else:
            assert (shown > 100 * threshold) == (end > threshold)
            assert not math.isclose(shown, 100 * threshold, rel_tol=1e-12)


def test_figures_read_together_share_a_unit():
    scale = scale_for("s", Style.PLAIN, [0.00231, 0.00161])
    assert scale.symbol == "ms"
    assert rounded(0.00161, None, None, scale).value == "1.61"


@pytest.mark.parametrize(
    ("unit", "values", "symbol"),
    [
        ("B", [39_432.0], "kB"),
        ("FLOP", [2.5e9], "GFLOP"),
        ("J", [0.008], "mJ"),
        ("gCO2e", [1e-4], "µg CO₂e"),
        ("gCO2e", [0.0], "g CO₂e"),
        ("count", [1e6], ""),
        ("1", [0.5], ""),
        ("1", [2.1e-4], "× 10⁻⁴"),
        ("1", [0.02], ""),
    ],
)
def test_units_fit_the_size(unit, values, symbol):
    assert scale_for(unit, Style.PLAIN, values).symbol == symbol


def test_rates_are_percent_and_their_differences_points():
    assert scale_for("1", Style.PERCENT, [0.5]) == Scale(100.0, "%")
    assert scale_for("1", Style.POINTS, [0.5]) == Scale(100.0, "pp")


def test_thresholds_stay_as_written():
    assert threshold_text(0.8, Scale()) == "0.8"
    assert threshold_text(0.07, Scale(100.0, "%")) == "7"
    assert threshold_text(1_000_000, Scale()) == "1,000,000"


@pytest.mark.parametrize(
    ("value", "text"),
    [(1e-5, "10⁻⁵"), (2.5e-7, "2.5 × 10⁻⁷"), (-0.5, "−0.5"), (0.0, "0"), (0.0023, "0.0023")],
)
def test_shortest_text(value, text):
    assert decimal_shortest(value) == text


def test_minus_zero_has_no_sign():
    assert decimal(-0.0001, 2) == "0.00"


def test_changes_carry_their_sign():
    assert [signed("0.6"), signed("−0.6"), signed("0.00")] == ["+0.6", "−0.6", "0.00"]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.floats(min_value=1e-3, max_value=1e3))
def test_epsilon_is_never_rounded_down(epsilon):
    assert epsilon <= float(bound_in_digits(epsilon)) <= epsilon * 1.011
