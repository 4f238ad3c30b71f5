"""Inequality: published figures, references row by row, planted subgroups, and whatever is missing."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from auditkit.audits.audit import AuditContext
from auditkit.audits.fairness.inequality import Inequality
from auditkit.data.dataset import Counts
from tests.fakes import predicting, table_data

CONTEXT = AuditContext(seed=1)
EXACTLY = 1e-12


def measured(y_true, y_pred, groups, *, classes=("no", "yes"), positive="yes", weights=None, **parameters):
    data = table_data(
        y_true, classes=classes, positive=positive, sensitive_features=groups, sample_weight=weights
    )
    return figures(data, y_pred, classes, **parameters)


def figures(data, y_pred, classes=("no", "yes"), **parameters):
    output = Inequality(**parameters).measure(predicting(y_pred, classes=classes), data, CONTEXT)
    return {(one.metric, *one.across): one for one in output.measurements}


@pytest.fixture(scope="module")
def compas(real_data):
    table = pd.read_csv(real_data / "compas" / "compas-scores-two-years.csv")
    predicted = (table["score_text"] != "Low").astype(int).to_numpy()
    return table["two_year_recid"].to_numpy(), predicted, table[["race", "sex"]]


@pytest.fixture(scope="module")
def compas_figures(compas):
    y_true, y_pred, groups = compas
    return measured(
        y_true, y_pred, groups.to_dict("list"), classes=("0", "1"), positive="0", intersections=True
    )


def test_compas_has_the_figures_computed_elsewhere(compas_figures):
    expected = {
        ("generalized_entropy",): 0.17630,
        ("theil_index",): 0.24502,
        ("generalized_entropy_between", "race"): 0.002501,
        ("differential_fairness", "race"): 1.1404,
        ("differential_fairness", "race", "sex"): 1.4844,
        ("differential_fairness_of_labels", "race"): 0.6522,
        ("bias_amplification", "race"): 0.4883,
    }
    for key, value in expected.items():
        digits = 5e-7 if value < 0.01 else 5e-6 if len(key) == 1 else 5e-5
        assert compas_figures[key].value == pytest.approx(value, abs=digits)


def smoothed_epsilon(outcome, names):
    """Smoothed empirical differential fairness, group by group, with half a row per outcome."""
    rates = []
    for name in sorted(set(names)):
        inside = [value for value, own in zip(outcome, names, strict=True) if own == name]
        rates.append((sum(inside) + 0.5) / (len(inside) + 1))
    return max(
        max(abs(math.log(a / b)), abs(math.log((1 - a) / (1 - b))))
        for a, b in itertools.permutations(rates, 2)
    )


def test_compas_figures_equal_plain_references(compas, compas_figures):
    y_true, y_pred, groups = compas
    benefit = (1 - y_pred) - (1 - y_true) + 1.0
    relative = benefit / benefit.mean()
    entropy = float(np.mean(relative**2 - 1)) / 2
    assert compas_figures["generalized_entropy",].value == pytest.approx(entropy, abs=EXACTLY)
    of_group = pd.Series(benefit).groupby(groups["race"]).transform("mean") / benefit.mean()
    between = compas_figures["generalized_entropy_between", "race"].value
    assert between == pytest.approx(float((of_group**2 - 1).mean()) / 2, abs=EXACTLY)
    crossed = list(zip(groups["race"], groups["sex"], strict=True))
    for across, names in ((("race",), groups["race"].tolist()), (("race", "sex"), crossed)):
        predicted, labelled = (smoothed_epsilon(column.tolist(), names) for column in (y_pred, y_true))
        assert compas_figures["differential_fairness", *across].value == pytest.approx(predicted, abs=EXACTLY)
        assert compas_figures["bias_amplification", *across].value == pytest.approx(
            predicted - labelled, abs=EXACTLY
        )


def test_compas_subgroup_unfairness_equals_a_plain_count(compas, compas_figures):
    y_true, y_pred, groups = compas
    other, selected = y_true == 1, y_pred == 0
    rate, sizes = selected[other].mean(), []
    names = [groups["race"], groups["sex"], groups["race"] + groups["sex"]]
    for column in names:
        for name in set(column):
            inside = (column == name).to_numpy() & other
            if inside.any():
                sizes.append(inside.mean() * abs(rate - selected[inside].mean()))
    found = compas_figures["false_positive_rate.subgroup_unfairness", "race", "sex"]
    assert found.value == pytest.approx(max(sizes), abs=EXACTLY)
    assert found.interval.low > 0


def crossed_rows(rates, n=400):
    """Selection rates of four crossed groups, to the row."""
    one, two, y_pred = [], [], []
    for (a, b), rate in rates.items():
        one += [a] * n
        two += [b] * n
        y_pred += [1] * round(n * rate) + [0] * (n - round(n * rate))
    return {"one": one, "two": two}, y_pred


def test_a_crossed_group_that_no_margin_shows_is_found():
    groups, y_pred = crossed_rows({("a", "c"): 0.3, ("a", "d"): 0.7, ("b", "c"): 0.7, ("b", "d"): 0.3})
    found = measured([0] * 1600, y_pred, groups, intersections=True)
    excess = found["selection_rate.excess_over_margins", "one", "two"]
    assert excess.value == pytest.approx(0.2, abs=EXACTLY)
    assert excess.interval.low > 0.1
    assert found["selection_rate.subgroup_unfairness", "one"].value == pytest.approx(0, abs=EXACTLY)
    assert found["selection_rate.subgroup_unfairness", "one", "two"].value == pytest.approx(0.05, abs=EXACTLY)


def test_effects_that_add_up_make_no_excess():
    groups, y_pred = crossed_rows({("a", "c"): 0.2, ("a", "d"): 0.4, ("b", "c"): 0.5, ("b", "d"): 0.7})
    found = measured([0] * 1600, y_pred, groups, intersections=True)
    excess = found["selection_rate.excess_over_margins", "one", "two"]
    assert excess.value == pytest.approx(0, abs=EXACTLY)
    assert excess.interval.low == 0


def test_everything_right_is_no_inequality_with_room_for_errors_not_seen():
    found = measured([0, 1] * 50, [0, 1] * 50, {"g": ["a", "b", "b", "a"] * 25})
    index = found["generalized_entropy",]
    assert index.value == 0
    assert index.interval.low == 0 < index.interval.high < 0.05
    assert found["generalized_entropy_between", "g"].value == 0
    assert "no inequality" in str(found["between_group_share", "g"].missing)


def test_everyone_refused_is_undefined_not_zero():
    found = measured([1] * 10, [0] * 10, {"g": ["a", "b"] * 5})
    assert "0 / 0" in str(found["generalized_entropy",].missing)
    assert "0 / 0" in str(found["generalized_entropy_between", "g"].missing)
    assert found["differential_fairness", "g"].value == 0


def test_unknown_groups_are_never_compared():
    found = measured([0, 1] * 20, [0, 1] * 10 + [1] * 20, {"g": ["a", "b"] * 10 + [None] * 20})
    assert "unknown" not in str(found["differential_fairness", "g"].note)
    alone = measured([0, 1] * 5, [0, 1] * 5, {"g": [None] * 10})
    assert "Fewer than two known groups" in str(alone["differential_fairness", "g"].missing)


def test_three_classes_have_differential_fairness_without_a_positive_label():
    y = [0, 1, 2] * 20
    found = measured(y, y, {"g": ["a", "b"] * 30}, classes=("p", "q", "r"), positive=None)
    assert found["differential_fairness", "g"].value is not None
    assert "no positive label" in str(found["generalized_entropy",].missing)
    assert "no positive label" in str(found["false_positive_rate.subgroup_unfairness", "g"].missing)


def test_whole_weights_equal_repeated_rows_in_every_index():
    rng = np.random.default_rng(3)
    y_true, y_pred = rng.integers(0, 2, (2, 300))
    names, weight = rng.choice(["a", "b", "c"], 300), rng.integers(1, 4, 300)
    index = np.repeat(np.arange(300), weight)
    weighted = measured(y_true, y_pred, {"g": names.tolist()}, weights=weight)
    repeated = measured(y_true[index], y_pred[index], {"g": names[index].tolist()})
    for key in (("generalized_entropy",), ("theil_index",), ("selection_rate.subgroup_unfairness", "g")):
        assert weighted[key].value == pytest.approx(repeated[key].value, abs=EXACTLY)


def test_counts_stand_for_their_rows():
    data = table_data([1, 1, 0, 0], sensitive_features={"g": ["a", "b", "a", "b"]})
    n = np.array([10, 30, 20, 5])
    counted = figures(replace(data, counts=Counts(n, n.astype(float), n.astype(float))), [1, 0, 0, 1])
    index = np.repeat(np.arange(4), n)
    rows = figures(data.take(index), np.array([1, 0, 0, 1]))
    assert {key: one.value for key, one in counted.items()} == pytest.approx(
        {key: one.value for key, one in rows.items()}, abs=EXACTLY
    )


@pytest.mark.parametrize("weights", [np.zeros(12), np.arange(12) % 3])
def test_rows_without_weight_are_no_crash(weights):
    found = measured([0, 1] * 6, [0, 1, 1] * 4, {"g": ["a", "b"] * 6}, weights=weights)
    assert all((one.value is None) == (one.missing is not None) for one in found.values())


def test_ten_thousand_groups_are_answered():
    found = measured([0, 1] * 5000, [1, 0] * 5000, {"g": [str(index) for index in range(10_000)]})
    assert "10000 groups" in str(found["differential_fairness", "g"].missing)
    assert found["generalized_entropy_between", "g"].value is not None
