"""A private tuning keeps within its epsilon, is charged before anything, and shows nothing but its winner."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from auditkit.errors import NothingReleasedError, PrivacyRefusedError, UsageError
from auditkit.privacy.accounting import epsilon_prv
from auditkit.privacy.certificate import recomputed_epsilon
from auditkit.privacy.composition import composed
from auditkit.privacy.dp_fit import DpFitted
from auditkit.privacy.dp_settings import DpSettings
from auditkit.privacy.ledger_file import read_chain
from auditkit.privacy.tuned_fit import FreshModels, best_of, tuned_fit
from auditkit.privacy.tuning import Candidate, Tuning, planned_tuning
from auditkit.privacy.tuning_cost import epsilon_of_tuning
from auditkit.privacy.tuning_draw import draw_runs, uniform_of
from auditkit.records import TuningReserved
from tests.privacy.ledgers import Killed, account, network, recording, rows

QUICK = DpSettings(epsilon=8.0, delta=1e-4, steps=10, expected_batch_size=100, learning_rate=0.05)
BAD, GOOD = replace(QUICK, learning_rate=1e-9), QUICK
MODELS = FreshModels(build=lambda _seed: network())


def tuning(*settings: DpSettings) -> Tuning:
    candidates = tuple(Candidate(settings=one) for one in settings or (BAD, GOOD))
    return Tuning(law="poisson", mean=3.0, candidates=candidates)


def seed_with(number: int) -> int:
    """A seed under which so many runs are drawn, of both candidates where there are several."""

    def fits(seed: int) -> bool:
        drawn = draw_runs("poisson", 3.0, 2, uniform_of(seed, certified=False))
        return len(drawn) == number and len(set(drawn)) == min(number, 2)

    return next(seed for seed in range(1000) if fits(seed))


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> DpFitted:
    place = recording(tmp_path_factory.mktemp("tuned"))
    return tuned_fit(MODELS, rows(), tuning(), seed=seed_with(3), recording=place)


def test_the_epsilon_of_the_certificate_follows_from_its_public_inputs(found):
    certificate = found.certificate
    statement = certificate.tuning
    assert certificate.epsilon == recomputed_epsilon(certificate)
    assert certificate.epsilon == epsilon_of_tuning(statement.tuned, certificate.delta)
    assert 7.9 < certificate.epsilon <= 8.0
    training = statement.tuned.alternatives[0][0]
    assert training.noise_multiplier == certificate.noise_multiplier
    assert (training.sample_rate, training.steps) == (certificate.sample_rate, certificate.steps)
    assert statement.untuned_epsilon == epsilon_prv(certificate.noise_multiplier, 100 / 600, 10, 1e-4)
    assert certificate.ledger.epsilon == certificate.epsilon
    assert "RDP" in certificate.accountant


def test_the_certificate_says_how_settings_were_chosen_and_what_that_rests_on(found):
    certificate = found.certificate
    said = " ".join(str(one) for one in (*certificate.assumptions, *certificate.preflight))
    assert "must stay unknown" in said
    assert "noisy scores" in said
    assert "nothing is stopped, chosen" not in said


def test_the_released_model_is_that_of_the_settings_named(found):
    assert found.certificate.tuning.candidates == ("learning_rate 1e-09", "learning_rate 0.05")
    assert found.certificate.tuning.chosen == f"learning_rate {found.training.recipe['learning_rate']:g}"
    assert found.certificate.tuning.chosen == "learning_rate 0.05"
    with torch.no_grad():
        accuracy = (found.module(rows(seed=1).inputs).argmax(1).numpy() == rows(seed=1).y_true).mean()
    assert accuracy > 0.8


def test_the_whole_is_charged_before_anything_is_drawn(tmp_path, monkeypatch):
    place = recording(tmp_path)

    def none_drawn(*_arguments):
        raise Killed

    monkeypatch.setattr("auditkit.privacy.tuned_fit.draw_runs", none_drawn)
    with pytest.raises(Killed):
        tuned_fit(MODELS, rows(), tuning(), seed=0, recording=place)
    (tuned,) = place.account.state().tunings()
    assert 7.9 < epsilon_of_tuning(tuned, 1e-4) <= 8.0
    assert tuned == planned_tuning(tuning(), rows()).tuned


def test_all_runs_are_drawn_before_the_first_is_taken():
    events = []

    def uniform():
        events.append("draw")
        return 0.5

    def take(_number, chosen):
        events.append("run")
        return float(chosen), chosen

    best_of(draw_runs("poisson", 6.0, 3, uniform), take)
    assert events == ["draw"] * 7 + ["run"] * 6


def test_a_tuning_that_was_killed_is_charged_and_another_one_again(tmp_path):
    place = recording(tmp_path)

    def build(seed):
        if seed:
            raise Killed
        return network()

    for _ in range(2):
        with pytest.raises(Killed):
            tuned_fit(FreshModels(build=build), rows(), tuning(), seed=0, recording=place)
    assert len(place.account.state().tunings()) == 2
    assert place.account.reference(1e-4).epsilon > 8.0


def test_a_budget_that_does_not_suffice_is_refused_before_anything(tmp_path):
    place = recording(tmp_path)
    place.account.set_budget(7.0, 1e-4)
    lines = len(read_chain(place.account.path).lines)
    with pytest.raises(PrivacyRefusedError, match=r"would reach 7\.9"):
        tuned_fit(MODELS, rows(), tuning(), seed=0, recording=place)
    assert len(read_chain(place.account.path).lines) == lines


def test_what_cannot_be_trained_is_refused_before_anything_is_charged(tmp_path):
    place = recording(tmp_path)
    models = FreshModels(build=lambda _seed: torch.nn.Sequential(network(), torch.nn.BatchNorm1d(3)))
    with pytest.raises(UsageError, match="BatchNorm"):
        tuned_fit(models, rows(), tuning(), seed=0, recording=place)
    assert place.account.state().tunings() == ()


def heard_and_left(folder, number: int) -> tuple[list[object], list[str], list[str]]:
    """Everything a tuning with so many runs tells, the kinds of its lines, and the files it leaves."""
    heard: list[object] = []
    place = recording(folder)
    tuned_fit(
        MODELS,
        rows(),
        tuning(),
        seed=seed_with(number),
        recording=place,
        report_progress=lambda *what: heard.append(what),
        tell=lambda sentence: heard.append(sentence if "about" not in sentence else "about"),
    )
    kinds = [line.entry.kind for line in read_chain(place.account.path).lines]
    return heard, kinds, sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_neither_words_nor_progress_nor_files_give_the_number_of_runs_away(tmp_path):
    one = heard_and_left(tmp_path / "one", 1)
    assert one == heard_and_left(tmp_path / "three", 3)
    heard, kinds, files = one
    assert kinds == ["opened", "tuning"]
    assert [what for what in heard if isinstance(what, tuple)] == [
        (0, 1, "private tuning"),
        (1, 1, "private tuning"),
    ]
    assert not [name for name in files if not name.startswith("ledger")]


def test_where_no_run_is_drawn_nothing_is_released_and_all_is_charged(tmp_path):
    place = recording(tmp_path)
    with pytest.raises(NothingReleasedError, match=r"no run was drawn \(chance 0\.05"):
        tuned_fit(MODELS, rows(), tuning(), seed=seed_with(0), recording=place)
    assert len(place.account.state().tunings()) == 1


def test_a_run_whose_weights_become_infinite_is_never_the_best():
    diverging = replace(QUICK, optimizer="sgd", learning_rate=1e37, max_grad_norm=1e6)
    found = tuned_fit(MODELS, rows(), tuning(diverging, GOOD), seed=seed_with(3))
    assert found.certificate.tuning.chosen == "learning_rate 0.05"
    with pytest.raises(NothingReleasedError, match="smaller learning rates"):
        tuned_fit(MODELS, rows(), tuning(diverging), seed=seed_with(1))


def test_certified_tunings_are_not_repeated_and_hide_the_seeds_of_their_runs():
    some = Tuning(law="geometric", mean=1.2, candidates=(Candidate(settings=replace(GOOD, certified=True)),))
    found = [tuned_fit(MODELS, rows(), some, seed=0) for _ in range(2)]
    assert found[0].training.seed != found[1].training.seed
    assert all(one.certificate.certified for one in found)


def test_the_seed_decides_where_nothing_is_certified():
    seed = seed_with(2)
    once, twice = (tuned_fit(MODELS, rows(), tuning(), seed=seed) for _ in range(2))
    for one, other in zip(once.module.parameters(), twice.module.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_persons_are_charged_as_persons(tmp_path):
    place = recording(tmp_path)
    data = replace(rows(), person=np.arange(600) // 2)
    candidates = tuple(replace(one, expected_batch_size=50) for one in (BAD, GOOD))
    found = tuned_fit(MODELS, data, tuning(*candidates), seed=seed_with(1), recording=place)
    assert found.certificate.unit_of_privacy == "person"
    assert "sum over persons" in str(found.certificate.tuning.score)
    (line,) = (one.entry for one in read_chain(place.account.path).lines if one.entry.kind == "tuning")
    assert isinstance(line, TuningReserved)
    assert (line.unit_of_privacy, line.adjacency) == ("person", "add or remove one person")
    with pytest.raises(PrivacyRefusedError, match="protect each person"):
        tuned_fit(MODELS, rows(), tuning(), seed=0, recording=place)


def test_runs_before_and_after_a_tuning_are_composed_with_it(tmp_path):
    one = account(tmp_path)
    plan = planned_tuning(tuning(), rows())
    mechanism, tuned = plan.mechanisms[0], plan.tuned
    seen = []
    for step in ("train", "tune", "train"):
        if step == "tune":
            one.reserve_tuning(tuned, mechanism, 1e-4, purpose="test", certified=True)
        else:
            with one.begin(mechanism, 1e-4, purpose="test", certified=True) as run:
                run.reserve(0, mechanism.steps)
                run.end(mechanism.steps)
        seen.append(one.reference(1e-4).epsilon)
    training = tuned.alternatives[0][0]
    twice = training.model_copy(update={"steps": 2 * training.steps})
    assert seen[0] < epsilon_of_tuning(tuned, 1e-4) < seen[1] < seen[2]
    assert seen[2] == composed([twice], 1e-4, [tuned]).epsilon
    assert one.reference(1e-4).n_runs == 3
