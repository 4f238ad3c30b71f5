"""The mechanism as an attacker sees it: a planted row, many runs with and without it, and a bound from below.

A correct mechanism never shows more than it promises; one with too little noise is caught.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import beta

from auditkit.privacy.accounting import epsilon_prv
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.draws import SeededDraws
from auditkit.privacy.noisy_step import noisy_gradients
from tests.privacy.networks import built

DELTA = 1e-5
RUNS = 1600
PROMISED = Mechanism(noise_multiplier=2.0, sample_rate=1.0, steps=1, max_grad_norm=1.0, normaliser=1.0)


def observed(mechanism: Mechanism, *, with_row: bool) -> np.ndarray:
    """What one step shows along the gradient of the planted row, once per run."""
    module = built(lambda: torch.nn.Linear(5, 2))
    inputs, targets = torch.zeros(3, 5), torch.tensor([0, 1, 0])
    inputs[2] = 1e3
    n_rows = 3 if with_row else 2
    draws = SeededDraws.from_seed(int(with_row))
    values = []
    with ClippedGradients(module, mechanism.max_grad_norm) as clipped:
        planted = clipped.clipped_sum(inputs[2:], targets[2:])
        for _ in range(RUNS):
            gradients = noisy_gradients(clipped, inputs[:n_rows], targets[:n_rows], mechanism, draws)
            values.append(sum(float((g * p).sum()) for g, p in zip(gradients, planted, strict=True)))
    return np.array(values)


def epsilon_lower_bound(inside: np.ndarray, outside: np.ndarray, confidence: float = 0.999) -> float:
    """From true- and false-positive rates by Clopper-Pearson; the threshold is chosen on the first half.

    Source: Jagielski, Ullman and Oprea (2020), arXiv:2006.07709.
    """
    half = len(inside) // 2
    tail = (1 - confidence) / 2

    def bound(seen_in: np.ndarray, seen_out: np.ndarray, threshold: float) -> float:
        n = len(seen_in)
        hits, alarms = int((seen_in > threshold).sum()), int((seen_out > threshold).sum())
        tpr_low = beta.ppf(tail, hits, n - hits + 1) if hits else 0.0
        fpr_high = beta.ppf(1 - tail, alarms + 1, n - alarms) if alarms < n else 1.0
        return math.log((tpr_low - DELTA) / fpr_high) if tpr_low > DELTA else -math.inf

    best = max(inside[:half], key=lambda threshold: bound(inside[:half], outside[:half], threshold))
    return bound(inside[half:], outside[half:], best)


@pytest.mark.proof
def test_a_correct_step_shows_no_more_than_its_certificate():
    epsilon = epsilon_prv(PROMISED.noise_multiplier, PROMISED.sample_rate, PROMISED.steps, DELTA)
    seen = [observed(PROMISED, with_row=with_row) for with_row in (True, False)]
    # the row shows: this is not a test of nothing
    assert 0.0 < epsilon_lower_bound(*seen) <= epsilon
    assert np.mean(seen[0]) - np.mean(seen[1]) == pytest.approx(1.0, abs=4 * 2.0 * math.sqrt(2 / RUNS))


@pytest.mark.proof
@pytest.mark.parametrize("noise_multiplier", [0.5, 0.25])
def test_a_step_with_too_little_noise_is_caught(noise_multiplier):
    epsilon = epsilon_prv(PROMISED.noise_multiplier, PROMISED.sample_rate, PROMISED.steps, DELTA)
    broken = replace(PROMISED, noise_multiplier=noise_multiplier)
    seen = [observed(broken, with_row=with_row) for with_row in (True, False)]
    assert epsilon_lower_bound(*seen) > epsilon
