"""Persons as the unit that is sampled, clipped and protected; augmented copies of their rows."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.config.model import AugmentationConfig
from auditkit.data.dataset import Dataset, FeatureSpace
from auditkit.errors import UsageError
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.units import PersonRows, PrivateUnits, persons_of, unit_of
from auditkit.randomness import torch_rng
from auditkit.training.augmentation import augmentation_of
from tests.privacy.networks import built, mlp
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
