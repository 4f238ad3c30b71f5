"""Gaps divided among inputs: closed forms, exact sums, exact Shapley values, coverage, what is missing."""

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import ttest_ind
from sklearn.metrics import roc_auc_score
from torch import nn

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.gap_decomposition.black_box import parts_by_answers
from auditkit.audits.explainability.gap_decomposition.compared_groups import comparison_of
from auditkit.audits.explainability.gap_decomposition.gap_decomposition import GapDecomposition
from auditkit.audits.explainability.gap_decomposition.proxy_index import proxy_indices
from auditkit.audits.explainability.gap_decomposition.score_parts import parts_by_gradients
from auditkit.audits.explainability.integrated_gradients import Precision
from auditkit.data.dataset import FeatureSpace, GroupColumn
from auditkit.errors import DataError, UsageError
from auditkit.models.given_weights import linear_layer
from auditkit.selftest.subjects import logistic, rows_of, subject_of
from auditkit.statistics.class_distances import cramers_v
from auditkit.statistics.group_means import Contrast, mean_differences
from auditkit.testing import PredictionsOnly
from tests.fakes import scoring, table_data
from tests.tolerances import FLOAT, FLOAT32, statistical

CONTEXT = AuditContext(seed=3)
QUICK = {"n_permutations": 19, "n_bootstrap": 50, "max_evaluations": 64}
ASKED = frozenset({"predictions", "probabilities"})


def rng_of(seed=0):
    return np.random.default_rng(seed)


def scene(n=300, *, rho=0.0, seed=0, columns=4):
    """Two equal groups; the second input has correlation ``rho`` with them."""
    rng = rng_of(seed)
    is_b = rng.permutation(n) % 2 == 1
    inputs = rng.normal(size=(n, columns))
    inputs[:, 1] = rho * np.where(is_b, 1.0, -1.0) + np.sqrt(1 - rho**2) * inputs[:, 1]
    return rows_of(inputs, inputs[:, 0] > 0, groups={"g": np.where(is_b, "b", "a").tolist()})


def network(bend=nn.Tanh, columns=4, seed=1):
    rng = rng_of(seed)
    first, out = rng.normal(size=(12, columns)), rng.normal(size=(2, 12))
    return subject_of(
        nn.Sequential(
            linear_layer(torch.from_numpy(first).float()), bend(), linear_layer(torch.from_numpy(out).float())
        )
    )


def measured(subject, data, seed=3, **parameters):
    return GapDecomposition.model_validate({**QUICK, **parameters}).measure(
        subject, data, AuditContext(seed=seed)
    )


def figures(output):
    return {
        f"{one.metric}[{','.join([*one.group.values(), *one.across])}]": one for one in output.measurements
    }


def of_metric(output, metric):
    return {one.group["feature"]: one for one in output.measurements if one.metric == metric}


# --- parts and sums ----------------------------------------------------------------------------------


def test_of_a_linear_score_every_part_is_the_weight_times_the_gap_of_the_input():
    weights = np.array([1.0, -2.0, 0.5, 0.0])
    data = scene(rho=0.5)
    output = measured(logistic(weights), data)
    inputs, is_b = data.inputs.double().numpy(), data.sensitive_features["g"].codes == 1
    expected = weights * (inputs[~is_b].mean(axis=0) - inputs[is_b].mean(axis=0))
    found = of_metric(output, "gap_contribution")
    for index, name in enumerate(("x0", "x1", "x2", "x3")):
        assert found[name].value == pytest.approx(expected[index], **FLOAT32)
    gap = figures(output)["score_gap[a]"]
    assert gap.value == pytest.approx(expected.sum(), **FLOAT32)
    assert abs(figures(output)["unattributed_gap[a]"].value) <= 1e-6 * abs(gap.value)
    assert any("closed form" in note.text for note in output.notes)


@pytest.mark.parametrize("subject", [network(nn.Tanh), network(nn.ReLU)], ids=["tanh", "relu"])
def test_parts_and_what_is_not_attributed_add_up_to_the_gap_of_the_scores_themselves(subject):
    data = scene(rho=0.7)
    output = measured(subject, data)
    found = figures(output)
    with torch.no_grad():
        logits = subject.logits(data.inputs).double().numpy()
    score, is_b = logits[:, 1] - logits[:, 0], data.sensitive_features["g"].codes == 1
    gap = score[~is_b].mean() - score[is_b].mean()
    parts = sum(one.value for one in of_metric(output, "gap_contribution").values())
    assert found["score_gap[a]"].value == pytest.approx(gap, rel=1e-6)
    assert parts + found["unattributed_gap[a]"].value == pytest.approx(found["score_gap[a]"].value, rel=1e-6)


def test_of_a_smooth_network_the_parts_alone_are_the_gap():
    output = measured(network(nn.Tanh), scene(rho=0.7))
    parts = sum(one.value for one in of_metric(output, "gap_contribution").values())
    assert parts == pytest.approx(figures(output)["score_gap[a]"].value, rel=1e-6)


def test_the_parts_of_levels_are_those_of_their_feature():
    data = scene(rho=0.5)
    joined = replace(data, features=FeatureSpace(("one", "two"), (0, 1, 1, 1)))
    apart, together = (
        of_metric(measured(logistic([1.0, 2.0, 3.0, 4.0]), one), "gap_contribution") for one in (data, joined)
    )
    expected = sum(apart[name].value for name in ("x1", "x2", "x3"))
    assert together["two"].value == pytest.approx(expected, **FLOAT)


def test_one_class_is_explained_for_all_rows():
    """Parts of the predicted class would change their sign from row to row."""
    data = scene(rho=0.9)
    output = measured(logistic([0.0, 3.0, 0.0, 0.0]), data)
    assert of_metric(output, "gap_contribution")["x1"].value == pytest.approx(3 * -2 * 0.9, abs=0.3)


# --- a subject that only answers ---------------------------------------------------------------------


def test_of_a_subject_that_only_answers_the_parts_are_shapley_values():
    """With all orders of three inputs drawn often enough, the mean is the exact value."""
    data, subject = scene(n=6, columns=3), network(columns=3)
    parts = parts_by_answers(
        PredictionsOnly(subject, ASKED), data, 1, n_orders=600, batch_size=256, rng=rng_of(4)
    )
    inputs = data.inputs.double().numpy()
    start = inputs.mean(axis=0)

    def score(rows):
        with torch.no_grad():
            logits = subject.logits(torch.from_numpy(rows).float()).double().numpy()
        return logits[:, 1] - logits[:, 0]

    exact = np.zeros_like(inputs)
    for order in permutations(range(3)):
        mixed = np.tile(start, (6, 1))
        for feature in order:
            before = score(mixed)
            mixed[:, feature] = inputs[:, feature]
            exact[:, feature] += (score(mixed) - before) / 6
    assert parts.values == pytest.approx(exact, abs=0.1)
    assert np.abs(parts.unattributed).max() < 1e-5


def test_of_a_linear_subject_both_ways_agree():
    data, subject = scene(rho=0.5, n=200), logistic([1.0, -2.0, 0.5, 0.0])
    inside, outside = (
        of_metric(measured(one, data), "gap_contribution")
        for one in (subject, PredictionsOnly(subject, ASKED))
    )
    assert {name: one.value for name, one in outside.items()} == pytest.approx(
        {name: one.value for name, one in inside.items()}, abs=1e-5
    )


def test_a_table_as_it_was_read_starts_from_its_most_frequent_level():
    inputs = np.column_stack([[0.0, 1.0, 1.0, np.nan] * 10, np.arange(40.0)])
    data = replace(
        rows_of(np.zeros((40, 2)), np.arange(40) > 20, groups={"g": ["a", "b"] * 20}),
        inputs=torch.from_numpy(inputs),
        features=FeatureSpace(("word", "number"), (0, 1), levels=(("x", "y"), ())),
    )

    class Asked:
        card, capabilities = scoring([0.5]).card, ASKED

        def predict(self, data, *, batch_size):
            word, number = np.nan_to_num(data.inputs.numpy().T, nan=5.0)
            chance = 1 / (1 + np.exp(-(word + number / 10)))
            return scoring(chance).predict(
                replace(data, inputs=torch.arange(len(data))[:, None]), batch_size=batch_size
            )

    parts = parts_by_answers(Asked(), data, 1, n_orders=1, batch_size=8, rng=rng_of())
    assert parts.values[:4, 0] == pytest.approx([-1.0, 0.0, 0.0, 4.0], abs=1e-6)
    assert parts.values[:, 1] == pytest.approx((np.arange(40) - 19.5) / 10, abs=1e-6)


# --- proxies and leakage -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_a_planted_proxy_comes_first(seed):
    output = measured(logistic([1.0, 1.0, 0.8, 0.6]), scene(rho=0.9, seed=seed), seed=seed)
    for metric in ("proxy_index", "gap_contribution"):
        found = of_metric(output, metric)
        assert max(found, key=lambda name: abs(found[name].value)) == "x1"
    leakage = figures(output)["leakage_auc[g]"]
    assert leakage.interval.low > 0.9
    assert leakage.note.values["p"] == 0.05


def test_a_proxy_that_the_score_does_not_read_has_no_index():
    found = of_metric(measured(logistic([1.0, 0.0, 1.0, 1.0]), scene(rho=0.9)), "proxy_index")
    assert found["x1"].value == 0.0


def test_the_index_is_the_share_of_attribution_times_the_association():
    rng = rng_of(5)
    data = scene(rho=0.6)
    is_b = data.sensitive_features["g"].codes == 1
    level = (is_b ^ (rng.random(300) < 0.2)).astype(np.float32)
    inputs = data.inputs.clone()
    inputs[:, 2] = torch.from_numpy(level)
    data = replace(data, inputs=inputs)
    found = of_metric(measured(logistic([1.0, 2.0, 1.0, 0.0]), data), "proxy_index")
    size = np.abs(inputs.numpy() * [1.0, 2.0, 1.0, 0.0]).mean(axis=0)
    told = abs(2 * roc_auc_score(is_b, inputs[:, 1].numpy()) - 1)
    assert found["x1"].value == pytest.approx(size[1] / size.sum() * told, rel=1e-5)
    table = np.array([[((level == v) & (is_b == b)).sum() for b in (0, 1)] for v in (0, 1)], dtype=float)
    assert found["x2"].value == pytest.approx(size[2] / size.sum() * cramers_v(table), rel=1e-5)


def test_weights_count_like_rows_in_indices():
    data = scene(rho=0.6, n=80)
    weight = rng_of(6).integers(1, 4, 80)
    repeated = data.take(np.repeat(np.arange(80), weight))
    subject = logistic([1.0, 2.0, 1.0, 0.0])
    weighted = replace(data, sample_weight=weight.astype(np.float64))
    found = []
    for one in (weighted, repeated):
        parts = parts_by_gradients(
            subject,
            one,
            1,
            explained="log_odds",
            precision=Precision(),
            batch_size=64,
        )
        comparison = comparison_of(one, "g", None)
        found.append(
            proxy_indices(parts, one, comparison, n_bootstrap=50, confidence=0.95, rng=rng_of())["x1"].value
        )
    assert found[0] == pytest.approx(found[1], **FLOAT32)


def test_without_a_proxy_nothing_leaks_more_often_than_declared():
    tests, rejected, together = 20, 0, 0
    for seed in range(tests):
        output = measured(logistic([1.0, 1.0, 1.0, 1.0]), scene(n=100, seed=seed), seed=seed)
        rejected += figures(output)["leakage_auc[g]"].note.values["p"] <= 0.05
        together += all(
            one.interval.low <= 0 <= one.interval.high
            for one in of_metric(output, "gap_contribution").values()
        )
    assert rejected / tests < 0.05 + statistical(tests, p=0.05)
    assert together / tests > 0.95 - statistical(tests, p=0.95)


# --- differences of means ----------------------------------------------------------------------------


def test_of_one_column_the_interval_is_that_of_welch_up_to_its_degrees_of_freedom():
    rng = rng_of(7)
    values, first = rng.normal(size=200), np.arange(200) < 90
    found = mean_differences(values[:, None], [Contrast(first, ~first)], rng=rng)
    theirs = ttest_ind(values[first], values[~first], equal_var=False).confidence_interval(0.95)
    assert found.values[0, 0] == pytest.approx(values[first].mean() - values[~first].mean(), **FLOAT)
    assert found.low[0, 0] == pytest.approx(theirs.low, abs=0.02)
    assert found.high[0, 0] == pytest.approx(theirs.high, abs=0.02)


def test_intervals_of_many_columns_hold_together_and_are_shorter_than_bonferroni_where_columns_agree():
    rng, tests, held = rng_of(8), 50, 0
    first = np.arange(80) < 40
    for _ in range(tests):
        found = mean_differences(rng.normal(size=(80, 8)), [Contrast(first, ~first)], rng=rng)
        held += bool(((found.low <= 0) & (found.high >= 0)).all())
    assert held / tests > 0.95 - statistical(tests, p=0.95)
    column = rng.normal(size=(80, 1))
    single, copies = (
        mean_differences(np.tile(column, (1, times)), [Contrast(first, ~first)], rng=rng) for times in (1, 20)
    )
    assert copies.high[0, 0] == pytest.approx(single.high[0, 0], abs=0.03)


def test_rows_of_one_person_are_not_evidence_many_times():
    rng = rng_of(9)
    column, first = rng.normal(size=(40, 1)), np.arange(40) < 20
    plain = mean_differences(column, [Contrast(first, ~first)], rng=rng_of())
    rows = np.repeat(np.arange(40), 5)
    many = Contrast(first[rows], ~first[rows])
    kept = mean_differences(column[rows], [many], units=rows, rng=rng_of())
    weighted = mean_differences(column, [Contrast(first, ~first)], weights=np.full(40, 5.0), rng=rng_of())
    assert kept.low[0, 0] == pytest.approx(plain.low[0, 0], **FLOAT)
    assert weighted.low[0, 0] == pytest.approx(plain.low[0, 0], **FLOAT)


def test_an_empty_set_is_refused():
    everyone = np.ones(4, dtype=bool)
    with pytest.raises(DataError, match="no row with weight"):
        mean_differences(np.zeros((4, 1)), [Contrast(everyone, ~everyone)], rng=rng_of())


# --- groups, and what is missing ---------------------------------------------------------------------


def three_groups():
    data = scene(n=302)
    names = ["x", "y", "z"]
    codes = np.append(np.arange(300) % 3, [3, 3])
    return replace(data, sensitive_features={"g": GroupColumn((*names, "rare"), codes)})


def test_of_three_groups_each_is_compared_with_all_others_or_with_the_reference():
    subject, data = logistic([1.0, 1.0, 1.0, 1.0]), three_groups()
    rest = measured(subject, data)
    against = measured(subject, data, reference={"g": "z"})
    assert [f"score_gap[{name}]" in figures(rest) for name in "xyz"] == [True] * 3
    assert [f"score_gap[{name}]" in figures(against) for name in "xyz"] == [True, True, False]
    score, codes = data.inputs.double().numpy().sum(axis=1), data.sensitive_features["g"].codes
    means = [score[codes == code].mean() for code in range(3)]
    others = score[(codes == 1) | (codes == 2)].mean()
    assert figures(rest)["score_gap[x]"].value == pytest.approx(means[0] - others, abs=1e-5)
    assert figures(against)["score_gap[x]"].value == pytest.approx(means[0] - means[2], abs=1e-5)
    assert any("small groups" in note.text for note in rest.notes)
    with pytest.raises(UsageError, match="reference of g"):
        measured(subject, data, reference={"g": "w"})


def test_the_attribute_among_the_inputs_is_called_direct_use():
    data = scene()
    named = replace(data, features=FeatureSpace(("x0", "g", "x2", "x3"), (0, 1, 2, 3)))
    output = measured(logistic([1.0, 1.0, 1.0, 1.0]), named)
    assert any("direct use" in note.text for note in output.notes)
    assert "attribute itself" in of_metric(output, "proxy_index")["g"].note.text
    table = output.evidence[-1]
    assert table.title.values.get("feature") != "g"


def test_charts_start_with_the_gap_and_end_with_what_is_not_attributed():
    output = measured(logistic([1.0, 2.0, 1.0, 1.0]), scene(rho=0.9))
    chart = output.evidence[0]
    labels = [mark.label for mark in chart.marks]
    assert (labels[0], labels[1], labels[-1]) == ("score_gap", "x1", "unattributed_gap")
    assert "lower on average" in chart.title.text
    assert chart.title.values["feature"] == "x1"


def test_rows_are_drawn_where_there_are_more_than_are_examined():
    output = measured(logistic([1.0, 1.0, 1.0, 1.0]), scene(), max_rows=100)
    assert figures(output)["score_gap[a]"].n == 100
    assert any("drawn at random" in note.text for note in output.notes)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"positive": None, "classes": ("a", "b", "c")}, "no favourable label"),
        ({"features": FeatureSpace((), image_shape=(2, 2))}, "no table"),
        ({"sensitive_features": {"g": GroupColumn(("a",), np.zeros(300, dtype=np.int64))}}, "fewer than two"),
    ],
)
def test_what_cannot_be_divided_says_why(change, reason):
    output = measured(logistic([1.0, 1.0, 1.0, 1.0]), replace(scene(), **change))
    assert {one.value for one in output.measurements} == {None}
    assert reason in str(output.measurements[0].missing)


def test_rows_without_weight_are_refused_and_constant_scores_have_no_parts():
    data = scene()
    with pytest.raises(DataError, match="weight 0"):
        measured(logistic([1.0] * 4), replace(data, sample_weight=np.zeros(300)))
    found = figures(measured(logistic([0.0] * 4), data))
    assert found["score_gap[a]"].value == 0.0
    assert "no feature moves" in str(found["proxy_index[g]"].missing)
    assert "no feature moves" in str(found["leakage_auc[g]"].missing)


def test_predictions_of_a_table_cannot_be_asked():
    from auditkit.subjects.predictions_table import PredictionsTable

    data = table_data([0, 1] * 20, sensitive_features={"g": ["a", "b"] * 20})
    subject = PredictionsTable(scoring([0.5]).card, None, gives_probabilities=True)
    output = measured(subject, data)
    assert "cannot be asked" in str(output.measurements[0].missing)
