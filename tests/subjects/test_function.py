"""A Python function as a subject: the contract, and what breaks it."""

import pickle
import sys

import numpy as np
import pytest

from auditkit.errors import CheckpointError, UsageError
from auditkit.records import Run
from tests.subjects.projects import loans, probabilities, run_of, subject_of, write_project

COUNT = iter(range(10_000))


def project_with(tmp_path, body, *, name="predict", **keys):
    """A config whose function has this body; each module has a name of its own."""
    module = f"scoring_{next(COUNT)}"
    (tmp_path / f"{module}.py").write_text(
        "import numpy as np\nimport pandas as pd\n" + body, encoding="utf-8"
    )
    return write_project(tmp_path, f"function: '{module}:{name}'", **keys)


POSITIVE = "def predict(frame):\n    return 1 / (1 + np.exp(3 - frame['income'].fillna(3.0).to_numpy()))\n"


def expected():
    return 1 / (1 + np.exp(3 - loans()["income"].fillna(3.0).to_numpy()))


def test_one_number_per_row_is_the_probability_of_the_positive_label(tmp_path):
    config = project_with(tmp_path, POSITIVE)
    assert probabilities(config)[:, 1] == pytest.approx(expected(), rel=1e-12)


def test_two_columns_are_in_the_order_of_the_sorted_labels(tmp_path):
    config = project_with(
        tmp_path,
        POSITIVE.replace("predict", "one") + "def predict(f):\n    p = one(f)\n    return np.c_[1 - p, p]\n",
    )
    assert probabilities(config)[:, 1] == pytest.approx(expected(), rel=1e-12)
    subject, _ = subject_of(config)
    assert any("in this order" in str(statement) for statement in subject.card.statements)


def test_an_attribute_names_another_order_of_labels(tmp_path):
    config = project_with(
        tmp_path,
        POSITIVE.replace("predict", "one")
        + "def predict(f):\n    p = one(f)\n    return np.c_[p, 1 - p]\npredict.classes = ['yes', 'no']\n",
    )
    subject, data = subject_of(config)
    assert data.classes == subject.card.classes == ("yes", "no")
    said = subject.predict(data, batch_size=50).probabilities
    assert said[:, 0] == pytest.approx(expected(), rel=1e-12)
    assert [data.classes[code] for code in data.y_true] == loans()["granted"].tolist()


def test_labels_give_predictions_and_nothing_more(tmp_path):
    config = project_with(
        tmp_path,
        "def predict(frame):\n    return np.where(frame['income'] > 3, 'YES', 'no')\n",
        audits="performance: {}, calibration: {}, group-fairness: {}, membership-inference: {}",
    )
    run = run_of(config, tmp_path / "run")
    status = {result.audit: result.status for result in run.results}
    assert status == {
        "performance": "measured",
        "calibration": "skipped",
        "group-fairness": "measured",
        "membership-inference": "skipped",
    }
    figures = {m.metric: m for result in run.results for m in result.measurements if not m.group}
    right = (np.where(loans()["income"] > 3, "yes", "no") == loans()["granted"]).mean()
    assert figures["accuracy"].value == right
    for metric in ("log_loss", "auc", "brier"):
        assert figures[metric].value is None
        assert "labels alone" in str(figures[metric].missing)


def test_the_function_sees_the_data_as_pandas_reads_them(tmp_path):
    body = (
        "from pathlib import Path\n"
        f"TRUE = pd.read_csv({str(tmp_path / 'loans.csv')!r}).drop(columns='granted')\n"
        "def predict(frame):\n"
        "    rows = TRUE.merge(frame.drop_duplicates(), how='inner')\n"
        "    assert len(rows) >= len(frame.drop_duplicates())\n"
        "    assert list(frame.dtypes) == list(TRUE.dtypes), frame.dtypes\n"
        "    assert list(frame.columns) == list(TRUE.columns)\n"
        "    return np.full(len(frame), 0.25)\n"
    )
    assert np.all(probabilities(project_with(tmp_path, body))[:, 1] == 0.25)


def test_pictures_arrive_as_arrays_from_0_to_1(tmp_path):
    (tmp_path / "seen_pictures.py").write_text(
        "import numpy as np\n"
        "def predict(x):\n"
        "    assert x.shape[1:] == (8, 8) and 0 <= x.min() and x.max() <= 1\n"
        "    return (x.sum(axis=(1, 2)) % 10).astype(int)\n"
    )
    config = tmp_path / "p.yaml"
    config.write_text(
        "version: 1\nsubject: {function: 'seen_pictures:predict'}\n"
        "data: {source: digits, limit: 40}\naudits: {performance: {}}\n"
    )
    assert run_of(config, tmp_path / "run").results[0].status == "measured"


def test_texts_arrive_as_a_list(tmp_path):
    (tmp_path / "seen_texts.py").write_text(
        "def predict(texts):\n"
        "    assert isinstance(texts, list)\n"
        "    return ['good' if 'gut' in text else 'bad' for text in texts]\n"
    )
    rows = [
        f"{word} Café {i},{label}" for i in range(8) for word, label in (("gut", "good"), ("übel", "bad"))
    ]
    (tmp_path / "t.csv").write_text("review,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    config = tmp_path / "t.yaml"
    config.write_text(
        "version: 1\nsubject: {function: 'seen_texts:predict'}\n"
        "data: {source: t.csv, split: all, target: label, text: review}\naudits: {performance: {}}\n"
    )
    run = run_of(config, tmp_path / "run")
    assert next(m.value for m in run.results[0].measurements if m.metric == "accuracy") == 1.0


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("np.full(len(f), 1.5)", r"expected probabilities in \[0, 1\]"),
        ("np.full(len(f), np.nan)", r"expected probabilities in \[0, 1\]"),
        ("np.full((len(f), 2), 0.4)", "sum to 0.8, expected 1"),
        ("np.full((len(f), 3), 1 / 3)", r"expected \(256, 2\)"),
        ("np.full(len(f) - 1, 0.5)", r"shape \(255,\) about 256 rows"),
        ("['maybe'] * len(f)", "unknown label: no label 'maybe'"),
        ("None", "expected labels or probabilities"),
        ("1 / 0", "raised ZeroDivisionError"),
        ("exit()", "raised SystemExit"),
    ],
)
def test_an_answer_outside_of_the_contract_is_refused_with_what_it_was(tmp_path, answer, said):
    config = project_with(tmp_path, f"def predict(f):\n    return {answer}\n")
    with pytest.raises(UsageError, match=said):
        subject_of(config)


def test_sums_a_little_off_are_divided_and_said(tmp_path):
    config = project_with(tmp_path, "def predict(f):\n    return np.tile([0.2002, 0.8002], (len(f), 1))\n")
    assert probabilities(config)[0] == pytest.approx([0.2002 / 1.0004, 0.8002 / 1.0004])
    subject, _ = subject_of(config)
    assert any("divided by its sum" in str(statement) for statement in subject.card.statements)


def test_a_probability_of_0_keeps_a_finite_loss(tmp_path):
    config = project_with(tmp_path, "def predict(f):\n    return np.zeros(len(f))\n")
    subject, data = subject_of(config)
    losses = subject.predict(data, batch_size=64).loss(data.y_true)
    assert np.isfinite(losses).all()
    assert losses.max() == pytest.approx(52 * np.log(2))


def test_numbers_that_may_be_labels_or_probabilities_are_refused(tmp_path):
    frame = loans().assign(granted=lambda f: (f["granted"] == "yes").astype(int))
    frame.to_csv(tmp_path / "loans.csv", index=False)
    config = project_with(tmp_path, "def predict(f):\n    return (f['income'] > 3).astype(float)\n")
    config.write_text(config.read_text().replace("positive: 'yes'", "positive: 0"))
    with pytest.raises(UsageError, match="may be labels or probabilities"):
        subject_of(config)


def test_labels_as_whole_numbers_or_booleans_are_those_of_the_data(tmp_path):
    frame = loans().assign(granted=lambda f: (f["granted"] == "yes").astype(int))
    frame.to_csv(tmp_path / "loans.csv", index=False)
    config = project_with(tmp_path, "def predict(f):\n    return (f['income'] > 3).astype(int)\n")
    config.write_text(config.read_text().replace("positive: 'yes'", "positive: 1"))
    said = probabilities(config).argmax(axis=1)
    assert said.tolist() == (frame["income"] > 3).astype(int).tolist()


def test_a_function_that_wavers_is_said_to(tmp_path):
    config = project_with(tmp_path, "def predict(f):\n    return np.random.default_rng().random(len(f))\n")
    subject, _ = subject_of(config)
    assert any("answered differently" in str(statement) for statement in subject.card.statements)


def test_an_answer_that_depends_on_the_other_rows_is_said_to(tmp_path):
    config = project_with(tmp_path, "def predict(f):\n    return (f['income'].rank() / len(f)).fillna(0.5)\n")
    subject, _ = subject_of(config)
    assert any("grouped otherwise" in str(statement) for statement in subject.card.statements)


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("nothing_here:predict", "no module 'nothing_here' beside the config"),
        ("json:predict", "json has no 'predict'"),
        ("json:__name__", "is a str, expected a function"),
        ("json", "expected package.module:function"),
        ("../x:predict", "expected package.module:function"),
    ],
)
def test_a_function_that_is_not_there_is_refused_with_what_to_write(tmp_path, reference, said):
    with pytest.raises(CheckpointError, match=said):
        subject_of(write_project(tmp_path, f"function: '{reference}'"))


def test_a_module_that_raises_is_no_traceback(tmp_path):
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('not today')\n")
    with pytest.raises(CheckpointError, match="importing broken_module raised RuntimeError: not today"):
        subject_of(write_project(tmp_path, "function: 'broken_module:predict'"))


def test_another_module_of_the_same_name_is_not_taken_for_it(tmp_path):
    (tmp_path / "json.py").write_text("def predict(f):\n    return [0.5] * len(f)\n")
    with pytest.raises(CheckpointError, match="another module 'json' is already imported"):
        subject_of(write_project(tmp_path, "function: 'json:predict'"))


def test_the_module_path_is_as_before(tmp_path):
    before = list(sys.path)
    subject_of(project_with(tmp_path, POSITIVE))
    assert sys.path == before


def test_another_model_behind_the_same_function_is_another_subject(tmp_path):
    weight = tmp_path / "weight.txt"
    weight.write_text("0.3")
    config = project_with(
        tmp_path, f"def predict(f):\n    return np.full(len(f), np.loadtxt({str(weight)!r}))\n"
    )
    first = subject_of(config)[0].card.digest
    weight.write_text("0.4")
    assert subject_of(config)[0].card.digest != first


def test_it_travels_to_another_process(tmp_path):
    subject, data = subject_of(project_with(tmp_path, POSITIVE))
    copy = pickle.loads(pickle.dumps(subject))
    assert np.array_equal(
        copy.predict(data, batch_size=64).log_probabilities,
        subject.predict(data, batch_size=64).log_probabilities,
    )


def test_a_variant_that_needs_layers_is_refused_by_name(tmp_path):
    config = project_with(tmp_path, POSITIVE)
    config.write_text(
        config.read_text() + "variants: {int8: {kind: quantise}, dp: {kind: dp-retrain, epsilon: 3}}\n"
    )
    with pytest.raises(
        UsageError, match=r"variant 'int8': quantise needs a torch module.*'dp'.*Python function"
    ):
        run_of(config, tmp_path / "run")


@pytest.mark.slow
def test_workers_give_the_same_figures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = project_with(tmp_path, POSITIVE, audits="performance: {}, group-fairness: {}")
    serial = run_of(config, tmp_path / "serial")
    config.write_text(config.read_text() + "execution: {executor: process, workers: 2}\n")
    spread: Run = run_of(config, tmp_path / "spread")
    assert [r.measurements for r in spread.results] == [r.measurements for r in serial.results]
