"""Metrics of attributions against linear models, plain loops and Captum's own."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from captum.metrics import infidelity as captum_infidelity
from captum.metrics import sensitivity_max as captum_sensitivity_max
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auditkit.audits.audit import Audit, AuditContext
from auditkit.audits.explainability.attribution import Attribution
from auditkit.audits.explainability.explained_rows import ExplainedRows, explained_rows
from auditkit.audits.explainability.methods.catalogue import METHODS
from auditkit.audits.explainability.methods.guided_backprop import GUIDED_BACKPROP
from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.audits.explainability.quality.agreement import agreement, top_counts
from auditkit.audits.explainability.quality.attribution_quality import AttributionQuality
from auditkit.audits.explainability.quality.checks import Check, Condition, placed
from auditkit.audits.explainability.quality.completeness import complete, gaps
from auditkit.audits.explainability.quality.complexity import complexity
from auditkit.audits.explainability.quality.crossed_means import crossed_mean
from auditkit.audits.explainability.quality.explaining import Explainer
from auditkit.audits.explainability.quality.imputers import Imputer, blurred, imputers
from auditkit.audits.explainability.quality.infidelity import infidelity, scores_under_noise, unexplained
from auditkit.audits.explainability.quality.max_sensitivity import max_sensitivity, neighbours
from auditkit.audits.explainability.quality.outputs import at_baseline, at_inputs, probability_of
from auditkit.audits.explainability.quality.private_copy import private_copy
from auditkit.audits.explainability.quality.random_order import permuted_within, random_ranks
from auditkit.audits.explainability.quality.randomisation import similarity
from auditkit.audits.explainability.quality.reinitialised import cascade, parametrised, reinitialised
from auditkit.audits.explainability.quality.removal import random_removal, removal
from auditkit.audits.explainability.quality.resampling import row_means
from auditkit.audits.explainability.quality.sensitivity_n import sensitivity_n
from auditkit.audits.explainability.quality.trained_again import TrainedAgain
from auditkit.config.model import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace
from auditkit.errors import CheckpointError, DataError
from auditkit.execution.executor import SerialExecutor
from auditkit.models.zoo import build_module
from auditkit.records import Interval, Message
from auditkit.reporting.language import texts_for
from auditkit.reporting.view.chapters import chapters
from auditkit.runner import Bench, Runner
from auditkit.subjects.checkpoint import save_checkpoint
from auditkit.subjects.torch_subject import TorchSubject, weights_digest
from auditkit.testing import linear_subject
from auditkit.testing.texts import tiny_text_dataset, tiny_text_subject
from tests.audits.test_attribution import subject_of
from tests.reporting.sample_run import sample_run
from tests.tolerances import FLOAT, FLOAT32, statistical

CLOSED_FORM = {"abs": 1e-6}
N, M = 40, 20
WEIGHTS = np.random.default_rng(5).normal(size=M)
EFFORT: dict[str, Any] = {
    "n_subsets": 16,
    "n_noise": 8,
    "n_neighbours": 2,
    "n_models": 3,
    "rows_again": 8,
    "n_bootstrap": 100,
}


def rng(seed=0):
    return np.random.default_rng(seed)


def table(n=N, m=M, seed=1):
    """Inputs near -1 and 1, so that no unit weighs much less than its weight."""
    draws = rng(seed)
    inputs = draws.choice([-1.0, 1.0], (n, m)) * (1 + 0.05 * draws.normal(size=(n, m)))
    return data_of(torch.from_numpy(inputs).float())


def data_of(inputs, features=None, **more):
    n_columns = inputs[0].numel()
    names = FeatureSpace(tuple(f"x{j}" for j in range(n_columns)), tuple(range(n_columns)))
    return Dataset(
        name="made",
        source="memory",
        split="test",
        inputs=inputs,
        y_true=np.zeros(len(inputs), dtype=np.int64),
        classes=("no", "yes"),
        features=features or names,
        **more,
    )


def explained(subject, data, batch_size=64) -> ExplainedRows:
    predicted = subject.predict(data, batch_size=64).y_pred
    found = explained_rows(subject, data, predicted, explained="logit", batch_size=batch_size)
    assert isinstance(found, ExplainedRows)
    return found


def linear_rows(**more) -> tuple[ExplainedRows, np.ndarray]:
    """Two logits, 0 and ``w.x``, explained by their log-odds; and what each unit adds to it."""
    data = table(**more)
    rows = explained(linear_subject(WEIGHTS), data)
    signs = np.where(rows.target.numpy() == 1, 1.0, -1.0)
    return rows, signs[:, None] * WEIGHTS.astype(np.float32) * data.inputs.numpy()


def baseline_of(rows):
    return Imputer("baseline", rows.baseline)


def relu_net(inputs=6, hidden=12, seed=0):
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, 2))


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


# --- means and checks -------------------------------------------------------------------------------


def test_rows_of_one_person_count_once():
    scores = np.repeat(rng().normal(size=30), 4)
    person = np.repeat(np.arange(30), 4)
    alone = row_means({"s": scores}, None, n_draws=2000, rng=rng(1))["s"]
    together = row_means({"s": scores}, person, n_draws=2000, rng=rng(1))["s"]
    widths = [one.interval(0.95).high - one.interval(0.95).low for one in (alone, together)]
    assert widths[1] / widths[0] == pytest.approx(2.0, abs=0.3)
    assert (together.n, together.n_units) == (120, 30)


def test_a_score_that_is_undefined_everywhere_has_no_mean():
    found = row_means({"s": np.full(5, np.nan)}, None, n_draws=50, rng=rng())["s"]
    assert (found.value, found.n, found.interval(0.95)) == (None, 0, None)


def test_models_drawn_make_the_interval_wide_where_they_differ():
    by_model = np.tile(rng().normal(size=8), (50, 1))
    found = crossed_mean(by_model + 0.01 * rng(1).normal(size=by_model.shape), None)
    spread = by_model[0].std(ddof=1) / 8**0.5
    assert found.interval(0.95).high - found.value == pytest.approx(2.365 * spread, rel=0.05)


def condition(value, half, **threshold):
    def interval(confidence):
        z = {0.95: 1.0}.get(confidence, -np.log10(max(1 - confidence, 1e-12)) / -np.log10(0.05))
        return Interval(low=value - half * z, high=value + half * z, confidence=confidence, method="made")

    return Condition(value=value, n=100, interval=interval, **threshold)


def test_a_check_is_good_only_if_the_whole_interval_is():
    checks = [
        Check(name=Message(text="clear"), conditions=(condition(1.0, 0.1, at_least=0.5),)),
        Check(name=Message(text="breached"), conditions=(condition(0.1, 0.1, at_least=0.5),)),
        Check(name=Message(text="open"), conditions=(condition(0.5, 0.2, at_most=0.6),)),
        Check(
            name=Message(text="one of two"),
            conditions=(condition(0.1, 0.1, at_most=0.9), condition(0.9, 0.1, at_most=0.2)),
        ),
        Check(name=Message(text="absent"), absent=Message(text="why")),
    ]
    found = placed(checks, 0.95)
    assert [one.side for one in found] == ["good", "bad", "open", "bad", "unknown"]
    count, decisive = checks[2].needed(0.95)
    assert (count, decisive.counts_models) == (400, False)


def test_many_checks_ask_more_of_each():
    """0.95 intervals that just clear the threshold do so alone, not eight at a time (Holm)."""
    near = Check(name=Message(text="near"), conditions=(condition(1.0, 0.98, at_least=0.0),))
    assert placed([near], 0.95)[0].side == "good"
    together = placed([near] * 8, 0.95)
    assert {one.side for one in together} == {"open"}
    assert together[0].confidence == pytest.approx(1 - 0.05 / 8, **FLOAT)


# --- the audit --------------------------------------------------------------------------------------


def random_attributions(rows, generator):
    """Values with the distribution of real ones, in an order that the draws decide."""
    exact = METHODS["input-x-gradient"].attribute(rows, generator)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    return permuted_within(exact, rows.present, rng(seed))


@pytest.mark.parametrize("seed", [0, 1])
def test_random_attributions_lie_on_the_good_side_of_nothing(seed, monkeypatch):
    catalogue = "auditkit.audits.explainability.quality.attribution_quality.METHODS"
    chance = AttributionMethod(name="chance", attribute=random_attributions)
    monkeypatch.setattr(catalogue, {"chance": chance})
    output = AttributionQuality(methods=("chance",), n_neighbours=2, n_subsets=32, n_noise=16).measure(
        linear_subject(WEIGHTS), table(n=150), AuditContext(seed=seed)
    )
    assert output.evidence[0].title.values["good"] == 0


def test_unknown_methods_are_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"got nonsense, expected different ones of .*saliency"):
        AttributionQuality(methods=("nonsense",))


def test_pictures_through_a_convolution_with_batch_norm_and_dropout_in_evaluation_mode():
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        module = nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)),
            nn.Conv2d(1, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(64, 2),
        )
    subject = subject_of(module)
    pictures = torch.from_numpy(rng().random((30, 64))).float()
    data = data_of(pictures, FeatureSpace((), (), image_shape=(8, 8)))
    before = weights_digest(module)
    audit = AttributionQuality(methods=("saliency", "input-x-gradient"), **EFFORT)
    output = audit.measure(subject, data, AuditContext(seed=1))
    assert weights_digest(module) == before
    assert all(one.value is not None for one in output.measurements)
    named = {(one.metric, *one.group.values()) for one in output.measurements}
    assert ("removal_gain", "saliency", "blur") in named
    assert ("control_similarity", "guided-backprop") in named
    assert ("method_overlap", "saliency ~ input-x-gradient") in named
    copied = private_copy(subject, pictures[:2])
    assert copied.module is not module
    assert copied.module[1].weight.is_contiguous(memory_format=torch.channels_last)


def test_tokens_are_units_and_padding_is_none():
    output = AttributionQuality(methods=("input-x-gradient",), max_texts=8, **EFFORT).measure(
        tiny_text_subject(), tiny_text_dataset(), AuditContext(seed=1)
    )
    figures = {(one.metric, one.group.get("imputer")): one for one in output.measurements}
    assert figures["removal_gain", "marginal"].value is not None
    assert figures["sensitivity_n", None].value is not None
    assert figures["randomised_similarity", None].value is not None


def test_trust_is_told_before_attributions_are_shown():
    data, subject = table(), linear_subject(WEIGHTS)
    audits: dict[str, Audit] = {
        "attribution": Attribution(max_evaluations=16),
        "attribution-quality": AttributionQuality(
            methods=("input-x-gradient", "integrated-gradients"), **EFFORT
        ),
    }
    bench = Bench(
        subjects={"baseline": subject},
        data=data,
        data_digest=data.digest(),
        held_out=data,
        audits=audits,
        seed=1,
        batch_size=64,
        device="cpu",
    )
    run = sample_run(results=Runner(bench=bench, executor=SerialExecutor()).run(), findings=())
    (chapter,) = chapters(run, texts_for("en"))
    assert [section.name for section in chapter.sections] == ["attribution-quality", "attribution"]
    first = chapter.sections[1].columns[0][0].evidence
    assert first is not None
    assert first.title == "How far these attributions can be trusted"
    assert first.body.startswith("integrated-gradients: ")
    assert "input-x-gradient: " not in str(chapter.sections[1])


# --- models trained again ---------------------------------------------------------------------------


def checkpoint_of(folder, seed, classes=("no", "yes")):
    architecture = Architecture(name="mlp", n_inputs=6, n_classes=2, hidden=(12,), dropout=0.0)
    module = build_module(architecture, rng=torch.Generator().manual_seed(seed))
    subject = TorchSubject.build(module.eval(), architecture=architecture, classes=classes)
    return subject, save_checkpoint(folder / f"seed{seed}", subject)


def among_models(subject, paths, **more):
    audit = AttributionQuality(trained_again=paths, methods=("input-x-gradient",), **{**EFFORT, **more})
    output = audit.measure(subject, table(m=6), AuditContext(seed=1, batch_size=64))
    found = {one.metric: one for one in output.measurements if one.metric.startswith("model_")}
    return found, [one for one in output.evidence if "trained again" in one.title.text]


def test_the_same_model_trained_again_explains_alike(tmp_path):
    subject, path = checkpoint_of(tmp_path, 0)
    found, tables = among_models(subject, (str(path), str(path)))
    assert [
        found[name].value for name in ("model_overlap", "model_sign_agreement", "model_rank_agreement")
    ] == [1] * 3
    assert found["model_overlap.over_random"].value == pytest.approx(1 - 1 / 6)
    assert tables[0].caption.values == {"n": 3}


def test_models_from_other_draws_agree_by_chance_alone(tmp_path):
    subject, _ = checkpoint_of(tmp_path, 0)
    paths = [str(checkpoint_of(tmp_path, seed)[1]) for seed in range(1, 9)]
    found, _ = among_models(subject, paths, rows_again=40)
    assert abs(found["model_overlap.over_random"].value) < 0.2
    assert abs(found["model_rank_agreement"].value) < 0.3


def test_nothing_is_said_of_models_where_none_are_given(tmp_path):
    subject, _ = checkpoint_of(tmp_path, 0)
    assert among_models(subject, ()) == ({}, [])


def test_a_model_for_other_classes_is_refused_with_a_remedy(tmp_path):
    subject, _ = checkpoint_of(tmp_path, 0)
    _, path = checkpoint_of(tmp_path, 1, classes=("bad", "good"))
    with pytest.raises(DataError, match=r"seed1 has other classes than .*same classes"):
        among_models(subject, (str(path),))


def test_a_checkpoint_that_was_exchanged_is_noticed(tmp_path):
    subject, path = checkpoint_of(tmp_path, 0)
    given = TrainedAgain.model_validate(str(path))
    save_checkpoint(path, checkpoint_of(tmp_path / "other", 7)[0])
    with pytest.raises(DataError, match="does not have the sha256"):
        among_models(subject, (given,))


def test_an_absent_checkpoint_is_named(tmp_path):
    subject, _ = checkpoint_of(tmp_path, 0)
    with pytest.raises(CheckpointError, match="nowhere"):
        among_models(subject, (str(tmp_path / "nowhere"),))
