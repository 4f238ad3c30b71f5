"""AUCs within and across groups against scikit-learn, on real data and on lending, ties included."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score

from auditkit.audits.audit import AuditContext
from auditkit.audits.fairness.score_fairness import ScoreFairness
from auditkit.data.lending import lending_rows
from tests.fakes import scoring, table_data

EXACTLY = 1e-12


@pytest.fixture(scope="module")
def compas(real_data):
    table = pd.read_csv(real_data / "compas" / "compas-scores-two-years.csv")
    return table["two_year_recid"].to_numpy(), table["decile_score"].to_numpy() / 11, table[["race", "sex"]]


@pytest.fixture(scope="module")
def adult(real_data):
    table = pd.read_csv(real_data / "adult" / "adult.data", header=None, skipinitialspace=True)
    score = table[4].to_numpy() / 20 + (table[10].to_numpy() > 5000) * 0.1
    return (
        (table[14] == ">50K").to_numpy().astype(int),
        score,
        pd.DataFrame({"race": table[8], "sex": table[9]}),
    )


@pytest.fixture(scope="module")
def lending():
    rows = lending_rows("test")
    score = (rows.columns["credit_history"] - 300) / 551
    groups = pd.DataFrame({"race": rows.sensitive["ethnicity"], "sex": rows.sensitive["sex"]})
    return (rows.labels == "approved").astype(int), score, groups


@pytest.mark.parametrize("name", ["compas", "adult", "lending"])
def test_areas_within_and_across_groups_equal_scikit_learn(name, request):
    y_true, score, groups = request.getfixturevalue(name)
    columns = {key: groups[key].tolist() for key in groups}
    data = table_data(y_true, sensitive_features=columns)
    output = ScoreFairness(n_bootstrap=50).measure(scoring(score), data, AuditContext(seed=3))
    found = {(one.metric, *one.group.values(), *one.across): one for one in output.measurements}
    compared = 0
    for attribute in groups:
        names, areas = groups[attribute].to_numpy(), []
        for level in np.unique(names):
            inside = names == level
            expected = roc_auc_score(y_true[inside], score[inside])
            assert found["auc", level].value == pytest.approx(expected, abs=EXACTLY)
            areas.append(expected)
            subgroup_negative = (inside & (y_true == 0)) | (~inside & (y_true == 1))
            subgroup_positive = (inside & (y_true == 1)) | (~inside & (y_true == 0))
            for metric, rows in (("bpsn_auc", subgroup_negative), ("bnsp_auc", subgroup_positive)):
                area = roc_auc_score(y_true[rows], score[rows])
                assert found[metric, level].value == pytest.approx(area, abs=EXACTLY)
            compared += 1
        gap = found["auc.difference", attribute]
        assert gap.value == pytest.approx(max(areas) - min(areas), abs=EXACTLY)
        assert gap.interval.low <= gap.value <= gap.interval.high
    assert compared >= 5


def test_brier_scores_of_the_same_rows_agree_with_the_mean_scores_per_label(lending):
    """Mean scores per label and the share of positive rows determine the linear part of the Brier score."""
    y_true, score, groups = lending
    data = table_data(y_true, sensitive_features={"sex": groups["sex"].tolist()})
    output = ScoreFairness(n_bootstrap=50).measure(scoring(score), data, AuditContext(seed=3))
    found = {(one.metric, *one.group.values()): one for one in output.measurements if one.group}
    for level in ("female", "male"):
        inside = groups["sex"].to_numpy() == level
        share = y_true[inside].mean()
        linear = share - 2 * share * found["mean_score_positive", level].value
        expected = brier_score_loss(y_true[inside], score[inside]) - np.mean(score[inside] ** 2)
        assert linear == pytest.approx(expected, abs=1e-9)
