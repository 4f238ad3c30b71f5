"""Group fairness against Fairlearn, scikit-learn and published figures, on real data."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from fairlearn import metrics as fairlearn
from sklearn import metrics as sklearn

from auditkit.audits.audit import AuditContext
from auditkit.audits.fairness.group_fairness import GroupFairness
from auditkit.data.lending import lending_rows
from auditkit.statistics.comparisons import katz_ratio, newcombe_difference
from auditkit.statistics.composites import COMPOSITES
from auditkit.statistics.counts import METRICS
from auditkit.statistics.decision import decide, minimum_detectable_difference
from tests.fakes import predicting, table_data

CONTEXT = AuditContext(seed=3)
EXACTLY = 1e-12

ORACLES = {
    "selection_rate": fairlearn.selection_rate,
    "true_positive_rate": fairlearn.true_positive_rate,
    "false_negative_rate": fairlearn.false_negative_rate,
    "false_positive_rate": fairlearn.false_positive_rate,
    "true_negative_rate": fairlearn.true_negative_rate,
    "positive_predictive_value": lambda t, p: sklearn.precision_score(t, p, zero_division=np.nan),
    "false_discovery_rate": lambda t, p: 1 - sklearn.precision_score(t, p, zero_division=np.nan),
    "negative_predictive_value": lambda t, p: sklearn.precision_score(
        t, p, pos_label=0, zero_division=np.nan
    ),
    "false_omission_rate": lambda t, p: 1 - sklearn.precision_score(t, p, pos_label=0, zero_division=np.nan),
    "accuracy": sklearn.accuracy_score,
    "base_rate": lambda t, p: float(np.mean(t)),
}

COMPOSITE_ORACLES = {
    "balanced_accuracy": sklearn.balanced_accuracy_score,
    "f1": sklearn.f1_score,
    "matthews_correlation": sklearn.matthews_corrcoef,
    "informedness": lambda t, p: fairlearn.true_positive_rate(t, p) - fairlearn.false_positive_rate(t, p),
    "treatment_ratio": lambda t, p: float(np.sum(t > p)) / float(np.sum(t < p)),
    "average_odds": lambda t, p: (
        (fairlearn.true_positive_rate(t, p) + fairlearn.false_positive_rate(t, p)) / 2
    ),
}


@pytest.fixture(scope="module")
def compas(real_data):
    table = pd.read_csv(real_data / "compas" / "compas-scores-two-years.csv")
    predicted = (table["score_text"] != "Low").astype(int).to_numpy()
    return table["two_year_recid"].to_numpy(), predicted, table[["race", "sex"]]


@pytest.fixture(scope="module")
def adult(real_data):
    table = pd.read_csv(real_data / "adult" / "adult.data", header=None, skipinitialspace=True)
    y_true = (table[14] == ">50K").astype(int).to_numpy()
    predicted = ((table[4] >= 13) | (table[10] > 5000)).astype(int).to_numpy()
    return y_true, predicted, pd.DataFrame({"race": table[8], "sex": table[9]})


@pytest.fixture(scope="module")
def lending():
    rows = lending_rows("test")
    y_true = (rows.labels == "approved").astype(int)
    predicted = (rows.columns["credit_history"] > 620).astype(int)
    return (
        y_true,
        predicted,
        pd.DataFrame({"race": rows.sensitive["ethnicity"], "sex": rows.sensitive["sex"]}),
    )


def measured(rows, **parameters):
    y_true, y_pred, groups = rows
    data = table_data(y_true, sensitive_features={name: groups[name].tolist() for name in groups})
    metrics = (*METRICS, *COMPOSITES)
    output = GroupFairness(metrics=metrics, **parameters).measure(predicting(y_pred), data, CONTEXT)
    return {(m.metric, *m.group.values(), *m.across): m for m in output.measurements}


def by_group(rows, attributes, metrics=ORACLES):
    y_true, y_pred, groups = rows
    with warnings.catch_warnings():
        # pandas announces changes that do not touch these values
        warnings.simplefilter("ignore")
        return fairlearn.MetricFrame(
            metrics=metrics, y_true=y_true, y_pred=y_pred, sensitive_features=groups[attributes]
        )


@pytest.mark.parametrize("name", ["compas", "adult", "lending"])
@pytest.mark.parametrize("attributes", [["race"], ["sex"], ["race", "sex"]])
def test_rates_and_gaps_equal_fairlearn(name, attributes, request):
    rows = request.getfixturevalue(name)
    found = measured(rows, intersections=True)
    frame = by_group(rows, attributes)
    undefined = 0
    for metric in ORACLES:
        values = frame.by_group[metric]
        for cell, expected in values.items():
            ours = found[metric, *np.atleast_1d(np.array(cell, dtype=object))]
            if ours.value is None:
                # Fairlearn prints 0 for a rate without denominator, scikit-learn what it is told
                assert ours.n == 0
                undefined += 1
            else:
                assert ours.value == pytest.approx(expected, abs=EXACTLY)
        if all(
            found[metric, *np.atleast_1d(np.array(cell, dtype=object))].value is not None
            for cell in values.index
        ):
            gap, ratio = found[f"{metric}.difference", *attributes], found[f"{metric}.ratio", *attributes]
            assert gap.value == pytest.approx(frame.difference()[metric], abs=EXACTLY)
            assert ratio.value == pytest.approx(frame.ratio()[metric], abs=EXACTLY)
    if name == "compas" and len(attributes) == 2:
        assert undefined > 0


def test_overall_rates_equal_scikit_learn(adult):
    y_true, y_pred, _ = adult
    found = measured(adult)
    for metric, oracle in ORACLES.items():
        assert found[(metric,)].value == pytest.approx(oracle(y_true, y_pred), abs=EXACTLY)


@pytest.mark.parametrize("name", ["compas", "adult", "lending"])
@pytest.mark.parametrize("attribute", ["race", "sex"])
def test_composite_figures_and_their_gaps_equal_scikit_learn(name, attribute, request):
    rows = request.getfixturevalue(name)
    found = measured(rows)
    frame = by_group(rows, [attribute], COMPOSITE_ORACLES)
    for metric in COMPOSITE_ORACLES:
        for level, expected in frame.by_group[metric].items():
            assert found[metric, level].value == pytest.approx(expected, abs=EXACTLY)
        gap = found[f"{metric}.difference", attribute]
        assert gap.value == pytest.approx(frame.difference()[metric], abs=EXACTLY)
        assert gap.interval.low <= gap.value <= gap.interval.high


@pytest.mark.parametrize("name", ["compas", "adult", "lending"])
def test_the_rest_is_everyone_else(name, request):
    y_true, y_pred, groups = request.getfixturevalue(name)
    found = measured((y_true, y_pred, groups), against_rest=True)
    for level in groups["race"].unique():
        inside = (groups["race"] == level).to_numpy()
        for metric in ("selection_rate", "accuracy", "false_positive_rate"):
            oracle = ORACLES[metric]
            expected = oracle(y_true[inside], y_pred[inside]) - oracle(y_true[~inside], y_pred[~inside])
            gap = found[f"{metric}.difference_to_rest", level]
            assert gap.value == pytest.approx(expected, abs=EXACTLY)


def test_compas_against_a_reference_equals_the_published_intervals(compas):
    y_true, y_pred, groups = compas
    keep = groups["race"].isin(["African-American", "Caucasian"]).to_numpy()
    found = measured(
        (y_true[keep], y_pred[keep], groups.loc[keep, ["race"]]), reference={"race": "Caucasian"}
    )
    gap = found["false_positive_rate.difference_to_reference", "African-American"]
    ratio = found["false_positive_rate.ratio_to_reference", "African-American"]
    assert [round(x, 4) for x in (gap.value, gap.interval.low, gap.interval.high)] == [0.2139, 0.1821, 0.2450]
    assert [round(x, 3) for x in (ratio.value, ratio.interval.low, ratio.interval.high)] == [
        1.912,
        1.721,
        2.124,
    ]
    everyone = measured(compas, reference={"race": "Caucasian"})
    wider = everyone["false_positive_rate.difference_to_reference", "African-American"]
    assert wider.value == gap.value
    assert wider.interval.low < gap.interval.low


def test_compas_average_odds_and_shortfalls_follow_from_the_published_table(compas):
    y_true, y_pred, groups = compas
    keep = groups["race"].isin(["African-American", "Caucasian"]).to_numpy()
    # not being marked as a risk is the favourable outcome
    found = measured((1 - y_true[keep], 1 - y_pred[keep], groups.loc[keep, ["race"]]))
    assert round(found["average_odds.difference", "race"].value, 4) == 0.2056
    # Caucasian: 1600 of 2454 favourable; African-American: 1522 of 3696
    assert found["four_fifths_shortfall", "African-American"].value == math.ceil(
        0.8 * 1600 / 2454 * 3696 - 1522
    )
    assert ("four_fifths_shortfall", "Caucasian") not in found


PUBLISHED = {
    # group: n, FPR, FNR, PPV, SR in percent
    (): (7214, 32.35, 37.40, 61.35, 45.98),
    ("African-American",): (3696, 44.85, 27.99, 62.97, 58.82),
    ("Caucasian",): (2454, 23.45, 47.72, 59.13, 34.80),
    ("Hispanic",): (637, 21.48, 55.60, 54.21, 29.83),
    ("Other",): (377, 14.75, 67.67, 54.43, 20.95),
    ("Asian",): (32, 8.70, 33.33, 75.00, 25.00),
    ("Native American",): (18, 37.50, 10.00, 75.00, 66.67),
}


def test_compas_equals_the_published_table(compas):
    found = measured(compas)
    for group, (n, *percentages) in PUBLISHED.items():
        names = ("false_positive_rate", "false_negative_rate", "positive_predictive_value", "selection_rate")
        assert found["selection_rate", *group].n == n
        assert [round(100 * found[name, *group].value, 2) for name in names] == percentages
    assert round(found["false_positive_rate", "Male"].value, 4) == 0.3242
    assert round(found["false_positive_rate", "Female"].value, 4) == 0.3211


def test_compas_intervals_equal_the_published_ones(compas):
    found = measured(compas)
    african_american, caucasian = (found["false_positive_rate", g] for g in ("African-American", "Caucasian"))
    ends = [(round(m.interval.low, 4), round(m.interval.high, 4)) for m in (african_american, caucasian)]
    assert ends == [(0.4256, 0.4716), (0.2137, 0.2567)]
    counts = [round(m.value * m.n) for m in (african_american, caucasian)]
    pair = counts[0], african_american.n, counts[1], caucasian.n
    assert pair == (805, 1795, 349, 1488)
    difference, ratio = newcombe_difference(*pair), katz_ratio(*pair)
    assert round(african_american.value - caucasian.value, 4) == 0.2139
    assert (round(difference.low, 4), round(difference.high, 4)) == (0.1821, 0.2450)
    assert round(african_american.value / caucasian.value, 3) == 1.912
    assert (round(ratio.low, 3), round(ratio.high, 3)) == (1.721, 2.124)


def test_compas_gap_of_two_groups_fails_and_that_of_a_tiny_one_stays_open(compas):
    y_true, y_pred, groups = compas

    def gap_between(*names):
        keep = groups["race"].isin(names).to_numpy()
        return measured((y_true[keep], y_pred[keep], groups.loc[keep, ["race"]]))[
            "false_positive_rate.difference", "race"
        ]

    large, tiny = gap_between("African-American", "Caucasian"), gap_between("Caucasian", "Native American")
    assert decide(large.interval, at_most=0.1) == "fail"
    assert round(large.interval.low, 3) == 0.182
    assert round(large.detectable, 4) == 0.0469
    assert decide(tiny.interval, at_most=0.1) == "inconclusive"
    assert tiny.detectable > 0.4
    pooled = (805 + 349) / (1795 + 1488)
    assert round(minimum_detectable_difference(pooled, 8, 1795), 3) == 0.474


def test_adult_base_rates_equal_the_published_ones(adult):
    found = measured(adult)
    assert round(found["base_rate", "Male"].value, 5) == 0.30574
    assert round(found["base_rate", "Female"].value, 5) == 0.10946
    assert found["base_rate", "Male"].n == 21790
    assert round(found["base_rate.difference", "sex"].value, 5) == 0.19628
    assert round(found["base_rate.ratio", "sex"].value, 5) == 0.35802
    race = {
        "Asian-Pac-Islander": 0.2656,
        "White": 0.2559,
        "Black": 0.1239,
        "Amer-Indian-Eskimo": 0.1158,
        "Other": 0.0923,
    }
    assert {name: round(found["base_rate", name].value, 4) for name in race} == race
