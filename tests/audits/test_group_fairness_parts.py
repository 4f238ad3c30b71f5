"""Group fairness: persons, reference and rest, worst pairs, shortfall, composites, several classes."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from auditkit.audits.audit import AuditContext
from auditkit.audits.fairness.group_fairness import GroupFairness
from auditkit.audits.fairness.group_pairs import pair_p_values
from auditkit.audits.fairness.group_reference import joint_confidence
from auditkit.errors import DataError
from auditkit.statistics.comparisons import newcombe_bounds
from auditkit.statistics.composites import COMPOSITES
from auditkit.statistics.counts import METRICS
from tests.fakes import predicting, table_data
from tests.tolerances import FLOAT, statistical

CONTEXT = AuditContext(seed=3)
EVERY = (*METRICS, *COMPOSITES)
CLASSES = ("w", "x", "y")


def figures(output):
    found = {(m.metric, *m.group.values(), *m.across): m for m in output.measurements}
    assert len(found) == len(output.measurements), "two figures share an address"
    return found


def output_of(y_true, y_pred, groups, *, weights=None, person=None, classes=("no", "yes"), **parameters):
    data = table_data(
        y_true,
        classes=classes,
        positive="yes" if classes == ("no", "yes") else None,
        sensitive_features=groups,
        sample_weight=weights,
    )
    data = replace(data, person=None if person is None else np.asarray(person))
    return GroupFairness(**parameters).measure(predicting(y_pred, classes=classes), data, CONTEXT)


def measured(*columns, **parameters):
    return figures(output_of(*columns, **parameters))


def random_rows(n=240, seed=0, n_classes=2):
    rng = np.random.default_rng(seed)
    groups = {"g": rng.choice(["a", "b", "c"], n).tolist()}
    return rng.integers(0, n_classes, n), rng.integers(0, n_classes, n), groups


def table_of(output, heading):
    return next(e for e in output.evidence if e.kind == "table" and str(e.columns[0]) == heading)


# --- rows of one person -----------------------------------------------------------------------------


def test_persons_move_no_figure_but_widen_the_intervals_of_rows_that_are_alike():
    y_true, y_pred, groups = random_rows()
    times = {"g": [level for level in groups["g"] for _ in range(4)]}
    repeated = np.repeat(y_true, 4), np.repeat(y_pred, 4), times
    person = np.repeat(np.arange(240), 4)
    once, naive, honest = (
        measured(*rows, metrics=EVERY, person=who)
        for rows, who in (((y_true, y_pred, groups), None), (repeated, None), (repeated, person))
    )
    for name, figure in honest.items():
        if figure.value is None or figure.unit == "count":
            continue
        assert figure.value == pytest.approx(naive[name].value, **FLOAT)
        width, short, true = (f.interval.high - f.interval.low for f in (figure, naive[name], once[name]))
        assert width > short
        assert true <= width * 1.001 < true * 1.15


def test_one_row_per_person_gives_the_very_same_figures():
    y_true, y_pred, groups = random_rows()
    assert measured(y_true, y_pred, groups, metrics=EVERY) == measured(
        y_true, y_pred, groups, metrics=EVERY, person=np.arange(240)
    )


@pytest.mark.parametrize("n_classes", [2, 3])
def test_shards_that_split_persons_merge_to_the_whole(n_classes):
    y_true, y_pred, groups = random_rows(600, n_classes=n_classes)
    classes = ("no", "yes") if n_classes == 2 else CLASSES
    data = table_data(
        y_true, classes=classes, positive="yes" if n_classes == 2 else None, sensitive_features=groups
    )
    data = replace(data, person=np.random.default_rng(1).integers(0, 90, 600))
    audit, subject = GroupFairness(metrics=EVERY), predicting(y_pred, classes=classes)
    whole = audit.measure(subject, data, CONTEXT)
    order = np.random.default_rng(2).permutation(600)
    for n_shards in (2, 7):
        cuts = np.array_split(order, n_shards)
        partials = [
            pickle.loads(pickle.dumps(audit.partial(subject, data.take(cut), CONTEXT))) for cut in cuts
        ]
        assert audit.conclude(audit.merge(partials[::-1]), subject, data, CONTEXT) == whole


def test_persons_in_several_groups_are_announced():
    y_true, y_pred, groups = random_rows()
    output = output_of(y_true, y_pred, groups, person=np.arange(240) // 2)
    assert any("several groups of g" in str(note) for note in output.notes)
    assert any("rows of one person" in str(note) for note in output.notes)


def test_changes_of_rows_that_are_alike_get_wider_intervals():
    y_true, before, groups = random_rows()
    after = np.where(np.random.default_rng(5).random(240) < 0.3, 1 - before, before)
    times, person = {"g": [level for level in groups["g"] for _ in range(4)]}, np.repeat(np.arange(240), 4)
    data = table_data(np.repeat(y_true, 4), sensitive_features=times)
    subjects = predicting(np.repeat(before, 4)), predicting(np.repeat(after, 4), name="variant")
    naive, honest, single = (
        figures(GroupFairness().compare(*subjects, replace(data, person=who), CONTEXT))
        for who in (None, person, np.arange(960))
    )
    assert single == naive
    for name, change in honest.items():
        assert change.value == pytest.approx(naive[name].value, **FLOAT)
        wide, narrow = (f.interval.high - f.interval.low for f in (change, naive[name]))
        assert 1.5 * narrow < wide < 2.6 * narrow


def test_changes_are_covered_where_persons_have_several_rows():
    rng, runs, held = np.random.default_rng(6), 60, {"selection_rate": 0, "positive_predictive_value": 0}
    person = np.repeat(np.arange(150), 4)
    for _ in range(runs):
        y_true = np.repeat(rng.integers(0, 2, 150), 4)
        before = (rng.random(600) < np.where(y_true == 1, 0.8, 0.4)).astype(int)
        # whole persons change, so that their rows change together
        after = np.where(np.repeat(rng.random(150) < 0.3, 4), 0, before)
        data = replace(table_data(y_true, sensitive_features={"g": ["a"] * 600}), person=person)
        audit = GroupFairness(metrics=tuple(held))
        changes = figures(audit.compare(predicting(before), predicting(after, name="v"), data, CONTEXT))
        for name, truth in (("selection_rate", -0.18), ("positive_predictive_value", 0.0)):
            interval = changes[(f"{name}.change",)].interval
            held[name] += interval.low <= truth <= interval.high
    for count in held.values():
        assert count / runs > 0.95 - statistical(runs, p=0.05)


# --- reference and rest -----------------------------------------------------------------------------


def test_every_known_group_is_compared_with_the_reference_and_with_the_rest():
    y_true, y_pred, groups = random_rows()
    groups["g"][:30] = [None] * 30
    found = measured(y_true, y_pred, groups, reference={"g": "b"}, against_rest=True)
    rate = {level: found["selection_rate", level] for level in ("a", "b", "c")}
    for level in ("a", "c"):
        gap = found["selection_rate.difference_to_reference", level]
        assert gap.value == pytest.approx(rate[level].value - rate["b"].value, **FLOAT)
        ratio = found["selection_rate.ratio_to_reference", level]
        assert ratio.value == pytest.approx(rate[level].value / rate["b"].value, **FLOAT)
    assert ("selection_rate.difference_to_reference", "b") not in found
    assert ("selection_rate.difference_to_reference", "unknown") not in found
    selected = {level: rate[level].value * rate[level].n for level in rate}
    rest = (selected["a"] + selected["c"]) / (rate["a"].n + rate["c"].n)
    gap = found["selection_rate.difference_to_rest", "b"]
    assert gap.value == pytest.approx(rate["b"].value - rest, **FLOAT)
    assert gap.n == sum(one.n for one in rate.values())


def test_crossed_groups_have_a_reference_where_every_attribute_has_one():
    y_true, y_pred, groups = random_rows()
    groups["h"] = ["x", "y"] * 120
    both = measured(y_true, y_pred, groups, intersections=True, reference={"g": "a", "h": "x"})
    assert ("selection_rate.difference_to_reference", "b", "y") in both
    assert ("selection_rate.difference_to_reference", "a", "x") not in both
    one = measured(y_true, y_pred, groups, intersections=True, reference={"g": "a"})
    assert ("selection_rate.difference_to_reference", "b") in one
    assert ("selection_rate.difference_to_reference", "b", "y") not in one


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ({"g": "aa"}, "'aa' is no group of g. Did you mean 'a'"),
        ({"gg": "a"}, "'gg' is no sensitive feature. Did you mean 'g'"),
        ({"g": "unknown"}, "'unknown' is no group of g"),
    ],
)
def test_a_reference_that_is_not_there_is_refused_with_the_closest(reference, message):
    y_true, y_pred, groups = random_rows()
    groups["g"][0] = None
    with pytest.raises(DataError, match=message):
        output_of(y_true, y_pred, groups, reference=reference)


def test_a_reference_without_a_rate_leaves_the_comparison_undefined():
    groups = {"g": ["a"] * 10 + ["b"] * 10}
    found = measured([0] * 10 + [0, 1] * 5, [0] * 10 + [0, 1] * 5, groups, reference={"g": "a"})
    assert "undefined" in str(found["true_positive_rate.difference_to_reference", "b"].missing)
    assert "ratio to 0" in str(found["selection_rate.ratio_to_reference", "b"].missing)
    assert found["selection_rate.difference_to_reference", "b"].value == 0.5


def test_all_comparisons_hold_together():
    rng, runs = np.random.default_rng(7), 2000
    sizes = np.array([150, 60, 200, 100, 80])
    x = rng.binomial(sizes, 0.4, size=(runs, 5))
    level = joint_confidence(4, 0.95)
    low, high = newcombe_bounds(x[:, 1:], sizes[1:], x[:, :1], sizes[:1], confidence=level)
    assert ((low <= 0) & (high >= 0)).all(axis=1).mean() == pytest.approx(
        0.955, abs=statistical(runs, p=0.05)
    )
    level = joint_confidence(5, 0.95)
    rest, others = x.sum(axis=1, keepdims=True) - x, sizes.sum() - sizes
    low, high = newcombe_bounds(x, sizes, rest, others, confidence=level)
    assert ((low <= 0) & (high >= 0)).all(axis=1).mean() == pytest.approx(
        0.955, abs=statistical(runs, p=0.05)
    )


def test_persons_widen_comparisons_with_the_rest_too():
    y_true, y_pred, groups = random_rows()
    times, person = {"g": [level for level in groups["g"] for _ in range(4)]}, np.repeat(np.arange(240), 4)
    once = measured(y_true, y_pred, groups, against_rest=True)
    found = measured(np.repeat(y_true, 4), np.repeat(y_pred, 4), times, against_rest=True, person=person)
    gap, true = (f["selection_rate.difference_to_rest", "a"].interval for f in (found, once))
    assert gap.high - gap.low == pytest.approx(true.high - true.low, rel=0.03)


# --- shortfall and worst pairs ----------------------------------------------------------------------


def test_the_shortfall_is_what_is_lacking_to_four_fifths():
    groups = {"g": ["a"] * 100 + ["b"] * 100 + ["c"] * 100}
    y_pred = [1] * 50 + [0] * 50 + [1] * 40 + [0] * 60 + [1] * 23 + [0] * 77
    found = measured([0, 1] * 150, y_pred, groups)
    shortfall = found["four_fifths_shortfall", "c"]
    assert shortfall.value == 17
    assert shortfall.provenance == "derived"
    assert shortfall.interval.low == shortfall.interval.high == 17
    # exactly on the line lacks nobody
    assert ("four_fifths_shortfall", "b") not in found
    assert ("four_fifths_shortfall", "a") not in found


def test_the_clearest_pairs_come_first_and_say_who():
    groups = {"g": ["a"] * 400 + ["b"] * 400 + ["c"] * 400 + ["d"] * 4}
    y_pred = [1] * 200 + [0] * 200 + [1] * 80 + [0] * 320 + [1] * 180 + [0] * 220 + [0] * 4
    table = table_of(output_of([0, 1] * 602, y_pred, groups), "rate")
    assert 0 < len(table.rows) <= 8
    assert "between a and b" in str(table.title)
    assert table.rows[0][1] == "a"
    assert table.rows[0][3] == "b"
    lows = [row[5].low for row in table.rows]
    assert lows == sorted(lows, reverse=True)
    assert "base_rate" not in {row[0] for row in table.rows}


def test_rates_that_add_up_to_one_are_listed_once():
    y_true, y_pred, groups = random_rows()
    table = table_of(output_of(y_true, y_pred, groups, metrics=EVERY), "rate")
    assert not {"true_positive_rate", "false_negative_rate"} <= {row[0] for row in table.rows}


def test_equal_groups_are_not_said_to_differ():
    y_pred = np.tile([0, 1, 1, 0], 50)
    output = output_of(np.tile([0, 1], 100), y_pred, {"g": ["a"] * 100 + ["b"] * 100})
    table = table_of(output, "rate")
    assert "No two groups of g differ" in str(table.title)
    assert all(row[6] == 1 for row in table.rows)


def test_p_values_of_equal_rates_are_seldom_small():
    rng = np.random.default_rng(8)
    for n1, n2, p in ((30, 300, 0.3), (100, 100, 0.5), (10, 12, 0.1), (200, 8, 0.02)):
        x1, x2 = (rng.binomial(n, p, 4000).astype(float) for n in (n1, n2))
        values = pair_p_values(x1, np.full(4000, n1, dtype=float), x2, np.full(4000, n2, dtype=float))
        assert (values <= 0.05).mean() < 0.05 + statistical(4000, p=0.05)
        assert ((values >= 0) & (values <= 1)).all()


# --- composites -------------------------------------------------------------------------------------


def test_composites_are_given_per_group_with_their_gap_and_chart():
    y_true, y_pred, groups = random_rows()
    output = output_of(y_true, y_pred, groups, metrics=("f1", "average_odds"))
    found = figures(output)
    values = [found["f1", level].value for level in "abc"]
    assert found["f1.difference", "g"].value == pytest.approx(max(values) - min(values), **FLOAT)
    assert found[("f1",)].interval.low < found[("f1",)].value < found[("f1",)].interval.high
    assert sum(e.kind == "dots" for e in output.evidence) == 2


def test_a_composite_of_nothing_is_undefined():
    groups = {"g": ["a"] * 10 + ["b"] * 10}
    found = measured([0] * 10 + [0, 1] * 5, [0] * 10 + [0, 1] * 5, groups, metrics=tuple(COMPOSITES))
    for metric in COMPOSITES:
        assert found[metric, "a"].value is None
        assert found[f"{metric}.difference", "g"].value is None
    assert found["f1", "b"].value == 1
    assert found["treatment_ratio", "b"].value is None


def test_an_unknown_metric_is_named_with_the_closest_composite():
    with pytest.raises(ValidationError, match="Did you mean 'balanced_accuracy'"):
        GroupFairness(metrics=("balanced_acuracy",))


# --- several classes --------------------------------------------------------------------------------


def test_every_class_is_compared_against_the_rest():
    groups = {"g": ["a"] * 4 + ["b"] * 4}
    y_true = [0, 0, 1, 2, 0, 1, 1, 2]
    y_pred = [0, 1, 1, 2, 2, 1, 2, 2]
    output = output_of(y_true, y_pred, groups, classes=CLASSES)
    found = figures(output)
    # predicted: a has 1, 2, 1 of four; b has 0, 1, 3
    assert found["selection_rate.largest_class_difference", "g"].value == 0.5
    assert found["selection_rate.largest_class_difference", "g"].note.values["label"] == "y"
    assert found["selection_rate.mean_class_difference", "g"].value == pytest.approx(1 / 3, **FLOAT)
    assert found["predicted_classes.total_variation", "g"].value == 0.5
    # recalls: a 1/2, 1, 1; b 0, 1/2, 1
    assert found["true_positive_rate.largest_class_difference", "g"].value == 0.5
    assert found["true_positive_rate.mean_class_difference", "g"].value == pytest.approx(1 / 3, **FLOAT)
    assert found["macro_f1", "a"].value == pytest.approx((2 / 3 + 2 / 3 + 1) / 3, **FLOAT)
    assert found["macro_f1", "b"].value == pytest.approx((0 + 2 / 3 + 1 / 2) / 3, **FLOAT)
    table = table_of(output, "class")
    assert {row[0] for row in table.rows} == set(CLASSES)
    assert table.rows[0][0] in {"x", "y", "w"}
    assert any("every class is compared against the rest" in str(note) for note in output.notes)


def test_a_planted_class_is_found_and_equal_groups_show_none():
    rng = np.random.default_rng(9)
    groups = {"g": ["a"] * 1500 + ["b"] * 1500}
    y_true = rng.integers(0, 3, 3000)
    y_pred = np.where(rng.random(3000) < 0.8, y_true, rng.integers(0, 3, 3000))
    fair = measured(y_true, y_pred, groups, classes=CLASSES)
    missed = (np.arange(3000) >= 1500) & (y_true == 2) & (rng.random(3000) < 0.3)
    unfair = measured(y_true, np.where(missed, 0, y_pred), groups, classes=CLASSES)
    for name in (
        "true_positive_rate.largest_class_difference",
        "predicted_classes.total_variation",
        "predicted_classes.cramers_v",
        "macro_f1.difference",
    ):
        assert fair[name, "g"].interval.low == 0
        assert unfair[name, "g"].interval.low > 0
    assert unfair["true_positive_rate.largest_class_difference", "g"].note.values["label"] == "y"


def test_gaps_over_classes_hold_at_equality():
    rng, runs, shown = np.random.default_rng(10), 60, 0
    groups = {"g": (["a"] * 100 + ["b"] * 100 + ["c"] * 100)}
    for _ in range(runs):
        y_true = rng.integers(0, 3, 300)
        found = measured(
            y_true, rng.integers(0, 3, 300), groups, classes=CLASSES, metrics=("selection_rate",)
        )
        shown += found["selection_rate.largest_class_difference", "g"].interval.low > 0
    assert shown / runs < 0.05 + statistical(runs, p=0.05)


@pytest.mark.parametrize("case", ["one group", "constant", "unknown", "no weight"])
def test_several_classes_take_data_that_say_little(case):
    y_true, y_pred, groups = random_rows(60, n_classes=3)
    groups = {"g": {"one group": ["a"] * 60, "unknown": [None] * 60}.get(case, groups["g"])}
    y_pred = np.zeros(60, dtype=int) if case == "constant" else y_pred
    weights = np.zeros(60) if case == "no weight" else None
    found = measured(
        y_true, y_pred, groups, classes=CLASSES, weights=weights, person=np.arange(60) // 2, metrics=EVERY
    )
    strength = found["predicted_classes.cramers_v", "g"]
    assert strength.value is None
    assert strength.missing


# --- invariances and limits -------------------------------------------------------------------------


@settings(derandomize=True, deadline=None, max_examples=6)
@given(seed=st.integers(0, 1000), n_classes=st.sampled_from([2, 3]))
def test_order_of_rows_and_names_of_groups_and_persons_change_no_figure(seed, n_classes):
    y_true, y_pred, groups = random_rows(120, seed, n_classes)
    person = np.random.default_rng(seed).integers(0, 50, 120)
    order = np.random.default_rng(seed + 1).permutation(120)
    renamed = {"g": ["x" + groups["g"][i] for i in order]}
    options = {
        "metrics": EVERY,
        "against_rest": True,
        "classes": ("no", "yes") if n_classes == 2 else CLASSES,
    }
    plain = measured(y_true, y_pred, groups, person=person, reference={"g": "a"}, **options)
    other = measured(
        y_true[order], y_pred[order], renamed, person=99 - person[order], reference={"g": "xa"}, **options
    )
    for one, two in zip(plain.values(), other.values(), strict=True):
        assert (one.metric, one.n) == (two.metric, two.n)
        assert two.value == (None if one.value is None else pytest.approx(one.value, **FLOAT))
        if one.interval is not None:
            assert (two.interval.low, two.interval.high) == pytest.approx(
                (one.interval.low, one.interval.high), **FLOAT
            )


@settings(derandomize=True, deadline=None, max_examples=6)
@given(seed=st.integers(0, 1000))
def test_three_times_the_rows_of_a_group_leave_its_figures(seed):
    y_true, y_pred, groups = random_rows(90, seed)
    rows = np.repeat(np.arange(90), [3 if level == "a" else 1 for level in groups["g"]])
    before = measured(y_true, y_pred, groups, metrics=EVERY)
    after = measured(y_true[rows], y_pred[rows], {"g": [groups["g"][i] for i in rows]}, metrics=EVERY)
    for metric in EVERY:
        one, three = before[metric, "a"].value, after[metric, "a"].value
        assert three == (None if one is None else pytest.approx(one, abs=1e-12))
        assert after[metric, "b"].value == before[metric, "b"].value


@pytest.mark.parametrize("n_classes", [2, 3])
def test_whole_weights_equal_repeated_rows(n_classes):
    y_true, y_pred, groups = random_rows(150, 1, n_classes)
    weights = np.random.default_rng(1).integers(1, 4, 150)
    options = {
        "metrics": EVERY,
        "against_rest": True,
        "classes": ("no", "yes") if n_classes == 2 else CLASSES,
    }
    rows = np.repeat(np.arange(150), weights)
    weighted = measured(y_true, y_pred, groups, weights=weights, **options)
    repeated = measured(y_true[rows], y_pred[rows], {"g": [groups["g"][i] for i in rows]}, **options)
    for name, figure in weighted.items():
        if name[0] == "predicted_classes.cramers_v":
            continue  # its correction for bias depends on the number of rows
        expected = repeated[name].value
        assert figure.value == (None if expected is None else pytest.approx(expected, **FLOAT))


def test_an_attribute_that_numbers_rows_is_refused_with_the_remedy():
    n = 10_000
    y = np.arange(n) % 2
    with pytest.raises(DataError, match="has 10000 groups, expected at most 1000"):
        output_of(y, y, {"id": [str(i) for i in range(n)]})


def test_many_groups_are_measured():
    rng = np.random.default_rng(11)
    groups = {"g": [str(i % 400) for i in range(8000)]}
    found = measured(
        rng.integers(0, 2, 8000), rng.integers(0, 2, 8000), groups, metrics=("selection_rate", "f1")
    )
    assert found["selection_rate.difference", "g"].interval.low == 0
    assert found["f1.difference", "g"].value > 0


@pytest.mark.parametrize("person", [np.zeros(50, dtype=int), np.arange(50) // 5])
def test_rows_without_weight_and_less_than_one_effective_row_get_a_defined_answer(person):
    rng = np.random.default_rng(0)
    levels = rng.choice(["a", "b", "c"], 50).tolist()
    for weight in (np.zeros(50), np.array([0.0] * 25 + [1.0] * 25)):
        data = table_data(
            rng.integers(0, 2, 50), sensitive_features={"g": levels, "h": levels[::-1]}, sample_weight=weight
        )
        data = replace(data, person=person)
        audit = GroupFairness(metrics=EVERY, intersections=True, against_rest=True)
        y_pred = rng.integers(0, 2, 50)
        outputs = (
            audit.measure(predicting(y_pred), data, CONTEXT),
            audit.compare(predicting(y_pred), predicting(1 - y_pred, name="variant"), data, CONTEXT),
        )
        for figure in (m for output in outputs for m in output.measurements):
            assert (figure.value is None) == (figure.missing is not None)
            assert figure.value is None or figure.interval is not None
