"""Taking in files of others: what is read, and what is refused without being executed."""

import os
import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from auditkit.config import Architecture, SubjectConfig
from auditkit.errors import AuditkitError, CheckpointError, ConfigError, UnsafeError
from auditkit.subjects.checkpoint import save_checkpoint
from auditkit.subjects.intake import load_subject, read_state_dict
from auditkit.subjects.pickles import HARMLESS, list_archive, list_pickle
from tests.subjects.trained import outputs, trained

MLP = {"name": "mlp", "hidden": 5}


def subject_of(folder, checkpoint, preprocessing=None, **keys):
    config = SubjectConfig.model_validate({"checkpoint": checkpoint, **keys})
    return load_subject(config, folder=folder, preprocessing=preprocessing)


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path):
    """What a bomb would create; checked at the end of every test that uses it."""
    path = tmp_path / "exploded"
    yield path
    assert not path.exists()


def test_the_bomb_is_a_bomb(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "exploded")))
    assert (tmp_path / "exploded").exists()


def test_a_checkpoint_of_ours_is_loaded_and_called_as_the_config_says(tmp_path):
    subject, data = trained()
    save_checkpoint(tmp_path / "checkpoints" / "towns", subject)
    again = subject_of(tmp_path, "checkpoints/towns", name="Towns", architecture=MLP)
    assert again.card.title == "Towns"
    assert torch.equal(outputs(again, data), outputs(subject, data))


@pytest.mark.parametrize(
    ("architecture", "said"),
    [
        ({"name": "mlp", "hidden": 64}, r"hidden is \[5\], the config says 64"),
        ({"name": "tabular-mlp"}, "name is 'mlp', the config says 'tabular-mlp'"),
    ],
)
def test_a_checkpoint_of_another_architecture_than_the_config_is_refused(tmp_path, architecture, said):
    save_checkpoint(tmp_path / "towns", trained()[0])
    with pytest.raises(CheckpointError, match=said):
        subject_of(tmp_path, "towns", architecture=architecture)


def test_training_that_differs_from_the_config_is_stated(tmp_path):
    save_checkpoint(tmp_path / "towns", trained()[0])
    again = subject_of(tmp_path, "towns", architecture=MLP, training={"epochs": 3, "batch_size": 16})
    said = [str(statement) for statement in again.card.statements]
    assert said == ["The checkpoint was trained with epochs 2; the config now says 3."]


@pytest.mark.parametrize(
    ("training", "told"),
    [
        (
            {"early_stopping": {"patience": 2}},
            "early_stopping none; the config now says validation_fraction ",
        ),
        ({"augmentation": {"drop_tokens": 0.1}}, "augmentation none; the config now says shift 0, "),
        ({"gradient_clip": 1.0}, "gradient_clip none; the config now says 1.0."),
    ],
    ids=["early stopping", "augmentation", "number"],
)
def test_nested_training_that_differs_is_stated_in_words(tmp_path, training, told):
    save_checkpoint(tmp_path / "towns", trained()[0])
    wanted = {"epochs": 2, "batch_size": 16, **training}
    again = subject_of(tmp_path, "towns", architecture=MLP, training=wanted)
    (said,) = [str(statement) for statement in again.card.statements]
    assert said.startswith(f"The checkpoint was trained with {told}")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
def test_bare_weights_are_loaded_with_architecture_and_preprocessing(tmp_path, suffix):
    subject, data = trained()
    state = dict(subject.state())
    path = tmp_path / f"weights{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(OrderedDict(state), path)
    again = subject_of(tmp_path, path.name, subject.preprocessing, architecture=MLP)
    assert torch.equal(outputs(again, data), outputs(subject, data))
    assert again.card.classes == ("no", "yes")
    assert again.card.statements == ()
    assert "recipe" not in again.capabilities


def test_a_state_dict_in_the_format_before_version_1_6_is_loaded(tmp_path):
    subject, data = trained()
    torch.save(dict(subject.state()), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    again = subject_of(tmp_path, "old.pth", subject.preprocessing, architecture=MLP)
    assert torch.equal(outputs(again, data), outputs(subject, data))


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict"])
def test_a_state_dict_beside_other_values_and_behind_a_wrapper_is_found(tmp_path, key):
    subject, data = trained()
    state = {f"module.{name}": tensor for name, tensor in subject.state().items()}
    torch.save({"epoch": 3, key: state}, tmp_path / "saved.pt")
    again = subject_of(tmp_path, "saved.pt", subject.preprocessing, architecture=MLP)
    assert torch.equal(outputs(again, data), outputs(subject, data))


def test_other_names_are_matched_by_shape_and_it_is_said(tmp_path):
    subject, data = trained()
    names = {"hidden1": "fc1", "output": "fc2"}
    state = {}
    for name, tensor in reversed(list(subject.state().items())):
        layer, kind = name.split(".")
        state[f"{names[layer]}.{kind}"] = tensor
    torch.save(state, tmp_path / "theirs.pth")
    again = subject_of(tmp_path, "theirs.pth", subject.preprocessing, architecture=MLP)
    assert torch.equal(outputs(again, data), outputs(subject, data))
    assert "matched by shape" in str(again.card.statements[0])


def test_other_names_are_not_guessed_where_two_shapes_are_alike(tmp_path):
    subject, _ = trained(hidden=[5, 5, 5])
    state = {name.replace("hidden", "fc"): tensor for name, tensor in subject.state().items()}
    torch.save(state, tmp_path / "theirs.pth")
    with pytest.raises(CheckpointError, match=r"hidden1\.weight \(5, 4\) is missing"):
        subject_of(tmp_path, "theirs.pth", subject.preprocessing, architecture={**MLP, "hidden": [5, 5, 5]})


def test_half_precision_is_converted_and_it_is_said(tmp_path):
    subject, data = trained()
    torch.save({name: tensor.half() for name, tensor in subject.state().items()}, tmp_path / "half.pth")
    again = subject_of(tmp_path, "half.pth", subject.preprocessing, architecture=MLP)
    assert outputs(again, data) == pytest.approx(outputs(subject, data), abs=0.01)
    assert "stored as float16" in str(again.card.statements[0])


def test_without_preprocessing_classes_are_called_by_number(tmp_path):
    subject, _ = trained()
    torch.save(dict(subject.state()), tmp_path / "bare.pth")
    again = subject_of(tmp_path, "bare.pth", architecture={**MLP, "n_inputs": 4, "n_classes": 2})
    assert again.card.classes == ("0", "1")
    with pytest.raises(ConfigError, match="n_inputs: is not known"):
        subject_of(tmp_path, "bare.pth", architecture=MLP)


def test_bare_weights_without_architecture_are_answered_with_their_tensors(tmp_path):
    torch.save({"fc.weight": torch.zeros(2, 3)}, tmp_path / "bare.pth")
    with pytest.raises(CheckpointError, match=r"add subject\.architecture.*fc\.weight \(2, 3\)"):
        subject_of(tmp_path, "bare.pth")


def test_weights_of_another_shape_are_named(tmp_path):
    subject, _ = trained()
    torch.save(dict(subject.state()), tmp_path / "bare.pth")
    with pytest.raises(
        CheckpointError, match=r"hidden1\.weight is float32 \(5, 4\), expected float32 \(6, 4\)"
    ):
        subject_of(tmp_path, "bare.pth", subject.preprocessing, architecture={"name": "mlp", "hidden": 6})


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_bomb_is_refused_with_its_imports_and_does_not_go_off(tmp_path, marker, zipped):
    torch.save(
        {"weight": torch.zeros(2), "extra": Bomb(marker)},
        tmp_path / "bomb.pth",
        _use_new_zipfile_serialization=zipped,
    )
    with pytest.raises(UnsafeError, match=r"it would import posix\.mkdir\. Nothing was executed") as caught:
        subject_of(tmp_path, "bomb.pth", architecture=MLP)
    assert caught.value.exit_code == 5


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["bomb.pth", "bomb.pkl", "bomb.joblib", "bomb.pt"])
def test_a_plain_pickle_of_any_protocol_is_refused(tmp_path, marker, protocol, name):
    (tmp_path / name).write_bytes(pickle.dumps(Bomb(marker), protocol=protocol))
    with pytest.raises(UnsafeError, match=r"posix\.mkdir"):
        subject_of(tmp_path, name, architecture=MLP)


def test_a_bomb_of_a_newer_protocol_inside_an_archive_is_refused(tmp_path, marker):
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb(marker), protocol=4))
        archive.writestr("archive/version", "3")
    with pytest.raises(UnsafeError, match=r"posix\.mkdir"):
        subject_of(tmp_path, "bomb.pt", architecture=MLP)


def test_a_bomb_that_hides_its_name_in_the_memo_is_still_not_executed(tmp_path, marker):
    harmless = b"\x80\x04\x8c\x0bcollections\x8c\x0bOrderedDict"  # pushed last, but popped before the import
    hidden = b"\x80\x04\x8c\x05posix\x8c\x05mkdir" + harmless[2:] + b"00\x93\x8c"
    argument = str(marker).encode()
    content = hidden + bytes([len(argument)]) + argument + b"\x85R."
    assert pickle.loads(content) is None
    os.rmdir(marker)
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3")
    with pytest.raises(AuditkitError):
        subject_of(tmp_path, "bomb.pt", architecture=MLP)


def test_a_whole_pickled_module_is_refused_with_its_classes(tmp_path):
    torch.save(nn.Sequential(nn.Linear(2, 2)), tmp_path / "module.pth")
    with pytest.raises(UnsafeError, match=r"torch\.nn\.modules\.container\.Sequential"):
        subject_of(tmp_path, "module.pth", architecture=MLP)


def test_the_listing_agrees_with_that_of_torch(tmp_path):
    path = tmp_path / "module.pth"
    torch.save({"module": nn.Linear(2, 2), "when": np.float64(1.5)}, path)
    assert set(list_archive(path).unsafe) == set(torch.serialization.get_unsafe_globals_in_checkpoint(path))


def test_every_import_called_harmless_is_accepted_by_torch(tmp_path):
    for index, name in enumerate(sorted(HARMLESS)):
        module, _, attribute = name.rpartition(".")
        path = tmp_path / f"{index}.pt"
        content = b"\x80\x02c" + f"{module}\n{attribute}\n".encode() + b"."
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3")
            archive.writestr("archive/byteorder", "little")
        assert list_archive(path).imports == (name,)
        assert torch.serialization.get_unsafe_globals_in_checkpoint(path) == []


def test_extension_codes_are_listed(tmp_path):
    (tmp_path / "extension.pkl").write_bytes(b"\x80\x02\x82\x07.")
    assert list_pickle(tmp_path / "extension.pkl").imports == ("copyreg extension 7",)


def test_torchscript_is_refused_with_the_key_that_trusts_it(tmp_path):
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/code/__torch__.py", "def forward(self): ...")
        archive.writestr("script/constants.pkl", pickle.dumps((), protocol=2))
        archive.writestr("script/data.pkl", pickle.dumps({}, protocol=2))
    with pytest.raises(UnsafeError, match=r"TorchScript.*subject\.trust: true"):
        subject_of(tmp_path, "script.pt", architecture=MLP)


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("model.h5", b"\x89HDF\r\n\x1a\n", CheckpointError),
        ("model.keras", b"PK\x03\x04", CheckpointError),
        ("model.onnx", b"\x08\x07", CheckpointError),
        ("model.pth", b"\x89HDF\r\n\x1a\n", CheckpointError),
        ("model.txt", b"hello", CheckpointError),
        ("model", b"hello", CheckpointError),
        ("model.joblib", b"x\x9cpacked", UnsafeError),
    ],
)
def test_other_formats_are_refused_with_those_that_are_read(tmp_path, name, content, error):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(error, match=r"Supported: .*safetensors.*state dict"):
        subject_of(tmp_path, name, architecture=MLP)


@pytest.mark.parametrize(
    "content",
    [
        {"weight": [1.0, 2.0]},
        {"weight": torch.zeros(2), "epoch": 3},
        [torch.zeros(2)],
        torch.zeros(2),
        {},
        {"weight": torch.zeros(2, 2).to_sparse()},
    ],
)
def test_something_else_than_a_state_dict_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "odd.pth")
    with pytest.raises(CheckpointError, match=r"state dict|not plain tensors"):
        read_state_dict(tmp_path / "odd.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", "-old.pth"])
@pytest.mark.parametrize("length", [0, 3, 60, -9])
def test_truncated_weights_are_refused(tmp_path, suffix, length):
    path = tmp_path / f"weights{suffix}"
    state = {"fc.weight": torch.ones(20, 20)}
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path, _use_new_zipfile_serialization=suffix == ".pth")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=str(path.name)):
        read_state_dict(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_fifty_flipped_bytes_are_refused_or_give_tensors(tmp_path, zipped):
    path = tmp_path / "weights.pth"
    torch.save({"fc.weight": torch.ones(4, 4)}, path, _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    rng = np.random.default_rng(3)
    for position in rng.integers(0, len(content), 50):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            tensors = read_state_dict(path)
        except (CheckpointError, UnsafeError):
            continue
        assert all(isinstance(tensor, torch.Tensor) for tensor in tensors.values())


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pth: no such file"):
        subject_of(tmp_path, "none.pth", architecture=MLP)
    with pytest.raises(CheckpointError, match=r"subject\.checkpoint is not set"):
        load_subject(SubjectConfig(architecture=Architecture(name="mlp")), folder=tmp_path)
