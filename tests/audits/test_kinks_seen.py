"""Whether a model passes anything with kinks, seen while it does."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from auditkit.audits.explainability.straight_path.kinks_seen import KinksSeen
from tests.audits.paths import normal


def changed_after_it_was_rectified(inputs):
    hidden = inputs.relu()
    hidden.sub_(0.5)
    return functional.max_pool1d(hidden, 2)


SMOOTH = {
    "gelu": functional.gelu,
    "layer norm": nn.LayerNorm(6),
    "bounds on lengths": lambda x: x / torch.tensor([3, 9, 2, 4]).clamp(max=4).sort().values.unsqueeze(1),
    "products and softmax": lambda x: torch.softmax(x @ x.T, dim=1),
}
KINKED = {
    "relu": torch.relu,
    "relu of a tensor": lambda x: x.relu(),
    "layer that rectifies": nn.ReLU(),
    "leaky": functional.leaky_relu,
    "largest of windows": lambda x: functional.max_pool1d(x, 2),
    "input by name": lambda x: functional.relu(input=x),
    "rectified within others": lambda x: torch.tanh(torch.tanh(x).abs()),
    "changed in place": changed_after_it_was_rectified,
}


@pytest.mark.parametrize("name", SMOOTH)
def test_nothing_is_seen_in_smooth_layers(name):
    with KinksSeen() as seen:
        SMOOTH[name](normal(4, 6))
    assert not seen.any


@pytest.mark.parametrize("name", KINKED)
def test_layers_with_kinks_are_seen(name):
    with KinksSeen() as seen:
        KINKED[name](normal(4, 6))
    assert seen.any


@pytest.mark.parametrize("name", [*SMOOTH, *KINKED])
def test_what_is_watched_makes_what_it_always_makes(name):
    function = (SMOOTH | KINKED)[name]
    with torch.no_grad(), KinksSeen():
        found = function(normal(4, 6))
    assert torch.equal(found, function(normal(4, 6)))
