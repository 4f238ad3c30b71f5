"""The sum along the path against paths whose sum is known, and against Captum's."""

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auditkit.audits.explainability import integrated_gradients as integrated
from auditkit.audits.explainability.explained_score import LogitScore
from auditkit.audits.explainability.integrated_gradients import Precision, integrated_gradients
from auditkit.audits.explainability.straight_path.curves import FIRST
from auditkit.audits.explainability.straight_path.points import StraightPath
from auditkit.config.model import Architecture
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.variants.quantise import quantise_module
from tests.tolerances import FLOAT32

PRECISION = Precision()

FEWEST = len(FIRST)
"""Gradients of a row whose path is straight."""


def summed(
    score, inputs, *, precision=PRECISION, batch_size=64, baseline=None, target=None, pooled=torch.clone
):
    start = torch.zeros_like(inputs[:1]) if baseline is None else baseline
    wanted = torch.zeros(len(inputs), dtype=torch.int64) if target is None else target
    return integrated_gradients(StraightPath(score, inputs, start, wanted, pooled, batch_size), precision)


def normal(n=64, d=4, seed=1):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def network(activation, n_inputs=20, hidden=64, seed=0):
    """Two hidden layers, weights drawn so that rows bend the path."""
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        module = nn.Sequential(
            nn.Linear(n_inputs, hidden),
            activation(),
            nn.Linear(hidden, hidden),
            activation(),
            nn.Linear(hidden, 3),
        )
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(1.5)
    return module.eval()


def score_of(module):
    return LogitScore(
        TorchSubject.build(module, architecture=Architecture(name="test"), classes=("a", "b", "c"))
    )


def fixed_steps(score, inputs, steps):
    """Independent: so many midpoints for every row, in double precision, one row at a time."""
    places = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    found = []
    for row in inputs:
        at = (places.unsqueeze(1) * row.double()).float().requires_grad_(True)
        total = score(at, torch.zeros(steps, dtype=torch.int64)).sum()
        (gradients,) = torch.autograd.grad(total, at)
        found.append((gradients.double() * row.double()).mean(dim=0).numpy())
    return np.array(found)


def relative_error(values, reference):
    return np.linalg.norm(values - reference, axis=1) / np.linalg.norm(reference, axis=1)


# --- known sums ------------------------------------------------------------------------------------


def test_a_linear_model_gets_weight_times_distance_from_the_baseline():
    weights, inputs = torch.tensor([2.0, -1.0, 0.5, 0.0]), normal()
    baseline = torch.full((1, 4), 0.25)
    found = summed(lambda x, _: x @ weights, inputs, baseline=baseline)
    assert found.values == pytest.approx((weights * (inputs - baseline)).double().numpy(), **FLOAT32)
    assert found.complete.all()
    assert set(found.n_evaluations) == {FEWEST}
    assert (found.error <= 0.1 * found.error_allowed).all()


def test_a_product_is_shared_equally():
    """x y from (0, 0): the gradient along the path is t (y, x), so each gets half of the product."""
    inputs = normal(d=2)
    found = summed(lambda x, _: x[:, 0] * x[:, 1], inputs)
    half = (inputs[:, 0] * inputs[:, 1] / 2).double().numpy()
    assert found.values == pytest.approx(np.column_stack([half, half]), **FLOAT32)


@pytest.mark.parametrize("bend", [0.1, 0.31, 0.777])
def test_a_bend_is_found_wherever_it_lies(bend):
    """max(0, x + y - c) - max(0, x - c') with two bends; the first unit meets both, the second one."""
    inputs = torch.tensor([[1.0, 1.0]])

    def score(x, _target):
        both = torch.relu(x.sum(dim=1) - 2 * bend)
        return both - torch.relu(x[:, 0] - 0.4)

    found = summed(score, inputs)
    assert found.values[0] == pytest.approx([1 - bend - 0.6, 1 - bend], abs=1e-3)
    assert found.complete.all()
    assert found.n_evaluations[0] < 64


def test_a_polynomial_of_degree_five_needs_no_more_than_the_first_points():
    found = summed(lambda x, _: (x**6).sum(dim=1), torch.ones(3, 2))
    assert found.values == pytest.approx(np.ones((3, 2)), abs=1e-3)
    assert found.n_evaluations.max() <= 25


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU])
def test_every_unit_agrees_with_eight_thousand_steps(activation):
    score, inputs = score_of(network(activation)), normal(24, 20)
    found = summed(score, inputs)
    error = relative_error(found.values, fixed_steps(score, inputs, 8192))
    assert found.complete.all()
    assert error.mean() < 1e-3
    assert error.max() < 5e-3
    assert found.n_evaluations.mean() <= (256 if activation is nn.ReLU else 50)


def test_the_sum_agrees_with_captums_at_many_steps():
    module, inputs = network(nn.Tanh), normal(16, 20)
    theirs = IntegratedGradients(module).attribute(
        inputs, baselines=torch.zeros(1, 20), target=torch.zeros(16, dtype=torch.int64), n_steps=200
    )
    found = summed(score_of(module), inputs)
    assert relative_error(found.values, theirs.detach().double().numpy()).max() < 1e-3


def test_the_error_that_is_stated_is_about_the_true_one():
    score, inputs = score_of(network(nn.ReLU, seed=3)), normal(32, 20, seed=4)
    found = summed(score, inputs, precision=Precision(tolerance=1e-2))
    true = np.linalg.norm(found.values - fixed_steps(score, inputs, 8192), axis=1)
    assert np.sqrt((true**2).mean()) == pytest.approx(np.sqrt((found.error**2).mean()), rel=0.4)
    assert (true <= 3 * found.error).all()


# --- rows that cannot add up -----------------------------------------------------------------------


class Steps(nn.Module):
    """Rounds, and tells the gradient that it did not."""

    def forward(self, inputs):
        rounded = inputs + (torch.round(inputs) - inputs).detach()
        return torch.stack([rounded.sum(1), -rounded.sum(1), 0 * rounded.sum(1)], dim=1)


def test_a_step_function_is_given_up_and_said_not_to_add_up():
    found = summed(score_of(Steps()), 3 * normal(32, 20))
    assert found.complete.mean() < 0.2
    assert found.n_evaluations.max() <= 1024


def test_simulated_integers_do_not_use_all_that_is_allowed():
    module = network(nn.ReLU)
    quantise_module(module, bits=3, activations=True)
    found = summed(score_of(module), normal(32, 20), precision=Precision(max_evaluations=4096))
    assert found.complete.mean() < 0.5
    assert found.n_evaluations.mean() < 600


def test_a_jump_between_two_numbers_ends():
    found = summed(lambda x, _: x.sum(dim=1) + (x.sum(dim=1) > 0.37).float(), torch.ones(2, 3))
    assert not found.complete.any()
    assert found.n_evaluations.max() < 256
    assert found.values == pytest.approx(np.ones((2, 3)), **FLOAT32)


@pytest.mark.parametrize("most", [16, 50, 101])
def test_no_row_gets_more_gradients_than_allowed(most):
    found = summed(
        score_of(network(nn.ReLU)), normal(16, 20), precision=Precision(tolerance=1e-6, max_evaluations=most)
    )
    assert found.n_evaluations.max() <= most
    assert not found.complete.all()


@pytest.mark.parametrize("frequency", [5.6, 13.4, 16.1, 26.5, 32.0, 47.4, 50.0, 51.3])
def test_waves_that_cancel_in_the_score_are_not_taken_for_settled(frequency):
    """The score is straight, so that every sum adds up; the units swap shares all along the path."""

    def score(x, _target):
        waves = torch.sin(frequency * x[:, 0] + 0.7) - torch.sin(frequency * x[:, 1] + 0.7)
        return x.sum(dim=1) + waves

    found = summed(score, torch.ones(1, 2))
    share = np.sin(frequency + 0.7) - np.sin(0.7)
    error = np.linalg.norm(found.values[0] - [1 + share, 1 - share])
    assert not found.complete[0] or error <= 1.5 * found.error_allowed[0]


def test_a_row_that_adds_up_by_chance_and_still_moves_is_not_complete():
    """Two units that bend against each other: their sum is always right, their shares are not."""

    def score(x, _target):
        waves = torch.sin(40 * x[:, 0]) - torch.sin(40 * x[:, 1])
        return x.sum(dim=1) + waves

    found = summed(score, torch.ones(1, 2), precision=Precision(max_evaluations=16))
    assert found.gap[0] <= found.gap_allowed[0]
    assert not found.complete[0]


def test_nothing_is_asked_of_a_score_that_never_changes():
    found = summed(lambda x, _: 0 * x.sum(dim=1) + 7, normal())
    assert found.values == pytest.approx(np.zeros((64, 4)), abs=0)
    assert found.complete.all()
    assert set(found.n_evaluations) == {FEWEST}


# --- what must not matter --------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 3, 1000])
def test_batch_size_changes_nothing(batch_size):
    score, inputs = score_of(network(nn.ReLU, seed=2)), normal(5, 20)
    whole, parts = summed(score, inputs), summed(score, inputs, batch_size=batch_size)
    assert parts.values == pytest.approx(whole.values, rel=1e-6, abs=1e-6)
    assert parts.n_evaluations.tolist() == whole.n_evaluations.tolist()


def test_no_batch_holds_more_rows_than_allowed():
    seen = []

    def score(x, _target):
        seen.append(len(x))
        return torch.relu(x - 0.3).sum(dim=1)

    summed(score, normal(), batch_size=5)
    assert max(seen) == 5


@settings(max_examples=4, deadline=None, derandomize=True)
@given(st.permutations(range(6)))
def test_a_row_gets_the_same_among_other_rows(order):
    score, inputs = score_of(network(nn.ReLU)), normal(6, 20)
    plain, moved = summed(score, inputs), summed(score, inputs[list(order)])
    assert moved.values == pytest.approx(plain.values[list(order)], rel=1e-6, abs=1e-6)


def test_rows_that_wait_for_memory_get_the_same(monkeypatch):
    score, inputs = score_of(network(nn.ReLU)), normal(12, 20)
    plain = summed(score, inputs)
    of_three_rows = 3 * integrated.OPEN_AT_ONCE * 5 * 20 * 8
    monkeypatch.setattr(integrated, "MEMORY_BYTES", of_three_rows)
    assert summed(score, inputs).values == pytest.approx(plain.values, rel=1e-6, abs=1e-6)


def test_pooled_units_are_the_sums_of_their_elements():
    score, inputs = score_of(network(nn.Tanh)), normal(8, 20)
    fine = summed(score, inputs).values
    pairs = summed(score, inputs, pooled=lambda x: x.view(len(x), 10, 2).sum(dim=2)).values
    assert pairs == pytest.approx(fine.reshape(8, 10, 2).sum(axis=2), abs=2e-3)


def test_a_stricter_tolerance_takes_more_gradients_and_comes_closer():
    score, inputs = score_of(network(nn.ReLU)), normal(12, 20)
    reference = fixed_steps(score, inputs, 8192)
    coarse, fine = (summed(score, inputs, precision=Precision(tolerance, 4096)) for tolerance in (1e-2, 3e-4))
    assert fine.n_evaluations.mean() > 2 * coarse.n_evaluations.mean()
    assert relative_error(fine.values, reference).mean() < relative_error(coarse.values, reference).mean() / 3
