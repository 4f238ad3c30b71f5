"""Ranking fairness: closed forms, scikit-learn, random orders, and answers for whatever is missing."""

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from auditkit.audits.audit import AuditContext
from auditkit.audits.fairness.ranking_fairness import RankingFairness
from auditkit.data.dataset import GroupColumn
from auditkit.errors import DataError
from tests.fakes import predicting, scoring, table_data
from tests.tolerances import FLOAT

CONTEXT = AuditContext(seed=5)


def gain(rank):
    return 1 / math.log2(1 + rank)


def measured(y_true, scores, groups, *, lists=None, weights=None, **parameters):
    data = table_data(y_true, sensitive_features={"g": list(groups)}, sample_weight=weights)
    if lists is not None:
        data = replace(data, control_features={"query": GroupColumn.from_values(list(lists))})
        parameters["lists"] = "query"
    output = RankingFairness(**{"n_bootstrap": 50, **parameters}).measure(scoring(scores), data, CONTEXT)
    return {(one.metric, *one.group.values()): one for one in output.measurements}, output


TOY = {"y_true": [1, 1, 0, 0, 1, 0], "scores": [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], "groups": "aabbab"}


def test_a_toy_has_its_closed_forms():
    found, _ = measured(**TOY, top=[3])
    a, b = (gain(1) + gain(2) + gain(5)) / 3, (gain(3) + gain(4) + gain(6)) / 3
    assert found["exposure", "a"].value == pytest.approx(a, **FLOAT)
    assert found["exposure", "b"].value == pytest.approx(b, **FLOAT)
    assert found["exposure.ratio",].value == pytest.approx(b / a, **FLOAT)
    assert found["skew_at_3", "a"].value == pytest.approx(math.log((2 / 3) / (1 / 2)), **FLOAT)
    assert found["skew_at_3", "b"].value == pytest.approx(math.log((1 / 3) / (1 / 2)), **FLOAT)
    assert found["top_3.ratio",].value == pytest.approx(0.5, **FLOAT)
    # no row of b is relevant
    assert "Fewer than two known groups" in str(found["exposure_per_relevance.ratio",].missing)


@pytest.mark.parametrize("n_lists", [1, 3])
def test_exposure_ratios_equal_a_plain_count(n_lists):
    rng = np.random.default_rng(8)
    n = 120
    y_true, scores, names = rng.integers(0, 2, n), rng.random(n), rng.choice(["a", "b"], n)
    lists = rng.integers(0, n_lists, n)
    own, expected = {"a": 0.0, "b": 0.0}, {"a": 0.0, "b": 0.0}
    for number in range(n_lists):
        inside = sorted(np.flatnonzero(lists == number), key=lambda row: -scores[row])
        mean = sum(gain(rank) for rank in range(1, len(inside) + 1)) / len(inside)
        for rank, row in enumerate(inside, 1):
            own[names[row]] += gain(rank)
            expected[names[row]] += mean
    relevant = {name: y_true[names == name].sum() for name in "ab"}
    found, _ = measured(y_true, scores, names, lists=lists)
    for metric, base in (("exposure.ratio", expected), ("exposure_per_relevance.ratio", relevant)):
        quotients = sorted(own[name] / base[name] for name in "ab")
        assert found[metric,].value == pytest.approx(quotients[0] / quotients[1], **FLOAT)


def test_ties_are_split_evenly():
    found, output = measured([1, 0, 1, 0], [0.5] * 4, "aabb", top=[1])
    for group in "ab":
        expected = sum(gain(rank) for rank in (1, 2, 3, 4)) / 4
        assert found["exposure", group].value == pytest.approx(expected, **FLOAT)
    assert found["top_1.ratio",].value == pytest.approx(1, **FLOAT)
    assert any("share their places" in str(note) for note in output.notes)


def test_places_at_the_top_are_compared_with_those_of_a_random_order():
    lists = ["x"] * 2 + ["y"] * 4
    found, _ = measured([0] * 6, [0.9, 0.1, 0.9, 0.8, 0.7, 0.6], "abbbab", lists=lists, top=[1])
    # one place in each list: a expects 1/2 and 1/4 of them and gets one
    assert found["skew_at_1", "a"].value == pytest.approx(math.log(1 / 0.75), **FLOAT)
    assert found["skew_at_1", "b"].value == pytest.approx(math.log(1 / 1.25), **FLOAT)


def test_pairwise_accuracy_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    y_true, names = rng.integers(0, 2, 400), rng.choice(["a", "b"], 400)
    scores = 1 / (1 + np.exp(-(y_true + rng.normal(size=400) - (names == "b"))))
    found, output = measured(y_true, scores, names)
    (heatmap,) = [one for one in output.evidence if one.kind == "heatmap"]
    expected = []
    for row, first in enumerate("ab"):
        for column, second in enumerate("ab"):
            chosen = ((names == first) & (y_true == 1)) | ((names == second) & (y_true == 0))
            expected.append(roc_auc_score(y_true[chosen], scores[chosen]))
            assert heatmap.values[row][column] == pytest.approx(expected[-1], **FLOAT)
    gap = found["pairwise_accuracy.difference",]
    assert gap.value == pytest.approx(max(expected) - min(expected), **FLOAT)
    assert gap.interval.low > 0


def test_pairs_of_different_lists_are_not_compared():
    # within every list the positive row comes first; across lists it does not
    n_lists = 12
    scores = [value for index in range(n_lists) for value in (0.5 + index / 50, 0.4 + index / 50)]
    _, output = measured([1, 0] * n_lists, scores, "ab" * n_lists, lists=np.repeat(range(n_lists), 2))
    (heatmap,) = [one for one in output.evidence if one.kind == "heatmap"]
    assert heatmap.values == ((None, 1.0), (None, None))
    few, _ = measured([1, 0] * 3, scores[:6], "ab" * 3, lists=[0, 0, 1, 1, 2, 2])
    assert "With 3 lists" in str(few["pairwise_accuracy.difference",].missing)


def test_a_group_that_is_put_last_is_found():
    rng = np.random.default_rng(1)
    names = rng.choice(["a", "b"], 1000)
    scores = 1 / (1 + np.exp(-(rng.normal(size=1000) - (names == "b"))))
    found, output = measured(rng.integers(0, 2, 1000), scores, names, n_bootstrap=200)
    assert found["exposure.ratio",].interval.high < 1
    assert found["ndkl.excess",].interval.low > 0
    assert found["ndkl.excess",].note.values["p_value"] == "0.005"
    assert found["prefix_test_p_value", "b"].value < 1e-6
    assert found["prefix_test_p_value", "a"].value > 0.5
    assert found["top_0.1.ratio",].interval.high < 0.5
    assert found["skew_at_100", "b"].interval.high < 0
    assert str(output.evidence[0].title).startswith("b: ")


def test_an_order_by_chance_shows_nothing():
    rng = np.random.default_rng(2)
    shown = np.zeros(4)
    for _ in range(25):
        found, _ = measured(rng.integers(0, 2, 300), rng.random(300), rng.choice(["a", "b", "c"], 300))
        shown += [
            found["exposure.ratio",].interval.high < 1,
            found["ndkl.excess",].interval.low > 0,
            found["top_0.1.ratio",].interval.high < 1,
            found["prefix_test_p_value", "a"].value <= 0.05,
        ]
    assert (shown <= 8).all()


@pytest.mark.proof
def test_exposure_ratios_are_covered_as_often_as_stated():
    """The truth is that of a very large sample of the same size of list, by averaging many."""
    rng, n, runs = np.random.default_rng(3), 400, 400
    names = np.repeat(["a", "b"], n // 2)

    def scores():
        return 1 / (1 + np.exp(-(rng.normal(size=n) - 0.5 * (names == "b"))))

    def ratio(score):
        value = 1 / np.log2(1 + np.argsort(np.argsort(-score)) + 1.0)
        return math.log(value[names == "b"].mean() / value[names == "a"].mean())

    truth = math.exp(np.mean([ratio(scores()) for _ in range(4000)]))
    covered = 0
    for _ in range(runs):
        interval = measured([0, 1] * (n // 2), scores(), names, n_bootstrap=200, top=[10])[0][
            "exposure.ratio",
        ].interval
        covered += interval.low <= truth <= interval.high
    assert covered / runs > 0.92


def test_unknown_groups_take_places_but_are_never_compared():
    found, _ = measured([0, 1] * 10, np.linspace(0.9, 0.1, 20), ["a", "b", None, None] * 5)
    assert ("skew_at_10", "unknown") not in found
    assert found["exposure", "unknown"].n == 10
    assert "unknown" not in str(found["exposure.ratio",].note)


def test_more_places_than_rows_say_so():
    found, _ = measured(**TOY, top=[10, 100])
    assert "No list has more rows than the 10 places" in str(found["top_10.ratio",].missing)


def test_weights_that_differ_are_not_ranked_and_even_ones_do_not_matter():
    uneven, _ = measured(**TOY, weights=[1, 2, 1, 1, 1, 1])
    assert "unequal weights" in str(uneven["exposure.ratio",].missing)
    even, _ = measured(**TOY, weights=[2.0] * 6)
    plain, _ = measured(**TOY)
    assert even["exposure.ratio",] == plain["exposure.ratio",]


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(DataError, match="weight 0"):
        measured(**TOY, weights=[0.0] * 6)


def test_rows_without_a_list_are_counted():
    _, output = measured(**TOY, lists=["x", "x", "x", "x", None, None])
    assert any("2 rows belong to no known list" in str(note) for note in output.notes)


def test_a_list_feature_that_does_not_exist_is_refused():
    data = table_data(TOY["y_true"], sensitive_features={"g": list("aabbab")})
    with pytest.raises(DataError, match="no control feature"):
        RankingFairness(lists="query").measure(scoring(TOY["scores"]), data, CONTEXT)


def test_three_classes_without_a_positive_label_say_so():
    data = table_data([0, 1, 2, 0], classes=("p", "q", "r"), positive=None, sensitive_features={"g": "aabb"})
    output = RankingFairness().measure(predicting([0, 1, 2, 0], classes=("p", "q", "r")), data, CONTEXT)
    assert {str(one.missing) for one in output.measurements} == {
        "There are more than two classes and no positive label; set positive in data."
    }


@pytest.mark.parametrize("top", [[], [0], [1.5], [-0.1]])
def test_tops_that_are_none_are_refused(top):
    with pytest.raises(ValueError, match="top"):
        RankingFairness(top=top)


def test_groups_by_the_thousand_are_refused_with_the_remedy():
    n = 2000
    with pytest.raises(DataError, match="Join its levels, or leave it out"):
        measured([0, 1] * (n // 2), np.linspace(0.9, 0.1, n), [str(i) for i in range(n)], top=[10])


def test_many_groups_are_answered():
    n = 600
    found, _ = measured([0, 1] * (n // 2), np.linspace(0.9, 0.1, n), [str(i) for i in range(n)], top=[10])
    assert found["exposure.ratio",].value is None
    assert found["pairwise_accuracy.difference",].value is None
