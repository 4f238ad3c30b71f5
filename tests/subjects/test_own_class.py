"""The architecture of a user: a class named by its import path."""

import pickle
import sys
from textwrap import dedent

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.__main__ import main
from auditkit.config import Architecture, SubjectConfig
from auditkit.errors import CheckpointError, ConfigError, UnsafeError
from auditkit.execution.executor import ProcessExecutor
from auditkit.models.zoo import build_module, check_architecture, complete, skeleton
from auditkit.subjects.checkpoint import load_checkpoint
from auditkit.subjects.intake import load_subject
from tests.cli.conftest import CONFIG, write_loans

CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, n_inputs, n_classes, width=8):
        super().__init__()
        self.first = nn.Linear(n_inputs, width)
        self.last = nn.Linear(width, n_classes)
        self.register_buffer("scale", torch.full((1,), 2.0), persistent=False)

    def forward(self, inputs):
        return self.last(torch.relu(self.first(inputs)) * self.scale)


class NeedsValues(Net):
    def __init__(self, n_inputs, n_classes):
        super().__init__(n_inputs, n_classes)
        self.factor = float(torch.ones(1).sum().item())


class Fixed(nn.Linear):
    def __init__(self):
        super().__init__(4, 2)


class Fails(nn.Module):
    def __init__(self, units):
        raise TypeError("no such units")


def function():
    return nn.Linear(4, 2)


number = 3
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a module of the user, that is not the working directory."""
    place = tmp_path / "project"
    (place / "nets").mkdir(parents=True)
    (place / "my_nets.py").write_text(CODE)
    (place / "nets" / "__init__.py").write_text("")
    (place / "nets" / "small.py").write_text(CODE)
    (place / "broken.py").write_text("import nothing_of_this_name\n")
    (place / "wrong.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    return place


def problems(folder, **architecture):
    found = check_architecture(Architecture.model_validate(architecture), [folder])
    return " ".join(str(problem) for problem in found)


def torch_rng():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("name", ["my_nets:Net", "nets.small:Net"])
def test_a_class_is_found_beside_the_config_and_the_path_stays_as_it_was(folder, name):
    path = list(sys.path)
    assert problems(folder, name=name) == ""
    assert sys.path == path
    full = complete(Architecture(name=name), n_inputs=4, n_classes=2)
    assert full.parameters == {"n_inputs": 4, "n_classes": 2}
    assert build_module(full, rng=torch_rng())(torch.zeros(3, 4)).shape == (3, 2)


def test_sizes_are_added_only_where_the_constructor_has_them(folder):
    assert problems(folder, name="my_nets:Fixed") == ""
    full = complete(Architecture(name="my_nets:Fixed"), n_inputs=4, n_classes=2)
    assert full.parameters == {}
    assert isinstance(build_module(full, rng=torch_rng()), nn.Linear)


def test_a_default_of_the_user_stands_where_a_size_has_the_same_name(folder):
    """``width`` may be the width of a picture, or that of a layer."""
    assert problems(folder, name="my_nets:Net") == ""
    sizes = {"n_inputs": 4, "n_classes": 2, "height": 28, "width": 28}
    for given, width in (({}, 8), ({"width": 5}, 5)):
        full = complete(Architecture.model_validate({"name": "my_nets:Net", **given}), **sizes)
        assert build_module(full, rng=torch_rng()).first.weight.shape == (width, 4)


def test_parameters_reach_the_constructor_as_written(folder):
    assert problems(folder, name="my_nets:Net", width=3) == ""
    full = complete(Architecture.model_validate({"name": "my_nets:Net", "width": 3}), n_inputs=4, n_classes=2)
    assert full.parameters == {"width": 3, "n_inputs": 4, "n_classes": 2}
    assert build_module(full, rng=torch_rng()).first.weight.shape == (3, 4)


def test_the_same_state_of_the_generator_gives_the_same_values(folder):
    assert problems(folder, name="my_nets:Net") == ""
    full = complete(Architecture(name="my_nets:Net"), n_inputs=4, n_classes=2)
    first, second = (build_module(full, rng=torch_rng()).first.weight for _ in range(2))
    assert torch.equal(first, second)


def test_a_constructor_that_needs_values_is_run_on_the_cpu(folder):
    assert problems(folder, name="my_nets:NeedsValues") == ""
    full = complete(Architecture(name="my_nets:NeedsValues"), n_inputs=4, n_classes=2)
    assert skeleton(full).first.weight.shape == (8, 4)
    meta = complete(Architecture(name="my_nets:Net"), n_inputs=4, n_classes=2)
    assert skeleton(meta).first.weight.is_meta


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ({"name": "no_nets:Net"}, r"no_nets cannot be imported: ModuleNotFoundError.*Looked in .*project"),
        ({"name": "my_nets:Nett"}, "my_nets has no 'Nett'. Did you mean 'Net'"),
        ({"name": "my_nets:number"}, "is int, expected a class derived from"),
        ({"name": "my_nets:function"}, "is function, expected a class derived from"),
        ({"name": "broken:Net"}, "nothing_of_this_name"),
        ({"name": "wrong:Net"}, "SyntaxError"),
        ({"name": "my_nets:"}, "write package.module:Class"),
        ({"name": "my nets; import os:Net"}, "write package.module:Class"),
        ({"name": "my_nets:Net", "widht": 3}, "no parameter 'widht'. Did you mean 'width'"),
        ({"name": "my_nets:Fails"}, "needs units; write units: VALUE"),
        ({"name": "my_nets:Net", "n_inputs": "four"}, "n_inputs"),
        ({"name": "unknown"}, "package.module:Class"),
    ],
)
def test_what_is_wrong_with_a_class_is_said_with_what_to_do(folder, architecture, said):
    with pytest.raises(AssertionError, match=said):
        assert problems(folder, **architecture) == ""


def test_a_constructor_that_fails_is_told_with_what_it_was_given(folder):
    assert problems(folder, name="my_nets:Fails", units=3) == ""
    with pytest.raises(ConfigError, match=r"cannot be made with units=3: TypeError: no such units.*Correct"):
        build_module(Architecture.model_validate({"name": "my_nets:Fails", "units": 3}), rng=torch_rng())


def test_a_file_with_the_name_of_a_module_of_python_is_refused(folder):
    (folder / "json.py").write_text(CODE)
    assert "module of Python itself" in problems(folder, name="json:Net")


def test_a_file_with_the_name_of_an_installed_package_is_refused(folder):
    (folder / "torch.py").write_text(CODE)
    assert "installed package" in problems(folder, name="torch:Net")
    assert sys.modules["torch"] is torch


def test_two_projects_may_have_a_module_of_the_same_name(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "my_nets.py").write_text(CODE.replace("width=8", "width=5"))
    for place, width in ((folder, 8), (other, 5), (folder, 8)):
        assert problems(place, name="my_nets:Net") == ""
        full = complete(Architecture(name="my_nets:Net"), n_inputs=4, n_classes=2)
        assert build_module(full, rng=torch_rng()).first.weight.shape == (width, 4)


def outputs_of(module, rows):
    return module(rows).tolist()


@pytest.mark.slow
def test_a_module_of_the_user_travels_to_another_process(folder):
    assert problems(folder, name="my_nets:Net") == ""
    full = complete(Architecture(name="my_nets:Net"), n_inputs=4, n_classes=2)
    module, rows = build_module(full, rng=torch_rng()), torch.ones(2, 4)
    assert pickle.loads(pickle.dumps(module))(rows).tolist() == module(rows).tolist()
    ((_, found),) = ProcessExecutor(1).run(outputs_of, module, [rows])
    assert found == module(rows).tolist()


# --- the whole way --------------------------------------------------------------------------------


def config_of_own_class(folder, *, instead_of="", code=""):
    """A config that trains ``my_nets:Net`` on loans; parts of its code may be exchanged."""
    assert instead_of in CODE
    (folder / "my_nets.py").write_text(CODE.replace(instead_of, code) if instead_of else CODE)
    write_loans(folder / "loans.csv")
    text = CONFIG.replace("{name: tabular-mlp, hidden: [16]}", "{name: 'my_nets:Net', width: 6}")
    (folder / "loans.yaml").write_text(text)
    return str(folder / "loans.yaml")


@pytest.fixture
def project(folder):
    config = config_of_own_class(folder)
    assert main(["train", config]) == 0
    return folder


def test_a_class_that_answers_with_more_than_logits_is_refused_when_it_is_trained(folder, capsys):
    config = config_of_own_class(folder, instead_of="return ", code="return inputs, ")
    assert main(["train", config]) == 2
    assert "the model answers with tuple, expected a tensor" in capsys.readouterr().err


def test_a_class_that_fails_on_the_rows_is_refused_with_what_it_was_given(folder, capsys):
    config = config_of_own_class(folder, instead_of="self.first(inputs)", code="self.first(inputs[:, 1:])")
    assert main(["train", config]) == 2
    error = capsys.readouterr().err
    assert "subject.architecture: my_nets:Net fails on 2 rows of the data, a tensor of shape (2, " in error
    assert "float32: RuntimeError" in error


def test_a_class_of_the_user_is_trained_audited_and_retrained_with_privacy(project, capsys):
    config = str(project / "loans.yaml")
    assert main(["run", config, "--only", "performance", "--only", "attribution", "--out", "run"]) in (0, 4)
    assert main(["retrain", config, "--epsilon", "3", "--reproducible"]) == 0
    capsys.readouterr()
    again = load_checkpoint(project / "checkpoints" / "loans-dp-3", own_class="my_nets:Net")
    assert again.card.certificate.epsilon <= 3
    assert again.architecture.parameters["width"] == 6
    assert again.module.scale.tolist() == [2.0]


def test_a_card_alone_does_not_have_a_module_imported(project):
    (project / "my_nets.py").write_text("raise SystemExit('imported')")
    sys.modules.pop("my_nets", None)
    place = project / "checkpoints" / "loans"
    for own in (None, "my_nets:Other"):
        with pytest.raises(
            UnsafeError, match=r"card\.json.*write subject\.architecture.*Nothing was executed"
        ):
            load_checkpoint(place, own_class=own)
    config = SubjectConfig(checkpoint="checkpoints/loans")
    with pytest.raises(UnsafeError, match="'my_nets:Net'"):
        load_subject(config, folder=project)
    assert "my_nets" not in sys.modules


def test_bare_weights_of_a_class_of_the_user_are_loaded(folder):
    assert problems(folder, name="my_nets:Net") == ""
    full = complete(Architecture(name="my_nets:Net"), n_inputs=4, n_classes=2)
    module = build_module(full, rng=torch_rng())
    torch.save(module.state_dict(), folder / "bare.pth")
    config = SubjectConfig(checkpoint="bare.pth", architecture=full)
    subject = load_subject(config, folder=folder)
    assert torch.equal(subject.module(torch.ones(2, 4)), module(torch.ones(2, 4)))
    torch.save({**module.state_dict(), "more": torch.zeros(1)}, folder / "bare.pth")
    with pytest.raises(CheckpointError, match=r"more .* is not part of it"):
        load_subject(config, folder=folder)


def test_the_code_of_these_tests_is_code():
    scope: dict = {}
    exec(dedent(CODE), scope)
    assert np.isscalar(scope["number"])
