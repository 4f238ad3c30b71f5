"""The parts of a mitigation against the formulas of their papers and against Fairlearn."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from auditkit.data.dataset import GroupColumn
from auditkit.errors import DataError, UsageError
from auditkit.randomness import torch_rng
from auditkit.variants.mitigate_adversarial import Adversary, debiased_gradient
from auditkit.variants.mitigate_choice import Candidate, Grid, choose, smallest_gap
from auditkit.variants.mitigate_correlation import Decorrelator, flat_numbers
from auditkit.variants.mitigate_reduction import fit_reduction, mixture_of
from auditkit.variants.mitigate_reweighing import reweighed, reweighing_factors, single_label_levels
from auditkit.variants.mitigate_task import NOT_KNOWN, BinaryTask, groups_of
from auditkit.variants.mitigate_thresholds import (
    CONSTRAINTS,
    GroupRule,
    GroupThresholds,
    Threshold,
    fit_optimizer,
    fit_thresholds,
    row_draws,
)
from tests.tolerances import FLOAT, SAME_RUN, statistical
from tests.variants.loans import simple, with_unknown


def task_of(groups: str, labels: str, weights=None) -> BinaryTask:
    """One letter per row: the group (``?`` is unknown), and 1 for the favourable label."""
    levels = tuple(sorted(set(groups) - {"?"}))
    codes = [levels.index(group) if group != "?" else NOT_KNOWN for group in groups]
    weight = np.ones(len(codes)) if weights is None else np.asarray(weights, dtype=np.float64)
    return BinaryTask("group", levels, np.array(codes), np.array([one == "1" for one in labels]), weight)


def chosen(text: str) -> np.ndarray:
    return np.array([one == "1" for one in text])


# --- rates and gaps ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("constraint", "gap"),
    [
        ("demographic_parity", 3 / 4 - 1 / 4),
        ("equal_opportunity", 1 - 1 / 2),
        ("false_positive_rate", 1 / 2 - 0),
        ("equalized_odds", 1 / 2),
    ],
)
def test_a_gap_is_the_largest_difference_of_the_rates_that_count(constraint, gap):
    task = task_of("aaaabbbb??", "1100110010")
    assert task.gap(chosen("1110100011"), constraint) == gap


def test_rows_of_weight_two_count_as_two_rows():
    weighted = task_of("aabb", "1010", weights=[2, 1, 1, 1])
    repeated = task_of("aaabb", "11010")
    assert weighted.gap(chosen("1011"), "demographic_parity") == repeated.gap(
        chosen("11011"), "demographic_parity"
    )
    assert weighted.accuracy(chosen("1011")) == repeated.accuracy(chosen("11011"))


def test_a_gap_of_one_group_is_absent_not_zero():
    assert task_of("aabb", "1000").gap(chosen("1111"), "equal_opportunity") is None


def test_levels_are_known_by_their_text_not_by_their_order():
    data = simple(sensitive_features={}, n=4)
    column = GroupColumn.from_values(["b", "new", None, "a"])
    found = groups_of(
        type(data)(**{**{f: getattr(data, f) for f in data.__slots__}, "sensitive_features": {"g": column}}),
        "g",
        ("z", "a", "b"),
    )
    assert found.tolist() == [2, NOT_KNOWN, NOT_KNOWN, 1]


# --- reweighing -------------------------------------------------------------------------------------


def test_weights_are_those_of_kamiran_and_calders():
    # a: 3 of 4 favourable, b: 1 of 4; P(a) P(+) / P(a, +) = 1/2 1/2 / (3/8)
    factors = reweighing_factors(task_of("aaaabbbb?", "111010001"))
    assert factors.tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2, 2, 2 / 3, 2 / 3, 2 / 3, 1], **FLOAT)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10_000), n=st.integers(60, 200))
def test_weighted_rows_have_the_same_base_rate_in_every_group(seed, n):
    data = simple(n, seed=seed, sample_weight=np.random.default_rng(seed).uniform(0.5, 2, n))
    data = with_unknown(data, "group")
    task = BinaryTask.of(data, "group")
    if single_label_levels(task):
        return
    weight = reweighed(data, task).sample_weight
    known = task.known
    overall = np.average(task.positive[known], weights=task.weight[known])
    for group in range(len(task.levels)):
        rows = task.group == group
        assert np.average(task.positive[rows], weights=weight[rows]) == pytest.approx(overall, **FLOAT)
        assert weight[rows].sum() == pytest.approx(task.weight[rows].sum(), **FLOAT)


def test_groups_with_one_label_are_named():
    assert single_label_levels(task_of("aabbcc", "100011")) == ("b", "c")


# --- adversary --------------------------------------------------------------------------------------


def test_the_gradient_is_that_of_the_paper():
    """Against one written with a unit vector over all weights, of losses that autograd takes."""
    rng = torch_rng(0, "gradient")
    weights = [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in ((3, 4), (3,), (2, 3))]
    for weight in weights:
        weight.requires_grad_(True)
    rows = torch.randn(20, 4, generator=rng, dtype=torch.float64)
    outputs = torch.tanh(rows @ weights[0].T + weights[1]) @ weights[2].T
    labels = torch.randint(2, (20,), generator=rng)
    groups = torch.randint(3, (20,), generator=rng)
    adversary = Adversary(3, "equalized_odds").double()
    label_loss = functional.cross_entropy(outputs, labels)
    group_loss = functional.cross_entropy(adversary(outputs[:, 1] - outputs[:, 0], labels == 1), groups)
    g = torch.autograd.grad(label_loss, weights, retain_graph=True)
    h = torch.autograd.grad(group_loss, weights)
    found = torch.cat([part.flatten() for part in debiased_gradient(g, h, 0.7)])
    flat_g, flat_h = (torch.cat([part.flatten() for part in parts]) for parts in (g, h))
    unit = flat_h / flat_h.norm()
    torch.testing.assert_close(found, flat_g - (flat_g @ unit) * unit - 0.7 * flat_h)
    # what is left of the gradient does not help the adversary
    assert float((found + 0.7 * flat_h) @ flat_h) == pytest.approx(0, abs=FLOAT["abs"])


def test_an_adversary_without_gradient_changes_nothing():
    g = [torch.ones(2, 2), torch.arange(3.0)]
    found = debiased_gradient(g, [torch.zeros(2, 2), torch.zeros(3)], 5.0)
    assert all(torch.equal(one, other) for one, other in zip(found, g, strict=True))


@pytest.mark.parametrize(
    ("constraint", "counted"),
    [
        ("demographic_parity", [True, True, False, True]),
        ("equalized_odds", [True, True, False, True]),
        ("equal_opportunity", [True, False, False, True]),
        ("false_positive_rate", [False, True, False, False]),
    ],
)
def test_the_adversary_learns_from_the_rows_whose_rates_are_to_be_equal(constraint, counted):
    group, positive = torch.tensor([0, 1, -1, 2]), torch.tensor([True, False, True, True])
    assert Adversary(3, constraint).counted(group, positive).tolist() == counted


# --- correlation ------------------------------------------------------------------------------------


def test_inputs_are_no_longer_correlated_with_the_attribute():
    data = with_unknown(simple(500), "group")
    task = BinaryTask.of(data, "group")
    remover = Decorrelator.fit(data, task, 1.0)
    inputs = remover.apply(data).inputs.double().numpy()[task.known]
    for group in range(3):
        member = task.group[task.known] == group
        for column in inputs.T:
            assert np.corrcoef(column, member)[0, 1] == pytest.approx(0, **SAME_RUN)


def test_half_the_strength_removes_half_and_unknown_rows_stay():
    data = with_unknown(simple(), "group")
    task = BinaryTask.of(data, "group")
    whole, half = (Decorrelator.fit(data, task, strength).apply(data).inputs for strength in (1.0, 0.5))
    torch.testing.assert_close(half, (whole + data.inputs) / 2)
    unknown = torch.from_numpy(~task.known)
    assert torch.equal(whole[unknown], data.inputs[unknown])
    assert not torch.equal(whole[~unknown], data.inputs[~unknown])


def test_tokens_have_no_lines_to_remove():
    with pytest.raises(UsageError, match="needs inputs that are numbers"):
        flat_numbers(simple(3, inputs=torch.ones(3, 2, dtype=torch.int64)), "correlation-remover")


# --- thresholds -------------------------------------------------------------------------------------


def scored(n: int = 600) -> tuple[np.ndarray, BinaryTask]:
    data = simple(n)
    return torch.sigmoid(data.inputs[:, 0].double()).numpy(), BinaryTask.of(data, "group")


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_rules_decide_as_those_of_fairlearn(constraint):
    scores, task = scored()
    rules = fit_thresholds(scores, task, constraint)
    expected = fit_optimizer(scores, task, constraint)._pmf_predict(
        scores[:, None], sensitive_features=np.array(task.levels, dtype=object)[task.group]
    )[:, 1]
    assert rules.probability(scores, task.group) == pytest.approx(expected, **FLOAT)


@pytest.mark.parametrize("constraint", CONSTRAINTS)
def test_rates_are_equal_on_the_rows_that_were_fitted(constraint):
    scores, task = scored()
    probability = fit_thresholds(scores, task, constraint).probability(scores, task.group)
    for wanted in {"demographic_parity": (None,), "equalized_odds": (True, False)}.get(
        constraint, (constraint == "equal_opportunity",)
    ):
        counted = np.ones(len(scores), dtype=bool) if wanted is None else task.positive == wanted
        rates = [probability[counted & (task.group == group)].mean() for group in range(3)]
        assert rates == pytest.approx([rates[0]] * 3, **FLOAT)


def test_an_unknown_group_gets_the_average_of_the_rules():
    rules = GroupThresholds(
        "group",
        (
            GroupRule("a", 0.75, Threshold(0.5), Threshold(0.9), 1.0),
            GroupRule("b", 0.25, Threshold(0.2), Threshold(0.5), 0.4, ignoring=0.5, constant=1.0),
        ),
    )
    scores = np.array([0.3, 0.6, 0.6, 0.6])
    expected = [0.25 * (0.5 + 0.5 * 0.4), 1.0, 1.0, 0.75 + 0.25 * 1.0]
    found = rules.probability(scores, np.array([NOT_KNOWN, 0, 1, NOT_KNOWN]))
    assert found == pytest.approx(expected, **FLOAT)


def test_groups_with_one_label_have_no_rule_and_one_group_is_not_enough():
    scores = np.linspace(0, 1, 8)
    rules = fit_thresholds(scores, task_of("aabbcc??", "10101101"), "demographic_parity")
    assert rules.levels == ("a", "b")
    assert [rule.share for rule in rules.rules] == [0.5, 0.5]
    with pytest.raises(UsageError, match="only 1 of 2 groups"):
        fit_thresholds(scores[:4], task_of("aabb", "1011"), "demographic_parity")


def test_draws_depend_on_the_row_and_the_seed_alone():
    inputs = torch.randn(4000, 3, generator=torch_rng(0, "rows"))
    draws = row_draws(inputs, 1)
    order = torch.randperm(4000, generator=torch_rng(0, "order"))
    assert np.array_equal(row_draws(inputs[order], 1), draws[order.numpy()])
    assert np.array_equal(row_draws(inputs[5:6], 1), draws[5:6])
    assert row_draws(torch.tensor([[0.0]]), 1) == row_draws(torch.tensor([[-0.0]]), 1)
    assert not np.array_equal(row_draws(inputs, 2), draws)
    for edge in (0.1, 0.5, 0.9):
        assert abs((draws < edge).mean() - edge) < statistical(4000, p=edge)


# --- reduction --------------------------------------------------------------------------------------


def test_the_mixture_is_the_weighted_mean_of_fairlearns_models():
    data = simple(200)
    task = BinaryTask.of(data, "group")
    columns = flat_numbers(data, "test")
    reduction = fit_reduction(columns, task, "equal_opportunity", 0.05)
    stated = sum(
        weight * reduction.predictors_[index].predict_proba(columns)[:, 1]
        for index, weight in reduction.weights_.items()
        if weight > 0
    )
    assert mixture_of(reduction, 2)(columns) == pytest.approx(stated, **FLOAT)


# --- choice -----------------------------------------------------------------------------------------


def test_the_smallest_gap_within_the_budget_is_taken():
    candidates = [Candidate(1, 0.9, 0.3), Candidate(2, 0.86, 0.1), Candidate(3, 0.6, 0.0)]
    assert smallest_gap(candidates, 0.05).strength == 2
    assert smallest_gap(candidates, 0.5).strength == 3
    assert smallest_gap(candidates, 0.0).strength == 1
    assert smallest_gap([Candidate(2, 0.8, 0.1), Candidate(1, 0.8, 0.1)], 0.1).strength == 1


def test_one_strength_trains_on_every_row_and_several_on_fewer():
    data, seen = simple(200), []

    def make(rows, strength):
        seen.append(len(rows))
        return strength

    def run(*strengths):
        return choose(
            data,
            Grid(strengths, 0.05, 0.25),
            "demographic_parity",
            "group",
            make=make,
            # the stronger the closer to nobody
            selects=lambda strength, rows: rows.inputs[:, 0].numpy() > strength,
        )

    assert run(0.5).statements == ()
    found = run(0.5, 9.0)
    assert seen == [200, 150, 150]
    assert found.made == found.strength
    assert "chosen on 50 training rows set aside" in str(found.statements[0])


def test_rows_set_aside_that_decide_nothing_are_refused():
    data = simple(40, y_true=np.array([1, 0] + [0] * 38))
    with pytest.raises((UsageError, DataError), match="set aside"):
        choose(
            data,
            Grid((1.0, 2.0), 0.05, 0.25),
            "equal_opportunity",
            "group",
            make=lambda _rows, strength: strength,
            selects=lambda _made, rows: np.ones(len(rows), dtype=bool),
        )
