"""Persons as the unit that is sampled, clipped and protected; augmented copies of their rows."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.config.model import AugmentationConfig
from auditkit.data.dataset import Dataset, FeatureSpace
from auditkit.errors import PrivacyRefusedError, UsageError
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.dp_fit import DpFitted, dp_fit
from auditkit.privacy.dp_settings import DpSettings
from auditkit.privacy.draws import SeededDraws
from auditkit.privacy.key_stream import KeyStream
from auditkit.privacy.ledger_file import read_chain
from auditkit.privacy.private_steps import PrivateSteps
from auditkit.privacy.units import PersonRows, PrivateUnits, persons_of, unit_of
from auditkit.randomness import torch_rng
from auditkit.records import Certificate, Reserved, Started
from auditkit.training.augmentation import augmentation_of
from tests.privacy.ledgers import recording
from tests.privacy.networks import built, mlp, mlp_with_dropout
from tests.privacy.reference import length

NORM = 0.5


def rows_of(person: list[int], *, scale: float = 1.0, image: tuple[int, int] | None = None) -> Dataset:
    """Rows of six numbers in three classes; those of a person differ."""
    n, rng = len(person), torch_rng(0, "persons")
    return Dataset(
        name="persons",
        source="test",
        split="train",
        inputs=torch.randn(n, 6, generator=rng) * scale,
        y_true=np.arange(n, dtype=np.int64) % 3,
        classes=("a", "b", "c"),
        features=FeatureSpace((), image_shape=image),
        person=np.array(person, dtype=np.int64),
    )


def units_of(data: Dataset, per_step: int = 4) -> PrivateUnits:
    return PrivateUnits.of(data, torch.device("cpu"), persons_of(data, "person", per_step))


def summed(units: PrivateUnits, chosen: list[int], step: int = 0) -> list[torch.Tensor]:
    with ClippedGradients(built(mlp), NORM, rows_per_unit=units.rows_per_unit) as clipped:
        return clipped.clipped_sum(*units.batch(np.array(chosen, dtype=np.int64), step))


def difference(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    return length([a - b for a, b in zip(one, other, strict=True)])


def test_persons_are_the_units():
    units = units_of(rows_of([7, 3, 7, 7, 9]))
    assert len(units) == 3
    assert units.rows_per_unit == 4


def test_a_person_contributes_the_mean_of_their_rows_clipped_as_a_whole():
    data = rows_of([1, 0, 1, 1])
    found = summed(units_of(data), [1])
    module = built(mlp)
    mine = torch.tensor([0, 2, 3])
    loss = torch.nn.functional.cross_entropy(module(data.inputs[mine]), torch.tensor(data.y_true)[mine])
    loss.backward()
    whole = [parameter.grad for parameter in module.parameters()]
    factor = min(1.0, NORM / length(whole))
    assert difference(found, [factor * part for part in whole]) <= 1e-4 * NORM


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e6])
@pytest.mark.parametrize("step", [0, 1, 24])
def test_a_person_with_a_hundred_rows_moves_a_step_by_no_more_than_the_norm(scale, step):
    data = rows_of([0, 1, 2] + [5] * 100, scale=scale)
    units = units_of(data)
    assert length(summed(units, [3], step)) <= NORM
    with_them, without = (summed(units, chosen, step) for chosen in ([0, 1, 2, 3], [0, 1, 2]))
    assert difference(with_them, without) <= NORM * (1 + 1e-5)


def test_rows_made_to_point_one_way_are_still_one_contribution():
    data = rows_of([0] + [1] * 100)
    data.inputs[1:] = 1e4 * data.inputs[1]
    data.y_true[1:] = int(built(mlp)(data.inputs[1:2]).argmin())
    assert 0.9 * NORM <= length(summed(units_of(data, per_step=50), [1])) <= NORM


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_row_that_is_not_finite_harms_its_own_person_alone(value):
    clean = rows_of([0, 0, 1, 1, 2])
    units = units_of(clean)
    expected = summed(units, [0, 2])
    units.inputs[2] = value
    assert difference(summed(units, [0, 1, 2]), expected) <= 1e-5


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=8),
    per_step=st.integers(1, 5),
    step=st.integers(0, 99),
)
def test_with_one_person_fewer_everyone_else_is_in_a_step_with_the_same_rows(sizes, per_step, step):
    person = np.repeat(np.arange(len(sizes)), sizes)
    person = person[torch.randperm(len(person), generator=torch_rng(0)).numpy()]
    left = np.flatnonzero(person != 0)
    everyone, others = PersonRows.of(person, per_step), PersonRows.of(person[left], per_step)
    for index in range(len(sizes) - 1):
        rows, weights = everyone.chosen(np.array([index + 1]), step)
        same_rows, same_weights = others.chosen(np.array([index]), step)
        assert rows.tolist() == left[same_rows].tolist()
        assert torch.equal(weights, same_weights)
        assert float(weights.sum()) == pytest.approx(1.0)
        assert set(person[rows]) == {index + 1}


@pytest.mark.parametrize(("n", "per_step"), [(3, 4), (4, 4), (5, 4), (10, 4), (100, 7)])
def test_all_rows_of_a_person_get_their_turn_and_none_twice_in_a_step(n, per_step):
    persons = PersonRows.of(np.zeros(n, dtype=np.int64), per_step)
    used = np.zeros(n)
    for step in range(n):
        rows, weights = persons.chosen(np.array([0]), step)
        counted = rows[weights.numpy() > 0]
        assert len(set(counted)) == len(counted) == min(n, per_step)
        used[counted] += 1
    assert used.min() >= 1


def test_nobody_in_a_step_gives_an_empty_batch():
    units = units_of(rows_of([0, 0, 1]))
    inputs, targets, weights = units.batch(np.array([], dtype=np.int64), 3)
    assert (len(inputs), len(targets)) == (0, 0)
    assert weights is not None
    assert length(summed(units, [])) == 0


def test_the_unit_is_the_person_wherever_the_data_tell_persons_apart():
    data = rows_of([0, 0, 1])
    assert unit_of(data, None) == "person"
    assert unit_of(data, "row") == "row"
    without = Dataset(
        name="rows", source="test", split=None, inputs=data.inputs, y_true=data.y_true, classes=data.classes
    )
    assert unit_of(without, None) == "row"
    with pytest.raises(UsageError, match="unit: person needs"):
        unit_of(without, "person")


def test_no_rows_per_person_is_refused():
    with pytest.raises(UsageError, match="rows_per_person"):
        PersonRows.of(np.zeros(3, dtype=np.int64), 0)


# --- augmented copies -----------------------------------------------------------------------------


def augmented(data: Dataset, copies: int, per_step: int | None = None) -> PrivateUnits:
    augment = augmentation_of(AugmentationConfig(shift=1), data, None, torch_rng(3, "augmentation"))
    persons = None if per_step is None else persons_of(data, "person", per_step)
    return PrivateUnits.of(data, torch.device("cpu"), persons, copies=copies, augment=augment)


def test_copies_of_a_row_differ_and_their_gradients_are_averaged_before_clipping():
    data = rows_of([0, 1], image=(2, 3))
    units = augmented(data, copies=16)
    inputs, targets, weights = units.batch(np.array([1]), 0)
    assert inputs.shape == (16, 6)
    assert len(torch.unique(inputs, dim=0)) > 1
    assert weights is None
    module = built(mlp)
    torch.nn.functional.cross_entropy(module(inputs), targets).backward()
    whole = [parameter.grad for parameter in module.parameters()]
    with ClippedGradients(built(mlp), NORM, rows_per_unit=16) as clipped:
        found = clipped.clipped_sum(inputs, targets, weights)
    factor = min(1.0, NORM / length(whole))
    assert difference(found, [factor * part for part in whole]) <= 1e-4 * NORM


@pytest.mark.parametrize("scale", [1.0, 1e6])
@pytest.mark.parametrize("per_step", [None, 2])
def test_sixteen_copies_are_one_contribution(scale, per_step):
    units = augmented(rows_of([0, 0, 0, 1], image=(2, 3), scale=scale), copies=16, per_step=per_step)
    assert units.rows_per_unit == 16 * (per_step or 1)
    assert length(summed(units, [0])) <= NORM


def test_copies_without_an_augmentation_are_refused():
    with pytest.raises(UsageError, match="augmentation_multiplicity"):
        PrivateUnits.of(rows_of([0]), torch.device("cpu"), copies=16)


# --- a training -----------------------------------------------------------------------------------


QUICK = DpSettings(epsilon=8.0, delta=1e-3, steps=20, expected_batch_size=60)


def families(n: int = 200, *, image: tuple[int, int] | None = None) -> Dataset:
    """One to five rows a person."""
    sizes = np.arange(n) % 5 + 1
    return rows_of(np.repeat(np.arange(n), sizes).tolist(), image=image)


def weights(fitted: DpFitted) -> list[torch.Tensor]:
    return [parameter.detach() for parameter in fitted.module.parameters()]


def told(certificate: Certificate) -> str:
    return " ".join(map(str, (certificate.clipping, certificate.sampler, *certificate.assumptions)))


def test_the_certificate_counts_persons_and_says_so():
    data = families()
    certificate = dp_fit(built(mlp), data, QUICK, seed=0).certificate
    assert (certificate.unit_of_privacy, certificate.adjacency) == ("person", "add or remove one person")
    assert (certificate.sample_rate, certificate.normaliser) == (60 / 200, 60.0)
    for part in (
        "rows of a person, at most 4,",
        "each person is in a step",
        "number of persons rounded down to two digits, 200",
        "twice as large",
    ):
        assert part in told(certificate)
    assert f"{len(data)}" not in told(certificate)


def test_rows_are_protected_where_rows_are_asked_for():
    data = families()
    certificate = dp_fit(built(mlp), data, replace(QUICK, unit="row"), seed=0).certificate
    assert certificate.unit_of_privacy == "row"
    assert certificate.sample_rate == 60 / len(data)
    assert "For a person with k rows" in told(certificate)


def test_delta_is_measured_against_persons_rather_than_rows():
    data = families()
    assert 1 / len(data) < 0.0049 < 1 / 200
    dp_fit(built(mlp), data, replace(QUICK, delta=0.0049), seed=0)
    with pytest.raises(UsageError, match=r"below 1/n = 0\.005"):
        dp_fit(built(mlp), data, replace(QUICK, delta=0.005), seed=0)


def test_a_batch_cannot_be_larger_than_all_persons():
    with pytest.raises(UsageError, match="and 200 persons"):
        dp_fit(built(mlp), families(), replace(QUICK, expected_batch_size=201), seed=0)


@pytest.mark.parametrize("step", [0, 7])
def test_the_sums_with_and_without_a_person_differ_by_no_more_than_the_norm(step):
    """The person comes last, so that the draws of all others are the same."""
    person = [*families(50).person.tolist(), *[1000] * 100]
    data = rows_of(person)
    data.inputs[-100:] *= 1e6
    mechanism = Mechanism(noise_multiplier=0.0, sample_rate=0.5, steps=9, max_grad_norm=NORM, normaliser=1.0)
    moved = []
    for seed in range(8):
        sums = []
        for part in (data, data.take(np.arange(len(data) - 100))):
            units = units_of(part)
            with ClippedGradients(built(mlp), NORM, rows_per_unit=units.rows_per_unit) as clipped:
                steps = PrivateSteps(clipped, units, mechanism, QUICK, SeededDraws.from_seed(seed))
                sums.append(steps.gradients(step))
        moved.append(difference(*sums))
    assert NORM * 0.99 < max(moved) <= NORM * (1 + 1e-5)
    assert min(moved) == 0.0


def test_what_is_spent_per_row_and_per_person_is_not_added_up(tmp_path):
    data = families()
    dp_fit(built(mlp), data, replace(QUICK, unit="row"), seed=0, recording=recording(tmp_path))
    with pytest.raises(PrivacyRefusedError, match=r"protect each row .*\(--unit row\)"):
        dp_fit(built(mlp), data, QUICK, seed=1, recording=recording(tmp_path))
    again = dp_fit(built(mlp), data, replace(QUICK, unit="row"), seed=1, recording=recording(tmp_path))
    assert again.certificate.ledger.n_runs == 2


def test_the_ledger_names_the_person_as_what_is_protected(tmp_path):
    kept = recording(tmp_path)
    dp_fit(built(mlp), families(), QUICK, seed=0, recording=kept)
    entries = [line.entry for line in read_chain(kept.account.path).lines]
    units = {entry.unit_of_privacy for entry in entries if isinstance(entry, (Started, Reserved))}
    assert units == {"person"}


def test_augmented_copies_are_named_and_the_same_seed_gives_the_same_weights():
    data = families(image=(2, 3))
    settings = replace(
        QUICK, unit="row", augmentation=AugmentationConfig(shift=1), augmentation_multiplicity=16, steps=5
    )
    one, same = (dp_fit(built(mlp), data, settings, seed=1) for _ in range(2))
    assert "16 changed copies of each row" in str(one.certificate.clipping)
    assert difference(weights(one), weights(same)) == 0
    unchanged = dp_fit(built(mlp), data, replace(QUICK, unit="row", steps=5), seed=1)
    assert difference(weights(one), weights(unchanged)) > 0


def test_dropout_of_a_certified_training_follows_from_no_seed(monkeypatch):
    """With a known mask at each place of a batch, a row fewer would change the masks of those behind it."""
    settings = replace(QUICK, unit="row", certified=True, steps=3)
    key = KeyStream.from_seed(0, "test")
    monkeypatch.setattr(KeyStream, "from_entropy", lambda: KeyStream(key.key))
    one, other = (dp_fit(built(mlp_with_dropout), families(), settings, seed=1) for _ in range(2))
    assert difference(weights(one), weights(other)) > 0
    without = [dp_fit(built(mlp), families(), settings, seed=1) for _ in range(2)]
    assert difference(*map(weights, without)) == 0
