"""Group fairness: planted gaps, paired changes, nothing dropped, undefined stays undefined."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from auditkit.audits.audit import AuditContext
from auditkit.audits.fairness.group_fairness import GroupFairness
from auditkit.errors import DataError
from auditkit.statistics.counts import METRICS
from auditkit.statistics.decision import decide
from tests.fakes import predicting, table_data
from tests.tolerances import FLOAT, statistical

CONTEXT = AuditContext(seed=3)
ALL = tuple(METRICS)


def key(measurement):
    cell = ",".join([f"{k}={v}" for k, v in measurement.group.items()] + list(measurement.across))
    return f"{measurement.metric}[{cell}]" if cell else measurement.metric


def figures(output):
    found = {key(m): m for m in output.measurements}
    assert len(found) == len(output.measurements), "two figures share an address"
    return found


def measured(y_true, y_pred, groups, *, positive="yes", weights=None, **parameters):
    data = table_data(y_true, positive=positive, sensitive_features=groups, sample_weight=weights)
    return GroupFairness(**parameters).measure(predicting(y_pred), data, CONTEXT)


def random_rows(n=400, seed=0, levels=("a", "b", "c")):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 2, n), rng.integers(0, 2, n), {"g": rng.choice(levels, n).tolist()}


def test_a_constant_subject_selects_all_groups_alike():
    y_true, _, groups = random_rows()
    found = figures(measured(y_true, np.ones(400, dtype=int), groups))
    assert found["selection_rate.difference[g]"].value == 0
    assert found["selection_rate.ratio[g]"].value == 1


def test_a_subject_that_copies_the_group_is_found_out():
    groups = {"g": ["a", "b"] * 100}
    found = figures(measured([0, 1] * 100, [0, 1] * 100, groups))
    gap = found["selection_rate.difference[g]"]
    assert gap.value == 1
    assert gap.interval.low > 0.9
    assert found["selection_rate.ratio[g]"].value == 0
    assert found["selection_rate.ratio[g]"].interval.high < 0.1


@pytest.mark.parametrize("intersections", [False, True])
def test_group_sizes_add_up_to_all_rows(intersections):
    y_true, y_pred, groups = random_rows()
    groups = {**groups, "h": [None if i % 7 == 0 else str(i % 3) for i in range(400)]}
    output = measured(y_true, y_pred, groups, intersections=intersections)
    for attributes in (("g",), ("h",), *([("g", "h")] if intersections else [])):
        rows = [m.n for m in output.measurements if m.metric == "accuracy" and tuple(m.group) == attributes]
        assert sum(rows) == 400


def test_unknown_rows_have_a_row_of_their_own_but_are_never_the_benchmark():
    groups = {"g": ["a"] * 50 + ["b"] * 50 + [None] * 50}
    y_pred = [1] * 25 + [0] * 25 + [1] * 20 + [0] * 30 + [1] * 50
    output = measured([0, 1] * 75, y_pred, groups)
    found = figures(output)
    assert found["selection_rate[g=unknown]"].value == 1
    gap = found["selection_rate.difference[g]"]
    assert gap.value == pytest.approx(0.5 - 0.4, **FLOAT)
    assert gap.note.values["highest"] == "a"
    assert any("50 rows have no known g" in str(note) for note in output.notes)


def test_a_rate_without_denominator_is_undefined_and_named_beside_the_gap():
    groups = {"g": ["a"] * 4 + ["b"] * 4 + ["c"] * 4}
    y_true = [0, 0, 1, 1] * 2 + [1, 1, 1, 1]
    found = figures(measured(y_true, [1, 0, 1, 0] * 3, groups))
    rate = found["false_positive_rate[g=c]"]
    assert rate.value is None
    assert rate.n == 0
    assert "no rows without the positive label" in str(rate.missing)
    assert "undefined there: c" in str(found["false_positive_rate.difference[g]"].note)


def test_a_gap_needs_two_groups():
    found = figures(measured([0, 1], [0, 1], {"g": ["a", "a"]}))
    for name in ("selection_rate.difference[g]", "selection_rate.ratio[g]", "equalized_odds.difference[g]"):
        assert found[name].value is None
        assert "Fewer than two known groups of g" in str(found[name].missing)


def test_a_ratio_of_nothing_to_nothing_is_undefined():
    found = figures(measured([0, 1] * 4, [0] * 8, {"g": ["a", "b"] * 4}))
    assert found["selection_rate.difference[g]"].value == 0
    assert found["selection_rate.ratio[g]"].value is None
    assert "0 / 0" in str(found["selection_rate.ratio[g]"].missing)


def test_a_level_without_rows_is_reported_not_dropped():
    y_true, y_pred, groups = random_rows()
    data = table_data(y_true, sensitive_features=groups)
    rest = data.take(np.array(groups["g"]) != "b")
    found = figures(GroupFairness().measure(predicting(y_pred), rest, CONTEXT))
    assert found["selection_rate[g=b]"].value is None
    assert "no rows here" in str(found["selection_rate[g=b]"].missing)


def test_small_denominators_are_flagged():
    groups = {"g": ["a"] * 100 + ["b"] * 40}
    y_true = [0, 1] * 50 + [1] * 10 + [0] * 30
    output = measured(y_true, [0, 1] * 70, groups)
    found = figures(output)
    assert found["selection_rate[g=b]"].note is None
    assert found["true_positive_rate[g=b]"].note.values == {"n": 10, "small": 30}
    chart = next(e for e in output.evidence if e.kind == "dots" and "True-positive" in str(e.axis))
    assert [mark.small for mark in chart.marks] == [False, True]


def test_equalized_odds_is_the_larger_of_both_gaps():
    y_true, y_pred, groups = random_rows(2000)
    found = figures(measured(y_true, y_pred, groups))
    parts = [found[f"{name}.difference[g]"] for name in ("true_positive_rate", "false_positive_rate")]
    odds = found["equalized_odds.difference[g]"]
    assert odds.value == max(part.value for part in parts)
    assert odds.interval.high >= max(part.interval.high for part in parts)
    assert odds.interval.low <= max(part.interval.low for part in parts)


def test_a_gap_that_may_be_chance_is_inconclusive_and_says_what_it_could_find():
    rng = np.random.default_rng(1)
    groups = {"g": ["a"] * 40 + ["b"] * 40}
    found = figures(measured(rng.integers(0, 2, 80), rng.integers(0, 2, 80), groups))
    gap = found["selection_rate.difference[g]"]
    assert decide(gap.interval, at_most=0.05) == "inconclusive"
    assert 0.2 < gap.detectable < 0.4


def test_crossed_groups_show_what_single_attributes_hide():
    sex, age = ["f", "f", "m", "m"] * 100, ["old", "young"] * 200
    chosen = [int((s == "f") == (a == "old")) for s, a in zip(sex, age, strict=True)]
    output = measured(chosen, chosen, {"sex": sex, "age": age}, intersections=True)
    found = figures(output)
    assert found["selection_rate.difference[sex]"].value == 0
    assert found["selection_rate.difference[age]"].value == 0
    assert found["selection_rate.difference[sex,age]"].value == 1
    assert found["selection_rate[sex=f,age=old]"].value == 1


def test_crossings_that_do_not_occur_are_left_out():
    output = measured(
        [0, 1, 0, 1], [0, 1, 1, 0], {"g": ["a", "a", "b", "b"], "h": ["x", "x", "y", "y"]}, intersections=True
    )
    crossed = [m for m in output.measurements if m.metric == "accuracy" and len(m.group) == 2]
    assert [m.group for m in crossed] == [{"g": "a", "h": "x"}, {"g": "b", "h": "y"}]


def test_too_many_crossings_are_refused_with_the_remedy():
    levels = [str(i) for i in range(150)]
    with pytest.raises(DataError, match="Set intersections to false"):
        measured([0] * 150, [0] * 150, {"g": levels, "h": levels}, intersections=True)


def test_shards_merge_to_the_whole():
    y_true, y_pred, groups = random_rows(1000)
    data, audit, subject = table_data(y_true, sensitive_features=groups), GroupFairness(), predicting(y_pred)
    cuts = np.array_split(np.arange(1000), 10)
    partials = [pickle.loads(pickle.dumps(audit.partial(subject, data.take(cut), CONTEXT))) for cut in cuts]
    nested = audit.merge([audit.merge(partials[:3]), audit.merge(partials[3:])])
    whole = audit.measure(subject, data, CONTEXT)
    for total in (audit.merge(partials), audit.merge(partials[::-1]), nested):
        assert audit.conclude(total, subject, data, CONTEXT) == whole


@settings(derandomize=True, deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000))
def test_order_of_rows_and_names_of_groups_change_no_figure(seed):
    y_true, y_pred, groups = random_rows(120, seed)
    plain = figures(measured(y_true, y_pred, groups, metrics=ALL))
    order = np.random.default_rng(seed).permutation(120)
    renamed = {"g": [{"a": "x", "b": "y", "c": "z"}[groups["g"][i]] for i in order]}
    other = figures(measured(y_true[order], y_pred[order], renamed, metrics=ALL))
    for (name, one), two in zip(plain.items(), other.values(), strict=True):
        assert (one.metric, one.value, one.interval, one.n) == (two.metric, two.value, two.interval, two.n), (
            name
        )


@settings(derandomize=True, deadline=None, max_examples=10)
@given(seed=st.integers(0, 1000))
def test_whole_weights_equal_repeated_rows(seed):
    y_true, y_pred, groups = random_rows(90, seed)
    weights = np.random.default_rng(seed).integers(1, 4, 90)
    weighted = figures(measured(y_true, y_pred, groups, weights=weights, metrics=ALL))
    rows = np.repeat(np.arange(90), weights)
    repeated = figures(
        measured(y_true[rows], y_pred[rows], {"g": [groups["g"][i] for i in rows]}, metrics=ALL)
    )
    for name, measurement in weighted.items():
        expected = repeated[name].value
        assert measurement.value == (None if expected is None else pytest.approx(expected, **FLOAT))


def test_weights_widen_the_intervals_and_are_announced():
    y_true, y_pred, groups = random_rows()
    weights = np.random.default_rng(0).choice([0.1, 5.0], 400)
    weighted = measured(y_true, y_pred, groups, weights=weights)
    plain = figures(measured(y_true, y_pred, groups))
    rate = figures(weighted)["selection_rate[g=a]"]
    assert rate.interval.high - rate.interval.low > 1.2 * (
        plain["selection_rate[g=a]"].interval.high - plain["selection_rate[g=a]"].interval.low
    )
    assert any("weighted" in str(note) for note in weighted.notes)
    assert "effective number" in str(rate.note)


def test_a_group_whose_rows_carry_no_weight_is_undefined():
    groups = {"g": ["a"] * 20 + ["b"] * 20 + ["c"] * 20}
    found = figures(measured([0, 1] * 30, [0, 1] * 30, groups, weights=[1.0] * 40 + [0.0] * 20))
    assert found["selection_rate[g=c]"].value is None
    assert "carry no weight" in str(found["selection_rate[g=c]"].missing)
    assert found["selection_rate.difference[g]"].value == 0


def test_the_second_class_is_taken_where_no_positive_label_is_declared():
    y_true, y_pred, groups = random_rows()
    output = measured(y_true, y_pred, groups, positive=None)
    declared = measured(y_true, y_pred, groups)
    assert output.measurements == declared.measurements
    assert any("yes, the second class, is taken" in str(note) for note in output.notes)


def test_many_classes_without_positive_label_have_no_gap_of_one_label():
    classes = ("a", "b", "c")
    data = table_data(
        [0, 1, 2, 0], classes=classes, positive=None, sensitive_features={"g": ["x", "x", "y", "y"]}
    )
    output = GroupFairness().measure(predicting([0, 1, 2, 1], classes=classes), data, CONTEXT)
    found = figures(output)
    assert found["accuracy.difference[g]"].value == 0.5
    assert found["selection_rate.ratio[g]"].value is None
    assert "set positive in data" in str(found["selection_rate.ratio[g]"].missing)


def test_many_classes_with_positive_label_compare_it_against_the_rest():
    classes = ("a", "b", "c")
    data = table_data(
        [0, 1, 2, 2, 0, 1], classes=classes, positive="c", sensitive_features={"g": ["x"] * 3 + ["y"] * 3}
    )
    found = figures(
        GroupFairness(metrics=ALL).measure(predicting([0, 0, 2, 2, 2, 1], classes=classes), data, CONTEXT)
    )
    assert found["selection_rate[g=x]"].value == 1 / 3
    assert found["false_positive_rate[g=y]"].value == 1 / 2
    assert found["true_negative_rate[g=x]"].value == 1
    assert found["accuracy[g=x]"].value == 2 / 3
    assert found["negative_predictive_value[g=x]"].value == 1


def test_unknown_metrics_are_refused_with_the_closest_name():
    with pytest.raises(ValidationError, match="Did you mean 'selection_rate'"):
        GroupFairness(metrics=("selection_rates",))
    with pytest.raises(ValidationError, match="no metric given"):
        GroupFairness(metrics=())


def test_the_chart_names_the_clearest_gap_and_claims_none_where_none_is_shown():
    groups = {"g": ["a"] * 500 + ["b"] * 500 + ["c"] * 2}
    y_pred = [1] * 250 + [0] * 250 + [1] * 90 + [0] * 410 + [0, 0]
    output = measured([0, 1] * 501, y_pred, groups)
    titles = {str(e.axis).split(":")[0]: str(e.title) for e in output.evidence if e.kind == "dots"}
    assert titles["Selection rate"] == "b: selected 36 % as often as a"
    assert titles["Base rate"] == "Base rates across g: no gap beyond chance is shown"


def test_unequal_base_rates_come_with_what_they_rule_out():
    groups = {"g": ["a"] * 100 + ["b"] * 100}
    unequal = measured([1] * 70 + [0] * 30 + [1] * 30 + [0] * 70, [0, 1] * 100, groups)
    equal = measured([0, 1] * 100, [0, 1] * 100, groups)
    assert any("exclude each other" in str(note) for note in unequal.notes)
    assert not any("exclude each other" in str(note) for note in equal.notes)


def test_data_without_sensitive_features_is_refused():
    with pytest.raises(DataError, match="Name them in data"):
        measured([0, 1], [0, 1], {})


def test_the_table_counts_every_row():
    y_true, y_pred, groups = random_rows()
    tables = [e for e in measured(y_true, y_pred, groups).evidence if e.kind == "table"]
    table = next(table for table in tables if str(table.columns[0]) == "Group")
    assert sum(row[1] for row in table.rows) == 400
    assert all(row[1] == sum(row[2:]) for row in table.rows)


# --- paired changes ---------------------------------------------------------------------------------


def compared(y_true, before, after, groups, *, weights=None, metrics=ALL):
    data = table_data(y_true, sensitive_features=groups, sample_weight=weights)
    return GroupFairness(metrics=metrics).compare(
        predicting(before), predicting(after, name="variant"), data, CONTEXT
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_changes_are_the_differences_of_the_figures(weighted):
    y_true, before, groups = random_rows(600)
    after = np.where(np.random.default_rng(9).random(600) < 0.2, 1 - before, before)
    weights = np.random.default_rng(1).uniform(0.2, 3, 600) if weighted else None
    changes = figures(compared(y_true, before, after, groups, weights=weights))
    old, new = (figures(measured(y_true, p, groups, weights=weights, metrics=ALL)) for p in (before, after))
    for name, change in changes.items():
        if ".difference" in name:
            continue
        expected = new[name.replace(".change", "")].value - old[name.replace(".change", "")].value
        assert change.value == pytest.approx(expected, **FLOAT)
        assert change.interval.low <= change.value <= change.interval.high
    assert not any("base_rate" in name for name in changes)


def test_the_change_of_a_gap_follows_its_two_groups():
    groups = {"g": ["a"] * 200 + ["b"] * 200}
    before = np.array([1] * 120 + [0] * 80 + [1] * 60 + [0] * 140)
    after = np.array([1] * 120 + [0] * 80 + [1] * 110 + [0] * 90)
    change = figures(compared([0, 1] * 200, before, after, groups))["selection_rate.difference.change[g]"]
    assert change.value == pytest.approx(0.05 - 0.3, **FLOAT)
    assert change.interval.high < 0
    assert change.note.values == {"highest": "a", "lowest": "b", "before": 0.3, "after": 0.05}


def test_an_identical_variant_changes_nothing():
    y_true, before, groups = random_rows(300)
    for change in figures(compared(y_true, before, before, groups)).values():
        assert change.value == 0
        assert change.interval.low <= 0 <= change.interval.high


def test_a_handful_of_unchanged_rows_proves_no_stability():
    groups = {"g": ["a"] * 300 + ["b"] * 8}
    y_true, before = [0, 1] * 154, [0, 0, 1, 1] * 77
    changes = figures(compared(y_true, before, before, groups))
    for name in ("selection_rate", "true_positive_rate", "positive_predictive_value"):
        few, many = (changes[f"{name}.change[g={g}]"].interval for g in "ba")
        assert few.high - few.low > 0.15
        assert many.high - many.low < few.high - few.low


def test_a_rate_undefined_before_or_after_has_no_change():
    groups = {"g": ["a"] * 4 + ["b"] * 4}
    changes = figures(compared([0, 1] * 4, [1, 1, 1, 1, 1, 0, 1, 0], [0, 0, 0, 0, 1, 0, 1, 1], groups))
    change = changes["positive_predictive_value.change[g=a]"]
    assert change.value is None
    assert "predicted positive" in str(change.missing)
    assert changes["positive_predictive_value.difference.change[g]"].value is None


def test_unknown_rows_take_no_part_in_the_change_of_the_gap():
    groups = {"g": ["a"] * 50 + ["b"] * 50 + [None] * 50}
    before = np.array([1] * 25 + [0] * 25 + [1] * 10 + [0] * 40 + [1] * 50)
    changes = figures(compared([0, 1] * 75, before, before, groups))
    note = changes["selection_rate.difference.change[g]"].note.values
    assert {note["highest"], note["lowest"]} == {"a", "b"}


def draw_pair(rng, n):
    """Two groups; the second subject helps group b: TPR from 0.5 to 0.7, everything else alike."""
    group = rng.integers(0, 2, n)
    y_true = rng.integers(0, 2, n)
    before = (rng.random(n) < np.where(y_true == 1, np.where(group == 0, 0.8, 0.5), 0.2)).astype(int)
    helped = (group == 1) & (y_true == 1) & (before == 0) & (rng.random(n) < 0.4)
    return y_true, before, np.where(helped, 1, before), {"g": np.array(["a", "b"])[group].tolist()}


@pytest.mark.proof
def test_planted_changes_are_covered():
    rng, runs = np.random.default_rng(4), 100
    metrics = ("selection_rate", "true_positive_rate", "positive_predictive_value")
    truth = {
        "true_positive_rate.change[g=b]": 0.2,
        "selection_rate.change[g=b]": 0.1,
        "true_positive_rate.difference.change[g]": -0.2,
        "positive_predictive_value.change[g=b]": 0.7 / 0.9 - 0.5 / 0.7,
    }
    covered = dict.fromkeys(truth, 0)
    for _ in range(runs):
        y_true, before, after, groups = draw_pair(rng, 400)
        changes = figures(compared(y_true, before, after, groups, metrics=metrics))
        for name, value in truth.items():
            covered[name] += changes[name].interval.low <= value <= changes[name].interval.high
    for name, count in covered.items():
        assert count / runs > 0.95 - statistical(runs, p=0.05), name


def test_compare_is_reproducible():
    y_true, before, groups = random_rows(300)
    after = 1 - before
    assert compared(y_true, before, after, groups) == compared(y_true, before, after, groups)
