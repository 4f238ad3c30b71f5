"""The mean of rows under differential privacy: each row counts for no more than the norm."""

import math

import pytest
import torch
from torch import nn

from auditkit.models.centred_linear import CentredLinear
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipped_rows import ClippedRows
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.dp_settings import DpSettings
from auditkit.privacy.draws import SeededDraws
from auditkit.privacy.first_steps import STEPS_PER_MEAN, MeasuredCentre
from auditkit.privacy.private_steps import PrivateSteps
from auditkit.privacy.units import PrivateUnits
from tests.tolerances import FLOAT32

N_ROWS, WIDTH = 400, 6


def summed(rows, *, max_norm=1.0, rows_per_unit=1, weights=None, factor=1.0):
    engine = ClippedRows(torch.zeros(rows.shape[1]), max_norm, rows_per_unit)
    total = [torch.zeros(rows.shape[1])]
    engine.add_clipped_sum(total, rows, torch.zeros(len(rows)), weights, factor=factor)
    return total[0]


def rows(n=N_ROWS, seed=0):
    return torch.randn(n, WIDTH, generator=torch.Generator().manual_seed(seed))


def test_short_rows_are_added_as_they_are():
    short = 0.01 * rows()
    assert summed(short, factor=0.5).tolist() == pytest.approx((short.sum(dim=0) / 2).tolist(), **FLOAT32)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e6, 1e30])
def test_no_row_counts_for_more_than_the_norm(scale):
    assert float(summed(scale * rows(1), max_norm=0.3).norm()) <= 0.3


@pytest.mark.parametrize("broken", [math.inf, math.nan])
def test_a_row_that_is_not_finite_counts_for_nothing(broken):
    some = rows(3)
    some[1, 2] = broken
    assert torch.allclose(summed(some), summed(some[[0, 2]]))


def test_the_rows_of_a_person_count_as_one_and_those_of_weight_zero_not_at_all():
    some = rows(4)
    weights = torch.tensor([0.5, 0.5, 1.0, 0.0])
    found = summed(some, max_norm=0.5, rows_per_unit=2, weights=weights)
    first, second = some[:2].mean(dim=0), some[2]
    expected = sum(one * min(1.0, 0.5 / float(one.norm())) for one in (first, second))
    assert found.tolist() == pytest.approx(expected.tolist(), **FLOAT32)


def test_no_rows_add_nothing():
    assert torch.equal(summed(rows(0)), torch.zeros(WIDTH))


def steps_on(inputs, noise):
    module = CentredLinear(WIDTH, 2)
    mechanism = Mechanism(
        noise_multiplier=noise, sample_rate=0.5, steps=500, max_grad_norm=1.0, normaliser=N_ROWS / 2
    )
    units = PrivateUnits(inputs=inputs, targets=torch.arange(N_ROWS) % 2)
    how = DpSettings(epsilon=1.0, optimizer="sgd", learning_rate=0.1, momentum=0.0)
    clipped = ClippedGradients(module, 1.0)
    measured = MeasuredCentre(module.centre, mechanism)
    steps = PrivateSteps(clipped, units, mechanism, how, SeededDraws.from_seed(3), measured=measured)
    return module, steps


def test_the_first_steps_measure_the_mean_and_leave_the_weights():
    inputs = nn.functional.normalize(rows() + torch.tensor([3.0, 0, 0, 0, 0, 0]))
    module, steps = steps_on(inputs, noise=1.0)
    before = module.weight.detach().clone()
    n_first = 500 // STEPS_PER_MEAN
    for step in range(n_first):
        steps.take(step)
    assert torch.equal(module.weight, before)
    # noise of 1 / 200 per coordinate and step, and sampling of half the rows, over ten steps
    assert (module.centre - inputs.mean(dim=0)).abs().max() < 0.05
    steps.take(n_first)
    assert not torch.equal(module.weight, before)


def test_an_interrupted_training_goes_on_with_the_mean_it_had():
    inputs = nn.functional.normalize(rows())
    module, steps = steps_on(inputs, noise=1.0)
    steps.take(0)
    saved = {name: tensor.clone() for name, tensor in steps.tensors().items()}
    other, again = steps_on(inputs, noise=1.0)
    again.restore(saved)
    assert torch.equal(other.centre, module.centre)
    assert bool(other.centre.any())


@pytest.mark.parametrize("bias_input", [1.0, 0.1])
def test_a_centre_of_zero_leaves_rows_of_length_one(bias_input):
    module, row = CentredLinear(WIDTH, 2, bias_input=bias_input), nn.functional.normalize(rows(1))
    expected = row @ module.weight.T + bias_input * module.bias
    assert module(row).flatten().tolist() == pytest.approx(expected.flatten().tolist(), **FLOAT32)


@pytest.mark.parametrize("bias_input", [1.0, 0.1])
def test_the_bias_takes_the_share_of_a_gradient_that_its_input_has_beside_a_row_of_length_one(bias_input):
    module = CentredLinear(WIDTH, 2, bias_input=bias_input)
    module(rows(1))[0, 0].backward()
    of_weights, of_bias = (float(part.grad.square().sum()) for part in (module.weight, module.bias))
    assert of_bias / of_weights == pytest.approx(bias_input**2, **FLOAT32)
