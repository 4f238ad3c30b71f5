"""What the audit of attributions concludes from its metrics: means, checks, models trained again."""

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.audits.audit import Audit, AuditContext
from auditkit.audits.explainability.attribution import Attribution
from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.audits.explainability.quality.attribution_quality import AttributionQuality
from auditkit.audits.explainability.quality.checks import Check, placed
from auditkit.audits.explainability.quality.crossed_means import crossed_mean
from auditkit.audits.explainability.quality.private_copy import private_copy
from auditkit.audits.explainability.quality.resampling import row_means
from auditkit.audits.explainability.quality.trained_again import TrainedAgain
from auditkit.config.model import Architecture
from auditkit.data.dataset import FeatureSpace
from auditkit.errors import CheckpointError, DataError
from auditkit.execution.executor import SerialExecutor
from auditkit.models.zoo import build_module
from auditkit.records import Message
from auditkit.reporting.language import texts_for
from auditkit.reporting.view.chapters import chapters
from auditkit.runner import Bench, Runner
from auditkit.subjects.checkpoint import save_checkpoint
from auditkit.subjects.torch_subject import TorchSubject, weights_digest
from auditkit.testing import linear_subject
from auditkit.testing.texts import tiny_text_dataset, tiny_text_subject
from tests.audits.quality_scenes import EFFORT, WEIGHTS, condition, data_of, random_attributions, rng, table
from tests.audits.test_attribution import subject_of
from tests.reporting.sample_run import sample_run
from tests.tolerances import FLOAT

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
    first = chapter.sections[1].columns.left[0].evidence
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
