"""Gaps among alike rows: published figures, a plain reference, and answers for whatever is missing."""

from dataclasses import replace

import numpy as np
import pytest

from auditkit.audits.audit import AuditContext
from auditkit.audits.fairness.conditional_disparity import ConditionalDisparity
from auditkit.data.dataset import Counts, GroupColumn
from tests.fakes import predicting, table_data
from tests.statistics.test_stratified import MEN, WOMEN
from tests.tolerances import FLOAT

CONTEXT = AuditContext(seed=0)
EXACTLY = 1e-12


def table(groups, control, y_true, **columns):
    data = table_data(y_true, sensitive_features={"sex": list(groups)}, **columns)
    names = {"control": control} if not isinstance(control, dict) else control
    return replace(data, control_features={key: GroupColumn.from_values(list(v)) for key, v in names.items()})


def measured(data, y_pred, classes=("no", "yes"), **parameters):
    output = ConditionalDisparity(**parameters).measure(predicting(y_pred, classes=classes), data, CONTEXT)
    return {one.metric: one for one in output.measurements if one.across[:1] == ("sex",)}, output


@pytest.fixture(scope="module")
def berkeley():
    rows = [
        (sex, department, outcome)
        for sex, counts in (("men", MEN), ("women", WOMEN))
        for department, row in zip("ABCDEF", counts, strict=True)
        for outcome, number in ((1, row[0]), (0, row[1]))
        for _ in range(number)
    ]
    sex, department, admitted = zip(*rows, strict=True)
    data = table(sex, department, np.zeros(len(rows), dtype=int))
    return measured(data, admitted, metrics=["selection_rate"])


def test_berkeley_admissions_are_found_to_turn_round(berkeley):
    """Bickel, Hammel and O'Connell (1975): fewer women admitted over all, not within departments."""
    found, output = berkeley
    assert found["selection_rate.difference"].value == pytest.approx(0.4451877 - 0.3035422, abs=2e-7)
    assert found["selection_rate.difference"].note.values["highest"] == "men"
    within = found["selection_rate.difference.conditional"]
    assert within.value == pytest.approx(0.0426368, abs=5e-8)
    assert within.note.values["higher"] == "women"
    assert within.interval.low > 0
    odds = found["selection_rate.odds_ratio.conditional"]
    assert odds.value == pytest.approx(0.9046968, abs=5e-8)
    assert (odds.interval.low, odds.interval.high) == pytest.approx((0.7719074, 1.0), abs=5e-8)
    assert found["selection_rate.reversals"].value == 1
    assert found["incomparable_share"].value == 0
    title = str(output.evidence[0].title)
    assert title == "Over all rows men have the higher rate, among alike rows women: the order turns round"
    assert any("differs between strata" in str(note) for note in output.notes)


def test_the_table_holds_tests_and_strata(berkeley):
    _, output = berkeley
    (row,) = output.evidence[1].rows
    assert row[0] == "selection_rate"
    assert row[5:] == ("0.23", "0.0021", 6, "100")


def test_gaps_of_every_rate_equal_a_plain_count():
    rng = np.random.default_rng(4)
    n = 600
    groups, control = rng.choice(["a", "b"], n), rng.choice(["x", "y", "z"], n)
    y_true, y_pred = rng.integers(0, 2, (2, n))
    found, _ = measured(table(groups, control, y_true), y_pred)
    rows = list(zip(groups, control, y_true, y_pred, strict=True))
    for metric, inside in (
        ("selection_rate", lambda label: True),
        ("true_positive_rate", lambda label: label == 1),
        ("false_positive_rate", lambda label: label == 0),
    ):
        total = weight = 0.0
        for level in "xyz":
            own = {
                group: [p for g, k, t, p in rows if g == group and k == level and inside(t)] for group in "ab"
            }
            size = len(own["a"]) + len(own["b"])
            total += size * (np.mean(own["a"]) - np.mean(own["b"]))
            weight += size
        figure = found[f"{metric}.difference.conditional"]
        assert figure.value == pytest.approx(abs(total / weight), abs=EXACTLY)
        assert figure.n == weight


def test_a_gap_that_the_control_feature_explains_is_not_shown():
    rng = np.random.default_rng(5)
    is_b = rng.random(4000) < 0.5
    hard = rng.random(4000) < np.where(is_b, 0.8, 0.2)
    y_pred = (rng.random(4000) < np.where(hard, 0.2, 0.7)).astype(int)
    found, output = measured(table(np.where(is_b, "b", "a"), hard, y_pred), y_pred)
    assert found["selection_rate.difference"].interval.low > 0.2
    assert found["selection_rate.difference.conditional"].interval.low == 0
    assert found["selection_rate.odds_ratio.conditional"].interval.high == 1
    assert "no gap beyond chance" in str(output.evidence[0].title)


def test_rows_without_a_counterpart_are_counted_and_named():
    # 4 rows of x compare; 3 rows of y are of one group; 2 rows have an unknown control feature
    groups = ["a", "a", "b", "b", "a", "a", "a", "a", "b"]
    control = ["x"] * 4 + ["y"] * 3 + [None] * 2
    found, _ = measured(table(groups, control, [0, 1] * 4 + [0]), [0, 1, 1, 1, 0, 1, 1, 0, 1])
    share = found["incomparable_share"]
    assert (share.value, share.n) == (pytest.approx(5 / 9, **FLOAT), 9)
    assert found["selection_rate.difference.conditional"].value == pytest.approx(0.5, **FLOAT)
    assert found["selection_rate.difference.conditional"].n == 4


def test_without_control_features_only_the_raw_gap_has_a_value():
    data = table_data([0, 1] * 10, sensitive_features={"sex": ["a", "b"] * 10})
    found, output = measured(data, [0, 1] * 10)
    assert found["selection_rate.difference"].value == 1
    absent = found["selection_rate.difference.conditional"]
    assert absent.value is None
    assert "no control features" in str(absent.missing)
    assert output.evidence == []


def test_groups_that_never_meet_are_told_apart():
    found, _ = measured(table(["a"] * 5 + ["b"] * 5, ["x"] * 5 + ["y"] * 5, [0] * 10), [0, 1] * 5)
    assert found["incomparable_share"].value == 1
    assert "alike in the control features" in str(found["selection_rate.difference.conditional"].missing)


def test_shards_add_up_to_the_last_bit():
    rng = np.random.default_rng(6)
    n = 300
    data = table(
        rng.choice(["a", "b", "c"], n),
        {"one": rng.choice(["x", "y"], n), "two": rng.integers(0, 9, n)},
        rng.integers(0, 2, n),
    )
    subject, audit = predicting(rng.integers(0, 2, n)), ConditionalDisparity()
    whole = audit.measure(subject, data, CONTEXT)
    parts = [audit.partial(subject, data.take(np.arange(i, n, 7)), CONTEXT) for i in range(7)]
    assert audit.conclude(audit.merge(parts[::-1]), subject, data, CONTEXT) == whole


def test_whole_weights_equal_repeated_rows_in_every_value():
    rng = np.random.default_rng(7)
    n = 200
    groups, control = rng.choice(["a", "b"], n), rng.choice(["x", "y"], n)
    y_true, y_pred = rng.integers(0, 2, (2, n))
    weight = rng.integers(1, 4, n)
    index = np.repeat(np.arange(n), weight)
    weighted, _ = measured(table(groups, control, y_true, sample_weight=weight), y_pred)
    repeated, _ = measured(table(groups[index], control[index], y_true[index]), y_pred[index])
    for metric in weighted:
        if metric.endswith("difference.conditional"):
            assert weighted[metric].value == pytest.approx(repeated[metric].value, abs=EXACTLY)
            assert weighted[metric].interval.low <= repeated[metric].interval.low


def test_counts_stand_for_their_rows():
    data = table(["a", "a", "b", "b"], ["x"] * 4, [1, 1, 1, 1])
    n = np.array([30, 10, 20, 20])
    counted = replace(data, counts=Counts(n, n.astype(float), n.astype(float)))
    found, _ = measured(counted, [1, 0, 1, 0])
    assert found["selection_rate.difference.conditional"].value == pytest.approx(0.25, **FLOAT)
    assert found["selection_rate.difference.conditional"].n == 80


def test_three_classes_without_a_positive_label_say_so():
    data = table(["a", "b"] * 6, ["x"] * 12, [0, 1, 2] * 4, classes=("p", "q", "r"), positive=None)
    found, _ = measured(data, [0, 1, 2] * 4, classes=("p", "q", "r"))
    assert "no positive label" in str(found["selection_rate.difference.conditional"].missing)


def test_ten_thousand_groups_are_answered_with_a_reason():
    groups = [str(index) for index in range(10_000)]
    found, _ = measured(table(groups, ["x"] * 10_000, [0, 1] * 5000), [0, 1] * 5000)
    assert "too many pairs" in str(found["selection_rate.difference.conditional"].missing)


@pytest.mark.parametrize("weights", [np.zeros(12), np.arange(12) % 3])
def test_rows_without_weight_are_no_crash(weights):
    data = table(["a", "b"] * 6, ["x", "x", "y"] * 4, [0, 1] * 6, sample_weight=weights)
    found, _ = measured(data, [0, 1, 1] * 4)
    for one in found.values():
        assert (one.value is None) == (one.missing is not None)


def test_unknown_metrics_are_refused():
    with pytest.raises(ValueError, match="unknown metric"):
        ConditionalDisparity(metrics=["selection"])
