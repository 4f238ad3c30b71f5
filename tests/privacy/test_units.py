"""Several rows per unit: augmented copies of a row, or the rows of a person."""

import math

import pytest
import torch
from torch import nn

from auditkit.errors import UsageError
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.draws import SeededDraws
from auditkit.privacy.noisy_step import noisy_gradients
from auditkit.randomness import torch_rng
from tests.privacy.layers import EXAMPLES, built_example
from tests.privacy.networks import built, mlp, standardised
from tests.privacy.reference import length
from tests.privacy.test_layers import rows_for

PER_UNIT = 3
KINDS = ("linear", "linear over few positions, wide", "embedding", "tied embedding", "conv2d", "conv2d, wide",
         "layer norm", "group norm", "prelu", "transformer encoder layer", "gru, two levels, both ways",
         "lstm, two levels, both ways, no bias", "class token, positions, scale", "weight norm", "bilinear",
         )  # fmt: skip


def unit_gradients(module: nn.Module, inputs, targets, weights) -> list[list[torch.Tensor]]:
    """A backward pass per unit."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    found = []
    for start in range(0, len(inputs), PER_UNIT):
        rows = slice(start, start + PER_UNIT)
        losses = nn.functional.cross_entropy(module(inputs[rows]), targets[rows], reduction="none")
        gradients = torch.autograd.grad((losses * weights[rows]).sum(), parameters)
        found.append([gradient.double() for gradient in gradients])
    return found


@pytest.mark.parametrize("name", KINDS)
def test_a_unit_is_clipped_as_a_whole(name):
    assert name in EXAMPLES
    module = built_example(name)
    inputs, targets = rows_for(name, n=4 * PER_UNIT)
    weights = torch.rand(len(inputs), generator=torch_rng(1))
    gradients = unit_gradients(module, inputs, targets, weights)
    norms = [length(gradient) for gradient in gradients]
    bound = sorted(norms)[1]
    with ClippedGradients(module, bound, rows_per_unit=PER_UNIT, physical_batch_size=7) as clipped:
        torch.testing.assert_close(
            clipped.norms(inputs, targets, weights), torch.tensor(norms), rtol=2e-5, atol=0.0
        )
        found = clipped.clipped_sum(inputs, targets, weights)
    expected = [
        sum(min(1.0, bound / norm) * part for norm, part in zip(norms, parts, strict=True))
        for parts in zip(*gradients, strict=True)
    ]
    difference = length([a - b for a, b in zip(found, expected, strict=True)])
    assert difference <= 5e-5 * length(expected)


def test_without_weights_a_unit_has_the_mean_of_its_rows():
    module = built(mlp)
    inputs = torch.randn(12, 6, generator=torch_rng(0))
    targets = torch.arange(12) % 3
    with ClippedGradients(module, 1.0, rows_per_unit=PER_UNIT) as clipped:
        found = clipped.norms(inputs, targets)
        expected = clipped.norms(inputs, targets, torch.full((12,), 1 / PER_UNIT))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e6])
def test_no_unit_contributes_more_than_the_norm(scale):
    module = built(mlp)
    inputs = torch.randn(16, 6, generator=torch_rng(0)) * scale
    targets = torch.arange(16) % 3
    with ClippedGradients(module, 0.5, rows_per_unit=16) as clipped:
        assert length(clipped.clipped_sum(inputs, targets, torch.ones(16))) <= 0.5


def test_rows_of_weight_zero_take_no_part():
    module = built(mlp)
    inputs = torch.randn(6, 6, generator=torch_rng(0))
    targets, weights = torch.arange(6) % 3, torch.tensor([1.0, 1.0, 0.0, 1.0, 0.0, 0.0])
    others = inputs.clone()
    others[weights == 0] = 7.0
    with ClippedGradients(module, 1e6, rows_per_unit=PER_UNIT) as clipped:
        found, expected = (clipped.clipped_sum(rows, targets, weights) for rows in (inputs, others))
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_a_unit_with_a_row_that_is_not_finite_contributes_nothing():
    module = built(mlp)
    inputs, targets = torch.randn(9, 6, generator=torch_rng(0)), torch.arange(9) % 3
    poisoned = inputs.clone()
    poisoned[4] = math.inf
    with ClippedGradients(module, 1.0, rows_per_unit=PER_UNIT) as clipped:
        found = clipped.clipped_sum(poisoned, targets)
        kept = torch.tensor([0, 1, 2, 6, 7, 8])
        expected = clipped.clipped_sum(inputs[kept], targets[kept])
    for part, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(part, reference)


def test_a_number_of_rows_that_makes_no_units_is_refused():
    with (
        ClippedGradients(built(mlp), 1.0, rows_per_unit=4) as clipped,
        pytest.raises(UsageError, match="10 rows are no multiple of 4"),
    ):
        clipped.clipped_sum(torch.zeros(10, 6), torch.zeros(10, dtype=torch.long))


@pytest.mark.parametrize(
    ("make", "shape"), [(mlp, (6,)), (standardised, (1, 6, 6))], ids=["mlp", "standardised convolutions"]
)
def test_sixteen_augmented_copies_of_a_row_move_a_step_by_no_more_than_the_norm(make, shape):
    mechanism = Mechanism(noise_multiplier=1e-9, sample_rate=1.0, steps=1, max_grad_norm=0.5, normaliser=1.0)
    module, targets = built(make), torch.arange(5) % 3
    inputs = torch.randn(5, *shape, generator=torch_rng(0)) * 50

    def augment(rows: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(len(rows), 16, *shape, generator=torch_rng(2))
        return (rows[:, None] + noise).flatten(0, 1)

    with ClippedGradients(module, 0.5, rows_per_unit=16) as clipped:
        steps = [
            noisy_gradients(
                clipped, inputs[:n], targets[:n], mechanism, SeededDraws.from_seed(0), augment=augment
            )
            for n in (4, 5)
        ]
    moved = length([a - b for a, b in zip(*steps, strict=True)])
    assert 0.1 < moved <= 0.5 * (1 + 1e-6)


def test_units_are_sampled_rather_than_rows():
    mechanism = Mechanism(noise_multiplier=0.0, sample_rate=0.5, steps=1, max_grad_norm=1.0, normaliser=1.0)
    module, inputs = built(mlp), torch.randn(30, 6, generator=torch_rng(0))
    targets, weights = torch.arange(30) % 3, torch.rand(30, generator=torch_rng(1))
    chosen = SeededDraws.from_seed(3).poisson_rows(10, 0.5)
    rows = torch.tensor([3 * unit + k for unit in chosen for k in range(PER_UNIT)])
    with ClippedGradients(module, 1.0, rows_per_unit=PER_UNIT) as clipped:
        found = noisy_gradients(
            clipped, inputs, targets, mechanism, SeededDraws.from_seed(3), row_weights=weights
        )
        expected = clipped.clipped_sum(inputs[rows], targets[rows], weights[rows])
    for part, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(part, reference)
