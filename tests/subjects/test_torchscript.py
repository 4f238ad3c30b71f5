"""TorchScript: refused, unless the config trusts the file."""

import copy
import pickle

import pytest
import torch
from torch import nn

from auditkit.config import SubjectConfig
from auditkit.data.preprocessing import encode, fit_preprocessing
from auditkit.data.steps import ImagePreprocessing
from auditkit.errors import CheckpointError, UnsafeError
from auditkit.subjects.intake import load_subject
from tests.subjects.programs import network, scripted
from tests.subjects.trained import rows

STEPS = fit_preprocessing(rows())
DATA = encode(rows(), STEPS)


def loaded(path, preprocessing=STEPS, **keys):
    config = SubjectConfig.model_validate({"checkpoint": path.name, **keys})
    return load_subject(config, folder=path.parent, preprocessing=preprocessing)


@pytest.mark.parametrize("name", ["towns.pt", "towns.pth", "towns.ts"])
def test_without_trust_it_is_refused_and_the_key_is_named(tmp_path, name):
    path = scripted(tmp_path / name, network())
    with pytest.raises(UnsafeError, match=rf"{name}: .*carries code.*set subject\.trust: true") as caught:
        loaded(path)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("name", ["towns.pt", "towns.ts"])
def test_with_trust_it_answers_as_the_module_and_the_card_says_that_code_ran(tmp_path, name):
    subject = loaded(scripted(tmp_path / name, network()), trust=True)
    expected = torch.log_softmax(network()(DATA.inputs).double(), dim=1).detach().numpy()
    assert subject.predict(DATA, batch_size=7).log_probabilities == pytest.approx(expected, abs=1e-6)
    assert subject.capabilities == {"predictions", "probabilities", "losses", "gradients"}
    (said,) = subject.card.statements
    assert "Code that the file carries ran" in str(said)


def test_it_has_gradients(tmp_path):
    subject = loaded(scripted(tmp_path / "towns.pt", network()), trust=True)
    inputs, own = (DATA.inputs[:5].clone().requires_grad_() for _ in range(2))
    subject.logits(inputs)[:, 1].sum().backward()
    network()(own)[:, 1].sum().backward()
    assert torch.allclose(inputs.grad, own.grad)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda subject: pickle.loads(pickle.dumps(subject))])
def test_it_can_be_copied_with_the_values_that_it_has_now(tmp_path, copied):
    subject = loaded(scripted(tmp_path / "towns.pt", network()), trust=True)
    with torch.no_grad():
        for parameter in subject.module.parameters():
            parameter.mul_(2)
    again = copied(subject)
    assert torch.equal(again.logits(DATA.inputs), subject.logits(DATA.inputs))
    assert not torch.equal(again.logits(DATA.inputs), network()(DATA.inputs))


@pytest.mark.parametrize("shape", [(1, 2, 2), (2, 2)])
def test_pictures_are_given_in_the_layout_that_the_model_takes(tmp_path, shape):
    first = nn.Conv2d(1, 2, 2) if len(shape) == 3 else nn.Conv1d(2, 2, 2)
    module = nn.Sequential(first, nn.Flatten(), nn.Linear(2, 2)).eval()
    sizes = {"height": 2, "width": 2, "divisor": 1.0, "mean": 0.0, "scale": 1.0}
    steps = ImagePreprocessing(target="label", classes=("no", "yes"), **sizes)
    subject = loaded(scripted(tmp_path / "pictures.pt", module), steps, trust=True)
    expected = module(DATA.inputs.reshape(-1, *shape))
    assert torch.allclose(subject.logits(DATA.inputs), expected, atol=1e-6)
    assert "as pictures of " + " x ".join(str(size) for size in shape) in str(subject.card.statements[1])


def test_damage_is_told_with_the_file(tmp_path):
    path = scripted(tmp_path / "towns.ts", network())
    path.write_bytes(path.read_bytes()[:400])
    with pytest.raises(CheckpointError, match=r"towns\.ts: .*again"):
        loaded(path, trust=True)


def test_a_model_for_other_classes_is_refused(tmp_path):
    path = scripted(tmp_path / "three.pt", network(n_classes=3))
    with pytest.raises(CheckpointError, match=r"gives \(2, 3\) for 2 rows"):
        loaded(path, trust=True)
