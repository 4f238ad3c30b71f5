"""The loss of a row and its gradient."""

import pytest
import torch

from auditkit.models.losses import loss_gradients, per_row_loss
from auditkit.randomness import torch_rng
from tests.tolerances import FLOAT32

RNG = torch_rng(0, "losses")
CLASSES = torch.tensor([0, 1, 1, 0])
CASES = {
    "two classes": (torch.randn(4, 2, generator=RNG), CLASSES),
    "ten classes": (torch.randn(4, 10, generator=RNG) * 30, CLASSES + 7),
    "a hundred classes": (torch.randn(4, 100, generator=RNG), CLASSES + 98),
    "double precision": (torch.randn(4, 3, generator=RNG, dtype=torch.float64), CLASSES),
    "half precision": (torch.randn(4, 3, generator=RNG).bfloat16(), CLASSES),
    "a class that is not counted": (torch.randn(4, 3, generator=RNG), torch.tensor([0, -100, 1, 2])),
    "one logit": (torch.randn(4, 1, generator=RNG), CLASSES),
    "numbers": (torch.randn(4, 1, generator=RNG), torch.randn(4, generator=RNG)),
    "tokens": (torch.randn(2, 3, 5, generator=RNG), torch.tensor([[1, 2, -100], [4, 0, 3]])),
}


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_the_backward_pass(case):
    outputs, targets = CASES[case]
    leaf = outputs.clone().requires_grad_()
    expected = per_row_loss(leaf, targets)
    (gradient,) = torch.autograd.grad(expected.sum(), leaf)
    with torch.no_grad():
        found = loss_gradients(outputs, targets)
    for one, other in zip(found, (expected.detach(), gradient), strict=True):
        assert not one.requires_grad
        torch.testing.assert_close(one, other, rtol=FLOAT32["rel"], atol=FLOAT32["abs"])
    assert not outputs.requires_grad


@pytest.mark.parametrize("n_classes", [3, 30])
def test_losses_that_are_not_finite_stay_with_their_row(n_classes):
    outputs = torch.zeros(4, n_classes)
    outputs[1, 0], outputs[2, 2] = -torch.inf, torch.nan
    losses, gradients = loss_gradients(outputs, torch.tensor([0, 0, 0, 1]))
    assert losses.isfinite().tolist() == [True, False, False, True]
    assert gradients.isfinite().all(dim=1).tolist()[::3] == [True, True]


def test_a_class_too_many_is_an_error():
    with pytest.raises(IndexError, match="out of bounds"):
        loss_gradients(torch.zeros(2, 3), torch.tensor([0, 3]))
