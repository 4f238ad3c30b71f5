"""Score fairness: closed forms, scikit-learn, published figures, and answers for whatever is missing."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from auditkit.audits.audit import AuditContext
from auditkit.audits.fairness.groupings import Grouping
from auditkit.audits.fairness.score_fairness import ScoreFairness
from auditkit.audits.fairness.score_groups import GroupScores, Scored, log_odds
from auditkit.audits.fairness.score_ranking import auc_by_group
from auditkit.errors import DataError
from auditkit.statistics.auc import auc_change_delong
from auditkit.subjects.subject import Predictions
from tests.fakes import predicting, scoring, table_data
from tests.tolerances import FLOAT, statistical

CONTEXT = AuditContext(seed=3)
EXACTLY = 1e-12
FROM_RANKS = (
    *("auc", "auc.difference", "bpsn_auc", "bnsp_auc", "xauc.difference"),
    *("largest_selection_gap", "abroca"),
)


def figures(output):
    found = {}
    for one in output.measurements:
        cell = ",".join([f"{k}={v}" for k, v in one.group.items()] + list(one.across))
        assert f"{one.metric}[{cell}]" not in found, "two figures share an address"
        found[f"{one.metric}[{cell}]"] = one
    return found


def measured(y_true, scores, groups, *, weights=None, positive="yes", **parameters):
    data = table_data(y_true, positive=positive, sensitive_features=groups, sample_weight=weights)
    audit = ScoreFairness(**{"n_bootstrap": 50, **parameters})
    return audit.measure(scoring(scores), data, CONTEXT)


def shifted(n=400, distances=(1.0, 2.0), starts=(0.0, 0.0, 0.0), seed=0):
    """Groups whose positive rows lie ``distance`` above the others, on the scale of log-odds."""
    rng = np.random.default_rng(seed)
    labels, scores, names = [], [], []
    for index, (distance, start) in enumerate(zip(distances, starts, strict=False)):
        y_true = np.arange(n) % 2
        labels.append(y_true)
        scores.append(start + distance * y_true + rng.normal(size=n))
        names += ["abcdefghij"[index]] * n
    return np.concatenate(labels), np.concatenate(scores), {"g": names}


# --- right figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("decimals", [9, 1])
def test_areas_are_those_of_scikit_learn(decimals):
    y_true, scores, groups = shifted(90, (1.0, 2.0, 0.5), (0.0, 0.5, 1.0))
    scores, names = expit(scores).round(decimals), np.array(groups["g"])
    found = figures(measured(y_true, scores, groups))
    oracle = {}
    for name in "abc":
        own = names == name
        oracle[name] = roc_auc_score(y_true[own], scores[own])
        assert found[f"auc[g={name}]"].value == pytest.approx(oracle[name], abs=EXACTLY)
        bpsn = (own & (y_true == 0)) | (~own & (y_true == 1))
        bnsp = (own & (y_true == 1)) | (~own & (y_true == 0))
        for metric, rows in (("bpsn_auc", bpsn), ("bnsp_auc", bnsp)):
            expected = roc_auc_score(y_true[rows], scores[rows])
            assert found[f"{metric}[g={name}]"].value == pytest.approx(expected, abs=EXACTLY)
    gap = max(oracle.values()) - min(oracle.values())
    assert found["auc.difference[g]"].value == pytest.approx(gap, abs=EXACTLY)


def test_areas_across_groups_count_pairs():
    y_true, scores, groups = shifted(60, (1.0, 2.0), (0.0, 0.7))
    output = measured(y_true, expit(scores), groups)
    names, (heat,) = np.array(groups["g"]), [one for one in output.evidence if one.kind == "heatmap"]
    for i, first in enumerate("ab"):
        for j, second in enumerate("ab"):
            high = scores[(names == first) & (y_true == 1)]
            low = scores[(names == second) & (y_true == 0)]
            assert heat.values[i][j] == pytest.approx((high[:, None] > low).mean(), abs=5e-5)
    gap = abs(heat.values[0][1] - heat.values[1][0])
    assert figures(output)["xauc.difference[g]"].value == pytest.approx(gap, abs=1e-4)


def test_planted_shifts_have_their_closed_forms():
    """Unit normals: positive rows of a and b lie 1 and 2 above the others, and b starts 0.5 higher."""
    found = figures(measured(*planted(4000)))
    truth = {
        "auc[g=a]": norm.cdf(1 / np.sqrt(2)),
        "auc[g=b]": norm.cdf(2 / np.sqrt(2)),
        "auc.difference[g]": norm.cdf(2 / np.sqrt(2)) - norm.cdf(1 / np.sqrt(2)),
        # positive rows of b start 2.5 above others of a, those of a 0.5 above others of b
        "xauc.difference[g]": norm.cdf(2.5 / np.sqrt(2)) - norm.cdf(0.5 / np.sqrt(2)),
        "bpsn_auc[g=a]": norm.cdf(2.5 / np.sqrt(2)),
        "bnsp_auc[g=a]": norm.cdf(0.5 / np.sqrt(2)),
    }
    for name, value in truth.items():
        assert found[name].interval.low <= value <= found[name].interval.high, name
    at = np.linspace(-8, 8, 4001)
    selected = [(norm.sf(at - start) + norm.sf(at - start - d)) / 2 for start, d in ((0, 1), (0.5, 2))]
    gap = np.abs(selected[0] - selected[1])
    rates = np.linspace(0, 1, 4001)
    curves = [norm.sf(norm.isf(rates) - distance) for distance in (1, 2)]
    truth = {
        "largest_selection_gap[g]": gap.max(),
        "selection_gap_area[g]": np.trapezoid(gap, expit(at)),
        "abroca[g]": np.trapezoid(np.abs(curves[0] - curves[1]), rates),
    }
    for name, value in truth.items():
        assert found[name].value == pytest.approx(value, abs=0.03)
        assert 0 < found[name].interval.low <= value <= found[name].interval.high, name


def planted(n):
    y_true, scores, groups = shifted(n, (1.0, 2.0), (0.0, 0.5))
    return y_true, expit(scores), groups


def test_calibration_within_groups_finds_the_group_whose_chances_are_off():
    """In b the labels come from log-odds that are half as large and one lower than stated."""
    rng = np.random.default_rng(2)
    names = np.repeat(["a", "b"], 1500)
    scores = rng.normal(0, 1.5, 3000)
    chance = np.where(names == "a", expit(scores), expit(scores / 2 - 1))
    output = measured(rng.random(3000) < chance, expit(scores), {"g": names.tolist()})
    found = figures(output)
    assert found["calibration_slope[g=a]"].interval.low < 1 < found["calibration_slope[g=a]"].interval.high
    assert found["calibration_slope[g=b]"].interval.low < 0.5 < found["calibration_slope[g=b]"].interval.high
    assert (
        found["calibration_intercept[g=a]"].interval.low
        < 0
        < found["calibration_intercept[g=a]"].interval.high
    )
    assert found["calibration_intercept[g=b]"].interval.high < -0.5
    assert found["expected_calibration_error.excess[g=b]"].interval.low > 0.05
    assert found["expected_calibration_error.excess[g=a]"].interval.low < 0
    (table,) = [one for one in output.evidence if "comes true" in str(one.title)]
    assert str(table.title) == "For b, the positive label comes true less often than probabilities say"


def test_balance_compares_the_mean_scores_of_equal_labels():
    y_true, scores, groups = shifted(200, (1.0, 1.0), (0.0, 1.0))
    found = figures(measured(y_true, expit(scores), groups))
    names = np.array(groups["g"])
    for metric, label in (("mean_score_positive", 1), ("mean_score_negative", 0)):
        means = [expit(scores[(names == name) & (y_true == label)]).mean() for name in "ab"]
        assert found[f"{metric}[g=a]"].value == pytest.approx(means[0], **FLOAT)
        gap = found[f"{metric}.difference[g]"]
        assert gap.value == pytest.approx(means[1] - means[0], **FLOAT)
        assert gap.interval.low > 0


def test_published_areas_of_compas_are_reproduced(real_data):
    table = pd.read_csv(real_data / "compas" / "compas-scores-two-years.csv")
    chosen = table[table["race"].isin(["African-American", "Caucasian"])]
    output = measured(
        chosen["two_year_recid"].to_numpy(),
        chosen["decile_score"].to_numpy() / 11,
        {"race": chosen["race"].tolist()},
    )
    found = figures(output)
    assert round(found["auc[race=African-American]"].value, 4) == 0.6918
    assert round(found["auc[race=Caucasian]"].value, 4) == 0.6931
    assert found["auc.difference[race]"].interval.low == 0
    # ranked alike within, not across: that is what areas within groups cannot show
    assert found["xauc.difference[race]"].interval.low > 0.2
    everyone = measured(
        table["two_year_recid"].to_numpy(),
        table["decile_score"].to_numpy() / 11,
        {"race": table["race"].tolist()},
    )
    assert round(everyone.evidence[0].reference, 4) == 0.7022


def test_with_more_classes_the_score_is_the_label_against_all_others():
    chances = np.array([[0.2, 0.3, 0.5], [0.1, 0.8, 0.1]])
    found = log_odds(Predictions(np.log(chances)), 1)
    assert found == pytest.approx(logit(chances[:, 1]), **FLOAT)


# --- what must not matter --------------------------------------------------------------------------


@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), decimals=st.sampled_from([1, 6]))
def test_a_monotone_transform_of_the_scores_leaves_ranks_alone(seed, decimals):
    y_true, scores, groups = shifted(30, (1.0, 0.3), seed=seed)
    scores = scores.round(decimals)
    before = figures(measured(y_true, expit(scores), groups))
    after = figures(measured(y_true, expit(0.3 * scores - 1), groups))
    for name, one in before.items():
        if one.metric in FROM_RANKS:
            assert after[name].value == pytest.approx(one.value, **FLOAT), name


@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000))
def test_the_order_of_rows_changes_nothing(seed):
    y_true, scores, groups = shifted(30, seed=seed)
    order = np.random.default_rng(seed).permutation(len(y_true))
    first = measured(y_true, expit(scores), groups)
    second = measured(y_true[order], expit(scores[order]), {"g": np.array(groups["g"])[order].tolist()})
    for one, other in zip(first.measurements, second.measurements, strict=True):
        assert other.value == pytest.approx(one.value, **FLOAT)
        assert (one.interval is None) == (other.interval is None)
        if one.interval is not None:
            ends = one.interval.low, one.interval.high
            assert (other.interval.low, other.interval.high) == pytest.approx(ends, **FLOAT)


def test_renaming_groups_moves_figures_with_their_names():
    y_true, scores, groups = shifted(60, (1.0, 2.0, 0.5), (0.0, 0.5, 1.0))
    swap = {"a": "z", "b": "y", "c": "x"}
    first = figures(measured(y_true, expit(scores), groups))
    second = figures(measured(y_true, expit(scores), {"g": [swap[name] for name in groups["g"]]}))
    for name, one in first.items():
        group = one.group.get("g")
        if one.metric.endswith(".excess"):  # its floor is simulated, group after group
            continue
        renamed = name.replace(f"[g={group}]", f"[g={swap[group]}]") if group else name
        assert second[renamed].value == pytest.approx(one.value, **FLOAT), name


# --- what is missing -------------------------------------------------------------------------------


def test_groups_without_a_label_are_missing_with_the_reason_not_zero():
    y_true = [0, 1] * 20 + [1] * 10 + [0] * 10
    groups = {"g": ["a"] * 20 + ["b"] * 20 + ["c"] * 10 + ["d"] * 10}
    found = figures(measured(y_true, np.linspace(0.1, 0.9, 60), groups))
    for metric in ("auc", "calibration_intercept", "calibration_slope"):
        assert found[f"{metric}[g=c]"].value is None
        assert "without the positive label" in str(found[f"{metric}[g=c]"].missing)
        assert "no rows with the positive label" in str(found[f"{metric}[g=d]"].missing)
    assert found["bpsn_auc[g=c]"].value is None
    assert found["bnsp_auc[g=c]"].value is not None
    assert "undefined there: c; d" in str(found["auc.difference[g]"].note)


def test_unknown_rows_have_figures_but_take_part_in_no_comparison():
    y_true, scores, groups = shifted(100, (1.0, 1.0, 4.0))
    names = [None if name == "c" else name for name in groups["g"]]
    output = measured(y_true, expit(scores), {"g": names})
    known = np.array([name is not None for name in names])
    rest = measured(y_true[known], expit(scores[known]), {"g": [name for name in names if name is not None]})
    found, alone = figures(output), figures(rest)
    assert found["auc[g=unknown]"].value > 0.95
    for name in ("auc.difference[g]", "xauc.difference[g]", "largest_selection_gap[g]", "abroca[g]"):
        assert found[name].value == alone[name].value
    assert found["bpsn_auc[g=a]"].value == alone["bpsn_auc[g=a]"].value
    assert any("100 rows have no known g" in str(note) for note in output.notes)


def test_separated_labels_have_an_area_but_no_slope():
    y_true, groups = [0, 1] * 20, {"g": ["a"] * 20 + ["b"] * 20}
    found = figures(measured(y_true, np.where(np.array(y_true) == 1, 0.8, 0.3), groups))
    assert found["auc[g=a]"].value == 1
    assert found["auc[g=a]"].interval.low < 0.9
    assert found["calibration_slope[g=a]"].value is None
    assert "do not overlap" in str(found["calibration_slope[g=a]"].missing)


def test_constant_scores_show_no_gap_and_no_certainty():
    y_true, _, groups = shifted(50)
    found = figures(measured(y_true, np.full(100, 0.4), groups))
    assert found["auc[g=a]"].value == 0.5
    for name in (
        "largest_selection_gap[g]",
        "selection_gap_area[g]",
        "abroca[g]",
        "mean_score_positive.difference[g]",
    ):
        assert found[name].value == 0
        assert found[name].interval.low == 0
        assert found[name].interval.high > 0.05, name


def test_groups_of_a_row_or_two_get_wide_intervals_or_none():
    y_true = [0, 1] * 50 + [1, 0, 1]
    groups = {"g": ["a"] * 100 + ["b", "b", "c"]}
    found = figures(measured(y_true, np.random.default_rng(3).random(103), groups))
    tiny = found["auc[g=b]"]
    assert tiny.interval.high - tiny.interval.low > 0.5
    assert tiny.note.values == {"n": 1, "small": 30}
    assert found["mean_score_positive[g=c]"].interval is None
    assert found["auc.difference[g]"].interval.low == 0
    assert "bins of score need at least 10" in str(found["expected_calibration_error[g=c]"].missing)


def test_hundreds_of_groups_are_answered_without_comparing_pairs():
    rng = np.random.default_rng(4)
    names = [f"{index // 4:04d}" for index in range(1000)]
    output = measured([0, 1] * 500, rng.random(1000), {"g": names})
    found = figures(output)
    assert found["auc.difference[g]"].interval.low == 0
    for metric in ("xauc.difference", "largest_selection_gap", "selection_gap_area", "abroca"):
        assert "compared for at most 30" in str(found[f"{metric}[g]"].missing)
    curves = [one for one in output.evidence if one.kind == "curve"]
    assert [len(curve.series) for curve in curves] == [8, 8]
    assert "8 groups with most rows, of 250" in str(curves[0].caption)


def test_one_group_has_nothing_to_be_compared_with():
    found = figures(measured([0, 1] * 10, np.linspace(0.1, 0.9, 20), {"g": ["a"] * 20}))
    for metric in ("auc.difference", "xauc.difference", "largest_selection_gap", "abroca"):
        assert "Fewer than two known groups of g" in str(found[f"{metric}[g]"].missing)
    assert "Other groups have no rows" in str(found["bpsn_auc[g=a]"].missing)


def test_without_a_positive_label_among_three_nothing_is_invented():
    data = table_data(
        [0, 1, 2], classes=("x", "y", "z"), positive=None, sensitive_features={"g": ["a", "b", "a"]}
    )
    subject = predicting([0, 1, 2], classes=("x", "y", "z"))
    output = ScoreFairness().measure(subject, data, CONTEXT)
    assert {one.value for one in output.measurements} == {None}
    assert "set positive in data" in str(output.measurements[0].missing)
    changed = ScoreFairness().compare(subject, subject, data, CONTEXT)
    assert [one.value for one in changed.measurements] == [None]


def test_unequal_weights_leave_ranking_out_and_weigh_the_rest():
    y_true, scores, groups = shifted(60)
    weights = np.tile([0, 1, 2], 40)
    output = measured(y_true, expit(scores), groups, weights=weights)
    weighted = figures(output)
    repeated = figures(
        measured(
            np.repeat(y_true, weights),
            expit(np.repeat(scores, weights)),
            {"g": np.repeat(groups["g"], weights).tolist()},
        )
    )
    for name in ("auc[g=a]", "auc.difference[g]", "xauc.difference[g]", "abroca[g]", "bpsn_auc[g=b]"):
        assert "unequal weights" in str(weighted[name].missing)
    for name in ("calibration_slope[g=a]", "calibration_intercept[g=b]", "mean_score_positive[g=a]"):
        assert weighted[name].value == pytest.approx(repeated[name].value, rel=1e-7)
    assert any("40 rows have weight 0" in str(note) for note in output.notes)


def test_equal_weights_are_no_weights_and_rows_without_weight_are_no_rows():
    y_true, scores, groups = shifted(60)
    weights = np.tile([0.0, 2.0, 2.0], 40)
    kept = weights > 0
    first = figures(measured(y_true, expit(scores), groups, weights=weights))
    names = np.array(groups["g"])[kept].tolist()
    second = figures(measured(y_true[kept], expit(scores[kept]), {"g": names}))
    assert {name: one.value for name, one in first.items()} == {
        name: one.value for name, one in second.items()
    }
    with pytest.raises(DataError, match="have weight 0"):
        measured(y_true, expit(scores), groups, weights=np.zeros(120))


# --- crossings, evidence, pairs --------------------------------------------------------------------


def test_a_crossing_keeps_every_row_and_only_groups_that_occur():
    y_true, scores, groups = shifted(100)
    groups = {**groups, "h": ["x"] * 100 + ["y"] * 60 + [None] * 40}
    output = measured(y_true, expit(scores), groups, intersections=True)
    crossed = [one for one in output.measurements if one.metric == "auc" and len(one.group) == 2]
    assert sum(one.n for one in crossed) == 200
    assert len(crossed) == 3
    assert figures(output)["auc.difference[g,h]"].value is not None


def test_curves_stay_small_and_mark_groups_of_few_rows():
    y_true, scores, groups = shifted(3000)
    names = [*groups["g"], *(["c"] * 20)]
    output = measured([*y_true, *([0, 1] * 10)], expit([*scores, *np.linspace(-1, 1, 20)]), {"g": names})
    curves = [one for one in output.evidence if one.kind == "curve"]
    assert len(curves) == 2
    for curve in curves:
        assert [str(series.name) for series in curve.series] == ["a", "b", "c (few rows)"]
        assert max(len(series.x) for series in curve.series) <= 60
    selected = curves[0].series[0]
    assert (selected.y[0], selected.y[-1]) == (1.0, 0.0)
    assert all(later <= earlier for earlier, later in zip(selected.y, selected.y[1:], strict=False))
    titles = [str(one.title) for one in output.evidence]
    assert titles[0].startswith("Scores rank a less well than b: AUC 0.7")


def test_no_gap_is_claimed_where_groups_are_alike():
    y_true, scores, groups = shifted(300, (1.0, 1.0))
    titles = [str(one.title) for one in measured(y_true, expit(scores), groups).evidence]
    assert titles[0] == "AUC across g: no gap beyond chance is shown"
    assert sum("beyond chance" in title for title in titles) == 4


def test_changes_are_those_of_paired_areas():
    y_true, scores, groups = shifted(200, (1.0, 2.0))
    names = np.array(groups["g"])
    # the second subject ranks the better group worse
    noise = np.random.default_rng(5).normal(0, 2, 400) * (names == "b")
    data = table_data(y_true, sensitive_features=groups)
    output = ScoreFairness().compare(scoring(expit(scores)), scoring(expit(scores + noise)), data, CONTEXT)
    found = figures(output)
    for name in "ab":
        old, new = scores[names == name], (scores + noise)[names == name]
        actual = y_true[names == name] == 1
        value, interval = auc_change_delong((old[actual], old[~actual]), (new[actual], new[~actual]))
        change = found[f"auc.change[g={name}]"]
        assert change.value == pytest.approx(value, **FLOAT)
        assert change.interval.low == pytest.approx(interval.low, **FLOAT)
    gap = found["auc.difference.change[g]"]
    expected = found["auc.change[g=b]"].value - found["auc.change[g=a]"].value
    assert gap.value == pytest.approx(expected, **FLOAT)
    assert gap.interval.high < 0
    assert gap.note.values["highest"] == "b"


def test_changes_that_cannot_be_had_say_why():
    data = table_data([0, 1, 1, 1], sensitive_features={"g": ["a", "a", "b", "b"]})
    subject = scoring([0.2, 0.7, 0.6, 0.5])
    found = figures(ScoreFairness().compare(subject, subject, data, CONTEXT))
    assert found["auc.change[g=a]"].value == 0
    assert "without the positive label" in str(found["auc.change[g=b]"].missing)
    assert found["auc.difference.change[g]"].value is None


# --- coverage --------------------------------------------------------------------------------------


@pytest.mark.proof
@pytest.mark.parametrize("distances", [(1.0, 1.0), (1.0, 1.6), (1.0, 1.0, 1.6)])
def test_gaps_of_the_auc_are_covered_as_often_as_stated(distances):
    runs, n, k = 1000, 400, len(distances)
    rng, covered = np.random.default_rng(6), 0
    is_positive, codes = np.tile(np.arange(n) % 2 == 1, k), np.repeat(np.arange(k), n)
    grouping = Grouping(("g",), tuple((name,) for name in "abc"[:k]))
    truth = norm.cdf(max(distances) / np.sqrt(2)) - norm.cdf(min(distances) / np.sqrt(2))
    for _ in range(runs):
        scores = rng.normal(size=k * n) + np.repeat(distances, n) * is_positive
        groups = GroupScores.of(grouping, Scored(scores, is_positive, None), codes)
        gap = auc_by_group(groups, 0.95).gap
        covered += gap.interval.low <= truth <= gap.interval.high
    slack = statistical(runs, p=0.05)
    assert covered / runs > 0.95 - slack
    # a pair is exact; the largest of several pairs is covered by more than one of them
    assert k > 2 or covered / runs < 0.97 + slack
