"""A private training does what its certificate says, and learns."""

import math
from dataclasses import replace
from importlib.metadata import version

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import auditkit
from auditkit.data.dataset import Dataset
from auditkit.errors import AuditkitError, DataError, UsageError
from auditkit.privacy.certificate import Mechanism, certify, recomputed_epsilon
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.dp_fit import dp_fit
from auditkit.privacy.dp_settings import DpSettings, default_batch_size, plan
from auditkit.privacy.draws import EntropyDraws, SeededDraws
from auditkit.privacy.noisy_step import noisy_gradients
from auditkit.privacy.public_count import public_count, told_count
from auditkit.records import Certificate, TrainedWeights
from tests.privacy.networks import batch_norm, built, mlp, mlp_with_dropout
from tests.privacy.reference import clipped_sum_one_by_one, length
from tests.tolerances import FLOAT32

QUICK = DpSettings(epsilon=8.0, delta=1e-4, steps=20, expected_batch_size=100)


def separable(n: int = 600, seed: int = 0) -> Dataset:
    """Three classes along three directions, with little noise."""
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, 3, n)
    centres = np.eye(3, 6) * 2
    inputs = centres[y_true] + 0.4 * rng.standard_normal((n, 6))
    return Dataset(
        name="separable",
        source="test",
        split=None,
        inputs=torch.tensor(inputs, dtype=torch.float32),
        y_true=y_true.astype(np.int64),
        classes=("a", "b", "c"),
    )


def weights(fitted) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in fitted.module.parameters()]


def distance(one, other) -> float:
    return length([a - b for a, b in zip(weights(one), weights(other), strict=True)])


def test_it_learns_what_is_easy_within_the_budget():
    held_out = separable(seed=1)
    settings = replace(QUICK, epsilon=3.0, steps=100)
    fitted = dp_fit(built(mlp), separable(), settings, seed=0)
    with torch.no_grad():
        accuracy = (fitted.module(held_out.inputs).argmax(1).numpy() == held_out.y_true).mean()
    assert accuracy > 0.9
    assert not fitted.module.training
    assert fitted.certificate.epsilon <= 3.0


def test_the_certificate_follows_from_its_public_inputs():
    fitted = dp_fit(built(mlp), separable(), QUICK, seed=0)
    certificate = fitted.certificate
    assert certificate.epsilon == recomputed_epsilon(certificate) <= 8.0
    assert certificate.epsilon <= certificate.cross_check["rdp"]
    assert (certificate.sample_rate, certificate.normaliser) == (100 / 600, 100.0)
    assert (certificate.steps, certificate.max_grad_norm, certificate.delta) == (20, 1.0, 1e-4)
    assert certificate.adjacency == "add or remove one row"
    assert not certificate.certified


def test_the_record_tells_nothing_of_the_loss_on_private_rows():
    record = dp_fit(built(mlp), separable(), QUICK, seed=3).training
    assert record.final_loss is None
    assert (record.steps, record.seed, record.n_rows) == (20, 3, 600)
    assert record.epochs == pytest.approx(20 / 6)


def test_the_same_seed_gives_the_same_weights_and_another_does_not():
    fits = [dp_fit(built(mlp_with_dropout), separable(), QUICK, seed=seed) for seed in (1, 1, 2)]
    assert distance(fits[0], fits[1]) == 0
    assert distance(fits[0], fits[2]) > 0


def test_the_global_generators_are_left_alone():
    before = torch.random.get_rng_state()
    dp_fit(built(mlp_with_dropout), separable(), QUICK, seed=1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_physical_batches_change_nothing_beyond_rounding():
    fits = [
        dp_fit(built(mlp), separable(), replace(QUICK, physical_batch_size=size), seed=1)
        for size in (512, 17)
    ]
    assert distance(*fits) <= FLOAT32["rel"] * length(weights(fits[0]))


def test_certified_noise_is_not_repeated_and_the_certificate_says_so():
    settings = replace(QUICK, certified=True)
    fits = [dp_fit(built(mlp), separable(), settings, seed=1) for _ in range(2)]
    assert distance(*fits) > 0
    assert fits[0].certificate.certified
    assert str(fits[0].certificate.assumptions[0]).startswith("Certified")
    reproducible = dp_fit(built(mlp), separable(), QUICK, seed=1).certificate
    assert str(reproducible.assumptions[0]).startswith("Reproducible, not certified")


def test_the_assumptions_name_what_is_not_covered():
    certificate = dp_fit(built(mlp), separable(), QUICK, seed=1).certificate
    text = " ".join(map(str, certificate.assumptions))
    for part in ("Preprocessing statistics", "600", "added or removed", "Only the final weights", "floating"):
        assert part in text


def test_a_row_with_an_infinite_gradient_does_not_poison_the_weights():
    data = separable()
    data.inputs[::50] = 3e38
    fitted = dp_fit(built(mlp), data, QUICK, seed=0)
    assert all(bool(torch.isfinite(weight).all()) for weight in weights(fitted))


def test_weights_that_become_infinite_are_an_error():
    with pytest.raises(AuditkitError, match="learning_rate"):
        dp_fit(
            built(mlp),
            separable(),
            replace(QUICK, optimizer="sgd", learning_rate=3e38, max_grad_norm=1e3),
            seed=0,
        )


def test_very_few_rows_are_all_in_every_step():
    data = separable().take(np.arange(20))
    settings = replace(QUICK, expected_batch_size=None, delta=None, steps=5)
    certificate = dp_fit(built(mlp), data, settings, seed=0).certificate
    assert certificate.sample_rate == 1.0
    assert certificate.delta == 1e-5


@pytest.mark.parametrize(("n", "batch"), [(10, 10), (600, 256), (6000, 512), (50_000, 4096), (10**6, 8192)])
def test_default_batch_size_is_a_power_of_two_near_a_twelfth(n, batch):
    assert default_batch_size(n) == batch


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"delta": 0.01}, "1/n"),
        ({"expected_batch_size": 601}, "601"),
        ({"steps": 0}, "steps"),
        ({"max_grad_norm": 0.0}, "max_grad_norm"),
        ({"epsilon": 0.0}, "epsilon"),
    ],
)
def test_impossible_settings_are_refused(change, expected):
    with pytest.raises(UsageError, match=expected):
        dp_fit(built(mlp), separable(), replace(QUICK, **change), seed=0)


def test_a_single_row_is_refused():
    with pytest.raises(DataError, match="at least 2 rows"):
        dp_fit(built(mlp), separable().take(np.array([0])), replace(QUICK, expected_batch_size=1), seed=0)


def test_layers_that_mix_rows_are_refused_before_any_step():
    module = built(batch_norm)
    before = module.state_dict()["first.weight"].clone()
    with pytest.raises(UsageError, match="normed"):
        dp_fit(module, separable(), QUICK, seed=0)
    assert torch.equal(before, module.state_dict()["first.weight"])


# --- one step of the mechanism --------------------------------------------------------------------


def one_step(data: Dataset, mechanism: Mechanism, draws, module=None) -> list[torch.Tensor]:
    with ClippedGradients(module or built(mlp), mechanism.max_grad_norm) as clipped:
        return noisy_gradients(clipped, data.inputs, torch.tensor(data.y_true), mechanism, draws)


def test_without_noise_a_step_is_the_clipped_sum_over_the_fixed_divisor():
    data = separable(40)
    mechanism = Mechanism(noise_multiplier=0.0, sample_rate=0.3, steps=1, max_grad_norm=0.5, normaliser=12.0)
    found = one_step(data, mechanism, SeededDraws.from_seed(4))
    rows = SeededDraws.from_seed(4).poisson_rows(40, 0.3)
    assert len(rows) != 12
    expected = clipped_sum_one_by_one(built(mlp), data.inputs[rows], torch.tensor(data.y_true[rows]), 0.5)
    for part, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(part.double(), reference / 12, rtol=FLOAT32["rel"], atol=FLOAT32["abs"])


@pytest.mark.parametrize("draws", [SeededDraws.from_seed(0), EntropyDraws()], ids=["seeded", "entropy"])
def test_the_noise_of_an_empty_step_has_the_promised_deviation(draws):
    mechanism = Mechanism(
        noise_multiplier=3.0, sample_rate=1e-12, steps=1, max_grad_norm=0.5, normaliser=100.0
    )
    wide = built(lambda: mlp(hidden=2000))
    gradients = one_step(separable(40), mechanism, draws, wide)
    values = torch.cat([part.flatten() for part in gradients]).double() * mechanism.normaliser
    deviation = 3.0 * 0.5
    # 6.2 standard errors: entropy has no seed
    assert abs(float(values.std()) / deviation - 1) < 6.2 / math.sqrt(2 * len(values))
    assert abs(float(values.mean())) < 6.2 * deviation / math.sqrt(len(values))


def test_the_mechanism_depends_on_the_number_of_rows_and_on_nothing_else_of_them():
    one, other = separable(seed=1), separable(seed=2)
    fits = [dp_fit(built(mlp), data, QUICK, seed=0).certificate for data in (one, other)]
    assert fits[0] == fits[1]
    assert plan(QUICK, 1e-4, 600) == Mechanism(
        noise_multiplier=fits[0].noise_multiplier,
        sample_rate=fits[0].sample_rate,
        steps=20,
        max_grad_norm=1.0,
        normaliser=100.0,
    )


@pytest.mark.parametrize(("n", "settings"), [(150, QUICK), (143, replace(QUICK, public_count=120))])
def test_a_row_more_changes_neither_rate_nor_steps_noise_or_divisor_and_the_count_is_not_told(n, settings):
    settings = replace(settings, expected_batch_size=60, steps=5)
    less, more = (
        dp_fit(built(mlp), separable().take(np.arange(k)), settings, seed=0) for k in (n + 2, n + 3)
    )
    assert less.certificate == more.certificate
    assert f" {n + 3}" not in more.certificate.model_dump_json()
    assert more.training.n_rows == (settings.public_count or 150)


@hypothesis.settings(max_examples=50)
@given(st.integers(2, 10**7))
def test_a_public_count_is_at_most_the_true_one_and_less_than_a_tenth_below_it(n):
    assert 0 <= n - public_count(n) < n / 10
    assert public_count(n, 7) == 7


@pytest.mark.parametrize(
    ("unit", "what"), [("row", "training rows"), ("person", "persons")], ids=["rows", "persons"]
)
@pytest.mark.parametrize("stated", [None, 500])
def test_the_certificate_says_whether_the_count_was_stated_or_rounded(unit, what, stated):
    mechanism = plan(QUICK, 1e-4, 600, unit)
    certificate = certify(mechanism, 1e-4, counted=told_count(612, stated), certified=True)
    told = " ".join(map(str, certificate.assumptions))
    if stated is None:
        assert (certificate.public_count.n, certificate.public_count.origin) == (610, "rounded down")
        assert f"number of {what} rounded down to two digits, 610." in told
    else:
        assert (certificate.public_count.n, certificate.public_count.origin) == (500, "stated")
        assert f"a public count of {what} that was stated, 500." in told
    assert Certificate.model_validate_json(certificate.model_dump_json()) == certificate


def test_contradicting_accountants_give_no_certificate(monkeypatch):
    monkeypatch.setattr("auditkit.privacy.certificate.epsilon_rdp", lambda *_: 0.1)
    mechanism = plan(QUICK, 1e-4, 600)
    with pytest.raises(AuditkitError, match="contradicts"):
        certify(mechanism, 1e-4, counted=told_count(600), certified=False)


@pytest.mark.parametrize("copies", [1, 4])
@pytest.mark.parametrize("unit", ["row", "person"])
def test_the_certificate_describes_the_clipping_that_was_done(unit, copies):
    mechanism = plan(replace(QUICK, augmentation_multiplicity=copies), 1e-4, 600, unit)
    flat, automatic = (
        str(certify(mechanism, 1e-4, counted=told_count(600), certified=False, clipping=how).clipping)
        for how in ("flat", "automatic")
    )
    assert "scaled to at most the clipping norm" in flat
    assert "scaled to at most" not in automatic
    assert "its own norm plus 0.01 of the clipping norm" in automatic
    for text in (flat, automatic):
        assert ("rows of a person" in text) == (unit == "person")
        assert ("4 changed copies" in text) == (copies == 4)


def test_a_training_with_automatic_clipping_says_so():
    fitted = dp_fit(built(mlp), separable(), replace(QUICK, clipping="automatic"), seed=0)
    assert "short or long" in str(fitted.certificate.clipping)


def test_the_certificate_names_the_versions_of_what_makes_its_noise():
    versions = certify(plan(QUICK, 1e-4, 600), 1e-4, counted=told_count(600), certified=True).versions
    assert versions["auditkit"] == auditkit.__version__
    assert versions["cryptography"] == version("cryptography")


def test_the_certificate_counts_the_weights_that_were_trained():
    module = built(mlp)
    first = next(module.parameters()).requires_grad_(False)
    trained = dp_fit(module, separable(), QUICK, seed=0).certificate.trained
    total = sum(parameter.numel() for parameter in module.parameters())
    assert trained == TrainedWeights(n=total - first.numel(), dtype="float32")
