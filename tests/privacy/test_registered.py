"""Layers that no rule knows and nothing vectorises, whose author registered a grad sampler with Opacus."""

import pytest
import torch
from opacus.grad_sample import GradSampleModule, register_grad_sampler
from torch import nn
from torch.nn import functional

from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.per_example.book_keeping import Recorder, UnsuitableLayerError
from auditkit.privacy.per_example.registered import registered_layers
from auditkit.privacy.preflight import examine
from auditkit.randomness import torch_rng
from tests.privacy.networks import built
from tests.privacy.reference import clipped_sum_one_by_one, length
from tests.privacy.test_layers import NORM_TOLERANCE, norms_one_by_one


def signs(rows: torch.Tensor) -> torch.Tensor:
    """Asks every row for its values, which ``torch.func.vmap`` does not allow."""
    return rows.new_tensor([1.0 if row.sum().item() > 0 else -1.0 for row in rows])


class Branching(nn.Module):
    """A linear layer, turned round for rows whose sum is negative, by a function that has no rule."""

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_outputs, n_inputs))
        self.inner = nn.Linear(n_outputs, n_outputs)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        turned = torch.einsum("n...i,oi->n...o", rows, self.weight)
        return self.inner(torch.einsum("n...,n->n...", turned, signs(rows)))


class Halved(Branching):
    """The same; its sampler is wrong."""


class Forgotten(Branching):
    """The same; its sampler gives nothing."""


class Unknown(Branching):
    """The same, without a sampler."""


class WithRule(nn.Linear):
    """One that a rule is at hand for."""


class Vectorised(nn.Linear):
    """One without a rule that works under ``torch.func.vmap``."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return torch.einsum("n...i,oi->n...o", rows, self.weight) + self.bias


class UsedTwice(nn.Module):
    """Calls its layer, and uses the weight once more by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = Branching(6, 4)
        self.output = nn.Linear(4, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(torch.tanh(self.layer(rows)) + functional.linear(rows, self.layer.weight))


@pytest.fixture(autouse=True)
def samplers():
    """Those that are registered here, and none of them afterwards.

    The layer within the layer has a rule: samplers are about a layer's own parameters.
    """
    known = dict(GradSampleModule.GRAD_SAMPLERS)

    @register_grad_sampler(Branching)
    def sampler(layer, activations, backprops):
        (rows,) = activations
        into = backprops @ layer.inner.weight
        into = torch.einsum("n...,n->n...", into, signs(rows))
        flat = (part.reshape(len(rows), -1, part.shape[-1]) for part in (into, rows))
        return {layer.weight: torch.einsum("npo,npi->noi", *flat)}

    register_grad_sampler(Halved)(lambda *call: {call[0].weight: sampler(*call)[call[0].weight].sum(dim=0)})
    register_grad_sampler(Forgotten)(lambda *_: {})
    yield
    GradSampleModule.GRAD_SAMPLERS.clear()
    GradSampleModule.GRAD_SAMPLERS.update(known)


def network(kind: type[Branching] = Branching) -> nn.Module:
    return built(lambda: nn.Sequential(nn.Linear(6, 5), kind(5, 4), nn.Tanh(), kind(4, 4), nn.Linear(4, 3)))


def some_rows(n: int = 9, *positions: int):
    rng = torch_rng(n, "branching")
    return torch.randn(n, *positions, 6, generator=rng), torch.randint(0, 3, (n,), generator=rng)


@pytest.mark.parametrize("make", [network, lambda: built(UsedTwice)], ids=["in a row", "used twice"])
def test_norms_and_sums_equal_those_of_one_backward_pass_per_row(make):
    module, (inputs, targets) = make(), some_rows()
    expected = norms_one_by_one(module, inputs, targets)
    bound = 0.5 * float(expected.median())
    with ClippedGradients(module, bound) as clipped:
        norms, found = clipped.norms(inputs, targets), clipped.clipped_sum(inputs, targets)
    torch.testing.assert_close(norms, expected, rtol=NORM_TOLERANCE, atol=0.0, check_dtype=False)
    sums = clipped_sum_one_by_one(module, inputs, targets, bound)
    difference = length([a.double() - b for a, b in zip(found, sums, strict=True)])
    assert difference <= 3 * NORM_TOLERANCE * length(sums)
    assert all("forward" not in vars(layer) for layer in module.modules())


def test_rows_of_a_person_are_added_up():
    module, (inputs, targets) = network(), some_rows(8)
    with ClippedGradients(module, 1e9, rows_per_unit=2) as clipped:
        norms = clipped.norms(inputs, targets)
    with ClippedGradients(module, 1e9) as single:
        pairs = [
            single.clipped_sum(inputs[start : start + 2], targets[start : start + 2])
            for start in range(0, 8, 2)
        ]
    expected = torch.tensor([length(pair) / 2 for pair in pairs])
    torch.testing.assert_close(norms, expected, rtol=3 * NORM_TOLERANCE, atol=0.0, check_dtype=False)


def test_samplers_are_the_last_resort():
    asked = []
    register_grad_sampler([WithRule, Vectorised])(lambda *call: asked.append(call))
    inputs, targets = some_rows()
    for kind in (WithRule, Vectorised):
        module = built(lambda kind=kind: nn.Sequential(kind(6, 3), nn.Tanh()))
        Recorder(module).parts(inputs, targets, None)
    assert not asked


def test_samplers_of_opacus_itself_are_not_asked():
    assert registered_layers(nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Conv1d(1, 1, 1))) == []


def test_a_layer_without_a_sampler_is_refused_as_before():
    with (
        ClippedGradients(network(Unknown), 1.0) as clipped,
        pytest.raises(RuntimeError, match=r"vmap"),
    ):
        clipped.norms(*some_rows())


@pytest.mark.parametrize(("kind", "given"), [(Halved, r"one of shape \(4, 5\)"), (Forgotten, "none")])
def test_a_sampler_that_gives_no_gradient_for_each_row_is_refused(kind, given):
    with (
        ClippedGradients(network(kind), 1.0) as clipped,
        pytest.raises(
            UnsuitableLayerError, match=rf"registered for {kind.__name__} gives {given} for '1\.weight'"
        ),
    ):
        clipped.norms(*some_rows())


def test_the_preflight_takes_such_a_network_and_one_without_a_sampler_not():
    row = torch.zeros(6)
    assert not examine(network(), row, 3).refused
    (problem,) = examine(network(Unknown), row, 3).refused
    assert "register_grad_sampler" in str(problem.message)
