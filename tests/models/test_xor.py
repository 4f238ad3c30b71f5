"""Exclusive or: the same small network in torch and in NumPy."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML
from torch import nn

from auditkit.config import Architecture
from auditkit.config.model import DataConfig, TrainingConfig
from auditkit.data.loading import load_training_data
from auditkit.errors import ConfigError
from auditkit.models import xor_numpy
from auditkit.models.xor_numpy import CORNERS, DIFFER, XorWeights, fit, gradients, initial, logits, predict
from auditkit.models.zoo import build_module
from auditkit.privacy.dp_fit import dp_fit
from auditkit.privacy.dp_settings import DpSettings
from auditkit.privacy.preflight import refuse_unsuitable
from auditkit.randomness import derive_seed, numpy_rng, torch_rng
from auditkit.training.fit import fit as fit_module

EXAMPLE = Path(__file__).parents[2] / "examples" / "documents" / "xor.yaml"
SIZES = {"n_inputs": 2, "n_classes": 2}
CENTRED = 2 * np.array(CORNERS) - 1
LABELS = np.array(DIFFER)


def module_of(weights: XorWeights) -> nn.Module:
    """The torch module with the weights of the NumPy network, in double precision."""
    module = build_module(Architecture(name="xor"), rng=torch_rng(0, "test"), **SIZES).double()
    with torch.no_grad():
        module.hidden.weight.copy_(torch.from_numpy(weights.hidden.T))
        module.hidden.bias.copy_(torch.from_numpy(weights.hidden_bias))
        module.output.weight.copy_(torch.from_numpy(weights.output.T))
        module.output.bias.copy_(torch.from_numpy(weights.output_bias))
    return module


def random_weights(seed: int) -> XorWeights:
    rng = np.random.default_rng(seed)
    return XorWeights(*(rng.standard_normal(shape) for shape in ((2, 2), (2,), (2, 1), (1,))))


def solved(scores: np.ndarray) -> bool:
    return bool(((scores > 0) == (LABELS > 0)).all())


@pytest.fixture(scope="module")
def example():
    return YAML(typ="safe").load(EXAMPLE.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def data():
    found, _ = load_training_data(DataConfig(source="xor"), preprocessing=None, seed=0, folder=Path())
    return found


@pytest.fixture(scope="module")
def corners():
    """The exact corners of the unit square as the module reads them."""
    _, steps = load_training_data(DataConfig(source="xor"), preprocessing=None, seed=0, folder=Path())
    columns = [
        [(corner[index] - feature.mean) / feature.scale for corner in CORNERS]
        for index, feature in enumerate(steps.features)
    ]
    return torch.tensor(columns).T


# --- the torch module ------------------------------------------------------------------------------


def test_the_network_is_2_2_1_with_nine_parameters():
    module = build_module(Architecture(name="xor"), rng=torch_rng(0, "test"), **SIZES)
    assert [type(layer).__name__ for layer in module] == ["Flatten", "Linear", "Sigmoid", "Linear"]
    assert sum(parameter.numel() for parameter in module.parameters()) == 9
    assert module(torch.zeros(5, 2)).shape == (5, 1)


def test_more_than_two_classes_are_refused():
    with pytest.raises(ConfigError, match="n_classes"):
        build_module(
            Architecture.model_validate({"name": "xor", "n_classes": 3}), rng=torch_rng(0, "t"), n_inputs=2
        )


def test_units_start_along_one_direction_with_thresholds_on_either_side():
    module = build_module(Architecture(name="xor"), rng=torch_rng(3, "test"), **SIZES)
    assert torch.equal(module.hidden.weight[0], module.hidden.weight[1])
    assert module.hidden.bias.tolist() == [-1.0, 1.0]
    assert module.output.weight.abs().tolist() == [[1.0, 1.0]]
    assert float(module.output.weight.detach().sum()) == 0.0


def test_exclusive_or_is_solved_from_at_least_eight_of_ten_seeds(example, data, corners):
    architecture = Architecture.model_validate(example["subject"]["architecture"])
    recipe = TrainingConfig.model_validate(example["subject"]["training"])
    right = 0
    for seed in range(10):
        subject = fit_module(architecture, data, recipe, seed=derive_seed(seed, "training"))
        with torch.no_grad():
            right += solved(subject.module(corners)[:, 0].numpy())
    assert right >= 8


def test_the_private_training_of_the_example_solves_it_too(example, data, corners):
    module = build_module(Architecture(name="xor"), rng=torch_rng(0, "test"), **data.sizes())
    refuse_unsuitable(module.train(), data.inputs[0], 2)
    settings = {key: value for key, value in example["variants"]["dp-3"].items() if key != "kind"}
    fitted = dp_fit(module, data, DpSettings(**settings), seed=0)
    assert fitted.certificate.epsilon <= 3
    with torch.no_grad():
        assert solved(fitted.module(corners)[:, 0].numpy())


# --- the same in NumPy -----------------------------------------------------------------------------


def test_weights_given_by_hand_compute_exclusive_or():
    # One unit fires where a corner has a one, the other where it has two; the first and not the second.
    weights = XorWeights(
        np.full((2, 2), 20.0), np.array([-10.0, -30.0]), np.array([[20.0], [-20.0]]), np.array([-10.0])
    )
    found = logits(weights, np.array(CORNERS))[:, 0]
    assert found.tolist() == pytest.approx([-10, 10, 10, -10], abs=0.01)


@pytest.mark.parametrize("seed", range(5))
def test_outputs_and_gradients_are_those_of_torch(seed):
    weights, rng = random_weights(seed), np.random.default_rng(100 + seed)
    rows, labels = rng.standard_normal((7, 2)), rng.integers(0, 2, 7).astype(np.float64)
    module = module_of(weights)
    outputs = module(torch.from_numpy(rows))
    loss = nn.functional.binary_cross_entropy_with_logits(outputs[:, 0], torch.from_numpy(labels))
    parameters = (module.hidden.weight, module.hidden.bias, module.output.weight, module.output.bias)
    expected = [part.numpy() for part in torch.autograd.grad(loss, parameters)]
    found = gradients(weights, rows, labels)
    assert np.abs(logits(weights, rows) - outputs.detach().numpy()).max() < 1e-12
    assert np.abs(found.hidden.T - expected[0]).max() < 1e-12
    assert np.abs(found.hidden_bias - expected[1]).max() < 1e-12
    assert np.abs(found.output.T - expected[2]).max() < 1e-12
    assert np.abs(found.output_bias - expected[3]).max() < 1e-12


@pytest.mark.parametrize("n", [1, 4, 9])
def test_every_gradient_has_the_shape_of_what_it_changes(n):
    weights, rng = random_weights(0), np.random.default_rng(1)
    found = gradients(weights, rng.standard_normal((n, 2)), np.ones(n))
    for name in ("hidden", "hidden_bias", "output", "output_bias"):
        assert getattr(found, name).shape == getattr(weights, name).shape
        assert getattr(weights.moved(found, 0.1), name).shape == getattr(weights, name).shape


def test_gradient_descent_in_numpy_solves_it_from_every_one_of_ten_seeds():
    trained = [fit(CENTRED, LABELS, np.random.default_rng(seed), steps=1000) for seed in range(10)]
    assert all(solved(logits(weights, CENTRED)[:, 0]) for weights in trained)


def test_the_same_generator_gives_the_same_weights():
    first, second = (fit(CENTRED, LABELS, numpy_rng(5, "test"), steps=3) for _ in range(2))
    assert np.array_equal(first.hidden, second.hidden)
    assert not np.array_equal(first.hidden, initial(numpy_rng(5, "test")).hidden)


def test_the_sigmoid_does_not_overflow():
    assert xor_numpy.sigmoid(np.array([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


def test_a_data_frame_is_answered_with_one_probability_per_row():
    frame = pd.DataFrame(CORNERS, columns=["x1", "x2"])
    found = predict(frame)
    assert found.shape == (4,)
    assert ((found > 0.99) == (LABELS > 0)).all()
    assert ((found < 0.01) == (LABELS == 0)).all()
    # The order of the columns is that of their names, and rows do not depend on one another.
    assert np.array_equal(predict(frame[["x2", "x1"]]), found)
    assert predict(frame.iloc[[2]]).tolist() == pytest.approx([found[2]])
