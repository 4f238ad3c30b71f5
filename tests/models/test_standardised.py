"""Convolutions with standardised weights: what they put out, which can be, and that weights stay."""

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from auditkit.config import Architecture
from auditkit.errors import ConfigError
from auditkit.models.standardised import (
    EPS,
    FEWEST_WEIGHTS,
    StandardisedConv2d,
    fold,
    standardise,
    standardised_names,
    standardised_weight,
)
from auditkit.models.zoo import build_module, complete
from auditkit.randomness import global_generators_seeded, torch_rng
from tests.tolerances import FLOAT

SIZES = {"height": 8, "width": 8, "n_classes": 3}


def made(make) -> nn.Module:
    with global_generators_seeded(0):
        return make().double()


def by_hand(weight: torch.Tensor) -> torch.Tensor:
    """Channel by channel, in NumPy."""
    channels = []
    for channel in weight.detach().numpy():
        moved = channel - np.mean(channel)
        channels.append(moved / np.sqrt(channel.size * np.var(channel) + EPS))
    return torch.tensor(np.stack(channels))


@pytest.mark.parametrize(
    ("make", "shape", "plain"),
    [
        (lambda: nn.Conv1d(2, 5, 3, stride=2, padding=1), (4, 2, 9), functional.conv1d),
        (lambda: nn.Conv2d(2, 5, 3, stride=2, padding=1), (4, 2, 7, 9), functional.conv2d),
        (lambda: nn.Conv3d(2, 5, 2, stride=2, padding=1), (4, 2, 4, 5, 6), functional.conv3d),
    ],
    ids=["one dimension", "two dimensions", "three dimensions"],
)
def test_outputs_are_those_of_a_plain_convolution_with_weights_standardised_by_hand(make, shape, plain):
    layer = made(make)
    rows = torch.randn(shape, generator=torch_rng(0), dtype=torch.float64)
    expected = plain(rows, by_hand(layer.weight), layer.bias, stride=2, padding=1)
    assert standardise(layer, [""]) == []
    torch.testing.assert_close(layer(rows), expected, rtol=FLOAT["rel"], atol=FLOAT["abs"])


def test_every_channel_has_mean_zero_and_variance_one_over_the_fan_in():
    found = standardised_weight(torch.randn(6, 4, 3, 3, generator=torch_rng(0)) * 50 + 7).flatten(1)
    torch.testing.assert_close(found.mean(dim=1), torch.zeros(6), rtol=0, atol=1e-6)
    torch.testing.assert_close(found.var(dim=1, correction=0), torch.full((6,), 1 / 36), rtol=1e-5, atol=0)


def test_a_channel_of_equal_weights_gives_zeros_and_a_finite_gradient():
    weight = torch.full((2, 3, 3, 3), 0.7, requires_grad=True)
    standardised_weight(weight).square().sum().backward()
    assert bool(torch.isfinite(weight.grad).all())
    assert float(standardised_weight(weight.detach()).abs().max()) < 1e-3


def test_the_layer_and_its_weights_stay():
    module = made(lambda: nn.Sequential(nn.Conv2d(1, 4, 3)))
    layer, weight, names = module[0], module[0].weight, list(module.state_dict())
    standardise(module, ["0"])
    assert module[0] is layer
    assert module[0].weight is weight
    assert list(module.state_dict()) == names


class Padded(nn.Conv2d):
    """What it does with its weight is its own affair."""


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 4, (1, FEWEST_WEIGHTS - 1)),
        nn.Conv2d(6, 6, 1, groups=6),
        nn.ConvTranspose2d(4, 4, 3),
        Padded(4, 4, 3),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3)),
        nn.Linear(6, 6),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_what_is_no_plain_convolution_or_has_few_weights_is_named_and_left(layer):
    module = nn.Sequential(layer)
    kind = type(layer)
    assert standardise(module, ["0", "absent"]) == ["0", "absent"]
    assert type(module[0]) is kind


def test_folded_weights_give_the_same_outputs_without_being_standardised():
    module = made(lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)))
    standardise(module, ["0", "2"])
    folded = copy.deepcopy(module)
    fold(folded)
    rows = torch.randn(3, 1, 8, 8, generator=torch_rng(0), dtype=torch.float64)
    assert [type(layer) for layer in folded] == [nn.Conv2d, nn.ReLU, nn.Conv2d]
    torch.testing.assert_close(folded(rows), module(rows))


# --- an architecture names them --------------------------------------------------------------------


def architecture(*names: str) -> Architecture:
    return Architecture.model_validate({"name": "resnet", "weights_standardised": names})


def test_an_architecture_builds_the_convolutions_that_it_names():
    asked = architecture("conv", "stage1.block1.conv2")
    module = build_module(asked, rng=torch_rng(0, "test"), **SIZES)
    assert standardised_names(module) == ("conv", "stage1.block1.conv2")
    assert isinstance(module.conv, StandardisedConv2d)
    assert complete(asked, **SIZES).weights_standardised == asked.weights_standardised
    assert "weights_standardised" not in asked.parameters


def test_an_architecture_that_names_none_says_nothing_of_it():
    plain = Architecture(name="resnet")
    assert plain.model_dump(mode="json") == {"name": "resnet"}
    assert standardised_names(build_module(plain, rng=torch_rng(0, "test"), **SIZES)) == ()


def test_a_name_that_is_no_convolution_is_refused_with_what_is_expected():
    with pytest.raises(ConfigError, match=r"'stage9', 'output' of 'resnet' cannot be standardised; expected"):
        build_module(architecture("stage9", "conv", "output"), rng=torch_rng(0, "test"), **SIZES)
