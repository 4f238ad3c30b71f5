"""Clipped sums against one backward pass per row, and the sensitivity that the guarantee rests on."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auditkit.models.losses import per_row_loss
from auditkit.privacy.clipping import ROUNDING_SLACK, ClippedGradients
from auditkit.randomness import torch_rng
from tests.privacy.networks import OfCell, Sequences, Shared, built, convolutional, dilated, mlp, strided
from tests.privacy.reference import clipped_sum_one_by_one, length
from tests.tolerances import FLOAT32


def rows(n: int, shape: tuple[int, ...] = (6,), *, scale: float = 1.0, tokens: bool = False):
    rng = torch_rng(0, "rows")
    inputs = (
        torch.randint(0, 5, (n, *shape), generator=rng) if tokens else torch.randn(n, *shape, generator=rng)
    )
    return inputs * scale if not tokens else inputs, torch.randint(0, 3, (n,), generator=rng)


def dilated_on_rows() -> nn.Module:
    module = dilated()
    module(torch.zeros(1, 2, 12))  # the lazy layer takes its width
    return module


CASES = {
    "mlp": (mlp, {"shape": (6,)}),
    "mlp, large gradients": (mlp, {"shape": (6,), "scale": 30.0}),
    "convolution and group norm": (convolutional, {"shape": (1, 6, 6)}),
    "rnn": (lambda: OfCell(nn.RNN), {"shape": (5, 6)}),
    "rnn, relu, no bias": (lambda: OfCell(nn.RNN, nonlinearity="relu", bias=False), {"shape": (5, 6)}),
    "gru": (lambda: OfCell(nn.GRU), {"shape": (5, 6)}),
    "lstm": (lambda: OfCell(nn.LSTM), {"shape": (5, 6)}),
    "lstm, many steps": (lambda: OfCell(nn.LSTM), {"shape": (40, 6)}),
    "shared and tied layers, own parameter": (Shared, {"shape": (4,), "tokens": True}),
    "convolutions over a line": (dilated_on_rows, {"shape": (2, 12)}),
    "convolution with strides": (strided, {"shape": (1, 6, 6)}),
    "embedding, layer norm, linear over positions": (Sequences, {"shape": (4,), "tokens": True}),
}


@pytest.mark.parametrize("max_grad_norm", [0.05, 1.0, 1e6])
@pytest.mark.parametrize("case", CASES)
def test_clipped_sum_equals_one_backward_pass_per_row(case, max_grad_norm):
    make, kind = CASES[case]
    module = built(make)
    inputs, targets = rows(12, **kind)
    expected = clipped_sum_one_by_one(copy.deepcopy(module), inputs, targets, max_grad_norm)
    with ClippedGradients(module, max_grad_norm) as clipped:
        found = clipped.clipped_sum(inputs, targets)
    for part, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(
            part.double(), reference, rtol=FLOAT32["rel"], atol=FLOAT32["rel"] * length(expected)
        )


def test_physical_batches_do_not_change_the_sum():
    module = built(mlp)
    inputs, targets = rows(50)
    sums = []
    for size in (50, 7, 1):
        with ClippedGradients(module, 1.0, physical_batch_size=size) as clipped:
            sums.append(clipped.clipped_sum(inputs, targets))
    for other in sums[1:]:
        for part, reference in zip(other, sums[0], strict=True):
            torch.testing.assert_close(part, reference, rtol=FLOAT32["rel"], atol=FLOAT32["abs"])


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    row=st.integers(0, 19),
    scale=st.floats(1e-3, 1e12),
    max_grad_norm=st.floats(1e-3, 10.0),
)
def test_one_row_moves_the_sum_by_at_most_the_norm(row, scale, max_grad_norm):
    module = built(mlp)
    inputs, targets = rows(20)
    inputs[row] *= scale
    others = torch.arange(20) != row
    with ClippedGradients(module, max_grad_norm) as clipped:
        alone = clipped.clipped_sum(inputs[row : row + 1], targets[row : row + 1])
        with_row = clipped.clipped_sum(inputs, targets)
        without = clipped.clipped_sum(inputs[others], targets[others])
    assert length(alone) <= max_grad_norm
    moved = length([a - b for a, b in zip(with_row, without, strict=True)])
    rounding = ROUNDING_SLACK * max_grad_norm * 20
    assert moved <= max_grad_norm + rounding


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e38])
def test_a_row_without_finite_gradient_contributes_zero_and_harms_no_other(value):
    module = built(mlp)
    inputs, targets = rows(10)
    without_rows = torch.arange(10) % 5 != 2
    poisoned = inputs.clone()
    poisoned[~without_rows] = value
    with ClippedGradients(module, 1.0, physical_batch_size=4) as clipped:
        found = clipped.clipped_sum(poisoned, targets)
        expected = clipped.clipped_sum(inputs[without_rows], targets[without_rows])
    for part, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(part, reference, rtol=FLOAT32["rel"], atol=FLOAT32["abs"])


def test_no_rows_give_zeros():
    module = built(mlp)
    inputs, targets = rows(3)
    with ClippedGradients(module, 1.0) as clipped:
        assert length(clipped.clipped_sum(inputs[:0], targets[:0])) == 0
        assert length(clipped.clipped_sum(torch.full_like(inputs, float("nan")), targets)) == 0


def test_frozen_parameters_take_no_part():
    module = built(mlp)
    module.hidden.requires_grad_(False)
    inputs, targets = rows(5)
    with ClippedGradients(module, 1e6) as clipped:
        found = clipped.clipped_sum(inputs, targets)
    assert [part.shape for part in found] == [module.output.weight.shape, module.output.bias.shape]


def test_the_module_is_left_without_hooks_and_without_rows():
    module, plain = built(mlp), built(mlp)
    inputs, targets = rows(5)
    with ClippedGradients(module, 1.0) as clipped:
        clipped.clipped_sum(inputs, targets)
    for layer, untouched in zip(module.modules(), plain.modules(), strict=True):
        assert vars(layer).keys() == vars(untouched).keys()
        assert not layer._forward_hooks
        assert not layer._backward_hooks
    assert all(p.grad is None and not vars(p) for p in module.parameters())
    assert len(pickle.dumps(module)) == len(pickle.dumps(plain))


def test_a_single_output_is_the_logit_of_the_second_class():
    logits = torch.tensor([[0.3], [-2.0]])
    targets = torch.tensor([1, 0])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits[:, 0], targets.float(), reduction="none"
    )
    torch.testing.assert_close(per_row_loss(logits, targets), expected)
    torch.testing.assert_close(per_row_loss(logits[:, 0], targets), expected)
