"""Slices: counts against a plain reference, halves that no order decides, tests against other formulas."""

from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import fisher_exact

from auditkit.audits.audit import AuditContext
from auditkit.audits.fairness.slice_confirmation import confirm, contributions, fisher_doubled
from auditkit.audits.fairness.slice_halves import halves
from auditkit.audits.fairness.slice_lattice import lattice
from auditkit.audits.fairness.slice_search import Gaps, Search, proper_parts
from tests.tolerances import FLOAT, statistical

CONTEXT = AuditContext(seed=5)


def draw(seed, n=80, features=4, levels=3, error_rate=0.3):
    """Items of random columns, and random errors."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, levels, (features, n))
    rows = np.array([column == level for column in codes for level in range(levels)])
    return rows, np.repeat(np.arange(features), levels), rng.random(n) < error_rate


def counted_one_by_one(rows, feature, errors, depth, min_rows):
    found = {}
    for size in range(1, depth + 1):
        for items in combinations(range(len(rows)), size):
            if len({int(feature[item]) for item in items}) < size:
                continue
            inside = [row for row in range(len(errors)) if all(rows[item][row] for item in items)]
            if len(inside) >= min_rows and len(errors) - len(inside) >= min_rows:
                found[items] = (len(inside), sum(bool(errors[row]) for row in inside))
    return found


@given(
    seed=st.integers(0, 10**6),
    depth=st.integers(1, 3),
    min_rows=st.integers(1, 12),
    features=st.integers(1, 4),
)
@settings(max_examples=15, deadline=None, derandomize=True)
def test_the_products_count_what_a_loop_over_all_slices_counts(seed, depth, min_rows, features):
    rows, feature, errors = draw(seed, n=50, features=features)
    found = lattice(rows, feature, errors, depth=depth, min_rows=min_rows)
    counted = {
        found.of(index): (int(found.n[index]), int(found.errors[index])) for index in range(len(found))
    }
    assert len(counted) == len(found), "a slice was counted twice"
    assert counted == counted_one_by_one(rows, feature, errors, depth, min_rows)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_without_items_there_are_no_slices(depth):
    nothing = np.zeros((0, 9), dtype=bool)
    found = lattice(nothing, np.zeros(0, int), np.ones(9, bool), depth=depth, min_rows=1)
    assert len(found) == 0


def test_the_parts_of_a_slice_are_its_shorter_slices():
    assert set(proper_parts((1, 4, 6))) == {(1,), (4,), (6,), (1, 4), (1, 6), (4, 6)}
    assert list(proper_parts((1,))) == []


# --- the search ------------------------------------------------------------------------------------


def search(rows, feature, errors, **changes):
    settings_ = {"depth": 2, "min_rows": 30, "top": 10, "confidence": 0.95, **changes}
    colours = halves(rows, errors, None, CONTEXT).item_colours
    return Search(**settings_).run(rows, feature, errors, colours)


def test_a_slice_whose_parent_is_as_bad_is_left_to_its_parent():
    rows, feature, _ = draw(1, n=4000)
    found = search(rows, feature, rows[0].copy())
    assert found.slices == ((0,),)


def test_a_parent_that_is_bad_only_through_its_child_is_left_to_its_child():
    rows, feature, _ = draw(1, n=4000)
    errors = rows[0] & rows[4]
    assert search(rows, feature, errors).slices == ((0, 4),)


def test_two_bad_slices_that_share_rows_are_both_found():
    rows, feature, _ = draw(1, n=6000)
    noise = np.random.default_rng(0).random(6000)
    errors = noise < np.where(rows[0], 0.3, 0.05) + np.where(rows[4], 0.3, 0.0)
    assert {(0,), (4,)} <= set(search(rows, feature, errors).slices)


def test_no_more_than_the_top_are_chosen_and_none_without_errors():
    rows, feature, errors = draw(2, n=3000, features=8)
    assert len(search(rows, feature, errors, top=3, confidence=0.5).slices) == 3
    assert search(rows, feature, np.zeros(3000, bool)).slices == ()


# --- halves ----------------------------------------------------------------------------------------


def test_halves_are_disjoint_and_hold_every_row():
    rows, _, errors = draw(3, n=101)
    parts = halves(rows, errors, None, CONTEXT)
    assert sorted([*parts.explore, *parts.confirm]) == list(range(101))
    assert (len(parts.explore), len(parts.confirm), parts.spare) == (50, 51, 0)


def test_all_rows_of_a_person_lie_in_one_half_and_one_of_them_is_tested():
    rows, _, errors = draw(4, n=300)
    person = np.random.default_rng(0).integers(0, 60, 300)
    parts = halves(rows, errors, person, CONTEXT)
    assert set(person[parts.explore]) & set(person[parts.confirm]) == set()
    assert len(set(person[parts.confirm])) == len(parts.confirm)
    assert len(parts.explore) + len(parts.confirm) + parts.spare == 300


def test_every_row_is_as_likely_to_confirm_as_to_explore():
    rows, _, errors = draw(5, n=40)
    draws = 400
    confirms = np.zeros(40)
    for seed in range(draws):
        confirms[halves(rows, errors, None, AuditContext(seed=seed)).confirm] += 1
    assert np.abs(confirms / draws - 0.5).max() < statistical(draws)


@given(seed=st.integers(0, 10**6), of_persons=st.booleans())
@settings(max_examples=15, deadline=None, derandomize=True)
def test_neither_the_order_of_rows_nor_of_items_decides_who_explores(seed, of_persons):
    rows, _, errors = draw(seed, n=60, features=3, levels=2)
    rng = np.random.default_rng(seed)
    person = rng.integers(0, 25, 60) if of_persons else None
    order, columns = rng.permutation(60), rng.permutation(len(rows))
    names = rng.permutation(25)
    other = None if person is None else names[person][order]
    first = halves(rows, errors, person, CONTEXT)
    second = halves(rows[columns][:, order], errors[order], other, CONTEXT)
    back = np.argsort(columns)

    def patterns(chosen, of_rows, of_errors):
        return sorted(map(tuple, np.vstack([of_rows[:, chosen], of_errors[chosen]]).T.tolist()))

    for half in ("explore", "confirm"):
        mine = patterns(getattr(first, half), rows, errors)
        theirs = patterns(getattr(second, half), rows[:, order], errors[order])
        assert mine == theirs
    assert np.array_equal(second.item_colours[back], first.item_colours)


def test_other_predictions_for_the_same_rows_leave_the_composition_of_the_halves():
    rows, _, errors = draw(6, n=200, features=3, levels=2)
    first = halves(rows, errors, None, CONTEXT)
    second = halves(rows, ~errors, None, CONTEXT)
    for half in ("explore", "confirm"):
        mine, theirs = (rows[:, getattr(parts, half)].sum(axis=1) for parts in (first, second))
        assert np.array_equal(mine, theirs)


# --- the test --------------------------------------------------------------------------------------


def plain_holm(p):
    """Step by step, as the procedure is usually told."""
    adjusted = [0.0] * len(p)
    largest = 0.0
    for step, index in enumerate(sorted(range(len(p)), key=lambda place: p[place])):
        largest = max(largest, (len(p) - step) * p[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def test_p_values_are_those_of_fisher_and_holm():
    rows, _, errors = draw(7, n=400, error_rate=0.2)
    errors = errors | (rows[0] & (np.random.default_rng(1).random(400) < 0.4))
    slices = [(0,), (4,), (0, 4), (2, 7)]
    tested = {one.items: one for one in confirm(slices, rows, errors, confidence=0.95)}
    exact = []
    for items in slices:
        inside = rows[list(items)].all(axis=0)
        table = [
            [(inside & errors).sum(), (inside & ~errors).sum()],
            [(~inside & errors).sum(), (~inside & ~errors).sum()],
        ]
        exact.append(min(1.0, 2 * fisher_exact(table, alternative="greater").pvalue))
    assert [tested[items].p for items in slices] == pytest.approx(exact, **FLOAT)
    assert [tested[items].p_adjusted for items in slices] == pytest.approx(plain_holm(exact), **FLOAT)
    assert tested[(0,)].confirmed
    assert not tested[(2, 7)].confirmed


def test_a_slice_is_confirmed_only_if_its_interval_lies_above_zero():
    rows, _, errors = draw(8, n=600, error_rate=0.2)
    errors = errors | (rows[0] & (np.random.default_rng(2).random(600) < 0.15))
    for confidence in (0.5, 0.8, 0.95, 0.999):
        for one in confirm([(item,) for item in range(12)], rows, errors, confidence=confidence):
            assert one.interval is not None
            assert one.interval.low <= one.gap <= one.interval.high
            assert not one.confirmed or (one.interval.low > 0 and one.p_adjusted <= 1 - confidence)


def test_a_slice_without_confirming_rows_is_not_confirmed():
    rows = np.zeros((1, 20), dtype=bool)
    (one,) = confirm([(0,)], rows, np.ones(20, bool), confidence=0.95)
    assert (one.gap, one.interval, one.p, one.confirmed) == (None, None, 1.0, False)


def test_errors_that_fall_anywhere_are_called_worse_no_more_often_than_stated():
    """Of all ways in which 12 errors may fall on 40 rows, by the law of their number inside."""
    from scipy.stats import hypergeom

    inside = np.arange(13)
    p = fisher_doubled(inside, np.full(13, 15), 12, 40)
    chance = hypergeom.pmf(inside, 40, 12, 15)
    for level in (0.01, 0.05, 0.2):
        assert chance[p <= level].sum() <= level / 2


def test_contributions_add_up_to_the_gap():
    rows, _, errors = draw(9, n=500)
    gaps = Gaps(rows, errors)
    for items in ((0,), (0, 4), (1, 5, 8)):
        assert sum(contributions(items, gaps)) == pytest.approx(gaps[items], **FLOAT)


def test_contributions_of_two_items_have_their_closed_form():
    rows, _, errors = draw(10, n=500)
    gaps = Gaps(rows, errors)
    expected = (gaps[(0,)] + gaps[(0, 4)] - gaps[(4,)]) / 2
    assert contributions((0, 4), gaps)[0] == pytest.approx(expected, **FLOAT)


def test_contributions_of_three_items_are_the_mean_over_all_orders():
    rows, _, errors = draw(11, n=500)
    gaps = Gaps(rows, errors)
    items = (1, 5, 8)
    added = {item: [] for item in items}
    for order in permutations(items):
        for place, item in enumerate(order):
            before = tuple(sorted(order[:place]))
            added[item].append(gaps[tuple(sorted((*before, item)))] - (gaps[before] if before else 0.0))
    assert contributions(items, gaps) == pytest.approx([np.mean(added[item]) for item in items], **FLOAT)
