"""Checkpoints on disk."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from auditkit.config import Architecture
from auditkit.errors import AuditkitError, CheckpointError
from auditkit.records import Certificate, Message
from auditkit.subjects.checkpoint import CheckpointCard, load_checkpoint, save_checkpoint
from tests.subjects.trained import outputs, trained


@pytest.fixture
def saved(tmp_path):
    subject, data = trained()
    return save_checkpoint(tmp_path / "model", subject, positive="yes"), subject, data


def reseal(folder, **changes):
    """Write a card with other content and a right seal, as a careful forger would."""
    values = json.loads((folder / "card.json").read_text())
    card = CheckpointCard.model_validate({**values, **changes})
    (folder / "card.json").write_text(card.model_copy(update={"sha256": card.seal()}).model_dump_json())


def test_what_is_read_back_is_the_same_subject(saved):
    folder, subject, data = saved
    again = load_checkpoint(folder)
    assert sorted(entry.name for entry in folder.iterdir()) == ["card.json", "model.safetensors"]
    assert again.card == subject.card.model_copy(update={"source": str(folder)})
    assert again.architecture == subject.architecture
    assert again.preprocessing == subject.preprocessing
    assert torch.equal(outputs(again, data), outputs(subject, data))
    assert not again.module.training
    assert all(parameter.requires_grad for parameter in again.module.parameters())


def test_the_card_says_which_label_is_favourable(saved):
    assert json.loads((saved[0] / "card.json").read_text())["positive"] == "yes"


def test_certificate_and_statements_survive(tmp_path):
    subject, _ = trained()
    certificate = Certificate(
        **{"epsilon": 3.0, "delta": 1e-5, "adjacency": "add-or-remove-one", "unit_of_privacy": "row"},
        **{"noise_multiplier": 1.1, "sample_rate": 0.1, "steps": 10, "max_grad_norm": 1.0, "normaliser": 6.0},
        **{
            "accountant": "prv",
            "certified": True,
            "assumptions": (Message(text="{n} rows", values={"n": 6}),),
        },
    )
    card = subject.card.model_copy(update={"certificate": certificate, "statements": (Message(text="made"),)})
    again = load_checkpoint(save_checkpoint(tmp_path / "dp", replace(subject, card=card)))
    assert again.card.certificate == certificate
    assert again.card.statements == (Message(text="made"),)


def test_a_checkpoint_is_replaced_as_a_whole_and_leaves_nothing_behind(saved):
    folder, _, _ = saved
    other, data = trained(hidden=9)
    save_checkpoint(folder, other)
    assert torch.equal(outputs(load_checkpoint(folder), data), outputs(other, data))
    assert [entry.name for entry in folder.parent.iterdir()] == ["model"]


def test_a_folder_with_other_files_is_not_touched(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(CheckpointError, match=r"other files, such as thesis\.txt"):
        save_checkpoint(tmp_path, trained()[0])
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_weights_file_gets_a_card_of_its_own_beside_it(tmp_path):
    first, data = trained()
    second, _ = trained(hidden=9)
    for name, subject in (("a", first), ("b", second)):
        save_checkpoint(tmp_path / f"{name}.safetensors", subject)
    assert len(list(tmp_path.iterdir())) == 4
    for name, subject in (("a", first), ("b", second)):
        again = load_checkpoint(tmp_path / f"{name}.safetensors")
        assert torch.equal(outputs(again, data), outputs(subject, data))


def test_the_weights_file_of_a_folder_finds_the_card_beside_it(saved):
    folder, subject, data = saved
    again = load_checkpoint(folder / "model.safetensors")
    assert torch.equal(outputs(again, data), outputs(subject, data))


def test_a_module_that_its_architecture_does_not_build_is_not_saved(tmp_path):
    subject, _ = trained()
    other = subject.architecture.model_copy(update={"hidden": [6]})
    with pytest.raises(CheckpointError, match="could not be read back"):
        save_checkpoint(tmp_path / "model", replace(subject, architecture=Architecture(**other.model_dump())))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_truncated_weights_are_refused(saved, length):
    weights = saved[0] / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"model\.safetensors.*sha256 differs.*again"):
        load_checkpoint(saved[0])


@pytest.mark.parametrize("missing", ["card.json", "model.safetensors"])
def test_an_absent_file_is_named(saved, missing):
    (saved[0] / missing).unlink()
    with pytest.raises(CheckpointError, match=f"{missing}: no such file"):
        load_checkpoint(saved[0])


def test_swapped_weights_are_refused(saved):
    other, _ = trained(hidden=9)
    folder = save_checkpoint(saved[0].parent / "other", other)
    (saved[0] / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match="sha256 differs"):
        load_checkpoint(saved[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.pop("output.bias"), r"output\.bias \(2,\) is missing"),
        (lambda t: t.update(extra=torch.zeros(1)), r"extra \(1,\) is not part of it"),
        (
            lambda t: t.update({"output.bias": torch.zeros(3)}),
            r"output\.bias is float32 \(3,\), expected float32",
        ),
        (lambda t: t.update({"output.bias": torch.zeros(2).double()}), r"output\.bias is float64"),
        (lambda t: t["hidden1.weight"].fill_(float("nan")), r"hidden1\.weight holds 20 values that are NaN"),
    ],
)
def test_weights_that_do_not_fit_are_refused_though_the_seals_are_right(saved, change, said):
    weights = saved[0] / "model.safetensors"
    tensors = load_file(weights)
    change(tensors)
    save_file(tensors, weights)
    reseal(saved[0], weights_sha256=hashlib.sha256(weights.read_bytes()).hexdigest())
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(saved[0])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"architecture": {"name": "mpl"}}, "Did you mean 'mlp'"),
        (
            {"architecture": {"name": "mlp", "n_inputs": 4, "n_classes": 2, "hidden": [10**6] * 9}},
            "do not fit",
        ),
        ({"architecture": {"name": "mlp"}}, "is not known"),
        ({"architecture": {}}, "cannot be built"),
        ({"classes": ["no", "yes", "maybe"]}, "contradicts itself"),
        ({"positive": "maybe"}, "favourable label 'maybe'"),
        (
            {"architecture": {"name": "mlp", "n_inputs": 9, "n_classes": 2}},
            "n_inputs is 9 in the architecture, 4 in what the model reads",
        ),
    ],
)
def test_a_card_that_describes_another_model_is_refused(saved, changes, said):
    reseal(saved[0], **changes)
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(saved[0])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "not the card"),
        (b"[1, 2]", "not the card"),
        (b'{"format_version": 99}', "format version 99, this auditkit .* reads 1"),
        (b'{"format_version": 1}', "damaged"),
        (b"[" * 100_000, "not the card"),
        (b"\xff\xfe", "not the card"),
    ],
)
def test_something_else_than_a_card_is_refused(saved, content, said):
    (saved[0] / "card.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(saved[0])


def test_a_value_changed_by_hand_is_noticed(saved):
    card = saved[0] / "card.json"
    card.write_text(card.read_text().replace('"Two towns"', '"Two cities"'))
    with pytest.raises(CheckpointError, match="changed after it was written"):
        load_checkpoint(saved[0])


@pytest.mark.parametrize("name", ["card.json", "model.safetensors"])
def test_fifty_flipped_bytes_are_refused_or_harmless(saved, name):
    folder, subject, data = saved
    expected = outputs(subject, data)
    content = (folder / name).read_bytes()
    rng = np.random.default_rng(2)
    refused = 0
    for position in rng.integers(0, len(content), 50):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        (folder / name).write_bytes(bytes(damaged))
        try:
            again = load_checkpoint(folder)
        except AuditkitError as error:
            refused += isinstance(error, CheckpointError)
            continue
        assert torch.equal(outputs(again, data), expected)
        assert again.card.training == subject.card.training
    assert refused > 40
