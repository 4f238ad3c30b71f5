"""A private training of a table stores figures that its own first steps measured, and no others."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import CategoricalFeature
from auditkit.data.recoding import Recoding
from auditkit.data.told_levels import is_told
from auditkit.privacy.accounting import epsilon_prv
from auditkit.privacy.certificate import recomputed_epsilon
from auditkit.privacy.dp_fit import dp_fit
from auditkit.privacy.dp_settings import DpSettings
from auditkit.privacy.tuned_fit import FreshModels, tuned_fit
from auditkit.privacy.tuning import Candidate, Tuning, planned_tuning
from auditkit.privacy.tuning_cost import epsilon_of_tuning, failure_of_tuning
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


CITIES = ("bern", "oslo", "rome", "somewhere else")
WITH_CITY = STEPS.model_copy(
    update={"features": (*STEPS.features, CategoricalFeature(name="city", levels=CITIES))}
)


def table_with_cities(n: int = 1500, seed: int = 0) -> Dataset:
    """In Rome all are of the second class, in Oslo none; a single row is from somewhere else."""
    data = table(n, seed)
    rng = np.random.default_rng(seed)
    city = rng.integers(0, 3, n)
    y_true = np.where(city == 2, 1, np.where(city == 1, 0, data.y_true))
    city[0] = 3
    shown = torch.nn.functional.one_hot(torch.from_numpy(city), 4).double()
    return replace(data, inputs=torch.cat([data.inputs, shown], dim=1), y_true=y_true)


def fit_with_cities(settings=QUICK):
    rng = torch.Generator().manual_seed(1)
    module = nn.Sequential(nn.Linear(7, 16), nn.Tanh(), nn.Linear(16, 2))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=rng))
    return dp_fit(module, table_with_cities(), settings, seed=0, preprocessing=WITH_CITY)


def test_frequent_levels_are_learned_by_their_names_and_one_of_a_single_row_has_none():
    fitted = fit_with_cities()
    levels = fitted.preprocessing.features[-1].levels
    assert levels[:3] == ("bern", "oslo", "rome")
    assert not is_told(levels[3])
    held_out = table_with_cities(1000, seed=1)
    inputs = Recoding.between(WITH_CITY, fitted.preprocessing)(held_out.inputs)
    with torch.no_grad():
        right = fitted.module(inputs).argmax(dim=1).numpy() == held_out.y_true
    for city in (1, 2):
        assert right[held_out.inputs[:, 3 + city].numpy() > 0].mean() > 0.95


def test_epsilon_holds_with_what_names_of_levels_take_of_delta():
    certificate = fit_with_cities().certificate
    assert certificate.failure_probability == pytest.approx(1e-3 * certificate.delta)
    assert 7.9 < certificate.epsilon <= 8.0
    assert recomputed_epsilon(certificate) == certificate.epsilon
    left = certificate.delta - certificate.failure_probability
    spent = (certificate.noise_multiplier, certificate.sample_rate, certificate.steps)
    assert certificate.epsilon == epsilon_prv(*spent, left) > epsilon_prv(*spent, certificate.delta)
    assert certificate.not_covered == ()


def test_levels_that_are_public_are_not_counted_and_keep_their_names():
    fitted = fit_with_cities(replace(QUICK, public_levels=True, steps=20))
    assert fitted.preprocessing.features[-1].levels == CITIES
    assert fitted.certificate.failure_probability == 0
    assert any("levels of text columns, by the word" in str(one) for one in fitted.certificate.assumptions)


def test_a_tuning_of_trainings_that_count_levels_keeps_within_epsilon():
    settings = replace(QUICK, steps=40)
    tuning = Tuning(law="geometric", mean=2.0, candidates=(Candidate(settings=settings),))
    planned = planned_tuning(tuning, table_with_cities(), WITH_CITY)
    assert failure_of_tuning(planned.tuned) == pytest.approx(2e-3 * settings.delta)
    assert 7.8 < epsilon_of_tuning(planned.tuned, settings.delta) <= 8.0
    assert planned.mechanisms[0].failure_probability == pytest.approx(1e-3 * settings.delta)
