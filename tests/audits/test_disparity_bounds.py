"""Worst cases of gaps: rows of unknown group, wrong labels."""

import numpy as np
import pytest

from auditkit.audits.audit import AuditContext
from auditkit.audits.fairness.disparity_bounds import DisparityBounds
from auditkit.audits.fairness.group_fairness import GroupFairness
from tests.fakes import predicting, table_data
from tests.tolerances import FLOAT

CONTEXT = AuditContext(seed=0)


def measured(data, y_pred, audit=None, **parameters):
    audit = audit or DisparityBounds(**parameters)
    output = audit.measure(predicting(y_pred), data, CONTEXT)
    return {(m.metric, *m.across, *m.group.values()): m for m in output.measurements}, output


def people(groups, y_true, y_pred, **columns):
    return table_data(y_true, sensitive_features={"sex": groups}, **columns), y_pred


def test_hand_counted_bounds():
    # F: 3 of 4 selected, M: 1 of 4; two unknown rows, one selected.
    groups = ["F"] * 4 + ["M"] * 4 + [None] * 2
    y_pred = [1, 1, 1, 0, 1, 0, 0, 0, 1, 0]
    found, _ = measured(*people(groups, [1, 0] * 5, y_pred), metrics=["selection_rate"])
    largest = found["selection_rate.difference.largest", "sex"]
    smallest = found["selection_rate.difference.smallest", "sex"]
    assert largest.value == pytest.approx((3 + 1) / 5 - 1 / 5, **FLOAT)
    assert smallest.value == pytest.approx(3 / 5 - 2 / 5, **FLOAT)
    assert (largest.kind, smallest.kind) == ("upper_bound", "lower_bound")
    assert (largest.n, largest.note.values["n"]) == (10, 2)
    assert (largest.note.values["highest"], largest.note.values["lowest"]) == ("F", "M")


@pytest.mark.parametrize("seed", range(5))
def test_the_gap_lies_within_its_bounds_and_equals_them_when_every_group_is_known(seed):
    rng = np.random.default_rng(seed)
    groups = rng.choice(["a", "b", "c"], 300).astype(object)
    y_true, y_pred = rng.integers(0, 2, (2, 300))
    known, _ = measured(*people(groups.tolist(), y_true, y_pred))
    gaps, _ = measured(*people(groups.tolist(), y_true, y_pred), audit=GroupFairness())
    hidden = groups.copy()
    hidden[rng.random(300) < 0.2] = None
    bounded, _ = measured(*people(hidden.tolist(), y_true, y_pred))
    for metric in DisparityBounds().metrics:
        gap = gaps[f"{metric}.difference", "sex"].value
        for end in ("smallest", "largest"):
            assert known[f"{metric}.difference.{end}", "sex"].value == pytest.approx(gap, **FLOAT)
        low, high = (bounded[f"{metric}.difference.{end}", "sex"].value for end in ("smallest", "largest"))
        assert low <= gap <= high


def test_so_many_wrong_labels_close_the_gap_and_no_fewer():
    groups = np.repeat(["F", "M"], 400)
    y_true = np.tile([1, 0], 400)
    rng = np.random.default_rng(1)
    y_pred = np.where(y_true == 1, rng.random(800) < np.where(groups == "F", 0.6, 0.9), 0).astype(int)
    data, _ = people(groups.tolist(), y_true, y_pred)
    found, output = measured(data, y_pred, metrics=["true_positive_rate"])
    flips = found["true_positive_rate.difference.flips", "sex"]
    assert (flips.unit, flips.kind) == ("count", "upper_bound")
    kind = str(flips.note)
    assert "of M" in kind or "of F" in kind
    group = "M" if "of M" in kind else "F"
    positive, selected = kind.startswith("Positive"), "are predicted positive" in kind
    rows = np.flatnonzero((groups == group) & (y_true == positive) & (y_pred == selected))
    for count, is_shown in ((int(flips.value), False), (int(flips.value) - 1, True)):
        changed = y_true.copy()
        changed[rows[:count]] ^= 1
        after, _ = measured(
            table_data(changed, sensitive_features={"sex": groups.tolist()}),
            y_pred,
            audit=GroupFairness(metrics=("true_positive_rate",)),
        )
        assert (after["true_positive_rate.difference", "sex"].interval.low > 0) is is_shown
    assert [entry.kind for entry in output.evidence] == ["table"]


def test_reasons_are_given_where_no_label_could_matter():
    groups = ["F", "M"] * 50
    y_true, y_pred = [1, 1, 0, 0] * 25, [1, 1, 0, 0] * 25
    data, _ = people(groups, y_true, y_pred)
    found, _ = measured(data, y_pred)
    assert "does not depend on labels" in str(found["selection_rate.difference.flips", "sex"].missing)
    assert "No gap beyond chance" in str(found["true_positive_rate.difference.flips", "sex"].missing)


def test_all_unknown_groups_leave_nothing_to_compare():
    found, output = measured(*people([None] * 10, [1, 0] * 5, [1, 0] * 5))
    assert all(m.value is None for m in found.values())
    assert not output.evidence


def test_weights_count_in_the_bounds_and_labels_are_not_counted():
    groups = ["F"] * 3 + ["M"] * 3 + [None]
    data, y_pred = people(
        groups, [1, 0, 1, 0, 1, 0, 1], [1, 1, 0, 0, 1, 0, 1], sample_weight=[1, 2, 1, 1, 1, 1, 4]
    )
    found, _ = measured(data, y_pred, metrics=["selection_rate"])
    assert found["selection_rate.difference.largest", "sex"].value == pytest.approx(7 / 8 - 1 / 3, **FLOAT)
