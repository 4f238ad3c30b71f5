"""Keras takes about ten seconds to import: all tests that need it stand here, in one process."""

import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch

from auditkit.config.model import DataConfig, SubjectConfig
from auditkit.data.digits import digits_rows
from auditkit.data.encoding import encode
from auditkit.data.fitting import fit_preprocessing
from auditkit.data.steps import ImagePreprocessing, NumericFeature, TablePreprocessing, TextPreprocessing
from auditkit.data.tokenizers import ByteTokenizer
from auditkit.errors import (
    AuditkitError,
    CheckpointError,
    DataError,
    MissingExtraError,
    UnsafeError,
    UsageError,
)
from auditkit.jobs.audit import audit, prepare_audit
from auditkit.privacy.preflight import refuse_unsuitable
from auditkit.subjects.keras_check import check_keras
from auditkit.subjects.sources import Request, load_source
from tests.tolerances import FLOAT32

pytest.importorskip("h5py")
os.environ["KERAS_BACKEND"] = "torch"
keras = pytest.importorskip("keras")

pytestmark = [
    pytest.mark.slow,
    # Keras 3.15 writes and predicts by np.array(tensor), which NumPy 2 warns about.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]


def pictures(side=28, n_classes=10):
    return ImagePreprocessing(
        target="digit",
        classes=tuple(map(str, range(n_classes))),
        height=side,
        width=side,
        divisor=255,
        mean=0,
        scale=1,
    )


def numbers(width=5, classes=("no", "yes")):
    features = tuple(NumericFeature(name=f"x{index}", mean=0, scale=1, fill=0) for index in range(width))
    return TablePreprocessing(target="label", classes=classes, features=features)


def saved(model, path):
    model.save(path)
    return path


def loaded(path, preprocessing):
    config = SubjectConfig(keras=str(path))
    return load_source("keras", Request(config=config, folder=path.parent, preprocessing=preprocessing))


def mlp_plain():
    return keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )


@pytest.fixture(scope="module")
def mlp(tmp_path_factory):
    keras.utils.set_random_seed(4)
    return saved(mlp_plain(), tmp_path_factory.mktemp("keras") / "mlp.keras")


def rewritten(path, target, **changes):
    """The archive with members exchanged or added."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(target, "w") as archive:
        for name, value in {**content, **changes}.items():
            archive.writestr(name, value)
    return target


def with_config(path, target, change):
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    change(config)
    return rewritten(path, target, **{"config.json": json.dumps(config)})


def functional():
    inputs = keras.Input((784,))
    hidden = keras.layers.Dense(16, activation="tanh")(inputs)
    joined = keras.layers.Concatenate()([hidden, keras.layers.Dense(4)(inputs)])
    return keras.Model(inputs, keras.layers.Dense(10, activation="softmax")(joined))


MODELS = {
    "softmax": mlp_plain,
    "logits": lambda: keras.Sequential([keras.Input((784,)), keras.layers.Dense(10)]),
    "softmax layer": lambda: keras.Sequential(
        [keras.Input((784,)), keras.layers.Dense(10), keras.layers.Softmax()]
    ),
    "pictures": lambda: keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Rescaling(2.0, offset=-1.0),
            keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(3, 3, strides=2),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.5),
            keras.layers.Dense(10, activation="softmax"),
        ]
    ),
    "not translated": lambda: keras.Sequential(
        [
            keras.Input((28, 28)),
            keras.layers.Flatten(),
            keras.layers.BatchNormalization(),
            keras.layers.Dense(10, activation="softmax"),
        ]
    ),
    "functional": functional,
}


@pytest.mark.parametrize("kind", MODELS)
def test_probabilities_are_those_of_keras(tmp_path, kind):
    keras.utils.set_random_seed(2)
    model = MODELS[kind]()
    subject = loaded(saved(model, tmp_path / "model.keras"), pictures())
    rows = np.random.default_rng(0).random((6, 784), dtype=np.float32)
    found = torch.softmax(subject.logits(torch.from_numpy(rows)), dim=1).detach().numpy()
    answers = model.predict(rows.reshape(6, *model.input_shape[1:]), verbose=0)
    if kind == "logits":
        answers = torch.softmax(torch.from_numpy(answers), dim=1).numpy()
    assert found == pytest.approx(answers, **FLOAT32)
    again = pickle.loads(pickle.dumps(subject))
    assert torch.equal(again.logits(torch.from_numpy(rows)), subject.logits(torch.from_numpy(rows)))
    assert subject.capabilities == {"predictions", "probabilities", "losses", "gradients", "layers"}
    assert any("Keras as a whole" in str(said) for said in subject.card.statements) == (
        kind in ("not translated", "functional")
    )


@pytest.mark.parametrize("translated", [True, False])
def test_a_single_output_through_sigmoid_is_the_probability_of_the_second_class(tmp_path, translated):
    middle = [] if translated else [keras.layers.BatchNormalization()]
    model = keras.Sequential(
        [keras.Input((5,)), *middle, keras.layers.Dense(3), keras.layers.Dense(1, activation="sigmoid")]
    )
    subject = loaded(saved(model, tmp_path / "model.keras"), numbers())
    rows = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)
    found = torch.softmax(subject.logits(torch.from_numpy(rows)), dim=1)[:, 1].detach().numpy()
    assert found == pytest.approx(model.predict(rows, verbose=0)[:, 0], **FLOAT32)


def test_confident_answers_are_logits_that_do_not_saturate(tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2, activation="softmax")])
    model.layers[0].set_weights([np.eye(5, 2, dtype=np.float32) * 500, np.zeros(2, dtype=np.float32)])
    subject = loaded(saved(model, tmp_path / "model.keras"), numbers())
    assert subject.logits(torch.eye(5)[:1]).tolist() == [[500.0, 0.0]]


def test_gradients_and_the_private_pre_flight_work_on_the_plain_network(mlp):
    from captum.attr import IntegratedGradients

    subject = loaded(mlp, pictures())
    rows = torch.rand((3, 784), generator=torch.Generator().manual_seed(0))
    target = torch.tensor([0, 4, 9])
    attributions = IntegratedGradients(subject.logits).attribute(rows, target=target, n_steps=200)
    difference = subject.logits(rows) - subject.logits(torch.zeros_like(rows))
    expected = difference.gather(1, target[:, None]).squeeze(1)
    assert attributions.sum(dim=1).tolist() == pytest.approx(expected.tolist(), rel=0.01, abs=0.01)
    refuse_unsuitable(subject.copy_module().train(), rows[0], 10)
    refuse_unsuitable(functional_module(), rows[0], 10)


def functional_module():
    """A model that stays in Keras: its weights are used by torch functions all the same."""
    from auditkit.subjects.keras_model import KerasModule

    return KerasModule(functional()).train()


def test_the_plain_network_is_audited_end_to_end(tmp_path):
    rows = digits_rows(DataConfig(source="digits"), "train")
    steps = fit_preprocessing(rows)
    data = encode(rows, steps)
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    model.fit(data.inputs.numpy(), data.y_true, epochs=8, batch_size=32, verbose=0)
    saved(model, tmp_path / "digits.keras")
    (tmp_path / "audit.yaml").write_text(
        """
version: 1
subject: {keras: digits.keras}
data: {source: digits, members: train}
variants:
  int8: {kind: quantise}
audits:
  performance: {}
  calibration: {}
  membership-inference: {}
  attribution: {}
  footprint: {energy_window_s: 0.05}
"""
    )
    run, _ = audit(prepare_audit(tmp_path / "audit.yaml"), out=tmp_path / "run")
    assert {result.status for result in run.results} == {"measured"}
    (accuracy,) = [
        m.value
        for result in run.results
        if result.subject == "baseline" and result.against is None
        for m in result.measurements
        if m.metric == "accuracy" and not m.group
    ]
    assert accuracy > 0.9


def test_inputs_and_outputs_that_do_not_fit_are_refused(mlp, tmp_path):
    with pytest.raises(CheckpointError, match=r"rows of shape \(784,\), the data have 64 numbers"):
        loaded(mlp, pictures(side=8))
    with pytest.raises(CheckpointError, match="the data have 3 classes"):
        loaded(mlp, pictures(n_classes=3))
    text = TextPreprocessing(target="t", classes=("a", "b"), tokenizer=ByteTokenizer(), length=784)
    with pytest.raises(DataError, match="which number is which word"):
        loaded(mlp, text)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(2, activation="sigmoid")])
    with pytest.raises(CheckpointError, match="do not exclude one another"):
        loaded(saved(model, tmp_path / "sigmoid.keras"), numbers())


def test_a_lambda_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((5,)), keras.layers.Lambda(lambda x: x * 2), keras.layers.Dense(2)])
    with pytest.raises(UnsafeError, match=r"keras\.layers\.Lambda") as caught:
        loaded(saved(model, tmp_path / "lambda.keras"), numbers())
    assert caught.value.exit_code == 5


def test_a_custom_layer_is_refused(tmp_path):
    @keras.saving.register_keras_serializable("evil")
    class Evil(keras.layers.Layer):
        def call(self, inputs):
            return inputs

    model = keras.Sequential([keras.Input((5,)), Evil(), keras.layers.Dense(2)])
    with pytest.raises(UnsafeError, match="not among the reviewed classes"):
        loaded(saved(model, tmp_path / "custom.keras"), numbers())


def lie_about_the_module(config):
    config["config"]["layers"][1] |= {"module": "os", "class_name": "system"}


def call_a_function(config):
    config["config"]["layers"][1]["config"]["activation"] = {
        "module": "builtins",
        "class_name": "function",
        "config": "eval",
        "registered_name": "function",
    }


def fetch_a_file(config):
    config["config"]["layers"][1]["config"]["kernel_initializer"] |= {
        "module": "keras.utils",
        "class_name": "get_file",
    }


def call_a_lower_case_name(config):
    config["config"]["layers"][1]["config"]["kernel_initializer"]["class_name"] = "deserialize"


def hide_in_a_list(config):
    config["config"]["name"] = [[{"class_name": "__lambda__", "config": {"value": "AAAA"}}]]


def name_a_registered_object(config):
    config["config"]["layers"][1]["registered_name"] = "evil>Dense"


def wrap_a_pickled_module(config):
    config["config"]["layers"][1]["class_name"] = "TorchModuleWrapper"


def read_a_saved_model(config):
    config["config"]["layers"][1]["class_name"] = "TFSMLayer"


@pytest.mark.parametrize(
    "change",
    [
        lie_about_the_module,
        call_a_function,
        fetch_a_file,
        call_a_lower_case_name,
        hide_in_a_list,
        name_a_registered_object,
        wrap_a_pickled_module,
        read_a_saved_model,
    ],
)
def test_a_configuration_that_names_code_is_refused(mlp, tmp_path, change):
    path = with_config(mlp, tmp_path / "evil.keras", change)
    with pytest.raises(UnsafeError, match="not among the reviewed classes") as caught:
        loaded(path, pictures())
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["assets/vocabulary.txt", "evil.py", "../outside", "/etc/passwd"])
def test_other_members_are_refused(mlp, tmp_path, name):
    path = rewritten(mlp, tmp_path / "more.keras", **{name: b"text"})
    with pytest.raises(UnsafeError, match=r"besides a model|leads out of the archive"):
        loaded(path, pictures())


def test_a_bomb_is_refused(mlp, tmp_path):
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(mlp) as archive:
        config = archive.read("config.json")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", config)
        archive.writestr("metadata.json", b"{}")
        archive.writestr("model.weights.h5", bytes(2**27))
    with pytest.raises(UnsafeError, match="zip bomb"):
        loaded(path, pictures())


def weights_file(fill) -> bytes:
    import h5py

    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        fill(file, h5py)
    return stream.getvalue()


HOSTILE_WEIGHTS = {
    "link to another file": lambda file, h5py: file.__setitem__(
        "layers", h5py.ExternalLink("/etc/passwd", "/x")
    ),
    "link inside": lambda file, h5py: file.__setitem__("layers", h5py.SoftLink("/layers")),
    "numbers in another file": lambda file, _: file.create_dataset(
        "x", (10,), dtype="f4", external=[("/etc/passwd", 0, 40)]
    ),
    "texts": lambda file, h5py: file.create_dataset("x", data=["a"], dtype=h5py.string_dtype()),
    "more than there is": lambda file, _: file.create_dataset("x", (2**40,), dtype="f4", chunks=(2**20,)),
}


@pytest.mark.parametrize("kind", HOSTILE_WEIGHTS)
def test_weights_that_lead_elsewhere_are_refused(mlp, tmp_path, kind):
    content = weights_file(HOSTILE_WEIGHTS[kind])
    path = rewritten(mlp, tmp_path / "evil.keras", **{"model.weights.h5": content})
    with pytest.raises(UnsafeError, match=r"Nothing was executed"):
        loaded(path, pictures())


def test_weights_that_are_not_finite_are_refused(tmp_path):
    model = mlp_plain()
    model.layers[0].set_weights([np.full((784, 128), np.nan, dtype=np.float32), np.zeros(128)])
    with pytest.raises(CheckpointError, match="NaN or infinite"):
        loaded(saved(model, tmp_path / "nan.keras"), pictures())


@pytest.mark.parametrize("name", ["model.h5", "model.hdf5", "model.keras"])
def test_the_older_format_is_refused_whatever_it_is_called(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(UnsafeError, match=r"HDF5 format of Keras 2.*model\.save"):
        loaded(tmp_path / name, pictures())


def test_a_folder_and_an_absent_file_are_refused(tmp_path):
    with pytest.raises(UnsafeError, match="SavedModel"):
        loaded(tmp_path, pictures())
    with pytest.raises(CheckpointError, match="no such file"):
        loaded(tmp_path / "none.keras", pictures())


@pytest.mark.parametrize("length", [0, 10, 1000, -200])
def test_truncated_files_are_refused(mlp, tmp_path, length):
    (tmp_path / "cut.keras").write_bytes(mlp.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"cut\.keras"):
        loaded(tmp_path / "cut.keras", pictures())


@pytest.mark.parametrize("content", [b"[" * 100_000, b"{}", b"[]", b"\xff"])
def test_a_damaged_configuration_is_refused(mlp, tmp_path, content):
    path = rewritten(mlp, tmp_path / "damaged.keras", **{"config.json": content})
    with pytest.raises(CheckpointError, match=r"damaged\.keras: config\.json"):
        loaded(path, pictures())


def test_flipped_bytes_are_refused_or_pass_the_check(mlp, tmp_path):
    content, path = mlp.read_bytes(), tmp_path / "flipped.keras"
    rng = np.random.default_rng(3)
    positions = [*rng.integers(0, len(content), 20), *rng.integers(len(content) - 300, len(content), 20)]
    for position in positions:
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            assert zipfile.is_zipfile(io.BytesIO(check_keras(path)))
        except AuditkitError as error:
            assert "flipped.keras" in str(error)  # noqa: PT017 - both outcomes are allowed


def test_another_backend_and_an_older_version_are_named(mlp, monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UsageError, match=r"already runs on jax.*KERAS_BACKEND=torch"):
        loaded(mlp, pictures())
    monkeypatch.setattr("auditkit.subjects.keras_check.version", lambda _name: "3.13.1")
    with pytest.raises(MissingExtraError, match=r"3\.13\.2 or later \(installed: 3\.13\.1\)"):
        loaded(mlp, pictures())


def test_what_was_compiled_into_a_model_never_reaches_keras(mlp, tmp_path):
    def compile_something(config):
        config["compile_config"] = {"loss": {"class_name": "__lambda__", "config": {"value": "AAAA"}}}

    path = with_config(mlp, tmp_path / "compiled.keras", compile_something)
    with zipfile.ZipFile(io.BytesIO(check_keras(path))) as archive:
        assert b"compile_config" not in archive.read("config.json")
    assert loaded(path, pictures()).card.n_parameters == 784 * 128 + 128 + 128 * 10 + 10
