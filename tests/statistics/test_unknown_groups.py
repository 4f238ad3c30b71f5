"""Bounds over every assignment of unknown rows, against trying them all."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.statistics.unknown_groups import gap_bounds
from tests.tolerances import FLOAT


def all_gaps(hits, size, unknown_hits, unknown_misses):
    """The gap under every assignment of the unknown rows to the groups."""
    groups = range(len(hits))
    found = []
    for of_hits in set(map(tuple, map(sorted, product(groups, repeat=unknown_hits)))):
        for of_misses in set(map(tuple, map(sorted, product(groups, repeat=unknown_misses)))):
            x = np.array(hits) + np.bincount(of_hits, minlength=len(hits)) if of_hits else np.array(hits)
            extra = np.bincount([*of_hits, *of_misses], minlength=len(hits)) if of_hits or of_misses else 0
            n = np.array(size) + extra
            rates = x[n > 0] / n[n > 0]
            if len(rates) > 1:
                found.append(rates.max() - rates.min())
    return found


counts = st.tuples(st.integers(0, 6), st.integers(0, 6)).map(lambda pair: (pair[0], sum(pair)))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(counts, min_size=2, max_size=3), st.integers(0, 3), st.integers(0, 3))
def test_no_assignment_leaves_the_bounds_and_one_attains_the_largest(groups, hits, misses):
    x, n = [group[0] for group in groups], [group[1] for group in groups]
    bounds, gaps = gap_bounds(x, n, hits, hits + misses), all_gaps(x, n, hits, misses)
    if bounds is None:
        assert not gaps
        return
    assert bounds.largest == pytest.approx(max(gaps), **FLOAT)
    assert bounds.smallest <= min(gaps) + 1e-12


@settings(max_examples=40, deadline=None, derandomize=True)
@given(counts, counts, st.integers(0, 4), st.integers(0, 4))
def test_with_two_groups_the_smallest_gap_is_no_larger_than_any(first, second, hits, misses):
    x, n = (first[0], second[0]), (first[1], second[1])
    bounds = gap_bounds(x, n, hits, hits + misses)
    gaps = all_gaps(x, n, hits, misses)
    if bounds is not None and all(n):
        assert 0 <= bounds.smallest <= min(gaps) + 1e-12


def test_without_unknown_rows_both_bounds_are_the_gap():
    bounds = gap_bounds([8, 5, 0], [10, 10, 0], 0, 0)
    assert (bounds.smallest, bounds.largest) == pytest.approx((0.3, 0.3), **FLOAT)
    assert (bounds.highest, bounds.lowest) == (0, 1)


def test_one_group_alone_has_no_gap():
    assert gap_bounds([3], [5], 2, 4) is None
    assert gap_bounds([3, 0], [5, 0], 0, 0) is None
