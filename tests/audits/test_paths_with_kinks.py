"""Derivatives averaged over parts of a path, through one layer of kinks and through several."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from auditkit.audits.explainability import integrated_gradients as integrated
from auditkit.audits.explainability.straight_path.affine_start import AffineStart
from auditkit.audits.explainability.straight_path.cell_averages import CellAverages
from auditkit.audits.explainability.straight_path.paths import Groups, Paths
from auditkit.audits.explainability.straight_path.stretches import (
    first_stretches,
    kinks_of,
    paths_of,
)
from tests.audits.kinked_paths import FEWEST, ROUNDING, drawn, first_output, path_of, relative_error
from tests.audits.paths import fixed_steps, normal, summed

# --- one layer of kinks ----------------------------------------------------------------------------


def straight_share(before, after, low, high):
    """For which part of the way from ``before`` to ``after`` a number is between ``low`` and ``high``."""
    places = np.sort(np.clip([(end - before) / (after - before) for end in (low, high)], 0, 1))
    return places[1] - places[0]


@pytest.mark.parametrize(
    ("activation", "ends", "outside"),
    [
        (nn.ReLU(), (0, np.inf), 0.0),
        (nn.ReLU(inplace=True), (0, np.inf), 0.0),
        (nn.LeakyReLU(0.1), (0, np.inf), 0.1),
        (nn.ReLU6(), (0, 6), 0.0),
        (nn.Hardtanh(-0.5, 0.7), (-0.5, 0.7), 0.0),
    ],
    ids=lambda value: str(value) if isinstance(value, nn.Module) else "",
)
def test_one_layer_of_kinks_is_summed_exactly_with_the_first_gradients(activation, ends, outside):
    hidden, output = drawn(nn.Linear(6, 30), seed=1), drawn(nn.Linear(30, 1), seed=2)
    inputs = 4 * normal(20, 6, seed=3)
    found = summed(first_output(nn.Sequential(hidden, activation, output)), inputs)
    weights, bias, to_score = (
        parameter.detach().double().numpy() for parameter in (hidden.weight, hidden.bias, output.weight[0])
    )
    ends_of_rows = inputs.double().numpy() @ weights.T + bias
    slopes = np.array(
        [
            [straight_share(start, end, *ends) for start, end in zip(bias, row, strict=True)]
            for row in ends_of_rows
        ]
    )
    slopes = outside + (1 - outside) * slopes
    exact = (slopes * to_score) @ weights * inputs.double().numpy()
    assert (found.n_evaluations == FEWEST).all()
    assert relative_error(found.values, exact).max() <= ROUNDING
    assert (found.gap <= found.gap_allowed / 10).all()


@settings(max_examples=30, deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-1, 1))
def test_the_larger_of_two_numbers_goes_to_the_one_that_is_larger_for_how_long_it_is(a, b, lead):
    """The second starts with a lead; both move straight, so they are equal once at most."""
    assume(abs(lead) > 0.01)
    places = (np.arange(100_000) + 0.5) / 100_000
    first = np.mean(a * places > b * places + lead)

    def score(inputs, target):
        raised = inputs + torch.tensor([0.0, lead], dtype=inputs.dtype)
        return functional.max_pool1d(raised.unsqueeze(1), 2).flatten()

    found = summed(score, torch.tensor([[a, b], [1.0, 2.0]]))
    assert found.values[0] == pytest.approx([a * first, b * (1 - first)], abs=1e-4)


def test_a_rectifier_that_is_called_by_name_is_averaged_as_well():
    rows = torch.tensor([[-1.0], [1.0]], requires_grad=True)
    with CellAverages(2) as averages:
        bent = functional.relu(input=rows) + torch.relu(input=rows)
    (gradient,) = torch.autograd.grad(bent.sum(), rows)
    assert averages.understood == [True, True]
    assert gradient.flatten().tolist() == [0.0, 2.0]


# --- pooling ---------------------------------------------------------------------------------------

POOLS = [
    nn.MaxPool1d(2),
    nn.MaxPool1d(3, stride=2, padding=1),
    nn.MaxPool2d(2),
    nn.MaxPool2d(2, ceil_mode=True),
    nn.MaxPool2d((3, 2), stride=(2, 1), padding=(1, 0)),
    nn.MaxPool2d(3, stride=2, padding=1, ceil_mode=True),
    nn.MaxPool2d(2, stride=1, dilation=2),
    nn.MaxPool2d(2, stride=3),
    nn.MaxPool3d(2),
]


def shape_for(pool, size=7):
    return (2, *[size] * int(type(pool).__name__[-2]))


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_pools_give_what_torch_gives(pool):
    values = normal(4, *shape_for(pool))
    with CellAverages(4):
        assert torch.equal(pool(values), pool(values.clone()))
    with CellAverages(4):
        rectified = pool(values.relu())
    assert torch.equal(rectified, pool(values.relu()))


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_of_equal_numbers_in_a_window_the_first_gets_the_gradient_as_in_torch(pool):
    """Two points at which nothing changes; of three different numbers some are the largest at once."""
    one = normal(1, *shape_for(pool)).round().clamp(-1, 1)
    values = one.expand(2, *one.shape[1:]).clone().requires_grad_(True)
    weights = normal(*pool(values)[:1].shape, seed=2)
    with CellAverages(2):
        found = pool(values)
    (gradient,) = torch.autograd.grad((found * weights).sum(), values)
    (expected,) = torch.autograd.grad((pool(values) * weights).sum(), values)
    assert torch.allclose(gradient, expected, atol=ROUNDING)


@pytest.mark.parametrize("pool", POOLS, ids=str)
def test_pooled_units_agree_with_eight_thousand_steps(pool):
    inputs = normal(6, *shape_for(pool), seed=1)
    start = normal(1, *inputs.shape[1:], seed=4) / 2
    weights = normal(1, pool(inputs)[0].numel(), seed=2)

    def score(values, target):
        return (pool((values + start).relu()).flatten(1) * weights).sum(dim=1)

    found = summed(score, inputs)
    assert kinks_of(path_of(score, inputs)) == "averaged"
    assert found.complete.all()
    assert relative_error(found.values, fixed_steps(score, inputs)).max() <= 2e-3


def test_what_is_equal_along_the_whole_path_goes_to_the_first_as_in_torch():
    weights = normal(1, 1, 6, 6, seed=1)

    def score(values, target):
        return (functional.max_pool2d(values, 2) * weights[..., ::2, ::2]).sum(dim=(1, 2, 3))

    inputs = torch.ones(2, 1, 6, 6)
    inputs[1, 0, 0, 1] = 2.0
    assert summed(score, inputs).values == pytest.approx(fixed_steps(score, inputs, 8), abs=ROUNDING)


# --- several layers --------------------------------------------------------------------------------


class Residual(nn.Module):
    """Reads its inputs twice, rectifies in place, pools what overlaps."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 5, 3, padding=1)
        self.second = nn.Conv2d(5, 5, 3, padding="same", groups=5)
        self.output = nn.Linear(45, 3)

    def forward(self, rows):
        hidden = self.first(rows)
        bent = functional.relu(hidden, inplace=True)
        hidden = functional.leaky_relu(self.second(bent) + hidden, 0.2)
        hidden = functional.max_pool2d(hidden, 3, 2, 1) + functional.avg_pool2d(rows, 2).mean(1, keepdim=True)
        return self.output(hidden.flatten(1))


class Viewing(nn.Module):
    """Views what its second convolution gave in a shape that another order of numbers would refuse."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 5, 3, padding=1)
        self.output = nn.Linear(45, 3)

    def forward(self, rows):
        hidden = functional.max_pool2d(self.first(rows).relu(), 2)
        return self.output(self.second(hidden).view(len(rows), -1).relu())


NETWORKS = {
    "convolutions": lambda: (
        nn.Sequential(
            nn.Unflatten(1, (1, 12, 12)),
            nn.Conv2d(1, 4, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(4, 6, 3, stride=2, bias=False),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24, 16),
            nn.ReLU(),
            nn.Linear(16, 3),
        ),
        (144,),
    ),
    "one dimension": lambda: (
        nn.Sequential(
            nn.Conv1d(3, 8, 3, dilation=2),
            nn.BatchNorm1d(8),
            nn.ReLU6(),
            nn.MaxPool1d(2),
            nn.Flatten(),
            nn.Linear(32, 2),
        ),
        (3, 12),
    ),
    "three dimensions": lambda: (
        nn.Sequential(nn.Conv3d(1, 3, 2), nn.Hardtanh(), nn.MaxPool3d(2), nn.Flatten(), nn.Linear(24, 2)),
        (1, 5, 5, 5),
    ),
    "residual": lambda: (Residual(), (2, 6, 6)),
    "viewing": lambda: (Viewing(), (2, 6, 6)),
    "kinks and curves": lambda: (
        nn.Sequential(nn.Linear(8, 24), nn.ReLU(), nn.Linear(24, 24), nn.Tanh(), nn.Linear(24, 1)),
        (8,),
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_every_unit_agrees_with_eight_thousand_steps(name):
    module, shape = NETWORKS[name]()
    score, inputs = first_output(drawn(module)), 2 * normal(8, *shape, seed=1)
    assert kinks_of(path_of(score, inputs)) == "averaged"
    found, reference = summed(score, inputs), fixed_steps(score, inputs)
    assert found.complete.all()
    assert relative_error(found.values, reference).max() <= 2.5e-3
    assert np.abs(found.values.sum(axis=1) - found.change).max() <= found.gap_allowed.max()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_model_gives_what_it_always_gives(name):
    module, shape = NETWORKS[name]()
    drawn(module)
    inputs = normal(3, *shape, seed=1)
    places = torch.tensor([[0.2, 0.6]] * 3, dtype=torch.float64)
    start = AffineStart(Paths(torch.zeros(1, *shape), inputs), Groups(torch.arange(3), places, inputs))
    with CellAverages(6), start:
        found = module(start.points)
    at = (places.float().flatten().view(-1, *[1] * len(shape)) * inputs.repeat_interleave(2, dim=0)).detach()
    assert torch.allclose(found, module(at), atol=ROUNDING, rtol=ROUNDING)


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_that_are_taken_back_through_the_first_layers_are_those_of_autograd(name):
    module, shape = NETWORKS[name]()
    drawn(module)
    inputs = normal(3, *shape, seed=1)
    places = torch.tensor([[0.2, 0.6]] * 3, dtype=torch.float64)
    start = AffineStart(Paths(torch.zeros(1, *shape), inputs), Groups(torch.arange(3), places, inputs))
    with start:
        total = module(start.points).square().sum()
    found = start.summed_gradients(total)
    at = places.float().flatten().view(-1, *[1] * len(shape)) * inputs.repeat_interleave(2, dim=0)
    at = at.detach().requires_grad_(True)
    (each,) = torch.autograd.grad(module(at).square().sum(), at)
    expected = each.view(3, 2, *shape).sum(dim=1)
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("batch_size", [3, 16, 256])
def test_batch_size_changes_nothing(batch_size):
    module, shape = NETWORKS["convolutions"]()
    score, inputs = first_output(drawn(module)), normal(5, *shape, seed=1)
    found, reference = summed(score, inputs, batch_size=batch_size), summed(score, inputs)
    assert found.values == pytest.approx(reference.values, rel=1e-4, abs=ROUNDING)
    assert (found.n_evaluations == reference.n_evaluations).all()


@pytest.mark.parametrize("batch_size", [3, 5])
def test_no_batch_holds_more_points_than_allowed(batch_size):
    """Stretches get up to eight, once much is asked of them."""
    module, shape = NETWORKS["convolutions"]()
    first, seen = first_output(drawn(module)), []

    def score(inputs, target):
        seen.append(len(inputs))
        return first(inputs, target)

    found = summed(score, normal(2, *shape, seed=1), batch_size=batch_size, tolerance=2e-4)
    assert found.n_evaluations.max() > 4 * FEWEST
    assert max(seen) <= batch_size


def two_layers_of_kinks():
    """A score, and rows of which some nearly add up with eight gradients, and some do not."""
    module = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 1))
    return first_output(drawn(module)), 2 * normal(24, 5, seed=4)


def test_rows_that_do_not_add_up_with_the_first_gradients_get_three_times_as_many_and_others_twice():
    score, inputs = two_layers_of_kinks()
    found = summed(score, inputs, tolerance=3e-3)
    path = path_of(score, inputs)
    first = first_stretches(path, paths_of(path), 4)
    sums = torch.zeros(len(inputs)).index_add(0, first.row, first.sums.sum(dim=1)).numpy()
    adds_up = np.abs(sums - found.change) <= found.gap_allowed
    assert 4 < adds_up.sum() < 20
    assert found.n_evaluations[adds_up].min() == FEWEST
    assert found.n_evaluations[~adds_up].min() == FEWEST // 3 * 4


def test_no_row_gets_three_times_as_many_where_that_would_be_too_many():
    score, inputs = two_layers_of_kinks()
    assert set(summed(score, inputs, max_evaluations=FEWEST).n_evaluations) == {FEWEST}


def test_how_many_rows_are_walked_at_once_changes_nothing(monkeypatch):
    module, shape = NETWORKS["convolutions"]()
    score, inputs = first_output(drawn(module)), normal(5, *shape, seed=1)
    together = summed(score, inputs)
    monkeypatch.setattr(integrated, "ELEMENTS_AT_ONCE", 2 * inputs[0].numel())
    found = summed(score, inputs)
    assert found.values == pytest.approx(together.values, rel=1e-4, abs=ROUNDING)
    assert (found.n_evaluations == together.n_evaluations).all()


def test_two_runs_are_equal_bit_for_bit():
    module, shape = NETWORKS["residual"]()
    score, inputs = first_output(drawn(module)), normal(5, *shape, seed=1)
    assert (summed(score, inputs).values == summed(score, inputs).values).all()


def test_parameters_are_left_without_gradients():
    module, shape = NETWORKS["residual"]()
    before = {name: value.clone() for name, value in drawn(module).state_dict().items()}
    summed(first_output(module), normal(2, *shape, seed=1))
    assert all(parameter.grad is None for parameter in module.parameters())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_kinks_are_not_averaged_where_rows_do_not_come_first():
    """Neighbours in the first dimension are then not neighbours on a path."""
    inner, output = drawn(nn.Linear(4, 16), seed=1), drawn(nn.Linear(16, 1), seed=2)

    def score(rows, target):
        return output(inner(rows.transpose(0, 1)).relu()).mean(dim=0).flatten()

    inputs = 2 * normal(6, 5, 4, seed=3)
    found = summed(score, inputs)
    assert kinks_of(path_of(score, inputs)) == "others"
    assert found.complete.all()
    assert relative_error(found.values, fixed_steps(score, inputs)).max() <= 2e-3


OTHER_KINKS = {
    "maximum": torch.maximum,
    "absolute value": lambda one, other: one - other.abs(),
    "written by hand": lambda one, other: other + torch.where(one > 0.1, one - 0.1, 0.0),
    "clipped": lambda one, other: (one + other).clamp(min=0.2),
    "sorted": lambda one, other: torch.stack([one, other]).sort(dim=0).values[0],
    "adaptive pool": lambda one, other: functional.adaptive_max_pool1d(torch.cat([one, other], dim=1), 12),
}


@pytest.mark.parametrize("name", OTHER_KINKS)
def test_with_kinks_that_are_not_averaged_gradients_are_taken_at_points(name):
    first, output = drawn(nn.Linear(6, 24), seed=1), drawn(nn.Linear(12, 1), seed=2)

    def score(rows, target):
        one, other = first(rows).relu().sub(0.3).chunk(2, dim=1)
        return output(OTHER_KINKS[name](one, other)).flatten()

    inputs = 2 * normal(12, 6, seed=3)
    found = summed(score, inputs)
    assert kinks_of(path_of(score, inputs)) == "others"
    assert found.complete.all()
    assert relative_error(found.values, fixed_steps(score, inputs)).max() <= 3e-3


class Hidden(torch.autograd.Function):
    """The larger of two, found outside of torch."""

    @staticmethod
    def forward(ctx, one, other):
        first = torch.from_numpy(one.detach().numpy() > other.detach().numpy())
        ctx.save_for_backward(first)
        return one * first + other * ~first

    @staticmethod
    def backward(ctx, gradient):
        (first,) = ctx.saved_tensors
        return gradient * first, gradient * ~first


@pytest.mark.parametrize("seed", [1, 2, 9, 17])
def test_rows_that_do_not_add_up_for_a_kink_that_is_not_seen_get_gradients_at_points(seed):
    first, output = drawn(nn.Linear(6, 24), seed=seed), drawn(nn.Linear(12, 1), seed=2)

    def score(rows, target):
        return output(Hidden.apply(*first(rows).relu().sub(0.3).chunk(2, dim=1))).flatten()

    inputs = 2 * normal(12, 6, seed=3)
    found = summed(score, inputs)
    assert kinks_of(path_of(score, inputs)) == "averaged"
    assert (found.gap <= found.gap_allowed).all()
    assert relative_error(found.values, fixed_steps(score, inputs)).max() <= 2e-2
