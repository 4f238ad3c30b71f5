"""Bounds follow interval arithmetic and never narrow."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.energy.quantity import Quantity, weakest

amounts = st.lists(st.floats(0, 1e6), min_size=3, max_size=3).map(sorted)


def test_derived_from_an_estimate_is_an_estimate():
    measured = Quantity.exact(2.0, "measured")
    factor = Quantity(1.5, 4.0, 10.0, "estimated")
    assert measured.times(factor) == Quantity(3.0, 8.0, 20.0, "estimated")


def test_measured_times_declared_is_derived():
    measured = Quantity(1.0, 2.0, 3.0, "measured")
    assert measured.times(Quantity.exact(10.0, "declared")) == Quantity(10.0, 20.0, 30.0, "derived")


def test_a_sum_has_the_weakest_provenance_of_its_parts():
    total = Quantity.exact(1.0, "measured") + Quantity(1.0, 2.0, 4.0, "estimated")
    assert total == Quantity(2.0, 3.0, 5.0, "estimated")
    assert weakest("measured", "declared", "derived") == "declared"


@pytest.mark.parametrize(
    "bad", [(2.0, 1.0, 3.0), (-1.0, 0.0, 1.0), (0.0, 1.0, math.inf), (0.0, math.nan, 1.0)]
)
def test_impossible_bounds_are_refused_with_the_values(bad):
    with pytest.raises(ValueError, match="low <= value <= high"):
        Quantity(*bad, "measured")


@settings(max_examples=50, deadline=None, derandomize=True)
@given(amounts, amounts, st.floats(0, 1), st.floats(0, 1))
def test_any_true_values_inside_the_bounds_give_a_product_inside_the_bounds(first, second, u, v):
    product = Quantity(*first, "measured").times(Quantity(*second, "measured"))
    true = (first[0] + u * (first[2] - first[0])) * (second[0] + v * (second[2] - second[0]))
    assert product.low * (1 - 1e-9) <= true <= product.high * (1 + 1e-9)
