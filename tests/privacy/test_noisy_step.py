"""One step of the mechanism: noise and sum in one buffer."""

import numpy as np
import pytest
import torch

from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.draws import EntropyDraws, SeededDraws
from auditkit.privacy.gradient_buffer import GradientBuffer
from auditkit.privacy.noisy_step import noisy_gradients, noisy_sum
from auditkit.privacy.step_place import StepPlace
from auditkit.randomness import torch_rng
from tests.privacy.networks import built, mlp
from tests.tolerances import FLOAT32

MECHANISM = Mechanism(noise_multiplier=1.5, sample_rate=0.4, steps=1, max_grad_norm=0.5, normaliser=8.0)


def rows(n: int = 20):
    return torch.randn(n, 6, generator=torch_rng(0)), torch.arange(n) % 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_step_is_noise_plus_sum_over_the_divisor(dtype):
    module = built(mlp).to(dtype)
    inputs, targets = rows()
    inputs = inputs.to(dtype)
    with ClippedGradients(module, 0.5) as clipped:
        found = noisy_sum(clipped, (inputs, targets, None), MECHANISM, SeededDraws.from_seed(2))
        alone = noisy_sum(clipped, (inputs[:0], targets[:0], None), MECHANISM, SeededDraws.from_seed(2))
        expected = clipped.clipped_sum(inputs, targets)
    for part, noise, total in zip(found, alone, expected, strict=True):
        assert part.dtype == dtype
        torch.testing.assert_close(part, noise + total / 8.0, rtol=FLOAT32["rel"], atol=FLOAT32["abs"])


def test_half_precision_parameters_get_gradients_of_their_own_precision():
    module = built(mlp).to(torch.bfloat16)
    inputs, targets = rows()
    with ClippedGradients(module, 0.5) as clipped:
        found = noisy_sum(clipped, (inputs.bfloat16(), targets, None), MECHANISM, SeededDraws.from_seed(2))
    assert all(part.dtype == torch.bfloat16 and bool(part.isfinite().all()) for part in found)


def test_two_steps_do_not_share_memory():
    inputs, targets = rows()
    draws = SeededDraws.from_seed(2)
    with ClippedGradients(built(mlp), 0.5) as clipped:
        first = noisy_gradients(clipped, inputs, targets, MECHANISM, draws)
        kept = [part.clone() for part in first]
        noisy_gradients(clipped, inputs, targets, MECHANISM, draws)
    assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))


@pytest.mark.parametrize("make", [EntropyDraws, lambda: SeededDraws.from_seed(1)], ids=["entropy", "seeded"])
def test_noise_has_the_promised_deviation_whatever_the_rows(make):
    module = built(lambda: mlp(hidden=3000))
    inputs, targets = rows()
    with ClippedGradients(module, 0.5) as clipped:
        found = noisy_sum(clipped, (inputs, targets, None), MECHANISM, make())
        expected = clipped.clipped_sum(inputs, targets)
    noise = torch.cat([(a * 8.0 - b).flatten() for a, b in zip(found, expected, strict=True)]).numpy()
    # 6.2 standard errors: entropy has no seed
    assert abs(noise.std() / 0.75 - 1) < 6.2 / np.sqrt(2 * len(noise))


@pytest.mark.parametrize("n_rows", [20, 0])
def test_noise_made_beside_the_rows_is_the_same(n_rows):
    inputs, targets = rows()
    batch = (inputs[:n_rows], targets[:n_rows], None)
    threads = torch.get_num_threads()
    with ClippedGradients(built(mlp), 0.5) as clipped:
        place = StepPlace(GradientBuffer.like(clipped.parameters), noise_beside_rows=True)
        beside = noisy_sum(clipped, batch, MECHANISM, SeededDraws.from_seed(2), place)
        first = noisy_sum(clipped, batch, MECHANISM, SeededDraws.from_seed(2))
    for one, other in zip(beside, first, strict=True):
        torch.testing.assert_close(one, other, rtol=FLOAT32["rel"], atol=FLOAT32["abs"])
    assert torch.get_num_threads() == threads


def test_an_error_of_the_model_passes_through_and_leaves_the_draws_usable():
    inputs, targets = rows()
    draws = SeededDraws.from_seed(2)
    with ClippedGradients(built(mlp), 0.5) as clipped:
        with pytest.raises(RuntimeError, match="mat1 and mat2"):
            noisy_sum(clipped, (inputs[:, :5], targets, None), MECHANISM, draws)
        assert len(noisy_sum(clipped, (inputs, targets, None), MECHANISM, draws)) == 4
