"""Exported programs: what they can do as subjects, and that no poisoned one is executed."""

import copy
import json
import pickle
import subprocess
import sys

import pytest
import torch
from torch import nn

from auditkit.config import SubjectConfig
from auditkit.data.preprocessing import encode, fit_preprocessing
from auditkit.errors import AuditkitError, CheckpointError, UnsafeError
from auditkit.execution.executor import ProcessExecutor
from auditkit.subjects.exported_program import subject_of_program, try_in_a_process
from auditkit.subjects.foreign_module import Facts
from auditkit.subjects.intake import load_subject
from auditkit.subjects.program_archive import check_program
from auditkit.variants.dp import DpRetrain
from auditkit.variants.quantise import Quantise
from tests.subjects.programs import POISONINGS, exported, network, rewritten
from tests.subjects.trained import rows
from tests.variants.subjects import context

STEPS = fit_preprocessing(rows())
DATA = encode(rows(), STEPS)


def loaded(path, preprocessing=STEPS, **keys):
    config = SubjectConfig.model_validate({"checkpoint": path.name, **keys})
    return load_subject(config, folder=path.parent, preprocessing=preprocessing)


def untried(path):
    """The subject without the trial in a process of its own, which takes seconds."""
    return subject_of_program(check_program(path), path, Facts(preprocessing=STEPS))


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """One program with any number of rows; loading it starts a process, so it is made once."""
    return exported(tmp_path_factory.mktemp("program") / "towns.pt2", network(), DATA.inputs[:3])


@pytest.fixture(scope="module")
def subject(program):
    return loaded(program)


@pytest.fixture(scope="module")
def fixed(tmp_path_factory):
    path = tmp_path_factory.mktemp("fixed") / "seven.pt2"
    return exported(path, network(), DATA.inputs[:7], dynamic=False)


def test_a_program_answers_as_the_module_that_was_exported(subject):
    expected = torch.log_softmax(network()(DATA.inputs).double(), dim=1).detach().numpy()
    for batch_size in (1, 7, 60):
        found = subject.predict(DATA, batch_size=batch_size).log_probabilities
        assert found == pytest.approx(expected, abs=1e-6)
    assert subject.card.classes == ("no", "yes")
    assert subject.card.architecture == "exported-program"
    assert subject.card.statements == ()


def test_a_program_has_gradients_but_neither_layers_nor_recipe(subject):
    assert subject.capabilities == {"predictions", "probabilities", "losses", "gradients"}
    inputs = DATA.inputs[:5].clone().requires_grad_()
    subject.logits(inputs)[:, 1].sum().backward()
    own = DATA.inputs[:5].clone().requires_grad_()
    network()(own)[:, 1].sum().backward()
    assert torch.allclose(inputs.grad, own.grad)


def test_a_program_stays_in_evaluation_mode(subject):
    module = subject.module.train()
    assert not any(part.training for part in module.modules())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda subject: pickle.loads(pickle.dumps(subject))])
def test_a_program_can_be_copied_with_the_values_that_it_has_now(subject, copied):
    changed = copied(subject)
    with torch.no_grad():
        for parameter in changed.module.parameters():
            parameter.mul_(2)
    again = copied(changed)
    assert torch.equal(again.logits(DATA.inputs), changed.logits(DATA.inputs))
    assert not torch.equal(again.logits(DATA.inputs), subject.logits(DATA.inputs))


def logits_of(subject, rows):
    return subject.logits(rows).tolist()


@pytest.mark.slow
def test_a_program_travels_to_another_process(subject):
    ((_, found), *_) = ProcessExecutor(1).run(logits_of, subject, [DATA.inputs[:4]])
    assert found == subject.logits(DATA.inputs[:4]).tolist()


def test_a_program_of_a_fixed_batch_answers_for_any_number_of_rows_and_says_so(fixed, subject):
    seven = loaded(fixed)
    expected = subject.predict(DATA, batch_size=60).log_probabilities
    for batch_size in (1, 7, 10, 60):
        assert seven.predict(DATA, batch_size=batch_size).log_probabilities == pytest.approx(
            expected, abs=1e-6
        )
    (said,) = seven.card.statements
    assert "takes 7 rows at once" in str(said)


@pytest.mark.parametrize(
    ("limits", "said"), [((4, 9), "takes 4 to 9 rows"), ((5, None), "takes at least 5 rows")]
)
def test_a_program_of_limited_batches_answers_for_any_number_of_rows_and_says_so(
    tmp_path, subject, limits, said
):
    least, most = limits
    at_once = torch.export.Dim("rows", min=least, max=most) if most else torch.export.Dim("rows", min=least)
    made = torch.export.export(network(), (DATA.inputs[:6],), dynamic_shapes=({0: at_once},))
    torch.export.save(made, tmp_path / "limited.pt2")
    limited = untried(tmp_path / "limited.pt2")
    expected = subject.predict(DATA, batch_size=60).log_probabilities
    for batch_size in (1, 7, 60):
        found = limited.predict(DATA, batch_size=batch_size).log_probabilities
        assert found == pytest.approx(expected, abs=1e-6)
    assert said in str(limited.card.statements[0])


def test_rows_are_given_the_layout_of_the_program(tmp_path):
    module = nn.Sequential(nn.Conv2d(1, 2, 2), nn.Flatten(), nn.Linear(2, 2)).eval()
    pictures = exported(tmp_path / "pictures.pt2", module, torch.zeros(3, 1, 2, 2))
    expected = module(DATA.inputs.reshape(-1, 1, 2, 2))
    assert torch.allclose(untried(pictures).logits(DATA.inputs), expected, atol=1e-6)


def test_variants_that_need_layers_refuse_a_program(subject, tmp_path):
    assert "layers" in Quantise.info.requires
    with pytest.raises(AuditkitError, match="no linear, convolution"):
        Quantise().derive(subject, context(tmp_path))
    with pytest.raises(AuditkitError, match="exported-program"):
        DpRetrain(epsilon=3).derive(subject, context(tmp_path, rows=lambda: DATA))


# --- poisoned archives -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def executed_by_torch(program, tmp_path_factory):
    """Which poisonings plain torch.export.load executes, each tried in one process that is thrown away."""
    folder = tmp_path_factory.mktemp("torch")
    paths = {
        name: str(poison(program, folder / f"{index}.pt2", folder / f"executed-{index}"))
        for index, (name, poison) in enumerate(POISONINGS.items())
    }
    code = (
        "import contextlib, torch\n"
        f"for path in {list(paths.values())!r}:\n"
        "    with contextlib.suppress(Exception):\n"
        "        torch.export.load(path)\n"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return {name for index, name in enumerate(paths) if (folder / f"executed-{index}").exists()}


@pytest.mark.parametrize("name", POISONINGS)
def test_a_poisoning_that_torch_executes_is_refused_here_and_executes_nothing(
    program, tmp_path, name, executed_by_torch
):
    marker = tmp_path / "executed"
    path = POISONINGS[name](program, tmp_path / "poisoned.pt2", marker)
    with pytest.raises(UnsafeError, match=r"poisoned\.pt2: .*Nothing was executed.*Save it again") as caught:
        loaded(path)
    assert caught.value.exit_code == 5
    assert not marker.exists()
    assert name in executed_by_torch, "torch no longer executes it; the check may be loosened"


def changed_text(program, target, change):
    def changed(content):
        text = json.loads(content)
        change(text)
        return json.dumps(text).encode()

    return rewritten(program, target, {"models/model.json": changed})


def graph(text):
    return text["graph_module"]["graph"]


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (
            lambda t: graph(t)["nodes"][0].update(target="torch.os.system"),
            UnsafeError,
            "no operator of torch",
        ),
        (lambda t: graph(t)["nodes"][0].update(target="os.system"), UnsafeError, "no operator of torch"),
        (
            lambda t: graph(t)["nodes"][0].update(target="torch.ops.aten.from_file.default"),
            UnsafeError,
            "opens files",
        ),
        (
            lambda t: graph(t)["nodes"][0].update(target="torch.ops.image.write.default"),
            CheckpointError,
            "aten",
        ),
        (lambda t: graph(t)["nodes"][0].update(name="x; import os"), UnsafeError, "no name"),
        (lambda t: graph(t)["nodes"][0].update(name="__class__"), UnsafeError, "no name"),
        (lambda t: t["range_constraints"].update(u99999999999={}), UnsafeError, "range_constraints"),
        (
            lambda t: t["graph_module"]["module_call_graph"][0]["signature"].update(
                in_spec='[1, {"type": "collections.defaultdict", "context": "{}", "children_spec": []}]'
            ),
            UnsafeError,
            "imported",
        ),
        (
            lambda t: t["graph_module"]["module_call_graph"][0]["signature"].update(
                in_spec='[1, {"type": "builtins.tuple", "context": '
                '"{\\"__enum__\\": 1, \\"fqn\\": \\"os:x\\"}", "children_spec": []}]'
            ),
            UnsafeError,
            "imported",
        ),
        (lambda t: t.pop("graph_module"), CheckpointError, "damaged"),
        (lambda t: graph(t)["nodes"].clear(), CheckpointError, "torch cannot load"),
    ],
)
def test_a_program_whose_text_is_more_than_numbers_and_names_is_refused(
    program, tmp_path, change, error, said
):
    with pytest.raises(error, match=said):
        loaded(changed_text(program, tmp_path / "changed.pt2", change))


@pytest.mark.parametrize(
    "expression",
    [
        "__import__('os').system('true')",
        "Symbol('s0').__class__",
        "(lambda: 1)()",
        "[x for x in (1,)]",
        "Symbol('s0', positive=print(1))",
        "9**9**9**9",
        "Integer(" * 200 + "1" + ")" * 200,
        "open('/etc/passwd')",
        "Symbol('s0; import os')",
        "f'{1}'",
    ],
)
def test_an_expression_that_is_no_size_is_refused(program, tmp_path, expression):
    def change(text):
        graph(text)["tensor_values"]["input"]["sizes"][0] = {
            "as_expr": {"expr_str": expression, "hint": {"as_int": 3}}
        }

    with pytest.raises(UnsafeError, match=r"expr_str.*Nothing was executed"):
        check_program(changed_text(program, tmp_path / "changed.pt2", change))


def test_guards_and_metadata_do_not_reach_the_loader(program, tmp_path):
    """Guards are Python that torch compiles; where the code stood says who wrote it."""

    def change(text):
        text["guards_code"] = ["__import__('os').system('true')"]
        graph(text)["nodes"][0]["metadata"] = {"stack_trace": "File /home/somebody"}

    checked = check_program(changed_text(program, tmp_path / "changed.pt2", change))
    assert b"__import__" not in checked.content
    assert b"/home/somebody" not in checked.content
    assert b"stack_trace" not in checked.content


def test_weights_that_begin_like_a_pickle_by_chance_are_weights(tmp_path):
    module = nn.Linear(4, 2).eval()
    first = b"\x80\x02.."
    with torch.no_grad():
        module.weight.view(-1)[0] = torch.frombuffer(bytearray(first), dtype=torch.float32)[0]
    path = exported(tmp_path / "chance.pt2", module, DATA.inputs[:3])
    assert first in check_program(path).content


def test_code_of_the_machine_in_an_archive_is_refused(program, tmp_path):
    for name in ("data/aotinductor/model/x.json", "extra/library.SO", "extra/kernel.cubin", "extra/a.cpp"):
        path = rewritten(program, tmp_path / "native.pt2", {}, extra={name: b"\x7fELF"})
        with pytest.raises(UnsafeError, match="machine code"):
            check_program(path)


def test_a_program_exported_in_training_mode_is_refused(tmp_path):
    path = exported(tmp_path / "training.pt2", network().train(), DATA.inputs[:3])
    with pytest.raises(CheckpointError, match=r"training mode.*model\.eval"):
        check_program(path)


class TwoInputs(nn.Module):
    def forward(self, first, second):
        return first + second


def test_a_program_of_two_inputs_is_refused(tmp_path):
    path = tmp_path / "two.pt2"
    torch.export.save(torch.export.export(TwoInputs(), (torch.zeros(2, 2), torch.zeros(2, 2))), path)
    with pytest.raises(CheckpointError, match="takes 2 inputs"):
        check_program(path)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (network(n_classes=3), r"gives \(2, 3\) for 2 rows, expected \(2, 2\)"),
        (network(n_inputs=9), "does not take rows of 4 numbers"),
        (nn.Sequential(network(), nn.Softmax(dim=1)), "gives probabilities"),
    ],
)
def test_a_program_for_other_data_is_refused(tmp_path, module, said):
    n = 9 if "rows of 4" in said else 4
    path = exported(tmp_path / "other.pt2", module.eval(), torch.zeros(3, n))
    with pytest.raises(CheckpointError, match=said):
        untried(path)


def test_weights_that_are_not_finite_are_refused(tmp_path):
    module = network()
    with torch.no_grad():
        module[1].bias[0] = float("nan")
    with pytest.raises(CheckpointError, match="1 values that are NaN"):
        untried(exported(tmp_path / "nan.pt2", module, DATA.inputs[:3]))


def test_a_program_with_an_architecture_in_the_config_is_a_contradiction(program):
    with pytest.raises(CheckpointError, match="brings its own architecture"):
        loaded(program, architecture={"name": "mlp"})


def test_a_program_without_training_rows_is_refused(program):
    with pytest.raises(CheckpointError, match="come from the training rows"):
        loaded(program, preprocessing=None)


def test_a_program_under_the_name_of_a_state_dict_is_recognised(program, tmp_path):
    path = tmp_path / "towns.pt"
    path.write_bytes(program.read_bytes())
    assert loaded(path).card.architecture == "exported-program"


class Flood(nn.Module):
    def forward(self, inputs):
        return inputs[:, :2] + torch.ones(2**33).sum()


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux")
def test_a_program_that_floods_memory_is_stopped_in_its_own_process(tmp_path):
    path = exported(tmp_path / "flood.pt2", Flood(), DATA.inputs[:3])
    with pytest.raises(CheckpointError, match=r"flood\.pt2: torch cannot load and run it.*memory.*Export"):
        loaded(path)


def test_loading_that_takes_too_long_is_stopped(program):
    with pytest.raises(CheckpointError, match=r"towns\.pt2: loading it took over 0\.01 s and was stopped"):
        try_in_a_process(check_program(program), program, time_limit_s=0.01)
