"""ONNX through onnxruntime: shapes, what an output holds, and what is refused before it is loaded."""

import pickle

import numpy as np
import pytest

from auditkit.data.loading import load_training_data
from auditkit.errors import CheckpointError, MissingExtraError, UnsafeError
from auditkit.jobs.prepare import open_project
from auditkit.subjects import onnx_session
from auditkit.subjects.onnx_check import check_onnx
from tests.subjects.projects import loans, probabilities, run_of, subject_of, write_project
from tests.tolerances import FLOAT32

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - after the skip

WIDTH = 2
"""Columns of the loans as they are encoded: income with an indicator, children."""

RNG = np.random.default_rng(0)


def linear(n_in, n_out, *, last=(), inputs=None, domain="", opset=17, dtype=TensorProto.FLOAT):
    """``x W + b`` with further operators, as a model; weights are drawn once per call."""
    rng = np.random.default_rng(n_in * 31 + n_out)
    weights, bias = (
        rng.normal(size=(n_in, n_out)).astype(np.float32),
        rng.normal(size=n_out).astype(np.float32),
    )
    shape = inputs or ["n", n_in]
    nodes, at = [], "x"
    if len(shape) > 2:
        nodes.append(helper.make_node("Flatten", ["x"], ["flat"], axis=1))
        at = "flat"
    nodes.append(helper.make_node("Gemm", [at, "w", "b"], ["y0"]))
    for index, operator in enumerate(last):
        options = {"axis": 1} if "oftmax" in operator else {}
        nodes.append(helper.make_node(operator, [f"y{index}"], [f"y{index + 1}"], domain=domain, **options))
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", dtype, shape)],
        [helper.make_tensor_value_info(f"y{len(last)}", TensorProto.FLOAT, [shape[0], n_out])],
        [numpy_helper.from_array(weights, "w"), numpy_helper.from_array(bias, "b")],
    )
    opsets = [helper.make_opsetid("", opset)] + ([helper.make_opsetid(domain, 1)] if domain else [])
    return helper.make_model(graph, opset_imports=opsets, ir_version=8), weights, bias


def project_with(tmp_path, model, *, subject="", **keys):
    onnx.save(model, tmp_path / "model.onnx")
    data = keys.pop("data", "features: [income, children]")
    return write_project(tmp_path, f"onnx: model.onnx{subject}", data=data, **keys)


def raw_table():
    return loans().fillna({"income": 0.0})[["income", "children"]].to_numpy(dtype=np.float32)


def raw_project(tmp_path, model, **keys):
    loans().fillna({"income": 0.0}).to_csv(tmp_path / "loans.csv", index=False)
    return project_with(tmp_path, model, subject=", inputs: raw", **keys)


def softmax(z):
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("last", [(), ("LogSoftmax",), ("Softmax",)], ids=["logits", "log", "probabilities"])
def test_logits_and_probabilities_give_the_same_figures(tmp_path, last):
    model, weights, bias = linear(2, 2, last=last)
    config = raw_project(tmp_path, model)
    truth = softmax((raw_table() @ weights + bias).astype(np.float64))
    assert probabilities(config) == pytest.approx(truth, **FLOAT32)
    subject, _ = subject_of(config)
    said = " ".join(map(str, subject.card.statements))
    assert ("holds probabilities" in said) == (last == ("Softmax",))


@pytest.mark.parametrize("last", [(), ("Sigmoid",)], ids=["logit", "probability"])
def test_one_number_per_row_is_about_the_second_label(tmp_path, last):
    model, weights, bias = linear(2, 1, last=last)
    config = raw_project(tmp_path, model)
    z = (raw_table() @ weights + bias).astype(np.float64)[:, 0]
    assert probabilities(config)[:, 1] == pytest.approx(1 / (1 + np.exp(-z)), **FLOAT32)


def test_encoded_rows_are_those_a_checkpoint_would_get(tmp_path):
    config = project_with(tmp_path, linear(3, 2)[0])
    _, weights, bias = linear(3, 2)
    subject, data = subject_of(config)
    assert data.features.names == ("income", "children")
    truth = softmax((data.inputs.numpy() @ weights + bias).astype(np.float64))
    assert subject.predict(data, batch_size=32).probabilities == pytest.approx(truth, **FLOAT32)
    project = open_project(config)
    _, fitted = load_training_data(
        project.config.data, preprocessing=None, seed=project.config.seed, folder=project.folder
    )
    assert subject.preprocessing == fitted
    assert any("not say whether it was trained on rows like these" in str(s) for s in subject.card.statements)


@pytest.mark.parametrize(
    "shape", [["n", 64], ["n", 8, 8], ["n", 1, 8, 8], ["n", 8, 8, 1], [1, 1, 8, 8], [16, 64]]
)
@pytest.mark.parametrize("inputs", ["raw", "encoded"])
def test_pictures_take_the_shape_that_the_model_asks_for(tmp_path, shape, inputs):
    model, weights, bias = linear(64, 10, inputs=shape)
    onnx.save(model, tmp_path / "model.onnx")
    config = tmp_path / "digits.yaml"
    config.write_text(
        f"version: 1\nsubject: {{onnx: model.onnx, inputs: {inputs}}}\n"
        "data: {source: digits, limit: 50}\naudits: {performance: {}}\n"
    )
    subject, data = subject_of(config)
    x = data.inputs.reshape(50, 64).numpy()
    assert (x.max() == 1.0) == (inputs == "raw")
    truth = softmax((x @ weights + bias).astype(np.float64))
    assert subject.predict(data, batch_size=20).probabilities == pytest.approx(truth, **FLOAT32)


def test_texts_arrive_as_token_ids(tmp_path):
    rows = "".join(f"{w} {i},{w}\n" for i in range(20) for w in ("good", "bad"))
    (tmp_path / "t.csv").write_text("review,label\n" + rows)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "ids"], ["vectors"]),
            helper.make_node("ReduceMean", ["vectors"], ["y"], axes=[1], keepdims=0),
        ],
        "bag",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", "length"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2])],
        [numpy_helper.from_array(RNG.normal(size=(40, 2)).astype(np.float32), "table")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8),
        tmp_path / "model.onnx",
    )
    config = tmp_path / "t.yaml"
    config.write_text(
        "version: 1\nsubject: {onnx: model.onnx}\n"
        "data: {source: t.csv, target: label, text: review, length: 4}\naudits: {performance: {}}\n"
    )
    subject, data = subject_of(config)
    table = numpy_helper.to_array(graph.initializer[0])
    truth = softmax(table[data.inputs.numpy()].mean(axis=1).astype(np.float64))
    assert subject.predict(data, batch_size=5).probabilities == pytest.approx(truth, **FLOAT32)


def classifier_of_sklearn(labels, *, zipped, swapped=False):
    """As converters of scikit-learn write it: labels and probabilities, by operators of ai.onnx.ml."""
    coefficients, intercepts = [1.0, -0.5, -1.0, 0.5], [-2.0, 2.0]
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "p"],
            domain="ai.onnx.ml",
            classlabels_strings=labels[::-1] if swapped else labels,
            coefficients=coefficients,
            intercepts=intercepts,
            post_transform="SOFTMAX",
        )
    ]
    outputs = [helper.make_tensor_value_info("label", TensorProto.STRING, ["n"])]
    if zipped:
        nodes.append(
            helper.make_node(
                "ZipMap",
                ["p"],
                ["maps"],
                domain="ai.onnx.ml",
                classlabels_strings=labels[::-1] if swapped else labels,
            )
        )
        value = helper.make_map_type_proto(
            TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
        )
        outputs.append(helper.make_value_info("maps", helper.make_sequence_type_proto(value)))
    else:
        outputs.append(helper.make_tensor_value_info("p", TensorProto.FLOAT, ["n", 2]))
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2])], outputs
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 1)],
        ir_version=8,
    )


@pytest.mark.parametrize("zipped", [True, False])
def test_labels_and_probabilities_of_a_converted_model_are_read(tmp_path, zipped):
    config = raw_project(tmp_path, classifier_of_sklearn(["no", "yes"], zipped=zipped))
    z = raw_table() @ np.array([[1.0, -0.5], [-1.0, 0.5]]).T + [-2.0, 2.0]
    assert probabilities(config) == pytest.approx(softmax(z), **FLOAT32)


def test_maps_name_their_labels_whatever_the_order(tmp_path):
    config = raw_project(tmp_path, classifier_of_sklearn(["no", "yes"], zipped=True, swapped=True))
    subject, data = subject_of(config)
    assert set(data.classes) == {"no", "yes"}
    z = raw_table() @ np.array([[1.0, -0.5], [-1.0, 0.5]]).T + [-2.0, 2.0]
    column = data.classes.index("yes")
    assert subject.predict(data, batch_size=64).probabilities[:, column] == pytest.approx(
        softmax(z)[:, 0], **FLOAT32
    )


def test_probabilities_in_another_order_than_their_labels_are_refused(tmp_path):
    with pytest.raises(
        CheckpointError, match="where its numbers, taken in the order no, yes, are highest for"
    ):
        subject_of(raw_project(tmp_path, classifier_of_sklearn(["no", "yes"], zipped=False, swapped=True)))


def test_a_converted_model_must_say_what_it_reads(tmp_path):
    with pytest.raises(CheckpointError, match="inputs: raw"):
        subject_of(project_with(tmp_path, classifier_of_sklearn(["no", "yes"], zipped=False)))


def test_values_that_are_neither_logits_nor_probabilities_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="do not sum to 1: neither logits nor probabilities"):
        subject_of(raw_project(tmp_path, linear(2, 2, last=("Sigmoid",))[0]))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: linear(7, 2)[0], r"takes rows of shape \['n', 7\], the data give \('n', 2\)"),
        (lambda: linear(2, 3)[0], "has 3 numbers per row, the data have 2 labels"),
    ],
    ids=["inputs", "outputs"],
)
def test_sizes_that_do_not_fit_are_told_with_both(tmp_path, model, said):
    with pytest.raises(CheckpointError, match=said):
        subject_of(raw_project(tmp_path, model()))


def test_columns_of_texts_need_a_model_that_takes_them(tmp_path):
    with pytest.raises(CheckpointError, match="these columns are texts: sex, job"):
        subject_of(raw_project(tmp_path, linear(4, 2)[0], data="features: [sex, income, children, job]"))


def test_weights_in_another_file_are_refused(tmp_path):
    onnx.save(linear(2, 2)[0], tmp_path / "model.onnx", save_as_external_data=True, size_threshold=0)
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(UnsafeError, match="keeps weights in other files"):
        subject_of(write_project(tmp_path, "onnx: model.onnx"))


@pytest.mark.parametrize("place", ["initializer", "attribute", "subgraph", "sparse"])
def test_weights_in_another_file_are_found_wherever_they_are(tmp_path, place):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    constant = helper.make_node("Constant", [], ["c"], value=tensor)
    if place == "sparse":
        indices = numpy_helper.from_array(np.array([0]))
        constant = helper.make_node(
            "Constant", [], ["c"], sparse_value=helper.make_sparse_tensor(tensor, indices, [1])
        )
    inner = helper.make_graph([constant], "inner", [], [])
    nodes = {
        "initializer": [helper.make_node("Relu", ["w"], ["y"])],
        "attribute": [constant],
        "sparse": [constant],
        "subgraph": [helper.make_node("If", ["x"], ["y"], then_branch=inner, else_branch=inner)],
    }[place]
    graph = helper.make_graph(nodes, "g", [], [], [tensor] if place == "initializer" else [])
    with pytest.raises(UnsafeError, match="keeps weights in other files"):
        check_onnx(helper.make_model(graph).SerializeToString(), tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("domain", "operator"),
    [("evil.library", "Run"), ("com.microsoft", "EPContext"), ("ai.onnx.contrib", "PyOp")],
)
def test_operators_of_others_are_refused_by_name(tmp_path, domain, operator):
    node = helper.make_node(operator, ["x"], ["y"], domain=domain)
    content = helper.make_model(helper.make_graph([node], "g", [], [])).SerializeToString()
    with pytest.raises(UnsafeError, match=operator):
        check_onnx(content, tmp_path / "m.onnx")


def test_a_damaged_file_is_refused_and_never_crashes(tmp_path):
    content = linear(3, 2)[0].SerializeToString()
    rng = np.random.default_rng(1)
    outcomes = []
    for position in rng.integers(0, len(content), 200).tolist():
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        outcomes.append(_outcome(bytes(damaged), tmp_path / "model.onnx"))
    assert set(outcomes) <= {"CheckpointError", "UnsafeError", None}
    assert "CheckpointError" in outcomes


def _outcome(content, path):
    try:
        check_onnx(content, path)
        onnx_session.start_session(content, "cpu", path)
    except (CheckpointError, UnsafeError) as error:
        return type(error).__name__
    return None


@pytest.mark.parametrize("content", [b"", b"\x80\x04", b"PK\x03\x04", b"\x08" * 50, b"\xff" * 64], ids=repr)
def test_what_is_no_onnx_file_is_refused(tmp_path, content):
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"model\.onnx"):
        subject_of(write_project(tmp_path, "onnx: model.onnx"))


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(onnx_session, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"auditkit\[onnx\]"):
        subject_of(raw_project(tmp_path, linear(2, 2)[0]))


def test_it_travels_to_another_process(tmp_path):
    subject, data = subject_of(raw_project(tmp_path, linear(2, 2)[0]))
    copy = pickle.loads(pickle.dumps(subject))
    first, second = (s.predict(data, batch_size=64).log_probabilities for s in (subject, copy))
    assert np.array_equal(first, second)


def test_a_run_from_end_to_end(tmp_path):
    config = raw_project(
        tmp_path,
        linear(2, 2)[0],
        audits="performance: {}, calibration: {}, group-fairness: {}, attribution: {}",
    )
    status = {result.audit: result.status for result in run_of(config, tmp_path / "run").results}
    assert set(status.values()) == {"measured"}
