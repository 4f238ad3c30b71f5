"""A private training of a table stores figures that its own first steps measured, and no others."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from auditkit.data.recoding import Recoding
from auditkit.privacy.dp_fit import dp_fit
from auditkit.privacy.dp_settings import DpSettings
from auditkit.privacy.tuned_fit import FreshModels, tuned_fit
from auditkit.privacy.tuning import Candidate, Tuning
from auditkit.privacy.tuning_draw import draw_runs, uniform_of
from tests.privacy.ledgers import Killed, dies_after, recording
from tests.privacy.tables import PLANTED, steps_of, table

STEPS = steps_of(PLANTED)
QUICK = DpSettings(epsilon=8.0, delta=1e-4, steps=120, expected_batch_size=300, learning_rate=0.03)
PUBLIC = replace(QUICK, public_preprocessing=True)
MEASURED = (
    "means and scales of numeric columns, 3 in all, were measured by the first 12 steps, within epsilon"
)


def network() -> nn.Module:
    rng = torch.Generator().manual_seed(1)
    module = nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=rng))
    return module


def fit(data=None, settings=QUICK, **options):
    return dp_fit(network(), data or table(), settings, seed=0, preprocessing=STEPS, **options)


def read_by_public_steps():
    """Rows that are small already, in the precision in which a network reads them."""
    data = table()
    return replace(data, inputs=(data.inputs / data.inputs.abs().max(dim=0).values).float())


def assert_near_the_planted(preprocessing) -> None:
    for feature, (mean, scale) in zip(preprocessing.features, PLANTED.values(), strict=True):
        assert abs(feature.mean - mean) < scale, feature.name
        assert 1 / 2 < feature.scale / scale < 2, feature.name


def accuracy(fitted, data) -> float:
    inputs = Recoding.between(STEPS, fitted.preprocessing)(data.inputs)
    with torch.no_grad():
        return float((fitted.module(inputs).argmax(dim=1).numpy() == data.y_true).mean())


def test_rows_in_any_unit_are_learned_by_measured_figures():
    fitted = fit()
    assert_near_the_planted(fitted.preprocessing)
    assert accuracy(fitted, table(1000, seed=1)) > 0.9
    certificate = fitted.certificate
    assert MEASURED in map(str, certificate.preflight)
    assert certificate.not_covered == ()
    assert any(str(one).startswith("Which columns there are") for one in certificate.assumptions)


def test_measuring_changes_neither_steps_nor_epsilon():
    measured, taken_as_public = fit().certificate, fit(read_by_public_steps(), PUBLIC).certificate
    same = ("epsilon", "steps", "noise_multiplier", "sample_rate", "max_grad_norm", "normaliser")
    assert all(getattr(measured, name) == getattr(taken_as_public, name) for name in same)


def test_steps_that_are_public_are_kept_and_nothing_is_measured():
    fitted = fit(read_by_public_steps(), PUBLIC)
    assert fitted.preprocessing == STEPS
    assert any("by the word of the user" in str(one) for one in fitted.certificate.assumptions)
    assert MEASURED not in map(str, fitted.certificate.preflight)


def test_the_record_holds_the_digest_of_the_rows_as_the_model_reads_them():
    fitted, data = fit(), table()
    read = replace(data, inputs=Recoding.between(STEPS, fitted.preprocessing)(data.inputs))
    assert fitted.training.data_digest == read.digest() == fitted.data.digest()


@pytest.mark.parametrize("after", [8, 60], ids=["while it measures", "while it trains"])
def test_a_killed_training_goes_on_with_the_figures_it_had(tmp_path, monkeypatch, after):
    monkeypatch.setattr("auditkit.privacy.recorded.SAVING_SHARE", 1e9)
    monkeypatch.setattr("auditkit.privacy.recorded.BLOCK_STEPS", 5)
    monkeypatch.setattr("auditkit.privacy.recorded.REPORT_EVERY", 1)
    with pytest.raises(Killed):
        fit(recording=recording(tmp_path), report_progress=dies_after(after))
    found, undisturbed = fit(recording=recording(tmp_path)), fit()
    assert found.certificate.resumes == 1
    assert found.preprocessing == undisturbed.preprocessing
    for one, other in zip(found.module.parameters(), undisturbed.module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_certified_training_is_replayed_with_the_same_figures(tmp_path, monkeypatch):
    monkeypatch.setattr("auditkit.privacy.recorded.SAVING_SHARE", 1e9)
    monkeypatch.setattr("auditkit.privacy.recorded.BLOCK_STEPS", 5)
    monkeypatch.setattr("auditkit.privacy.recorded.REPORT_EVERY", 1)
    certified = replace(QUICK, certified=True)
    with pytest.raises(Killed):
        fit(settings=certified, recording=recording(tmp_path, replay=True), report_progress=dies_after(13))
    again = fit(settings=certified, recording=recording(tmp_path, replay=True))
    # a replay that came out otherwise would have been refused, or charged again
    assert (again.certificate.resumes, again.certificate.steps) == (1, 120)
    assert_near_the_planted(again.preprocessing)


def test_persons_count_as_one_in_what_is_measured():
    fitted = fit(table(persons=True), replace(QUICK, epsilon=20.0, expected_batch_size=200))
    assert fitted.certificate.unit_of_privacy == "person"
    assert_near_the_planted(fitted.preprocessing)


def test_the_winner_of_a_tuning_carries_the_figures_of_its_own_run(tmp_path):
    def drawn(seed: int) -> int:
        return len(draw_runs("poisson", 3.0, 2, uniform_of(seed, certified=False)))

    seed = next(seed for seed in range(100) if drawn(seed) == 2)
    candidates = tuple(Candidate(settings=replace(QUICK, learning_rate=rate)) for rate in (0.01, 0.03))
    found = tuned_fit(
        FreshModels(build=lambda _seed: network(), preprocessing=STEPS),
        table(),
        Tuning(law="poisson", mean=3.0, candidates=candidates),
        seed=seed,
        recording=recording(tmp_path),
    )
    assert_near_the_planted(found.preprocessing)
    assert accuracy(found, table(1000, seed=1)) > 0.8
