"""What a recipe may say beside optimiser, rate and epochs."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from auditkit.config.model import Architecture, AugmentationConfig, EarlyStoppingConfig, TrainingConfig
from auditkit.data.dataset import Dataset, FeatureSpace, TokenSpace
from auditkit.data.tokenizers import SPECIAL
from auditkit.errors import ConfigError, DataError
from auditkit.models.losses import mean_loss, per_row_loss
from auditkit.randomness import torch_rng
from auditkit.training.augmentation import augmentation_of
from auditkit.training.fit import fit
from auditkit.training.schedule import LOWEST, rate_factor
from auditkit.training.validation import set_aside
from tests.tolerances import FLOAT32


def rows(n=120, *, seed=0, features=None, inputs=None, **columns) -> Dataset:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    points = rng.normal(size=(n, 4)) + 1.5 * labels[:, None]
    return Dataset(
        name="rows",
        source="memory",
        split="train",
        inputs=torch.from_numpy(points.astype(np.float32)) if inputs is None else inputs,
        y_true=labels.astype(np.int64),
        classes=("low", "high"),
        features=features or FeatureSpace(()),
        **columns,
    )


LINEAR = Architecture.model_validate({"name": "mlp", "hidden": [], "dropout": 0})
WIDE = Architecture.model_validate({"name": "mlp", "hidden": [16], "dropout": 0})


def trained(data, seed=3, architecture=LINEAR, **recipe):
    return fit(architecture, data, TrainingConfig(**recipe), seed=seed)


def weights_of(subject):
    return nn.utils.parameters_to_vector(subject.module.parameters()).detach().numpy()


def test_accumulated_batches_are_one_step_of_all_their_rows():
    recipe = {"epochs": 3, "learning_rate": 0.05, "optimizer": "sgd"}
    whole = trained(rows(), batch_size=40, **recipe)
    parts = trained(rows(), batch_size=8, accumulate=5, **recipe)
    assert weights_of(parts) == pytest.approx(weights_of(whole), **FLOAT32)
    assert parts.card.training.steps == whole.card.training.steps == 9


def test_accumulated_batches_of_uneven_sizes_weigh_every_row_alike():
    recipe = {"epochs": 2, "learning_rate": 0.05, "optimizer": "sgd"}
    data = rows(sample_weight=np.random.default_rng(1).uniform(0.2, 3, 120))
    whole, parts = (
        trained(data, batch_size=50, **recipe),
        trained(data, batch_size=25, accumulate=2, **recipe),
    )
    assert weights_of(parts) == pytest.approx(weights_of(whole), **FLOAT32)


def test_the_rate_rises_in_the_warm_up_and_falls_to_its_hundredth():
    config = TrainingConfig(schedule="cosine", warmup=0.1)
    factors = [rate_factor(config, step, 100) for step in range(100)]
    assert factors[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert factors[10] == 1.0
    assert factors[55] == pytest.approx((1 + LOWEST) / 2)
    assert all(later < earlier for earlier, later in pairwise(factors[10:]))
    assert factors[-1] < 1.1 * LOWEST


def test_a_constant_rate_stays_and_a_line_falls_evenly():
    assert {rate_factor(TrainingConfig(), step, 7) for step in range(7)} == {1.0}
    line = [rate_factor(TrainingConfig(schedule="one-cycle"), step, 10) for step in range(10)]
    assert np.diff(line) == pytest.approx([-(1 - LOWEST) / 10] * 9)


def test_one_step_uses_the_clipped_gradient_and_the_scheduled_rate():
    data = rows(40)
    free = trained(data, batch_size=40, epochs=1, optimizer="sgd", learning_rate=1.0)
    tight = trained(data, batch_size=40, epochs=1, optimizer="sgd", learning_rate=1.0, gradient_clip=0.01)
    start = trained(data, batch_size=40, epochs=1, optimizer="sgd", learning_rate=1e-9)
    moved = weights_of(tight) - weights_of(start)
    assert np.linalg.norm(moved) == pytest.approx(0.01, rel=1e-3)
    direction = weights_of(free) - weights_of(start)
    assert moved / np.linalg.norm(moved) == pytest.approx(direction / np.linalg.norm(direction), abs=1e-3)


def test_weight_decay_of_adamw_shrinks_matrices_and_leaves_vectors_alone():
    data = rows(40, inputs=torch.zeros(40, 4))
    still, decayed = (
        trained(data, batch_size=40, epochs=1, optimizer="adamw", learning_rate=0.1, weight_decay=decay)
        for decay in (0.0, 0.5)
    )
    # The inputs are zero, so that decay alone moves the matrix: by 0.1 * 0.5 of itself.
    before, after = still.module.output, decayed.module.output
    assert after.weight.detach().numpy() == pytest.approx(0.95 * before.weight.detach().numpy(), **FLOAT32)
    assert torch.equal(after.bias, before.bias)


def test_the_kept_weights_are_the_running_average():
    data, recipe = rows(40), {"batch_size": 40, "optimizer": "sgd", "learning_rate": 0.5}
    path = [weights_of(trained(data, epochs=epochs, **recipe)) for epochs in (1, 2, 3)]
    start = weights_of(trained(data, epochs=1, batch_size=40, optimizer="sgd", learning_rate=1e-12))
    average = start
    for taken, point in enumerate(path, start=1):
        decay = min(0.9, taken / (taken + 9))
        average = decay * average + (1 - decay) * point
    kept = trained(data, epochs=3, averaging=0.9, **recipe)
    assert weights_of(kept) == pytest.approx(average, **FLOAT32)


def test_early_stopping_keeps_the_epoch_with_the_smallest_validation_loss():
    rng = np.random.default_rng(5)
    noise = rows(80, inputs=torch.from_numpy(rng.normal(size=(80, 200)).astype(np.float32)))
    stopping = EarlyStoppingConfig(validation_fraction=0.3, patience=2)
    recipe = {"batch_size": 8, "learning_rate": 0.01}
    subject = trained(noise, architecture=WIDE, epochs=50, early_stopping=stopping, **recipe)
    record = subject.card.training
    kept = subject.card.statements[-1].values["kept"]
    assert record.epochs == kept + 2 < 50
    assert record.n_rows == 80 - 24
    _, validation = set_aside(noise, stopping)
    losses = []
    for epochs in range(1, int(record.epochs) + 1):
        other = trained(
            noise,
            architecture=WIDE,
            epochs=epochs,
            early_stopping=EarlyStoppingConfig(validation_fraction=0.3, patience=99),
            **recipe,
        )
        losses.append(other.predict(validation, batch_size=64).loss(validation.y_true).mean())
    assert subject.predict(validation, batch_size=64).loss(validation.y_true).mean() == pytest.approx(
        min(losses)
    )


def test_rows_of_one_person_are_set_aside_together_and_the_seed_has_no_say():
    data = rows(100, person=np.arange(100) // 5)
    train, validation = set_aside(data, EarlyStoppingConfig(validation_fraction=0.2))
    assert not set(train.person.tolist()) & set(validation.person.tolist())
    assert len(validation) == 20
    with pytest.raises(DataError, match="too few"):
        set_aside(rows(1), EarlyStoppingConfig())


def pictures(n=6, side=5) -> Dataset:
    inputs = torch.zeros(n, side * side)
    inputs[:, (side * side) // 2] = 1.0
    return rows(n, inputs=inputs, features=FeatureSpace((), (), (side, side)))


def test_a_shift_moves_the_dot_by_whole_pixels_and_fills_with_black():
    data = pictures(400)
    change = augmentation_of(AugmentationConfig(shift=2), data, None, torch_rng(0, "test"))
    moved = change(data.inputs).view(-1, 5, 5)
    assert torch.equal(moved.sum(dim=(1, 2)), torch.ones(400))
    places = {tuple(place) for place in moved.nonzero()[:, 1:].tolist()}
    assert places == {(y, x) for y in range(5) for x in range(5)}


def test_a_turn_keeps_the_centre_and_turns_the_corner():
    data = pictures(1)
    change = augmentation_of(AugmentationConfig(rotate=45), data, None, torch_rng(0, "test"))
    assert change(data.inputs)[0, 12] == pytest.approx(1.0, abs=1e-5)
    corner = torch.zeros(200, 25)
    corner[:, 2] = 1.0  # the middle of the upper edge
    turned = change(corner).view(-1, 5, 5)
    rows_, columns = torch.arange(5.0)[:, None] - 2, torch.arange(5.0) - 2
    heights = (turned * rows_).sum(dim=(1, 2)) / turned.sum(dim=(1, 2))
    sides = (turned * columns).sum(dim=(1, 2)) / turned.sum(dim=(1, 2))
    angles = torch.atan2(sides, -heights).rad2deg()
    assert angles.abs().max() < 55
    assert angles.min() < -20 < 20 < angles.max()


def test_hidden_tokens_become_unknown_and_padding_stays():
    space = FeatureSpace((), tokens=TokenSpace((*SPECIAL, "a", "b", "c")))
    ids = torch.tensor([[2, 3, 4, 0, 0]]).repeat(2000, 1)
    data = rows(2000, inputs=ids, features=space)
    changed = augmentation_of(AugmentationConfig(drop_tokens=0.25), data, None, torch_rng(0, "test"))(ids)
    assert torch.equal(changed[:, 3:], ids[:, 3:])
    assert set(changed.unique().tolist()) == {0, 1, 2, 3, 4}
    share = (changed[:, :3] == 1).double().mean().item()
    assert share == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 6000))


@pytest.mark.parametrize("change", [{"shift": 1}, {"rotate": 5.0}, {"drop_tokens": 0.1}])
def test_a_change_that_does_not_fit_the_rows_is_refused(change):
    with pytest.raises(ConfigError, match=r"subject\.training\.augmentation"):
        trained(rows(), augmentation=AugmentationConfig(**change), epochs=1)


def test_augmented_trainings_are_the_same_bits_for_the_same_seed():
    data = replace(pictures(40, 8), y_true=np.arange(40) % 2)
    recipe = {"epochs": 2, "augmentation": AugmentationConfig(shift=1, rotate=10.0)}
    first, second = (trained(data, architecture=WIDE, **recipe) for _ in range(2))
    assert np.array_equal(weights_of(first), weights_of(second))


def test_mixed_precision_on_a_cpu_is_single_precision_and_said_so():
    mixed, single = (trained(rows(), epochs=1, precision=name) for name in ("mixed", "float32"))
    assert np.array_equal(weights_of(mixed), weights_of(single))
    assert "single precision" in str(mixed.card.statements[0])


@pytest.mark.parametrize(
    "wrong", [{"warmup": 1.0}, {"accumulate": 0}, {"averaging": 1}, {"schedule": "step"}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        TrainingConfig(**wrong)


def test_one_output_is_the_logit_of_the_second_class():
    logit, target = torch.tensor([[2.0], [-1.0]]), torch.tensor([1, 0])
    expected = torch.log1p(torch.exp(torch.tensor([-2.0, -1.0])))
    assert per_row_loss(logit, target).numpy() == pytest.approx(expected.numpy(), **FLOAT32)
    assert mean_loss(logit, target).item() == pytest.approx(expected.mean().item(), **FLOAT32)


def test_positions_without_a_token_do_not_count():
    outputs = torch.randn(2, 3, 5, generator=torch_rng(0, "test"))
    targets = torch.tensor([[1, 2, -100], [4, -100, -100]])
    log_p = outputs.log_softmax(dim=2)
    first, second = -(log_p[0, 0, 1] + log_p[0, 1, 2]) / 2, -log_p[1, 0, 4]
    assert per_row_loss(outputs, targets).tolist() == pytest.approx([first.item(), second.item()], **FLOAT32)
    assert mean_loss(outputs, targets).item() == pytest.approx((2 * first + second).item() / 3, **FLOAT32)
