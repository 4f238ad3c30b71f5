"""What a training will come to, before it begins."""

import math

import pytest
import torch

from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.forecast import forecast
from tests.privacy.ledgers import MECHANISM, network, rows


def test_the_noise_is_held_against_the_largest_sum_it_can_hide():
    module = network().train()
    generator = torch.random.get_rng_state()
    before = [parameter.detach().clone() for parameter in module.parameters()]
    with ClippedGradients(module, 1.0) as clipped:
        found = forecast(clipped, rows(), MECHANISM)
    n_parameters = sum(parameter.numel() for parameter in before)
    assert found.n_parameters == n_parameters
    assert found.noise_to_signal == pytest.approx(2.0 * math.sqrt(n_parameters) / 60)
    assert found.duration_s > 0
    assert found.energy.low <= found.energy.value <= found.energy.high
    assert torch.equal(generator, torch.random.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def test_what_is_not_known_is_said():
    with ClippedGradients(network().train(), 1.0) as clipped:
        lines = list(forecast(clipped, rows(), MECHANISM).sentences())
    assert "120 steps of 60 rows" in lines[0]
    assert any("not known beforehand" in line for line in lines)


def test_the_values_of_the_rows_play_no_part():
    poisoned = rows()
    poisoned.inputs.fill_(float("nan"))
    with ClippedGradients(network().train(), 1.0) as clipped:
        assert forecast(clipped, poisoned, MECHANISM).duration_s > 0
