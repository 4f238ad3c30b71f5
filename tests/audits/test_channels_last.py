"""Convolutions with the channels of a pixel beside one another."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from auditkit.audits.explainability.straight_path.channels_last import ChannelsLast
from tests.audits.paths import normal

WEIGHT = normal(4, 3, 3, 3, seed=1)


def convolved(pictures):
    return functional.conv2d(pictures, WEIGHT, padding=1)


def test_a_convolution_gives_the_same_in_another_order():
    pictures = normal(2, 3, 5, 5)
    with ChannelsLast():
        found = convolved(pictures)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert not found.is_contiguous()
    assert torch.allclose(found, convolved(pictures), atol=1e-5)


VIEWS = {
    "view": lambda found: found.view(2, -1),
    "view with a shape of its own": lambda found: found.view(found.size(0), 4, 25),
    "reshape": lambda found: found.reshape(2, 100),
    "flatten": nn.Flatten(),
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_model_may_view_what_a_convolution_gave(view):
    pictures = normal(2, 3, 5, 5)
    with ChannelsLast():
        found = VIEWS[view](convolved(pictures))
    assert torch.allclose(found, VIEWS[view](convolved(pictures)), atol=1e-5)


def test_gradients_are_the_same():
    pictures = normal(2, 3, 5, 5).requires_grad_(True)
    with ChannelsLast():
        total = convolved(pictures).square().sum()
    (found,) = torch.autograd.grad(total, pictures)
    (expected,) = torch.autograd.grad(convolved(pictures).square().sum(), pictures)
    assert torch.allclose(found, expected, atol=1e-3)


def test_lines_and_single_pictures_are_left_as_they_are():
    with ChannelsLast():
        line = functional.conv1d(normal(2, 3, 9), normal(4, 3, 3))
        single = functional.conv2d(normal(3, 5, 5), WEIGHT)
    assert line.is_contiguous()
    assert single.is_contiguous()
