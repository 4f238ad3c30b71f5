"""Smooth paths, followed by rational functions through few points."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auditkit.audits.explainability.straight_path.curves import FIRST, STAGES, are_settled
from auditkit.audits.explainability.straight_path.points import StraightPath
from auditkit.audits.explainability.straight_path.progress import Goal, Sums
from auditkit.audits.explainability.straight_path.rational import (
    Between,
    Samples,
    counts_at,
    nearness,
    straight_at_middles,
    through_all,
    weights_through,
)
from auditkit.audits.explainability.straight_path.shares import Shares
from auditkit.audits.explainability.straight_path.stretches import kinks_of
from tests.audits.paths import fixed_steps, normal, summed

ROUNDING = 1e-5
TOLERANCE = 1e-3


def error_over_allowed(found, exact):
    return np.linalg.norm(found.values - exact, axis=1) / found.error_allowed


def ridge(curve, weights, offset):
    """A score that depends on one sum alone: its change is shared as that sum is."""
    return lambda inputs, _target: curve(inputs @ weights - offset)


CURVES = {
    "gentle": torch.tanh,
    "sharp": lambda z: torch.sigmoid(20 * z),
    "sharper": lambda z: torch.sigmoid(100 * z),
    "bump": lambda z: torch.exp(-8 * z.square()),
    "pole nearby": lambda z: 1 / (z.square() + 0.01),
    "wave": lambda z: torch.sin(6 * z),
}


# --- known sums ------------------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0.3, 1.7])
@pytest.mark.parametrize("name", CURVES)
def test_a_score_of_one_sum_is_shared_as_that_sum_is(name, offset):
    weights, inputs = torch.tensor([0.5, 1.5, -1.0]), normal(64, 3) + 1
    found = summed(ridge(CURVES[name], weights, offset), inputs)
    parts = (inputs * weights).double().numpy()
    exact = parts / parts.sum(axis=1, keepdims=True) * found.change[:, None]
    usable = np.abs(parts.sum(axis=1)) > 0.05  # else rounding of the sum decides on the shares
    assert found.complete.all()
    assert error_over_allowed(found, exact)[usable].max() <= 2.5


def test_a_rational_score_is_summed_with_the_fewest_points():
    """A function that the curve can follow exactly is known as soon as one more point confirms it."""
    inputs = 0.5 + normal(32, 1, seed=1).abs()
    found = summed(lambda x, _: 1 / (1 + x[:, 0]), inputs)
    assert found.values == pytest.approx(found.change[:, None], rel=TOLERANCE)
    assert found.n_evaluations.max() <= len(FIRST) + 3


@pytest.mark.parametrize(("steepness", "most"), [(20, 11), (60, 16)])
def test_shares_that_stay_are_known_although_the_bend_is_followed_badly(steepness, most):
    """The score says how much there is to share, and every gradient between whom."""
    weights, inputs = torch.tensor([0.5, 1.5, -1.0]), normal(64, 3) + 1
    found = summed(ridge(lambda z: torch.sigmoid(steepness * z), weights, 0.4), inputs)
    parts = (inputs * weights).double().numpy()
    exact = parts / parts.sum(axis=1, keepdims=True) * found.change[:, None]
    bent = found.change > 0.5
    assert error_over_allowed(found, exact)[bent].max() <= 1
    assert found.n_evaluations[bent].mean() <= most


def test_units_that_cancel_in_the_score_are_summed_as_exactly_as_others():
    """Of the difference of two equal parts nothing is left in the score, but of each part in its units."""

    def score(x, _target):
        return torch.tanh(3 * x[:, 0]) * x[:, 1] - torch.tanh(3 * x[:, 2]) * x[:, 3] + 0.01 * x[:, 0]

    halves = normal(32, 2, seed=2)
    found = summed(score, torch.cat([halves, halves], dim=1))
    mirrored = -found.values[:, 2:]
    own = found.values[:, :2] - 0.01 * np.column_stack([halves[:, 0].numpy(), np.zeros(32)])
    assert (np.linalg.norm(own - mirrored, axis=1) <= 2 * found.error_allowed).all()


# --- networks --------------------------------------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.output = nn.LSTM(4, 12, batch_first=True), nn.Linear(12, 1)

    def forward(self, inputs):
        return self.output(self.cells(inputs)[0][:, -1])


NETWORKS = {
    "tanh": lambda: (nn.Sequential(nn.Linear(8, 24), nn.Tanh(), nn.Linear(24, 1)), (8,)),
    "gelu": lambda: (
        nn.Sequential(
            nn.Linear(8, 32), nn.GELU(), nn.LayerNorm(32), nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 1)
        ),
        (8,),
    ),
    "recurrent": lambda: (Recurrent(), (6, 4)),
    "transformer": lambda: (
        nn.Sequential(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True),
            nn.Flatten(),
            nn.Linear(40, 1),
        ),
        (5, 8),
    ),
    "convolutions": lambda: (
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.SiLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 1)),
        (1, 8, 8),
    ),
}


def drawn(name, seed=0):
    """A network of this form with large weights of its own, as a score, and the shape of its rows."""
    module, shape = NETWORKS[name]()
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(generator=rng).mul_(0.7)
    module.eval().requires_grad_(requires_grad=False)
    return lambda inputs, _target: module(inputs)[:, 0], shape


@pytest.mark.parametrize("name", NETWORKS)
def test_every_unit_agrees_with_thousands_of_steps(name):
    score, shape = drawn(name)
    inputs = 1.5 * normal(8, *shape, seed=3)
    found = summed(score, inputs)
    over = error_over_allowed(found, fixed_steps(score, inputs, 4096))
    assert found.complete.all()
    assert over.max() <= 2.5
    assert over.mean() <= 1
    assert np.median(found.n_evaluations) <= STAGES[-1]


@pytest.mark.parametrize("name", NETWORKS)
def test_errors_are_as_large_as_stated_or_smaller_in_the_mean_square(name):
    score, shape = drawn(name, seed=1)
    inputs = 1.5 * normal(16, *shape, seed=4)
    found = summed(score, inputs, tolerance=1e-2)
    error = np.linalg.norm(found.values - fixed_steps(score, inputs, 2048), axis=1)
    assert (
        np.square(error).mean() <= np.square(found.error).mean() + (ROUNDING * found.error_allowed.max()) ** 2
    )


# --- where curves do not do ------------------------------------------------------------------------


class _Step(torch.autograd.Function):
    """The larger of a number and zero, by a function whose kink nobody sees."""

    @staticmethod
    def forward(ctx, values):
        ctx.save_for_backward(values)
        return values * (values > 0)

    @staticmethod
    def backward(ctx, gradient):
        (values,) = ctx.saved_tensors
        return gradient * (values > 0)


def test_a_kink_that_nobody_sees_is_found_all_the_same():
    weights, inputs = torch.tensor([1.0, 2.0, -0.5]), normal(32, 3, seed=5)
    found = summed(lambda x, _: _Step.apply(x @ weights - 0.4), inputs)
    parts = (inputs * weights).double().numpy()
    exact = parts / parts.sum(axis=1, keepdims=True) * found.change[:, None]
    assert found.complete.all()
    assert error_over_allowed(found, exact).max() <= 2.5


class _Steeper(torch.autograd.Function):
    """A number, and a gradient that is too large by a tenth."""

    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return 1.1 * gradient


def test_slopes_that_are_not_those_of_the_score_are_not_set_right_by_it():
    found = summed(lambda x, _: _Steeper.apply(torch.tanh(x).sum(dim=1)), normal(16, 3))
    assert not found.complete.any()
    assert (found.gap > found.gap_allowed).all()


def test_bounds_on_lengths_and_masks_are_no_kinks():
    """As of a recurrent network that looks where its rows end."""
    lengths = torch.tensor([0, 2, 3])

    def score(inputs, target):
        last = (lengths[target] - 1).clamp(min=0)
        chosen = torch.where(last > 0, last, torch.zeros_like(last))
        return torch.tanh(inputs).gather(1, chosen.unsqueeze(1)).squeeze(1)

    inputs = normal(3, 4)
    path = StraightPath(score, inputs, torch.zeros(1, 4), torch.arange(3), torch.clone, 8)
    assert kinks_of(path) == "none"


def test_a_row_whose_score_is_not_finite_leaves_the_others_alone():
    inputs = normal(6, 2, seed=6).abs() + 0.1
    broken = inputs.clone()
    broken[2] = torch.inf
    score = ridge(torch.tanh, torch.tensor([1.0, 1.0]), 0.5)
    found, alone = summed(score, broken), summed(score, inputs)
    assert not found.complete[2]
    others = [0, 1, 3, 4, 5]
    assert found.complete[others].all()
    assert found.values[others] == pytest.approx(alone.values[others], rel=10 * TOLERANCE)


@pytest.mark.parametrize(
    "curve",
    [
        torch.sqrt,
        torch.log,
        lambda x: (1e30 * x).square(),
        lambda x: (100 * x).exp(),
        lambda x: x * torch.nan,
    ],
    ids=["steep at the baseline", "without a score there", "overflow", "explosion", "no number"],
)
@pytest.mark.filterwarnings("error")
def test_what_is_not_finite_is_not_complete_and_warns_nobody(curve):
    found = summed(lambda x, _: curve(x).sum(dim=1), normal(4, 2, seed=6).abs() + 0.5)
    is_wrong = ~np.isfinite(found.values).all(axis=1) | ~np.isfinite(found.change)
    assert is_wrong.any()
    assert not (is_wrong & found.complete).any()


@pytest.mark.filterwarnings("error")
def test_scores_whose_squares_are_too_large_do_not_make_every_row_complete():
    """Slopes are infinite in single precision here, scores are not."""
    inputs = normal(4, 2, seed=6).abs() + 0.5
    found = summed(lambda x, _: (1e200 * x.double() ** 3).sum(dim=1), inputs)
    assert np.isfinite(found.gap_allowed).all()
    assert not found.complete.any()


@pytest.mark.parametrize("most", [4, 5, 6, 12])
def test_no_more_gradients_are_taken_than_allowed(most):
    score, shape = drawn("gelu")
    found = summed(score, normal(8, *shape), max_evaluations=most)
    assert found.n_evaluations.max() <= max(most, 9)  # nine tell the least about pieces
    assert np.isfinite(found.values).all()


def test_rows_that_stop_early_still_say_how_far_off_they_are():
    score, shape = drawn("recurrent")
    inputs = 2 * normal(8, *shape)
    found = summed(score, inputs, max_evaluations=8)
    assert not found.complete.all()
    assert (found.error[~found.complete] > 0).all()


# --- what must not matter --------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 16, 256])
@pytest.mark.parametrize("name", ["recurrent", "transformer"])
def test_batch_size_changes_a_small_part_of_the_error_at_most(name, batch_size):
    """Rounding of the model enters the denominator, and once in a while decides between two of them."""
    score, shape = drawn(name)
    inputs = normal(32, *shape)
    found, reference = summed(score, inputs, batch_size=batch_size), summed(score, inputs)
    moved = np.linalg.norm(found.values - reference.values, axis=1) / reference.error_allowed
    assert np.median(moved) <= 0.01
    assert (moved <= 0.1).mean() >= 0.95
    assert moved.max() <= 1


def test_two_runs_are_equal_bit_for_bit():
    score, shape = drawn("recurrent")
    inputs = normal(9, *shape)
    assert (summed(score, inputs).values == summed(score, inputs).values).all()


@settings(max_examples=10, deadline=None)
@given(exponent=st.integers(-20, 20))
def test_a_score_in_other_units_gives_attributions_in_those(exponent):
    """By powers of two, which no rounding sees."""
    score, shape = drawn("tanh")
    inputs, factor = normal(4, *shape), 2.0**exponent
    found = summed(lambda x, target: factor * score(x, target), inputs)
    assert found.values == pytest.approx(factor * summed(score, inputs).values, rel=1e-9)


# --- the functions themselves ----------------------------------------------------------------------


def samples_of(places, curves):
    """Points of one path whose units are the slopes of ``curves``, polynomials over polynomials."""
    at = torch.tensor(places, dtype=torch.float64, requires_grad=True)
    values = torch.stack([curve(at) for curve in curves])
    slopes = torch.stack([torch.autograd.grad(v.sum(), at, retain_graph=True)[0] for v in values], dim=1)
    return Samples.of(
        np.array([0]),
        at.detach().numpy()[None],
        values.sum(dim=0).detach().numpy()[None],
        slopes.numpy()[None],
    )


def functions(samples, n):
    """Weights of functions that leave out one point, two, and so on."""
    return weights_through(samples, samples.nearness, n)


@settings(max_examples=30, deadline=None)
@given(pole=st.floats(0.1, 3), height=st.floats(-2, 2))
def test_a_rational_function_is_met_between_its_points(pole, height):
    curves = (lambda t: 1 / (t + pole), lambda t: height * t / (t + pole))
    samples = samples_of([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95], curves)
    places = np.array([[0.1, 0.4, 0.9]])
    weights = functions(samples, 2)[:, 1]
    found = counts_at(nearness(places, samples.places), weights) @ samples.slopes
    exact = samples_of([0.1, 0.4, 0.9], curves).slopes
    assert found == pytest.approx(exact, rel=1e-3, abs=1e-6)


def test_what_a_function_does_not_pass_through_does_not_count():
    samples = samples_of([0.1, 0.3, 0.5, 0.7, 0.9], (torch.sin, torch.exp))
    weights = functions(samples, 2)
    assert weights.shape == (1, 2, 5)
    assert (weights[0, 0, 4:] == 0).all()
    assert (weights[0, 1, 3:] == 0).all()


@settings(max_examples=20, deadline=None)
@given(pole=st.floats(0.1, 3), height=st.floats(-2, 2))
def test_a_function_through_all_points_keeps_its_denominator(pole, height):
    """What it did not pass through it now does, and what it followed already it still follows."""
    curves = (lambda t: 1 / (t + pole), lambda t: height * t / (t + pole))
    samples = samples_of([0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95], curves)
    weights = through_all(samples.nearness, functions(samples, 3))
    assert (weights != 0).all()
    places = np.array([[0.1, 0.4, 0.9]])
    exact = samples_of([0.1, 0.4, 0.9], curves).slopes
    for function in range(3):
        found = counts_at(nearness(places, samples.places), weights[:, function]) @ samples.slopes
        assert found == pytest.approx(exact, rel=1e-3, abs=1e-6)


def test_a_function_through_all_points_meets_what_it_left_out():
    """Whatever the denominator, close to a point it is close to what was found there."""
    samples = samples_of([0.1, 0.3, 0.5, 0.7, 0.9], (torch.sin, torch.exp))
    weights = through_all(samples.nearness, functions(samples, 2))
    for function in range(2):
        found = counts_at(nearness(samples.places + 1e-9, samples.places), weights[:, function])
        assert found @ samples.slopes == pytest.approx(samples.slopes, abs=1e-6)


def test_counts_integrate_a_function_that_is_followed_exactly():
    curves = (lambda t: 1 / (t + 0.5), lambda t: t / (t + 0.5))
    samples = samples_of([0.0, 0.2, 0.35, 0.5, 0.65, 0.8, 0.95], curves)
    between = Between.of(samples, np.array([[(1 + 1) / 1.5]]))
    found = between.counts(functions(samples, 2)) @ samples.totals[0]
    assert found[0, 0] == pytest.approx(between.rises[0], rel=1e-6)
    assert found[0, 1] == pytest.approx(between.rises[0], rel=1e-6)


# --- what follows the score ------------------------------------------------------------------------


def test_of_slopes_that_are_shared_alike_nothing_is_left():
    shares = (0.5, 0.8, -0.3)
    samples = samples_of([0.1, 0.4, 0.8], [lambda t, part=part: part * torch.sin(3 * t) for part in shares])
    counts = normal(1, 2, 3).double().numpy()
    found = Shares.of(samples, np.ones((1, 3)))
    assert found.counts @ samples.slopes[0] == pytest.approx(np.array([shares]))
    assert found.following(samples, counts) == pytest.approx(samples.squared_lengths(counts))


def test_of_slopes_that_cancel_nothing_follows_the_score():
    """Two units against each other, and a third that makes the score alone."""
    samples = samples_of([0.1, 0.4, 0.8], (torch.exp, lambda t: -torch.exp(t), torch.sin))
    found = Shares.of(samples, np.ones((1, 3)))
    counts = np.array([[[1.0, -1.0, 0.5]]])
    slopes, shares = counts[0, 0] @ samples.slopes[0], found.counts[0] @ samples.slopes[0]
    left = slopes - shares * slopes.sum()
    assert (samples.squared_lengths(counts) - found.following(samples, counts)).item() == pytest.approx(
        left @ left
    )
    assert shares.sum() == pytest.approx(1)


def test_counts_of_the_points_sum_to_the_width_of_a_segment_whatever_the_weights():
    """A constant is summed exactly."""
    samples = samples_of([0.1, 0.3, 0.5, 0.7, 0.9], (torch.sin, torch.exp))
    near = nearness(np.array([[0.2, 0.6]]), samples.places)
    assert counts_at(near, normal(1, 5).double().numpy()).sum(axis=2) == pytest.approx(np.ones((1, 2)))


def test_straight_lines_go_from_point_to_point_in_the_order_of_places():
    samples = samples_of([0.5, 0.1, 0.9], (torch.square,))
    between = Between.of(samples, np.array([[1.0]]))
    assert between.middles == pytest.approx(np.array([[0.3, 0.7, 0.95]]))
    found = straight_at_middles(samples, between) @ samples.slopes
    assert found[..., 0] == pytest.approx(np.array([[0.6, 1.4, 1.8]]))


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**16))
def test_paths_are_done_when_their_sums_are(seed):
    """The rule stands in two forms, for few numbers and for many."""
    rng = np.random.default_rng(seed)
    sums, change = rng.normal(size=(32, 3)), torch.from_numpy(rng.normal(size=32))
    sums[::2] += ((change.numpy() - sums.sum(axis=1)) / 3)[::2, None]
    errors = np.exp(rng.normal(size=32)) * 1e-3
    goal = Goal(torch.zeros(32), change, torch.full((32,), 1e-3), 1e-3, torch.full((32,), 1.0), 100)
    as_tensors = Sums(torch.from_numpy(sums), torch.from_numpy(errors), torch.zeros(32))
    expected = as_tensors.settle(goal).numpy()
    assert 0 < expected.sum() < 32
    assert (are_settled(goal, np.arange(32), sums, errors) == expected).all()
