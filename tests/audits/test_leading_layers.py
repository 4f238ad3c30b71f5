"""Layers that are passed once per path."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from auditkit.audits.explainability.straight_path.affine_start import AffineStart
from auditkit.audits.explainability.straight_path.cell_averages import CellAverages
from auditkit.audits.explainability.straight_path.channels_last import ChannelsLast
from auditkit.audits.explainability.straight_path.kinked_start import KinkedStart
from auditkit.audits.explainability.straight_path.paths import Groups, Paths
from auditkit.audits.explainability.straight_path.stretches import (
    kinks_of,
)
from tests.audits.kinked_paths import ROUNDING, drawn, first_output, path_of, relative_error
from tests.audits.paths import fixed_steps, normal, summed


class Outside(torch.autograd.Function):
    """Torch tells nobody of it."""

    @staticmethod
    def forward(ctx, values):
        return values * 2

    @staticmethod
    def backward(ctx, gradient):
        return gradient * 2


def rectified_after_use(hidden):
    before = hidden.mean(dim=(2, 3))
    functional.relu_(hidden)
    return torch.cat([before, functional.max_pool2d(hidden, 2).flatten(1)], dim=1)


def unseen(hidden):
    with torch._C.DisableTorchFunction():
        return functional.max_pool2d(hidden * 1, 2)


def changed_after_it_was_rectified(hidden):
    rectified = hidden.relu()
    hidden.add_(1.0)
    return functional.max_pool2d(rectified, 2) + functional.max_pool2d(hidden, 2)


def changed_in_place_and_left(hidden):
    rectified = hidden.relu()
    hidden.mul_(2.0)
    return rectified


USES = {
    "pooled": lambda hidden: functional.max_pool2d(hidden, 2),
    "pooled, not all of it": lambda hidden: functional.max_pool2d(hidden.relu(), (3, 2)),
    "rectified, then pooled": lambda hidden: functional.max_pool2d(hidden.relu(), 2),
    "rectified in place, then pooled": lambda hidden: functional.max_pool2d(
        functional.relu(hidden, inplace=True), 2
    ),
    "used, rectified in place and pooled": rectified_after_use,
    "given to a function written by hand": lambda hidden: functional.max_pool2d(Outside.apply(hidden), 2),
    "rectified and given to a function written by hand": lambda hidden: functional.max_pool2d(
        Outside.apply(hidden.relu()), 2
    ),
    "taken by what torch does not tell of": unseen,
    "changed in place after it was rectified": changed_after_it_was_rectified,
    "rectified, then changed in place and left": changed_in_place_and_left,
    "used beside the pool": lambda hidden: torch.cat(
        [functional.max_pool2d(hidden.relu(), 2).flatten(1), hidden.flatten(1).tanh()], dim=1
    ),
    "rectified and used beside the pool": lambda hidden: torch.cat(
        [functional.max_pool2d(functional.relu(hidden, inplace=True), 2).flatten(1), hidden.flatten(1)], dim=1
    ),
    "stacked with itself": lambda hidden: functional.max_pool2d(torch.cat([hidden, hidden], dim=1).relu(), 2),
    "asked for its shape": lambda hidden: functional.max_pool2d(hidden.relu(), hidden.shape[-1] // 3),
    "two layers, one pool": lambda hidden: functional.max_pool2d(
        functional.conv2d(hidden, torch.ones(1, 4, 1, 1)), 2
    ),
    "windows of sixteen": lambda hidden: functional.max_pool2d(hidden, 4),
    "windows that overlap": lambda hidden: functional.max_pool2d(hidden.relu(), 3, 1),
    "with indices": lambda hidden: functional.max_pool2d(hidden.relu(), 2, return_indices=True)[0],
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.filterwarnings("ignore:.*torch.compile.*")
def test_whatever_is_done_with_leading_layers_units_agree_with_two_thousand_steps(use):
    layer = drawn(nn.Conv2d(1, 4, 3, padding=1), seed=1)
    inputs = 2 * normal(4, 1, 6, 6, seed=3)

    def score(rows, target):
        found = USES[use](layer(rows)).flatten(1)
        return (found * normal(1, found.shape[1], seed=5)).sum(dim=1)

    found = summed(score, inputs)
    assert found.complete.all()
    assert relative_error(found.values, fixed_steps(score, inputs, 2048)).max() <= 3e-3


LATER_USES = {
    **USES,
    "rectified twice": lambda hidden: functional.max_pool2d(functional.leaky_relu(hidden).relu(), 2),
    "rectified and changed in place": lambda hidden: functional.max_pool2d(
        functional.leaky_relu(hidden).mul_(2.0), 2
    ),
    "rectified and used, then pooled": lambda hidden: (
        functional.avg_pool2d(rectified := hidden.relu(), 2) + functional.max_pool2d(rectified, 2)
    ),
}


@pytest.mark.parametrize("use", LATER_USES)
@pytest.mark.filterwarnings("ignore:.*torch.compile.*")
def test_whatever_is_done_with_later_layers_units_agree_with_two_thousand_steps(use):
    first, second = drawn(nn.Conv2d(1, 3, 3, padding=1), seed=1), drawn(nn.Conv2d(3, 4, 3, padding=1), seed=2)
    inputs = 2 * normal(3, 1, 6, 6, seed=3)

    def score(rows, target):
        found = LATER_USES[use](second(first(rows).relu())).flatten(1)
        return (found * normal(1, found.shape[1], seed=5)).sum(dim=1)

    found = summed(score, inputs)
    assert found.complete.all()
    assert relative_error(found.values, fixed_steps(score, inputs, 2048)).max() <= 3e-3


def test_of_what_is_pooled_its_rectification_is_not_made_before_it_is_asked_for():
    hidden = normal(6, 2, 4, 4, seed=1)
    with CellAverages(6):
        rectified = hidden.relu()
        pooled = functional.max_pool2d(rectified, 2)
        asked_for = rectified + 0.0
    assert rectified.isnan().all()
    assert torch.equal(pooled, functional.max_pool2d(hidden.relu(), 2))
    assert torch.equal(asked_for, hidden.relu())


def test_of_a_leading_pool_neither_numbers_nor_their_rectification_are_made():
    layer = drawn(nn.Conv2d(1, 4, 3, padding=1), seed=1)
    inputs, places = normal(3, 1, 6, 6, seed=1), torch.tensor([[0.2, 0.6]] * 3, dtype=torch.float64)
    start = KinkedStart(Paths(torch.zeros(1, 1, 6, 6), inputs), Groups(torch.arange(3), places, inputs))
    with CellAverages(6), start:
        rectified = layer(start.points).relu()
        pooled = functional.max_pool2d(rectified, 2)
    at = places.float().view(-1, 1, 1, 1) * inputs.repeat_interleave(2, dim=0)
    assert rectified.isnan().all()
    assert torch.allclose(pooled, functional.max_pool2d(layer(at).relu(), 2), atol=ROUNDING)


LEADING_POOLS = {
    1: lambda rows: functional.max_pool1d(rows.view(6, 2, 18), 3),
    2: lambda rows: functional.max_pool2d(rows.view(6, 1, 6, 6), (3, 2)),
    3: lambda rows: functional.max_pool3d(rows.view(6, 1, 4, 3, 3), (2, 1, 3)),
}


@pytest.mark.parametrize("n_dims", LEADING_POOLS)
def test_a_model_may_view_what_a_leading_pool_gave(n_dims):
    inputs, places = normal(3, 36, seed=1), torch.tensor([[0.2, 0.6]] * 3, dtype=torch.float64)
    start = KinkedStart(Paths(torch.zeros(1, 36), inputs), Groups(torch.arange(3), places, inputs))
    with ChannelsLast(), CellAverages(6), start:
        found = LEADING_POOLS[n_dims](start.points).view(6, -1)
    at = places.float().view(-1, 1) * inputs.repeat_interleave(2, dim=0)
    assert torch.allclose(found, LEADING_POOLS[n_dims](at).flatten(1), atol=ROUNDING)


def test_what_is_left_out_of_a_pool_gets_nothing():
    pool = nn.MaxPool1d(2)
    found = summed(first_output(nn.Sequential(nn.Unflatten(1, (1, 5)), pool, nn.Flatten())), normal(3, 5))
    assert (found.values[:, 4] == 0).all()


def test_kinks_are_not_averaged_where_numbers_are_taken_unseen():
    layer = drawn(nn.Conv2d(1, 4, 3, padding=1), seed=1)

    def score(rows, target):
        return unseen(layer(rows)).relu().sum(dim=(1, 2, 3))

    assert kinks_of(path_of(score, normal(4, 1, 6, 6))) == "others"


def test_weights_that_were_changed_between_two_passes_are_not_taken_for_the_same():
    layer = drawn(nn.Linear(6, 3), seed=1)
    inputs, places = normal(2, 6), torch.tensor([[0.2, 0.6]] * 2, dtype=torch.float64)
    paths = Paths(torch.zeros(1, 6), inputs)

    def passed():
        start = AffineStart(paths, Groups(torch.arange(2), places, inputs))
        with start:
            return layer(start.points) * 1

    before = passed()
    with torch.no_grad():
        layer.weight.mul_(2)
        layer.bias.mul_(2)
    assert torch.allclose(passed(), 2 * before)
