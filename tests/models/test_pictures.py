"""The documents' models of pictures: their layers, their arithmetic, and what the audits ask of them."""

import math
from pathlib import Path

import pytest
import torch
from captum.attr import IntegratedGradients
from ruamel.yaml import YAML
from torch import nn

from auditkit.config import Architecture
from auditkit.config.model import DataConfig, TrainingConfig
from auditkit.data.loading import load_dataset, load_training_data
from auditkit.models.losses import per_row_loss
from auditkit.models.resnet import BasicBlock
from auditkit.models.zoo import build_module
from auditkit.privacy.preflight import refuse_unsuitable
from auditkit.randomness import derive_seed, torch_rng
from auditkit.training.fit import fit
from tests.tolerances import FLOAT32

EXAMPLES = Path(__file__).parents[2] / "examples" / "documents"
NAMES = ("mlp-plain", "net", "cnn", "resnet", "vgg")
MNIST = {"n_inputs": 784, "height": 28, "width": 28, "n_classes": 10}
DIGITS = {"n_inputs": 64, "height": 8, "width": 8, "n_classes": 10}


def built(name: str, sizes=MNIST, seed: int = 0, **parameters) -> nn.Module:
    architecture = Architecture.model_validate({"name": name, **parameters})
    return build_module(architecture, rng=torch_rng(seed, "test"), **sizes)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def pictures(n: int, sizes=MNIST) -> torch.Tensor:
    return torch.randn((n, sizes["n_inputs"]), generator=torch_rng(0, "pictures"))


def conv(before: int, after: int, side: int = 3, *, bias: bool = True) -> int:
    return before * after * side * side + bias * after


# --- layers ----------------------------------------------------------------------------------------


def test_the_plain_perceptron_is_784_128_relu_10_without_dropout():
    module = built("mlp-plain")
    assert [type(layer).__name__ for layer in module] == ["Flatten", "Linear", "ReLU", "Linear"]
    assert count(module) == 784 * 128 + 128 + 128 * 10 + 10 == 101_770


def test_net_is_784_128_10_and_ends_in_log_softmax():
    module = built("net")
    kinds = [type(layer).__name__ for layer in module]
    assert kinds == ["Flatten", "Linear", "ReLU", "Linear", "LogSoftmax"]
    assert count(module) == 101_770


def test_the_convolutional_network_has_the_parameters_of_its_layers():
    by_hand = conv(1, 16) + conv(16, 32) + (7 * 7 * 32 * 128 + 128) + (128 * 10 + 10)
    assert count(built("cnn")) == by_hand == 206_922
    assert count(built("cnn", DIGITS)) == by_hand - (49 - 4) * 32 * 128


def test_the_residual_network_has_the_parameters_of_its_layers():
    def norm(channels):
        return 2 * channels

    def block(before, after):
        inner = conv(before, after, bias=False) + conv(after, after, bias=False) + 2 * norm(after)
        return inner + (0 if before == after else conv(before, after, 1, bias=False) + norm(after))

    stem = conv(1, 16, bias=False) + norm(16)
    by_hand = stem + block(16, 16) + block(16, 32) + block(32, 64) + 64 * 10 + 10
    assert count(built("resnet")) == by_hand == 77_754
    # Nothing depends on the size of the picture: the last maps are averaged.
    assert count(built("resnet", DIGITS)) == by_hand


def test_vgg_has_the_parameters_of_its_layers():
    convolutions = conv(1, 16) + conv(16, 16) + conv(16, 32) + conv(32, 32) + conv(32, 64) + conv(64, 64)
    classifier = (4 * 4 * 64 * 128 + 128) + (128 * 128 + 128) + (128 * 10 + 10)
    assert count(built("vgg")) == convolutions + classifier


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [MNIST, DIGITS, {"n_inputs": 15, "height": 3, "width": 5, "n_classes": 2}])
def test_pictures_of_any_size_give_one_output_per_class(name, sizes):
    module = built(name, sizes).eval()
    with torch.no_grad():
        assert module(pictures(2, sizes)).shape == (2, sizes["n_classes"])


@pytest.mark.parametrize("name", NAMES)
def test_every_activation_is_a_module_used_once_and_nothing_is_overwritten(name):
    module, calls = built(name), {}
    for layer_name, layer in module.named_modules():
        assert not getattr(layer, "inplace", False), layer_name
        layer.register_forward_hook(
            lambda _layer, _inputs, _outputs, key=layer_name: calls.update({key: calls.get(key, 0) + 1})
        )
    module(pictures(1))
    leaves = [key for key, layer in module.named_modules() if not list(layer.children())]
    assert {key: calls.get(key) for key in leaves} == dict.fromkeys(leaves, 1)


def test_no_layer_of_the_residual_network_normalises_over_rows():
    kinds = {type(layer) for layer in built("resnet").modules()}
    assert nn.GroupNorm in kinds
    assert not any("BatchNorm" in kind.__name__ for kind in kinds)


def test_groups_divide_channels_that_eight_does_not():
    layers = [
        layer for layer in built("resnet", channels=[6, 9]).modules() if isinstance(layer, nn.GroupNorm)
    ]
    assert {(layer.num_groups, layer.num_channels) for layer in layers} == {(2, 6), (1, 9)}


# --- known answers ---------------------------------------------------------------------------------


def test_log_probabilities_are_logits_whose_log_softmax_is_themselves():
    module = built("net").double().eval()
    rows, targets = pictures(8).double(), torch.arange(8)
    outputs = module(rows)
    assert outputs.exp().sum(dim=1).tolist() == pytest.approx([1.0] * 8)
    again = torch.log_softmax(outputs, dim=1)
    torch.testing.assert_close(again, outputs)
    # The cross-entropy of log-probabilities is the negative log-likelihood, gradients included.
    nll = nn.functional.nll_loss(outputs, targets, reduction="none")
    torch.testing.assert_close(per_row_loss(outputs, targets), nll)
    weight = module.hidden.weight
    (once,) = torch.autograd.grad(nll.sum(), weight, retain_graph=True)
    (twice,) = torch.autograd.grad(per_row_loss(outputs, targets).sum(), weight)
    torch.testing.assert_close(twice, once)


def test_a_softmax_taken_for_logits_would_keep_the_loss_above_its_floor():
    sure = nn.functional.one_hot(torch.tensor([3]), 10).double()
    floor = float(nn.functional.cross_entropy(sure, torch.tensor([3])))
    assert floor == pytest.approx(math.log(1 + 9 / math.e))
    module = built("mlp-plain").eval()
    with torch.no_grad():
        outputs = module(pictures(4))
        assert not torch.allclose(outputs.sum(dim=1), torch.ones(4))
        module.output.bias[3] += 30
        assert float(per_row_loss(module(pictures(4)), torch.full((4,), 3)).max()) < 1e-6 < floor


def test_the_convolutional_network_computes_what_its_weights_say():
    sizes = {"n_inputs": 4, "height": 2, "width": 2, "n_classes": 2}
    module = built("cnn", sizes, channels=[1], hidden=[], dropout=0)
    with torch.no_grad():
        module.features.conv1.weight.zero_()
        module.features.conv1.weight[0, 0, 1, 1] = 2.0  # the pixel itself
        module.features.conv1.weight[0, 0, 1, 2] = 1.0  # its neighbour on the right
        module.features.conv1.bias.fill_(-1.0)
        module.output.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        module.output.bias.copy_(torch.tensor([0.5, 0.0]))
    # [[1, 2], [3, -4]] becomes [[2+2-1, 4-1], [6-4-1, -8-1]] = [[3, 3], [1, -9]]; the largest is 3.
    assert module(torch.tensor([[1.0, 2.0, 3.0, -4.0]])).tolist() == [[3.5, -3.0]]


def test_a_block_without_inner_weights_passes_on_what_is_positive():
    block = BasicBlock(4, 4, stride=1, groups=2)
    nn.init.zeros_(block.conv2.weight)
    maps = torch.randn(2, 4, 5, 5, generator=torch_rng(0, "maps"))
    assert torch.equal(block(maps), maps.relu())


def test_a_block_adds_its_normalised_inner_part_to_the_shortcut():
    block = BasicBlock(2, 4, stride=2, groups=2).double()
    maps = torch.randn(3, 2, 5, 6, generator=torch_rng(0, "maps")).double()

    def norm(values, layer):
        parts = values.reshape(3, layer.num_groups, -1)
        mean, variance = parts.mean(dim=2, keepdim=True), parts.var(dim=2, keepdim=True, unbiased=False)
        return ((parts - mean) / (variance + layer.eps).sqrt()).reshape(values.shape)

    conv2d = nn.functional.conv2d
    inner = norm(conv2d(maps, block.conv1.weight, stride=2, padding=1), block.norm1).relu()
    inner = norm(conv2d(inner, block.conv2.weight, padding=1), block.norm2)
    outer = norm(conv2d(maps, block.shortcut.conv.weight, stride=2), block.shortcut.norm)
    assert inner.shape == (3, 4, 3, 3)
    torch.testing.assert_close(block(maps), (inner + outer).relu())


def test_the_signal_keeps_its_size_through_vgg():
    """He's initial values keep the second moment from convolution to convolution, up to chance."""
    module, rows = built("vgg").eval(), pictures(16)
    with torch.no_grad():
        maps = module.picture(rows)
        for block in module.features:
            maps = block(maps)
            # Pooling takes the largest of four, which makes what is left larger; borders make it smaller.
            assert 0.2 < float(maps.square().mean()) < 20


# --- what the audits ask ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sizes", [MNIST, DIGITS], ids=["28x28", "8x8"])
def test_it_can_be_trained_with_differential_privacy(name, sizes):
    module = built(name, sizes).train()
    refuse_unsuitable(module, torch.zeros(sizes["n_inputs"]), 10)


@pytest.mark.parametrize("name", NAMES)
def test_integrated_gradients_add_up_to_the_change_of_the_score(name):
    module, rows = built(name, DIGITS).eval(), pictures(3, DIGITS)
    # From grey rather than zeros: a map of zeros has no variance, so its normalisation is steep there.
    grey = torch.full((1, 64), -0.5)
    attributions, delta = IntegratedGradients(module).attribute(
        rows, baselines=grey, target=2, n_steps=300, return_convergence_delta=True
    )
    assert attributions.shape == rows.shape
    with torch.no_grad():
        change = module(rows)[:, 2] - module(grey)[:, 2]
    assert float(attributions.abs().sum()) > 0
    assert float(delta.abs().max()) < 0.05 * max(1.0, float(change.abs().max()))


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_answered_the_same_whatever_stands_beside_it(name):
    module, rows = built(name, DIGITS).eval(), pictures(5, DIGITS)
    with torch.no_grad():
        together = module(rows)
        alone = torch.cat([module(row.unsqueeze(0)) for row in rows])
    assert together.flatten().tolist() == pytest.approx(alone.flatten().tolist(), **FLOAT32)


@pytest.mark.proof
@pytest.mark.parametrize("name", NAMES)
def test_it_learns_small_digits(name):
    config = DataConfig(source="digits")
    data, preprocessing = load_training_data(config, preprocessing=None, seed=0, folder=Path())
    held_out = load_dataset(config, preprocessing=preprocessing, seed=0, folder=Path(), with_members=False)
    recipe = TrainingConfig(learning_rate=0.005, epochs=6)
    subject = fit(Architecture(name=name), data, recipe, seed=0, preprocessing=preprocessing)
    predicted = subject.predict(held_out, batch_size=256).y_pred
    assert (predicted == held_out.y_true).mean() > 0.9


# --- bars of the examples ---------------------------------------------------------------------------


@pytest.mark.proof
@pytest.mark.parametrize(
    ("name", "bar"),
    [("mlp", 0.975), ("mlp-plain", 0.97), ("net", 0.97), ("cnn", 0.989), ("vgg", 0.96), ("resnet", 0.992)],
)
def test_the_example_reaches_its_bar_on_the_pictures_held_out(real_data, monkeypatch, name, bar):
    monkeypatch.setenv("AUDITKIT_DATA", str(real_data))
    example = YAML(typ="safe").load((EXAMPLES / f"{name}.yaml").read_text(encoding="utf-8"))
    config, seed = DataConfig(source=example["data"]["source"]), example["seed"]
    data, preprocessing = load_training_data(config, preprocessing=None, seed=seed, folder=EXAMPLES)
    held_out = load_dataset(
        config, preprocessing=preprocessing, seed=seed, folder=EXAMPLES, with_members=False
    )
    subject = fit(
        Architecture.model_validate(example["subject"]["architecture"]),
        data,
        TrainingConfig.model_validate(example["subject"]["training"]),
        seed=derive_seed(seed, "training"),
        preprocessing=preprocessing,
    )
    predicted = subject.predict(held_out, batch_size=256).y_pred
    assert (predicted == held_out.y_true).mean() >= bar
