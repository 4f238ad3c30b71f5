"""Rows of one person: what they tell, against plain definitions and in simulation."""

from collections import defaultdict
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from auditkit.errors import DataError
from auditkit.statistics.clusters import PersonSums
from auditkit.statistics.comparisons import newcombe_bounds
from auditkit.statistics.counts import METRICS, CountTable, merge, rates
from auditkit.statistics.intervals import wilson_bounds
from tests.tolerances import FLOAT, statistical

BASE_RATE = METRICS["base_rate"]


def counted(person, groups, y_true, y_pred, *, weight=None, n_groups=2, n_classes=2):
    person, groups, y_true, y_pred = (np.asarray(a, dtype=np.int64) for a in (person, groups, y_true, y_pred))
    table = CountTable.count(
        groups, y_true, y_pred, n_groups=n_groups, n_classes=n_classes, sample_weight=weight
    )
    weight = np.ones(len(person)) if weight is None else weight
    sums = PersonSums.count(person, groups, y_true * n_classes + y_pred, weight)
    return replace(table, persons=sums)


def base_rates(person, y, *, groups=None, weight=None):
    groups = np.zeros(len(y), dtype=np.int64) if groups is None else groups
    n_groups = int(groups.max()) + 1
    return rates(counted(person, groups, y, y, weight=weight, n_groups=n_groups).cells(1), BASE_RATE)


def correlated(rng, m, *, p, icc, largest, n_groups=1):
    """Persons with a propensity of their own and 1 to ``largest`` rows each, ``m`` per group."""
    size = rng.integers(1, largest + 1, n_groups * m)
    a, b = p * (1 - icc) / icc, (1 - p) * (1 - icc) / icc
    person = np.repeat(np.arange(n_groups * m), size)
    y = (rng.random(len(person)) < rng.beta(a, b, n_groups * m)[person]).astype(np.int64)
    return person, y, person // m


def test_rows_that_are_perfectly_alike_count_as_one():
    y = np.random.default_rng(0).integers(0, 2, 300)
    found = base_rates(np.repeat(np.arange(300), 4), np.repeat(y, 4))
    assert found.n[0] == 1200
    assert found.effective_n[0] == pytest.approx(300, rel=0.01)


def test_one_row_per_person_changes_nothing_at_all():
    rng = np.random.default_rng(1)
    y, weight = rng.integers(0, 2, 100), rng.uniform(0.5, 2, 100)
    for w in (None, weight):
        groups = np.zeros(100, dtype=np.int64)
        plain = rates(
            CountTable.count(groups, y, y, n_groups=1, n_classes=2, sample_weight=w).cells(1), BASE_RATE
        )
        found = base_rates(rng.permutation(100), y, weight=w)
        assert found.effective_n[0] == plain.effective_n[0]
        assert found.successes[0] == plain.successes[0]


def test_independent_rows_count_nearly_in_full_and_never_as_more():
    rng = np.random.default_rng(2)
    found = [
        base_rates(np.repeat(np.arange(400), 3), rng.integers(0, 2, 1200)).effective_n[0] for _ in range(50)
    ]
    assert max(found) <= 1200
    assert np.median(found) == pytest.approx(1200, rel=0.03)


def test_weights_and_persons_combine():
    rng = np.random.default_rng(3)
    y, weight = rng.integers(0, 2, 500), rng.choice([1.0, 4.0], 500)
    found = base_rates(np.repeat(np.arange(500), 3), np.repeat(y, 3), weight=np.repeat(weight, 3))
    assert found.effective_n[0] == pytest.approx(weight.sum() ** 2 / (weight**2).sum(), rel=0.01)


@pytest.mark.parametrize("y", [np.zeros(60, dtype=np.int64), np.ones(60, dtype=np.int64)])
def test_a_rate_of_nothing_or_all_rests_on_as_many_rows_as_persons(y):
    found = base_rates(np.repeat(np.arange(20), 3), y)
    assert found.effective_n[0] == pytest.approx(20, **FLOAT)


def test_many_rows_of_one_person_are_one_row():
    found = base_rates(np.zeros(50, dtype=np.int64), np.arange(50) % 2)
    assert found.effective_n[0] == pytest.approx(1, **FLOAT)


def test_the_design_effect_is_that_of_the_textbook():
    rng = np.random.default_rng(4)
    person, y, groups = correlated(rng, 40, p=0.4, icc=0.4, largest=6, n_groups=2)
    found = base_rates(person, y, groups=groups)
    for group in (0, 1):
        totals, sizes = defaultdict(float), defaultdict(int)
        for who, outcome, where in zip(person, y, groups, strict=True):
            if where == group:
                totals[who] += outcome
                sizes[who] += 1
        n, m = sum(sizes.values()), len(sizes)
        p = sum(totals.values()) / n
        between = sum((totals[who] - p * sizes[who]) ** 2 for who in totals) * m / (m - 1)
        within = n * p * (1 - p) * n / (n - 1)
        loss = between / within * (t.ppf(0.975, m - 1) / t.ppf(0.975, n - 1)) ** 2
        assert loss > 1
        assert found.effective_n[group] == pytest.approx(n / loss, **FLOAT)


def test_persons_in_two_groups_are_counted():
    table = counted([1, 1, 2, 3, 3], [0, 1, 0, 1, 1], [0] * 5, [0] * 5)
    assert table.persons.in_several_groups() == 1
    assert table.cells(1).take([1]).persons.in_several_groups() == 0


def test_groups_together_take_a_person_as_one():
    rng = np.random.default_rng(5)
    y = np.repeat(rng.integers(0, 2, 300), 2)
    cells = counted(np.repeat(np.arange(300), 2), np.tile([0, 1], 300), y, y).cells(1)
    assert rates(cells, BASE_RATE).effective_n.tolist() == [300, 300]
    assert rates(cells.overall(), BASE_RATE).effective_n[0] == pytest.approx(300, rel=0.01)


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 60), max_size=4), order=st.permutations(range(5))
)
def test_shards_add_up_bit_for_bit_however_the_rows_of_a_person_are_spread(seed, cuts, order):
    rng = np.random.default_rng(seed)
    columns = [
        rng.integers(-3, 9, 60),
        rng.integers(0, 2, 60),
        rng.integers(0, 3, 60),
        rng.integers(0, 3, 60),
    ]
    edges = [0, *sorted(cuts), 60]
    shards = [counted(*(column[a:b] for column in columns), n_classes=3) for a, b in pairwise(edges) if a < b]
    whole = counted(*columns, n_classes=3)
    merged = merge([shards[i] for i in order if i < len(shards)])
    for name in ("person", "group", "cell", "weight"):
        assert np.array_equal(getattr(merged.persons, name), getattr(whole.persons, name))


@settings(derandomize=True, deadline=None, max_examples=25)
@given(seed=st.integers(0, 1000))
def test_names_of_persons_and_order_of_rows_do_not_matter(seed):
    rng = np.random.default_rng(seed)
    person, y = rng.integers(0, 20, 80), rng.integers(0, 2, 80)
    order = rng.permutation(80)
    before, after = base_rates(person, y), base_rates(1000 - 7 * person[order], y[order])
    assert before.effective_n[0] == pytest.approx(after.effective_n[0], **FLOAT)


def test_tables_with_and_without_persons_do_not_add():
    table = counted([0, 1], [0, 1], [0, 1], [0, 1])
    with pytest.raises(DataError, match="give person for all rows"):
        merge([table, replace(table, persons=None)])


def coverage(runs, m, *, p, icc, largest, seed=6):
    """Share of intervals that hold the truth, of a rate and of the difference of two equal ones."""
    rng, of_rate, of_gap = np.random.default_rng(seed), 0.0, 0.0
    for _ in range(runs):
        person, y, groups = correlated(rng, m, p=p, icc=icc, largest=largest, n_groups=2)
        found = base_rates(person, y, groups=groups)
        low, high = wilson_bounds(found.successes, found.effective_n)
        of_rate += float(((low <= p) & (p <= high)).mean()) / runs
        low, high = newcombe_bounds(*(a[i] for i in (0, 1) for a in (found.successes, found.effective_n)))
        of_gap += float((low <= 0) & (high >= 0)) / runs
    return of_rate, of_gap


def test_intervals_of_rates_and_gaps_hold_for_rows_that_are_alike():
    for covered in coverage(400, 60, p=0.4, icc=0.3, largest=6):
        assert covered == pytest.approx(0.95, abs=statistical(400, p=0.05))


def test_without_persons_such_intervals_would_not_hold():
    rng, held = np.random.default_rng(7), 0
    for _ in range(300):
        _, y, _ = correlated(rng, 60, p=0.4, icc=0.3, largest=6)
        low, high = wilson_bounds(y.sum(), len(y))
        held += low <= 0.4 <= high
    assert held / 300 < 0.9


@pytest.mark.proof
@pytest.mark.parametrize(
    ("m", "p", "icc", "largest"),
    [(30, 0.5, 0.3, 5), (60, 0.15, 0.3, 5), (60, 0.5, 0.05, 20), (100, 0.3, 0.9, 5), (300, 0.1, 0.3, 20)],
)
def test_coverage_with_persons_is_93_to_97_percent(m, p, icc, largest):
    for covered in coverage(4000, m, p=p, icc=icc, largest=largest):
        assert 0.93 <= covered <= 0.97
