"""Architectures by name."""

import copy
import pickle

import pytest
import torch

from auditkit.config import Architecture
from auditkit.errors import ConfigError
from auditkit.models.zoo import (
    ARCHITECTURES,
    build_module,
    check_architecture,
    complete,
    kind_of,
    skeleton,
)
from auditkit.randomness import torch_rng

SIZES = {
    "numbers": {"n_inputs": 64, "n_classes": 2},
    "pictures": {"n_inputs": 64, "n_classes": 2, "height": 8, "width": 8},
    "tokens": {"n_inputs": 6, "n_classes": 2, "length": 6, "vocabulary_size": 11},
}
"""What the data say, by what their rows are."""

OWN = sorted(set(ARCHITECTURES) - {"hf-encoder", "hf-language-model"})
"""Those that are built from their parameters alone; an encoder of a folder is tested with such folders."""


def architecture(name="mlp", **parameters) -> Architecture:
    return Architecture.model_validate({"name": name, **parameters})


def test_the_mlp_of_the_documents_is_784_128_relu_dropout_10():
    module = build_module(architecture(), n_inputs=784, n_classes=10, rng=torch_rng(0, "test"))
    kinds = [type(layer).__name__ for layer in module]
    assert kinds == ["Flatten", "Linear", "ReLU", "Dropout", "Linear"]
    assert sum(parameter.numel() for parameter in module.parameters()) == 784 * 128 + 128 + 128 * 10 + 10
    assert module[3].p == 0.2


def test_the_mlp_computes_what_its_weights_say():
    module = build_module(
        architecture(hidden=[2], dropout=0), n_inputs=2, n_classes=2, rng=torch_rng(0, "test")
    )
    with torch.no_grad():
        module.hidden1.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
        module.hidden1.bias.zero_()
        module.output.weight.copy_(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        module.output.bias.copy_(torch.tensor([0.5, 0.0]))
    # relu([3, 5] times diag(1, -1)) = [3, 0]; then [1*3 + 2*0 + 0.5, 3*3 + 4*0].
    assert module(torch.tensor([[3.0, 5.0]])).tolist() == [[3.5, 9.0]]


def test_pictures_and_flat_rows_give_the_same_outputs():
    module = build_module(architecture(), n_inputs=12, n_classes=3, rng=torch_rng(0, "test")).eval()
    flat = torch.arange(24.0).reshape(2, 12)
    assert torch.equal(module(flat), module(flat.reshape(2, 3, 4)))


def test_no_hidden_layer_is_a_linear_model():
    module = build_module(architecture(hidden=[]), n_inputs=5, n_classes=2, rng=torch_rng(0, "test"))
    assert [type(layer).__name__ for layer in module] == ["Flatten", "Linear"]


def sizes_for(name: str) -> dict[str, int]:
    return SIZES[kind_of(architecture(name)).takes]


@pytest.mark.parametrize("name", OWN)
def test_the_stored_values_build_the_same_module_again(name):
    stored = complete(architecture(name), **sizes_for(name))
    again = Architecture.model_validate_json(stored.model_dump_json())
    first, second = (build_module(entry, rng=torch_rng(4, "test")) for entry in (stored, again))
    assert stored == again
    assert str(first) == str(second)
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[key])


@pytest.mark.parametrize("name", OWN)
def test_initial_values_come_from_the_generator_and_leave_no_trace(name):
    before = torch.random.get_rng_state()
    first, again, other = (
        build_module(architecture(name), rng=torch_rng(seed, "test"), **sizes_for(name)).state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(tensor, again[key]) for key, tensor in first.items())
    assert not torch.equal(first["output.weight"], other["output.weight"])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", OWN)
def test_modules_can_be_sent_copied_and_sketched(name):
    module = build_module(architecture(name), rng=torch_rng(0, "test"), **sizes_for(name))
    sent, copied = pickle.loads(pickle.dumps(module)).state_dict(), copy.deepcopy(module).state_dict()
    sketch = skeleton(architecture(name), **sizes_for(name))
    assert all(parameter.is_meta for parameter in sketch.parameters())
    assert {k: v.shape for k, v in sketch.state_dict().items()} == {
        k: v.shape for k, v in module.state_dict().items()
    }
    for key, tensor in module.state_dict().items():
        assert torch.equal(tensor, sent[key])
        assert torch.equal(tensor, copied[key])


@pytest.mark.parametrize("name", OWN)
def test_outputs_have_the_shape_that_the_task_says(name):
    module = build_module(architecture(name), rng=torch_rng(0, "test"), **sizes_for(name)).eval()
    kind, sizes = kind_of(architecture(name)), sizes_for(name)
    if kind.takes == "tokens":
        rows = torch.randint(
            1, sizes["vocabulary_size"], (3, sizes["length"]), generator=torch_rng(0, "rows")
        )
    else:
        rows = torch.randn((3, sizes["n_inputs"]), generator=torch_rng(0, "rows"))
    expected = (3, 1 if name == "xor" else sizes["n_classes"])
    if kind.task == "language-modelling":
        expected = (3, sizes["length"], sizes["vocabulary_size"])
    with torch.no_grad():
        assert module(rows).shape == expected
        # A row's output does not depend on the rows beside it.
        torch.testing.assert_close(module(rows[:1]), module(rows)[:1])


def test_a_misspelt_name_is_answered_with_the_closest():
    (problem,) = check_architecture(architecture("tabular-mpl"))
    assert "Did you mean 'tabular-mlp'?" in problem.message
    assert problem.path == ("subject", "architecture", "name")


def test_all_wrong_parameters_are_reported_at_once():
    problems = check_architecture(architecture(hiden=3, dropout=1.5, hidden=[0]))
    assert {problem.path[2] for problem in problems} == {"hiden", "dropout", "hidden"}
    assert any("Did you mean 'hidden'?" in problem.message for problem in problems)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"n_inputs": 5, "n_classes": 3}, "is 4, but the data have 5"),
        ({"n_inputs": 4}, "n_classes: is not known"),
    ],
)
def test_sizes_that_contradict_the_data_or_are_unknown_are_refused(sizes, said):
    with pytest.raises(ConfigError, match=said):
        build_module(architecture(n_inputs=4), rng=torch_rng(0, "test"), **sizes)
