"""Metrics of attributions against linear models, plain loops and Captum's own."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max as captum_sensitivity_max
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.methods.catalogue import METHODS
from auditkit.audits.explainability.methods.guided_backprop import GUIDED_BACKPROP
from auditkit.audits.explainability.quality.agreement import agreement, top_counts
from auditkit.audits.explainability.quality.attribution_quality import AttributionQuality
from auditkit.audits.explainability.quality.completeness import complete, gaps
from auditkit.audits.explainability.quality.complexity import complexity
from auditkit.audits.explainability.quality.explaining import Explainer
from auditkit.audits.explainability.quality.imputers import Imputer, blurred, imputers
from auditkit.audits.explainability.quality.infidelity import infidelity, scores_under_noise, unexplained
from auditkit.audits.explainability.quality.max_sensitivity import max_sensitivity, neighbours
from auditkit.audits.explainability.quality.outputs import at_baseline, at_inputs, probability_of
from auditkit.audits.explainability.quality.random_order import permuted_within, random_ranks
from auditkit.audits.explainability.quality.randomisation import similarity
from auditkit.audits.explainability.quality.reinitialised import cascade, parametrised, reinitialised
from auditkit.audits.explainability.quality.removal import random_removal, removal
from auditkit.audits.explainability.quality.sensitivity_n import sensitivity_n
from auditkit.subjects.torch_subject import weights_digest
from auditkit.testing import linear_subject
from tests.audits.quality_scenes import (
    CLOSED_FORM,
    WEIGHTS,
    M,
    N,
    baseline_of,
    data_of,
    explained,
    linear_rows,
    relu_net,
    rng,
    table,
)
from tests.audits.test_attribution import subject_of
from tests.tolerances import FLOAT, FLOAT32, statistical

# --- closed forms on linear models ------------------------------------------------------------------


def test_attributions_of_a_linear_score_add_up():
    rows, exact = linear_rows()
    change = at_inputs(rows, rows.score) - at_baseline(rows, rows.score)
    assert gaps(exact, change).max() < 1e-5
    assert complete(exact, change).all()
    assert not complete(1.1 * exact, change).any()


def test_curve_of_removal_is_that_of_a_plain_loop():
    rows, exact = linear_rows(n=12)
    found = removal(rows, probability_of(rows), exact, baseline_of(rows), rng())
    for row, contributions in enumerate(exact):
        falling, rising = np.sort(contributions)[::-1], np.sort(contributions)
        for area, order in ((found.deletion[row], falling), (found.insertion[row], rising)):
            left = contributions.sum() - np.concatenate([[0.0], np.cumsum(order)])
            assert area == pytest.approx(np.trapezoid(1 / (1 + np.exp(-left)), dx=1 / M), **CLOSED_FORM)
    assert (found.gain > 0).all()


def test_steps_that_change_nothing_are_not_computed_but_count():
    data = table()
    sparse = data_of(torch.where(torch.from_numpy(rng(3).random((N, M)) < 0.7), 0.0, data.inputs))
    rows = explained(linear_subject(WEIGHTS), sparse)
    asked = []

    def counted(inputs, target):
        asked.append(len(inputs))
        return probability_of(rows)(inputs, target)

    attributions = rng(4).normal(size=(N, M))
    quick = removal(rows, counted, attributions, baseline_of(rows), rng())
    assert sum(asked) < 0.6 * 2 * N * (M + 1)
    # a baseline that differs everywhere by nothing that counts makes every step a new one
    apart = Imputer("baseline", rows.baseline + 1e-12)
    slow = removal(rows, probability_of(rows), attributions, apart, rng())
    assert quick.deletion == pytest.approx(slow.deletion, **FLOAT32)
    assert quick.insertion == pytest.approx(slow.insertion, **FLOAT32)


def test_random_order_gains_nothing():
    rows, _ = linear_rows(n=400)
    gains = random_removal(rows, probability_of(rows), baseline_of(rows), rng()).gain
    assert abs(gains.mean()) < 3 * gains.std() / 20


def test_sums_over_subsets_follow_a_linear_score_exactly_and_random_ones_do_not():
    rows, exact = linear_rows(n=100)
    found = sensitivity_n(rows, [exact, -exact], baseline_of(rows), n_subsets=32, n_random=5, rng=rng())
    assert found[:, 0, 0] == pytest.approx(np.ones(100), **CLOSED_FORM)
    assert found[:, 1, 0] == pytest.approx(-np.ones(100), **CLOSED_FORM)
    random = found[:, 0, 1:].mean(axis=1)
    assert abs(random.mean()) < 3 * random.std() / 10


def test_a_linear_score_leaves_nothing_unexplained_under_noise():
    rows, exact = linear_rows()
    found = infidelity(rows, [exact], n_noise=32, n_random=5, rng=rng())
    assert found[:, 0, 0] == pytest.approx(np.zeros(N), **CLOSED_FORM)
    assert found[:, 0, 1:].mean() > 0.8


def test_gradients_of_a_linear_score_do_not_move():
    rows, _ = linear_rows()
    explainers = {name: Explainer(METHODS[name], 0) for name in ("saliency", "input-x-gradient")}
    found = max_sensitivity(rows, explainers, neighbours(rows, 3, rng()), seed=0)
    assert found["saliency"].relative.tolist() == [0.0] * N
    assert 0 < found["input-x-gradient"].relative.max() < 0.03
    assert found["input-x-gradient"].random.mean() > 1


def test_integrated_gradients_of_a_linear_model_lie_on_the_good_side_of_every_check():
    audit = AttributionQuality(max_rows=500, n_neighbours=1, n_subsets=8, n_noise=8, n_models=6)
    context = AuditContext(seed=2, batch_size=2048)
    output = audit.measure(linear_subject(WEIGHTS), table(n=500), context)
    trust = output.evidence[0]
    assert [str(row[-1]) for row in trust.rows] == ["passes"] * 8
    assert trust.title.values["good"] == 8


# --- beside Captum ----------------------------------------------------------------------------------


def test_infidelity_is_captums_on_the_same_noise():
    rows = explained(subject_of(relu_net()), data_of(torch.from_numpy(rng().normal(size=(N, 6))).float()))
    phi = METHODS["input-x-gradient"].attribute(rows, torch.Generator())
    noise = rng(1).normal(0, 0.5, (N, 1, 6))
    change = at_inputs(rows, rows.score) - scores_under_noise(rows, slice(0, N), noise)[:, 0]
    ours = ((noise[:, 0] * phi).sum(axis=1) - change) ** 2
    z = torch.from_numpy(noise[:, 0]).float()
    captums = captum_infidelity(
        lambda inputs: rows.score(inputs, rows.target),
        lambda inputs: (z, inputs - z * (inputs - rows.baseline)),
        rows.inputs,
        torch.from_numpy(phi).float(),
        n_perturb_samples=1,
    )
    assert ours == pytest.approx(captums.detach().numpy(), abs=1e-5)


def test_max_sensitivity_is_captums_on_the_same_neighbours():
    rows = explained(subject_of(relu_net()), data_of(torch.from_numpy(rng().normal(size=(N, 6))).float()))
    near = list(neighbours(rows, 3, rng(2)))
    explain = Explainer(METHODS["input-x-gradient"], 0)
    ours = max_sensitivity(rows, {"x": explain}, near, seed=0)["x"].relative
    drawn = iter(near)

    def attribute(inputs):
        return (torch.from_numpy(explain(replace(rows, inputs=inputs[0]))),)

    captums = [
        captum_sensitivity_max(
            attribute, rows.inputs, perturb_func=lambda _: (next(drawn).rows.inputs,), n_perturb_samples=1
        ).numpy()
        for _ in near
    ]
    kept = np.stack([neighbour.same_class for neighbour in near]).all(axis=0)
    assert kept.sum() > N // 2
    assert ours[kept] == pytest.approx(np.max(captums, axis=0)[kept], abs=1e-5)


# --- models drawn anew ------------------------------------------------------------------------------


def test_weights_drawn_anew_are_put_back_also_when_something_raises():
    subject = subject_of(nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)))
    before, layers = weights_digest(subject.module), parametrised(subject.module)
    assert [len(step) for step in cascade(layers)] == [1, 2, 3]

    def stopped():
        with reinitialised(subject, layers, seed=3):
            assert weights_digest(subject.module) != before
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped()
    assert weights_digest(subject.module) == before


def test_the_same_seed_draws_the_same_model():
    subject, digests = subject_of(relu_net()), []
    for seed in (3, 3, 4):
        with reinitialised(subject, parametrised(subject.module), seed):
            digests.append(weights_digest(subject.module))
    assert digests[0] == digests[1] != digests[2]


def test_weights_of_a_layer_that_cannot_draw_get_their_own_spread():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.linspace(9.0, 11.0, 2000))

        def forward(self, inputs):
            return inputs * self.scale[:2]

    subject = subject_of(Scaled())
    with reinitialised(subject, parametrised(subject.module), seed=0):
        drawn = subject.module.scale.detach()
        assert float(drawn.mean()) == pytest.approx(10.0, abs=0.1)
        assert float(drawn.std()) == pytest.approx(2 / 12**0.5, abs=0.05)


def test_guided_backpropagation_lets_positive_gradients_through_alone():
    module = relu_net()
    rows = explained(subject_of(module), data_of(torch.from_numpy(rng().normal(size=(N, 6))).float()))
    found = GUIDED_BACKPROP.attribute(rows, torch.Generator())
    first, last = module[0].weight.detach(), module[2].weight.detach()
    active = (module[0](rows.inputs) > 0).float()
    exact = (active * last[rows.target].clamp(min=0)) @ first
    assert found == pytest.approx(exact.abs().numpy(), **FLOAT32)
    assert not any(layer._forward_hooks for layer in module.modules())


def test_units_that_both_maps_give_nothing_are_no_agreement():
    background = np.zeros((1, 90))
    first, second = rng(1).normal(size=(2, 1, 12))
    present = np.ones((1, 102), dtype=bool)
    alone = similarity(first, second, present[:, :12])
    with_background = similarity(np.hstack([first, background]), np.hstack([second, background]), present)
    assert with_background == pytest.approx(alone, **FLOAT)
    assert similarity(first, first, present[:, :12]) == pytest.approx([1.0], **FLOAT)
    assert np.isnan(similarity(background, background, present[:, :90])).all()


# --- agreement and complexity -----------------------------------------------------------------------


def test_identical_methods_agree_and_independent_ones_overlap_by_chance():
    n, m = 500, 20
    present = np.ones((n, m), dtype=bool)
    first, second = rng(1).normal(size=(2, n, m))
    same, apart = agreement(first, first, present), agreement(first, second, present)
    for one in (same.overlap, same.signs, same.ranks):
        assert one == pytest.approx(np.ones(n), **FLOAT)
    assert top_counts(present)[0] == 4
    assert apart.overlap.mean() == pytest.approx(0.2, abs=3 * apart.overlap.std() / n**0.5)
    assert apart.ranks.mean() == pytest.approx(0.0, abs=3 * apart.ranks.std() / n**0.5)
    assert apart.by_chance.tolist() == [0.2] * n


def test_complexity_of_equal_and_of_single_attributions():
    present = np.ones((3, 10), dtype=bool)
    found = complexity(np.vstack([np.ones(10), np.eye(10)[3], np.zeros(10)]), present)
    assert found.gini[:2].tolist() == pytest.approx([0.0, 0.9], **FLOAT)
    assert found.entropy[:2].tolist() == pytest.approx([1.0, 0.0], **FLOAT)
    assert found.needed[:2].tolist() == [8, 1]
    assert np.isnan([found.gini[2], found.entropy[2], found.needed[2]]).all()


# --- random order, imputers -------------------------------------------------------------------------


@given(st.integers(0, 2**16), st.booleans())
@settings(max_examples=25, deadline=None)
def test_random_order_keeps_values_within_the_units_of_a_row(seed, is_whole):
    draws = rng(seed)
    present = np.ones((6, 9), dtype=bool) if is_whole else draws.random((6, 9)) < 0.6
    attributions = np.where(present, draws.normal(size=(6, 9)), 0.0)
    moved = permuted_within(attributions, present, draws)
    assert (np.sort(moved, axis=1) == np.sort(attributions, axis=1)).all()
    assert (moved[~present] == 0).all()
    ranks = random_ranks(present, 3, draws)
    for row, has in enumerate(present):
        assert all(sorted(one[has]) == list(range(has.sum())) for one in ranks[row])


def test_each_unit_is_as_often_at_each_place():
    ranks = random_ranks(np.ones((300, 5), dtype=bool), 4, rng())
    counts = np.stack([(ranks == place).mean(axis=(0, 1)) for place in range(5)])
    assert np.abs(counts - 0.2).max() < statistical(1200, p=0.2)


def test_pictures_are_blurred_and_rows_get_the_values_of_another_row():
    picture = torch.zeros(2, 64)
    picture[0, 27] = 1.0
    smooth = blurred(picture, (8, 8))
    assert float(smooth.sum()) == pytest.approx(1.0, **FLOAT32)
    assert float(smooth.max()) < 0.2
    rows, _ = linear_rows()
    (_, other) = imputers(rows, None, rng())
    donors = (other.instead[:, None] == rows.inputs[None]).all(dim=2).int().argmax(dim=1)
    assert sorted(donors.tolist()) == list(range(N))
    assert (donors != torch.arange(N)).all()


def test_a_noise_that_moves_nothing_leaves_infidelity_undefined():
    change = np.zeros((1, 4, 1))
    assert np.isnan(unexplained(np.ones((1, 4, 1)), change, np.full((1, 1), 1e-6))).all()
