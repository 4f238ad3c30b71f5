"""A linear classifier on rows of length 1."""

import pytest
import torch

from auditkit.config import Architecture
from auditkit.models.zoo import build_module
from auditkit.randomness import torch_rng
from tests.tolerances import FLOAT32


def linear():
    architecture = Architecture.model_validate({"name": "linear"})
    return build_module(architecture, n_inputs=3, n_classes=2, rng=torch_rng(0, "test"))


def test_logits_are_those_of_the_row_scaled_to_length_one():
    module, row = linear(), torch.tensor([[3.0, 0.0, 4.0]])
    expected = module.output.weight @ torch.tensor([0.6, 0.0, 0.8]) + module.output.bias
    assert module(row)[0].tolist() == pytest.approx(expected.tolist(), **FLOAT32)


def test_the_length_of_a_row_does_not_matter_and_a_row_of_zeros_gives_the_bias():
    module, row = linear(), torch.tensor([[1.0, -2.0, 0.5]])
    assert module(row)[0].tolist() == pytest.approx(module(100 * row)[0].tolist(), **FLOAT32)
    assert torch.equal(module(torch.zeros(1, 3))[0], module.output.bias)
