from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.errors import DataError
from auditkit.statistics.counts import METRICS, CountTable, merge, positive_class, rates
from tests.statistics import reference
from tests.tolerances import FLOAT

POSITIVE = 1
RULES = {
    "selection_rate": (lambda r: r["pred"] == POSITIVE, lambda r: True),
    "true_positive_rate": (lambda r: r["pred"] == POSITIVE, lambda r: r["true"] == POSITIVE),
    "false_negative_rate": (lambda r: r["pred"] != POSITIVE, lambda r: r["true"] == POSITIVE),
    "false_positive_rate": (lambda r: r["pred"] == POSITIVE, lambda r: r["true"] != POSITIVE),
    "true_negative_rate": (lambda r: r["pred"] != POSITIVE, lambda r: r["true"] != POSITIVE),
    "positive_predictive_value": (lambda r: r["true"] == POSITIVE, lambda r: r["pred"] == POSITIVE),
    "false_discovery_rate": (lambda r: r["true"] != POSITIVE, lambda r: r["pred"] == POSITIVE),
    "negative_predictive_value": (lambda r: r["true"] != POSITIVE, lambda r: r["pred"] != POSITIVE),
    "false_omission_rate": (lambda r: r["true"] == POSITIVE, lambda r: r["pred"] != POSITIVE),
    "accuracy": (lambda r: r["true"] == r["pred"], lambda r: True),
    "base_rate": (lambda r: r["true"] == POSITIVE, lambda r: True),
}

rows_of = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 3), st.integers(1, 4)),
    min_size=1,
    max_size=60,
)


def columns(rows):
    groups, true, predicted, weights = (
        np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)
    )
    return groups, true, predicted, weights.astype(np.float64)


def count(rows, *, n_classes=4, weighted=True):
    groups, true, predicted, weights = columns(rows)
    return CountTable.count(
        groups, true, predicted, n_groups=3, n_classes=n_classes, sample_weight=weights if weighted else None
    )


def test_the_catalogue_is_covered_by_plain_definitions():
    assert set(RULES) == set(METRICS)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(rows=rows_of, n_classes=st.sampled_from([2, 4]), weighted=st.booleans())
def test_every_rate_equals_its_definition_row_by_row(rows, n_classes, weighted):
    rows = [(g, t % n_classes, p % n_classes, w if weighted else 1) for g, t, p, w in rows]
    cells = count(rows, n_classes=n_classes, weighted=weighted).cells(POSITIVE)
    plain = [{"group": g, "true": t, "pred": p, "weight": w} for g, t, p, w in rows]
    for name, (numerator, denominator) in RULES.items():
        found = rates(cells, METRICS[name])
        for group in range(3):
            expected = reference.group_rate(plain, group, numerator, denominator)
            if expected is None:
                assert not found.defined[group]
            else:
                assert found.value[group] == pytest.approx(expected, **FLOAT)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(rows=rows_of)
def test_whole_weights_equal_repeated_rows(rows):
    repeated = [(g, t, p, 1) for g, t, p, w in rows for _ in range(w)]
    weighted, plain = count(rows).cells(POSITIVE), count(repeated, weighted=False).cells(POSITIVE)
    for metric in METRICS.values():
        values = rates(weighted, metric).value
        assert np.array_equal(values, rates(plain, metric).value, equal_nan=True)


@settings(derandomize=True, deadline=None, max_examples=20)
@given(rows=rows_of, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_shards_add_up_to_the_whole_in_any_order(rows, cuts):
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    shards = [rows[a:b] for a, b in pairwise(edges) if a < b]
    whole = count(rows)
    for order in (shards, shards[::-1]):
        merged = merge([count(shard) for shard in order])
        assert np.array_equal(merged.n, whole.n)
        assert np.array_equal(merged.weight, whole.weight)
        assert np.array_equal(merged.weight_squared, whole.weight_squared)


def test_repeating_one_groups_rows_moves_no_rate():
    rng = np.random.default_rng(2)
    rows = list(zip(*rng.integers(0, 2, size=(3, 200)), [1] * 200, strict=True))
    tripled = rows + [row for row in rows if row[0] == 1] * 2
    for metric in METRICS.values():
        before, after = (
            rates(count(r, n_classes=2, weighted=False).cells(1), metric).value[:2] for r in (rows, tripled)
        )
        assert np.array_equal(before, after)


def test_a_group_without_negatives_has_no_false_positive_rate():
    cells = count([(0, 1, 1, 1), (0, 1, 0, 1), (1, 0, 0, 1)], n_classes=2).cells(1)
    found = rates(cells, METRICS["false_positive_rate"])
    assert found.defined.tolist() == [False, True, False]
    assert np.isnan(found.value[0])
    assert found.n.tolist() == [0, 1, 0]


def test_effective_rows_follow_kish():
    rows = [(0, 1, 1, 1), (0, 1, 0, 3)]
    found = rates(count(rows, n_classes=2).cells(1), METRICS["true_positive_rate"])
    assert found.effective_n[0] == (1 + 3) ** 2 / (1 + 9)
    assert found.successes[0] == pytest.approx(0.25 * 1.6, **FLOAT)


def test_without_a_positive_class_rows_are_right_or_wrong():
    cells = count([(0, 2, 2, 1), (0, 3, 1, 1)]).cells(None)
    assert cells.n[0].tolist() == [0, 0, 0, 1, 1]
    assert rates(cells, METRICS["accuracy"]).value[0] == 0.5


@pytest.mark.parametrize(
    ("n_classes", "declared", "expected"), [(2, None, 1), (2, 0, 0), (3, None, None), (3, 2, 2)]
)
def test_the_second_of_two_classes_is_positive_unless_declared(n_classes, declared, expected):
    assert positive_class(n_classes, declared) == expected


def test_codes_out_of_range_are_refused_with_their_range():
    with pytest.raises(DataError, match="prediction codes run from 0 to 5, expected 0 to 3"):
        count([(0, 0, 0, 1), (0, 0, 5, 1)])


def test_lengths_must_agree():
    codes = np.zeros(3, dtype=np.int64)
    with pytest.raises(DataError, match="3 groups, 3 labels and 2 predictions"):
        CountTable.count(codes, codes, codes[:2], n_groups=1, n_classes=2)


def test_tables_of_other_groups_do_not_add():
    table = count([(0, 0, 0, 1)])
    other = CountTable.count(*(np.zeros(1, dtype=np.int64),) * 3, n_groups=1, n_classes=4)
    with pytest.raises(DataError, match="cannot add"):
        table + other
