"""DP retraining as a variant: fresh weights, the card, the certificate, and what is refused."""

import numpy as np
import pytest
import torch

from auditkit.errors import UsageError
from auditkit.models.zoo import build_module
from auditkit.randomness import torch_rng
from auditkit.subjects.checkpoint import load_checkpoint, save_checkpoint
from auditkit.subjects.torch_subject import weights_digest
from auditkit.variants.dp import DpRetrain
from tests.fakes import predicting
from tests.tolerances import statistical
from tests.variants.subjects import built, context, convolutional, data, subject, trained

QUICK = DpRetrain(epsilon=8, delta=1e-4, steps=30, expected_batch_size=150)


def test_it_gives_a_certified_subject_of_the_same_kind(tmp_path):
    baseline = trained()
    before = weights_digest(baseline.module)
    found = QUICK.derive(baseline, context(tmp_path, name="dp-8"))
    card, certificate = found.card, found.card.certificate
    assert (card.name, card.kind, card.title) == ("dp-8", "dp-retrain", "three classes")
    assert (card.classes, card.n_parameters) == (baseline.card.classes, baseline.card.n_parameters)
    assert "recipe" in found.capabilities
    assert certificate is not None
    assert 7.5 < certificate.epsilon <= 8
    assert (certificate.steps, certificate.normaliser, certificate.sample_rate) == (30, 150, 150 / 900)
    assert "noise multiplier" in str(card.statements[0])
    assert weights_digest(baseline.module) == before


def test_what_is_easy_is_learned_at_a_small_cost(tmp_path):
    baseline = trained()
    held_out = data(2000, seed=1)
    found = DpRetrain(epsilon=8, delta=1e-4, steps=150).derive(baseline, context(tmp_path))
    accuracy = [
        float((one.predict(held_out, batch_size=256).y_pred == held_out.y_true).mean())
        for one in (baseline, found)
    ]
    assert accuracy[1] > accuracy[0] - 0.03 - statistical(2000, p=accuracy[0])


def test_the_weights_of_the_baseline_play_no_part(tmp_path):
    """Two baselines of one architecture with other weights give the same private model."""
    one = trained()
    other = trained()
    with torch.no_grad():
        for parameter in other.module.parameters():
            parameter.fill_(7.0)
    found = [QUICK.derive(baseline, context(tmp_path)) for baseline in (one, other)]
    assert found[0].card.digest == found[1].card.digest


def test_training_starts_from_the_weights_of_its_own_stream(tmp_path):
    """With next to no steps and noise the result is the initial value."""
    baseline = trained()
    still = DpRetrain(epsilon=8, delta=1e-4, steps=1, learning_rate=1e-12, averaging=0)
    found = still.derive(baseline, context(tmp_path, seed=5))
    fresh = build_module(baseline.architecture, rng=torch_rng(5, "initial weights"))
    for (_, parameter), (_, expected) in zip(
        found.module.named_parameters(), fresh.named_parameters(), strict=True
    ):
        torch.testing.assert_close(parameter, expected)


def test_the_seed_decides(tmp_path):
    baseline = trained()
    digests = [QUICK.derive(baseline, context(tmp_path, seed=seed)).card.digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_certified_is_not_repeated(tmp_path):
    baseline = trained()
    certified = QUICK.model_copy(update={"certified": True})
    found = [certified.derive(baseline, context(tmp_path)).card for _ in range(2)]
    assert found[0].digest != found[1].digest
    assert found[0].certificate is not None
    assert found[0].certificate.certified


def test_epochs_set_the_steps(tmp_path):
    found = DpRetrain(epsilon=8, delta=1e-4, epochs=2, expected_batch_size=200).derive(
        trained(), context(tmp_path)
    )
    assert found.card.certificate is not None
    assert found.card.certificate.steps == 9  # 2 x 900 / 200


def test_it_survives_a_checkpoint(tmp_path):
    found = QUICK.derive(trained(), context(tmp_path))
    save_checkpoint(tmp_path / "dp", found)
    again = load_checkpoint(tmp_path / "dp", name="variant", device="cpu")
    assert again.card.certificate == found.card.certificate
    assert again.card.digest == found.card.digest


def test_progress_ends_with_the_last_step(tmp_path):
    seen = []
    QUICK.derive(trained(), context(tmp_path, progress=lambda *report: seen.append(report)))
    assert seen[-1][:2] == (30, 30)


def test_weights_of_rows_are_left_out_and_this_is_said(tmp_path):
    weighted = data()
    rows = type(weighted)(
        name="weighted",
        source="test",
        split=None,
        inputs=weighted.inputs,
        y_true=weighted.y_true,
        classes=weighted.classes,
        sample_weight=np.linspace(1, 100, len(weighted)),
    )
    baseline = trained()
    plain = QUICK.derive(baseline, context(tmp_path))
    found = QUICK.derive(baseline, context(tmp_path, rows=lambda: rows))
    assert found.card.digest == plain.card.digest
    assert "weights of the rows were not used" in " ".join(map(str, found.card.statements))


def test_what_cannot_be_trained_again_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be trained again"):
        QUICK.derive(predicting([0, 1]), context(tmp_path))
    with pytest.raises(UsageError, match="own"):
        QUICK.derive(subject(built(convolutional)), context(tmp_path))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"epsilon": 0},
        {"epsilon": 101},
        {"epsilon": 3, "delta": 1},
        {"epsilon": 3, "steps": 5, "epochs": 1},
    ],
)
def test_impossible_parameters_are_refused(parameters):
    with pytest.raises(ValueError, match=r"epsilon|delta|steps"):
        DpRetrain(**parameters)
