"""Training on squared error, and the subject that comes of it."""

import numpy as np
import pytest
import torch

from auditkit.config import Architecture
from auditkit.config.model import EarlyStoppingConfig, TrainingConfig
from auditkit.data.preprocessing import encode, fit_preprocessing
from auditkit.data.rows import Rows, texts
from auditkit.errors import ConfigError, DataError, UsageError
from auditkit.models.losses import mean_loss, per_row_loss
from auditkit.subjects.checkpoint import load_checkpoint, save_checkpoint
from auditkit.subjects.subject import values_of
from auditkit.training.fit import fit
from tests.tolerances import FLOAT, FLOAT32

LINEAR = Architecture.model_validate({"name": "mlp", "hidden": [], "dropout": 0})
RECIPE = TrainingConfig(optimizer="adam", learning_rate=0.05, batch_size=64, epochs=40)


def rows(n=400, *, seed=0, outcome=None, weight=None):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=n), rng.normal(size=n)
    outcome = 5000 + 300 * x - 100 * y + 10 * rng.normal(size=n) if outcome is None else outcome
    return Rows(
        name="numbers",
        source="memory",
        split="train",
        target="price",
        labels=texts([str(value) for value in outcome]),
        columns={"x": x, "y": y},
        weight=weight,
        task="regression",
        outcome=np.asarray(outcome, dtype=np.float64),
    )


def trained(raw, recipe=RECIPE, architecture=LINEAR):
    steps = fit_preprocessing(raw)
    data = encode(raw, steps)
    return fit(architecture, data, recipe, seed=1, preprocessing=steps), data


def test_a_linear_model_finds_least_squares():
    raw = rows()
    subject, data = trained(raw)
    design = np.column_stack([np.ones(len(raw)), raw.columns["x"], raw.columns["y"]])
    exact = design @ np.linalg.lstsq(design, raw.outcome, rcond=None)[0]
    found = values_of(subject, data, batch_size=64)
    assert np.abs(found - exact).max() < 0.01 * raw.outcome.std()


def test_the_unit_of_the_target_does_not_matter():
    raw = rows()
    in_cents, _ = trained(rows(outcome=raw.outcome * 100))
    subject, data = trained(raw)
    assert values_of(in_cents, data, batch_size=64) == pytest.approx(
        100 * values_of(subject, data, batch_size=64), **FLOAT32
    )


def test_weights_move_the_model_towards_their_rows():
    outcome = np.where(np.arange(400) < 200, 0.0, 10.0)
    even, data = trained(rows(outcome=outcome))
    heavy, _ = trained(rows(outcome=outcome, weight=np.where(np.arange(400) < 200, 9.0, 1.0)))
    assert values_of(even, data, batch_size=64).mean() == pytest.approx(5, abs=0.5)
    assert values_of(heavy, data, batch_size=64).mean() == pytest.approx(1, abs=0.5)


def test_a_checkpoint_gives_the_same_numbers_back(tmp_path):
    subject, data = trained(rows())
    again = load_checkpoint(save_checkpoint(tmp_path / "kept", subject))
    assert again.task == "regression"
    assert again.capabilities == subject.capabilities
    assert again.card.digest == subject.card.digest
    first, second = (values_of(one, data, batch_size=64) for one in (subject, again))
    assert np.array_equal(first, second)


def test_early_stopping_watches_the_squared_error():
    recipe = RECIPE.model_copy(update={"early_stopping": EarlyStoppingConfig(patience=2)})
    subject, _ = trained(rows(), recipe)
    assert "smallest loss" in str(subject.card.statements[0])


def test_a_regression_has_no_labels_and_no_gradients_to_be_taken_for_those_of_labels():
    subject, data = trained(rows(), RECIPE.model_copy(update={"epochs": 1}))
    assert subject.capabilities == {"values", "layers", "recipe"}
    with pytest.raises(UsageError, match="no labels"):
        subject.predict(data, batch_size=64)


def test_batches_do_not_change_what_is_foretold():
    subject, data = trained(rows(), RECIPE.model_copy(update={"epochs": 1}))
    assert values_of(subject, data, batch_size=16) == pytest.approx(
        values_of(subject, data, batch_size=400), **FLOAT
    )


def test_the_same_seed_gives_the_same_weights():
    recipe = RECIPE.model_copy(update={"epochs": 2})
    assert trained(rows(), recipe)[0].card.digest == trained(rows(), recipe)[0].card.digest


def test_a_target_that_never_varies_is_refused():
    with pytest.raises(DataError, match="nothing to learn"):
        trained(rows(outcome=np.full(400, 3.0)))


def test_label_smoothing_is_refused():
    with pytest.raises(ConfigError, match="is for labels"):
        trained(rows(), RECIPE.model_copy(update={"label_smoothing": 0.1}))


def test_an_architecture_that_tells_classes_is_refused():
    with pytest.raises(ConfigError, match="tells classes"):
        trained(rows(), RECIPE, Architecture(name="net"))


def test_labels_and_numbers_are_not_encoded_for_each_other():
    raw = rows()
    steps = fit_preprocessing(raw)
    labelled = Rows(
        name="labels",
        source="memory",
        split=None,
        target="price",
        labels=texts(["a", "b"] * 200),
        columns=raw.columns,
    )
    with pytest.raises(DataError, match=r"write data\.task: regression"):
        encode(labelled, steps)
    with pytest.raises(DataError, match="the model tells classes"):
        encode(raw, fit_preprocessing(labelled))


def test_squared_errors_are_those_of_rows_and_their_mean():
    outputs, targets = torch.tensor([[1.0], [2.0]]), torch.tensor([0.0, 4.0])
    assert per_row_loss(outputs, targets).tolist() == [1.0, 4.0]
    assert mean_loss(outputs, targets).item() == 2.5
    with pytest.raises(UsageError, match="one number per row"):
        per_row_loss(torch.zeros(2, 3), targets)
