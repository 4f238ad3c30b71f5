"""Linear layers and activations one after the other: the same as by the graph, and only where it is so."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.per_example.book_keeping import PartGradients, Recorder
from auditkit.privacy.per_example.chain import layers_of_chain
from auditkit.randomness import global_generators_seeded, torch_rng
from tests.privacy.networks import built, convolutional, mlp
from tests.tolerances import FLOAT32


def frozen(*layers: int) -> nn.Module:
    module = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.ReLU(), nn.Linear(5, 3))
    for layer in layers:
        module[layer].requires_grad_(False)
    return module


CHAINS = {
    "one hidden layer": mlp,
    "linear": lambda: nn.Linear(6, 3),
    "flattened, nested": lambda: nn.Sequential(nn.Flatten(), nn.Sequential(nn.Linear(6, 4)), nn.Linear(4, 3)),
    "activation first and last": lambda: nn.Sequential(nn.ReLU(), nn.Linear(6, 3), nn.ReLU()),
    "other activations": lambda: nn.Sequential(
        nn.Linear(6, 8), nn.Tanh(), nn.ReLU(), nn.Linear(8, 8, bias=False), nn.GELU(), nn.Linear(8, 3)
    ),
    "dropout": lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3)),
    "first layer frozen": lambda: frozen(0),
    "middle layer frozen": lambda: frozen(2),
    "twenty classes": lambda: mlp(n_classes=20),
    "one logit": lambda: mlp(n_classes=1),
}


def with_hook() -> nn.Module:
    module = mlp()
    module.relu.register_forward_hook(lambda *_: None)
    return module


def with_other_forward() -> nn.Module:
    module = mlp()
    module.relu.forward = torch.tanh
    return module


def with_shared_layer() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.ReLU(), layer)


def normed() -> nn.Module:
    return nn.Sequential(weight_norm(nn.Linear(6, 3)))


OTHERS = {
    "hook": with_hook,
    "another forward": with_other_forward,
    "shared layer": with_shared_layer,
    "weight made of others": normed,
    "softmax over columns": lambda: nn.Sequential(nn.Linear(6, 3), nn.Softmax(dim=0)),
    "in place": lambda: nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.ReLU(inplace=True)),
    "flattened later": lambda: nn.Sequential(nn.Linear(6, 3), nn.Flatten()),
    "rows flattened": lambda: nn.Sequential(nn.Flatten(0), nn.Linear(6, 3)),
    "derived class": lambda: nn.Sequential(type("Own", (nn.Linear,), {})(6, 3)),
    "convolution": convolutional,
    "no layers": nn.Sequential,
}


def rows(dtype: torch.dtype = torch.float32, n_classes: int = 2):
    inputs = torch.randn(20, 6, generator=torch_rng(0, "rows"))
    return inputs.to(dtype), torch.randint(0, n_classes, (20,), generator=torch_rng(1, "rows"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CHAINS)
def test_a_chain_gives_what_the_graph_gives(case, weighted, dtype):
    module = built(CHAINS[case]).to(dtype)
    inputs, targets = rows(dtype)
    before = inputs.clone()
    weights = torch.rand(20, generator=torch_rng(2, "rows"), dtype=dtype) if weighted else None
    recorder = Recorder(module)
    with global_generators_seeded(3):
        found = recorder.gradients(inputs, targets, weights)
    with global_generators_seeded(3):
        expected = PartGradients(*recorder.parts(inputs, targets, weights), recorder.parameters)
    assert not isinstance(found, PartGradients)
    same(found.losses, expected.losses)
    with torch.no_grad():
        same(found.squared_norms()[0], expected.squared_norms()[0])
        sums = [[torch.ones_like(p) for p in recorder.parameters] for _ in range(2)]
        found.add_to(sums[0], found.losses)
        expected.add_to(sums[1], expected.losses)
    for one, other in zip(*sums, strict=True):
        same(one, other)
    assert torch.equal(inputs, before)
    assert not found.losses.requires_grad


def same(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=FLOAT32["rel"], atol=FLOAT32["abs"])


def test_layers_that_follow_one_another_are_found():
    found = layers_of_chain(built(CHAINS["flattened, nested"]), torch.zeros(2, 2, 3))
    assert [type(layer) for layer in found] == [nn.Linear, nn.Linear]


@pytest.mark.parametrize("case", OTHERS)
def test_what_may_do_anything_else_is_no_chain(case):
    assert layers_of_chain(built(OTHERS[case]), rows()[0]) is None


def test_other_rows_and_precisions_are_left_to_the_graph():
    assert layers_of_chain(built(mlp), torch.zeros(2, 3, 6)) is None
    assert layers_of_chain(built(mlp), torch.zeros(2, 6, dtype=torch.bfloat16)) is None
    with torch.autocast("cpu"):
        assert layers_of_chain(built(mlp), torch.zeros(2, 6)) is None


def test_hooks_registered_between_steps_are_called():
    module, called = built(mlp), []
    with ClippedGradients(module, 1.0) as clipped:
        first = clipped.clipped_sum(*rows())
        module.hidden.register_forward_hook(lambda *_: called.append(1))
        second = clipped.clipped_sum(*rows())
    assert called
    for one, other in zip(first, second, strict=True):
        same(one, other)


def test_a_frozen_chain_has_no_gradients():
    module = built(mlp).requires_grad_(False)
    with ClippedGradients(module, 1.0) as clipped:
        assert clipped.clipped_sum(*rows()) == []
        assert clipped.norms(*rows()).tolist() == [0.0] * 20
