"""scikit-learn through skops: the model's own answers, columns and labels; and what is refused."""

import contextlib
import io
import json
import pickle
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    VotingClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier

from auditkit.errors import CheckpointError, MissingExtraError, UnsafeError, UsageError
from auditkit.subjects import skops_file
from tests.subjects.projects import FEATURES, loans, probabilities, run_of, subject_of, write_project

skops = pytest.importorskip("skops.io")

NUMBERS = ["income", "children"]


def pipeline(classifier):
    """A usual pipeline over texts and numbers with gaps."""
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
            (
                "texts",
                make_pipeline(
                    SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")
                ),
                ["sex", "job"],
            ),
        ]
    )
    return make_pipeline(columns, classifier)


def saved(tmp_path, model, *, frame=None, columns=FEATURES, target="granted", **keys):
    """A config over a model that was fitted on the loans and saved."""
    frame = loans() if frame is None else frame
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of convergence: quality does not matter here
        model.fit(frame[columns], frame[target])
    skops.dump(model, tmp_path / "model.skops")
    return write_project(tmp_path, "sklearn: model.skops", **keys)


@pytest.mark.parametrize(
    "classifier",
    [
        LogisticRegression(),
        RandomForestClassifier(5, random_state=0),
        GradientBoostingClassifier(n_estimators=3, random_state=0),
        HistGradientBoostingClassifier(max_iter=4),
        CalibratedClassifierCV(DecisionTreeClassifier(max_depth=3), cv=2),
        VotingClassifier([("a", LogisticRegression()), ("b", DecisionTreeClassifier())], voting="soft"),
        MLPClassifier((4,), max_iter=5, random_state=0),
    ],
    ids=lambda classifier: type(classifier).__name__,
)
def test_figures_rest_on_the_models_own_probabilities(tmp_path, classifier):
    model = pipeline(classifier)
    config = saved(tmp_path, model)
    said, own = probabilities(config), model.predict_proba(pd.read_csv(tmp_path / "loans.csv")[FEATURES])
    assert said == pytest.approx(own, rel=1e-9, abs=1e-15)


def test_a_run_from_end_to_end_says_what_a_black_box_cannot_show(tmp_path):
    config = saved(
        tmp_path,
        pipeline(LogisticRegression()),
        audits="performance: {}, calibration: {}, group-fairness: {}, attribution: {}, footprint: {}",
    )
    run = run_of(config, tmp_path / "run")
    status = {result.audit: result.status for result in run.results}
    assert set(status.values()) == {"measured"}
    card = run.subjects[0]
    assert card.architecture == "scikit-learn Pipeline (LogisticRegression)"
    assert (card.n_parameters, card.size_b) == (None, (tmp_path / "model.skops").stat().st_size)
    figures = {m.metric: m for result in run.results for m in result.measurements if not m.group}
    assert figures["convergence_delta.share_within"].value == 1.0
    assert figures["n_parameters"].value is None
    assert figures["n_parameters"].missing is not None


def test_labels_that_are_numbers_meet_labels_that_are_texts(tmp_path):
    frame = loans().assign(granted=lambda f: (f["granted"] == "yes").astype(float))
    frame.astype({"granted": int}).to_csv(tmp_path / "loans.csv", index=False)
    model = pipeline(LogisticRegression())
    config = saved(tmp_path, model, frame=frame)
    config.write_text(config.read_text().replace("positive: 'yes'", "positive: 1"))
    subject, data = subject_of(config)
    assert subject.card.classes == data.classes == ("0", "1")
    accuracy = (subject.predict(data, batch_size=64).y_pred == data.y_true).mean()
    assert accuracy == (model.predict(frame[FEATURES]) == frame["granted"]).mean()


def test_the_columns_of_the_model_are_found_by_name_whatever_their_order(tmp_path):
    model = LogisticRegression()
    frame = loans().fillna({"income": 3.0})
    frame.to_csv(tmp_path / "loans.csv", index=False)
    config = saved(tmp_path, model, frame=frame, columns=["children", "income"])
    assert probabilities(config) == pytest.approx(model.predict_proba(frame[["children", "income"]]))
    subject, _ = subject_of(config)
    said = [str(statement) for statement in subject.card.statements]
    assert "Columns of the data that it does not read: sex, job." in said


def test_a_column_that_the_data_lack_is_named_with_the_closest(tmp_path):
    frame = loans().rename(columns={"income": "incomes"}).fillna({"incomes": 3.0})
    config = saved(tmp_path, LogisticRegression(), frame=frame, columns=["incomes", "children"])
    with pytest.raises(CheckpointError, match=r"no column 'incomes'. Did you mean 'income'\?"):
        subject_of(config)


def test_a_model_without_column_names_needs_as_many_columns(tmp_path):
    frame = loans().fillna({"income": 3.0})
    frame.to_csv(tmp_path / "loans.csv", index=False)
    model = LogisticRegression().fit(frame[NUMBERS].to_numpy(), frame["granted"])
    skops.dump(model, tmp_path / "model.skops")
    with pytest.raises(CheckpointError, match="reads 2 columns without names, the data have 4"):
        subject_of(write_project(tmp_path, "sklearn: model.skops"))
    config = write_project(tmp_path, "sklearn: model.skops", data="features: [income, children]")
    assert probabilities(config) == pytest.approx(model.predict_proba(frame[NUMBERS].to_numpy()))


def test_labels_unknown_to_the_model_are_listed(tmp_path):
    frame = loans().assign(granted=lambda f: f["granted"].map({"yes": "approved", "no": "no"}))
    with pytest.raises(UsageError, match="Unknown to the model: 'yes'"):
        subject_of(saved(tmp_path, pipeline(LogisticRegression()), frame=frame))


def test_a_model_without_probabilities_gives_labels_alone(tmp_path):
    model = pipeline(LinearSVC())
    config = saved(tmp_path, model)
    subject, data = subject_of(config)
    assert subject.capabilities == frozenset({"predictions"})
    said = [data.classes[code] for code in subject.predict(data, batch_size=64).y_pred]
    assert said == model.predict(loans()[FEATURES]).tolist()


def test_a_model_with_a_threshold_of_its_own_is_audited_by_its_decisions(tmp_path):
    model = FixedThresholdClassifier(
        pipeline(LogisticRegression()), threshold=0.8, pos_label="yes", response_method="predict_proba"
    )
    config = saved(tmp_path, model)
    subject, data = subject_of(config)
    said = [data.classes[code] for code in subject.predict(data, batch_size=64).y_pred]
    assert said == model.predict(loans()[FEATURES]).tolist()
    assert subject.capabilities == frozenset({"predictions"})
    assert any("its decisions are audited" in str(text) for text in subject.card.statements)


def test_a_regression_is_no_classifier(tmp_path):
    frame = loans().assign(granted=lambda f: (f["granted"] == "yes").astype(int))
    with pytest.raises(CheckpointError, match="expected a fitted classifier"):
        subject_of(saved(tmp_path, pipeline(LinearRegression()), frame=frame))


def test_a_function_of_the_users_own_is_refused_by_name(tmp_path):
    model = make_pipeline(FunctionTransformer(json.dumps), LogisticRegression())
    skops.dump(model, tmp_path / "model.skops")
    with pytest.raises(UnsafeError, match=r"not reviewed and could execute code: json\.dumps"):
        subject_of(write_project(tmp_path, "sklearn: model.skops"))


def test_a_file_that_names_a_system_call_is_refused(tmp_path):
    schema = {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "FunctionNode",
        "content": {"module_path": "os", "function": "system"},
        "__id__": 1,
        "protocol": 2,
        "_skops_version": "0.16",
    }
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("schema.json", json.dumps(schema))
    with pytest.raises((UnsafeError, CheckpointError)):
        subject_of(write_project(tmp_path, "sklearn: model.skops"))


class _Bomb:
    def __reduce__(self):
        return exec, ("raise SystemExit('executed')",)


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.skops"])
def test_a_pickle_is_refused_whatever_it_is_called(tmp_path, name):
    (tmp_path / name).write_bytes(pickle.dumps(_Bomb()))
    with pytest.raises(UnsafeError, match=r"a pickle, which could execute code.*skops\.io\.dump"):
        subject_of(write_project(tmp_path, f"sklearn: {name}"))


def test_a_path_that_leads_out_of_the_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        archive.writestr("../schema.json", "{}")
    with pytest.raises(UnsafeError, match="leads out of the archive"):
        subject_of(write_project(tmp_path, "sklearn: model.skops"))


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.skops", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", " " * 200_000_000)
    with pytest.raises(UnsafeError, match="zip bomb"):
        subject_of(write_project(tmp_path, "sklearn: model.skops"))


def test_a_damaged_file_is_refused_with_its_name_and_never_crashes(tmp_path):
    config = saved(tmp_path, pipeline(RandomForestClassifier(2, random_state=0)))
    content = (tmp_path / "model.skops").read_bytes()
    rng = np.random.default_rng(0)
    (tmp_path / "model.skops").write_bytes(content[: len(content) // 2])
    with pytest.raises(CheckpointError, match=r"model\.skops"):
        subject_of(config)
    for position in rng.integers(0, len(content), 40):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(8))
        (tmp_path / "model.skops").write_bytes(bytes(damaged))
        with contextlib.suppress(CheckpointError, UnsafeError):
            skops_file.read_skops(tmp_path / "model.skops")


def test_a_tree_whose_links_lead_back_is_refused(tmp_path):
    model = DecisionTreeClassifier(max_depth=2, random_state=0)
    frame = loans().fillna({"income": 3.0})
    model.fit(frame[NUMBERS], frame["granted"])
    skops.dump(model, tmp_path / "model.skops")
    _rewrite_nodes(tmp_path / "model.skops", "left_child")
    with pytest.raises(CheckpointError, match="a decision tree has links outside of it"):
        subject_of(write_project(tmp_path, "sklearn: model.skops"))


def _rewrite_nodes(path, name):
    """Let the first node of a saved tree be its own child."""
    with zipfile.ZipFile(path) as archive:
        members = {item.filename: archive.read(item) for item in archive.infolist()}
    changed = 0
    for member, content in members.items():
        if member.endswith(".npy"):
            array = np.load(io.BytesIO(content))
            if array.dtype.names and name in array.dtype.names:
                array[name][0] = 0
                stream = io.BytesIO()
                np.save(stream, array)
                members[member] = stream.getvalue()
                changed += 1
    assert changed
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)


def test_another_version_of_scikit_learn_is_stated(tmp_path):
    config = saved(tmp_path, pipeline(LogisticRegression()))
    with zipfile.ZipFile(tmp_path / "model.skops") as archive:
        members = {item.filename: archive.read(item) for item in archive.infolist()}
    import sklearn

    members["schema.json"] = members["schema.json"].replace(
        f'\\"{sklearn.__version__}\\"'.encode(), b'\\"1.2.3\\"'
    )
    with zipfile.ZipFile(tmp_path / "model.skops", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    subject, _ = subject_of(config)
    assert any("Saved by scikit-learn 1.2.3" in str(text) for text in subject.card.statements)


def test_without_skops_the_extra_is_named(tmp_path, monkeypatch):
    config = saved(tmp_path, pipeline(LogisticRegression()))

    def absent(name):
        raise ImportError(name)

    monkeypatch.setattr(skops_file, "import_module", absent)
    with pytest.raises(MissingExtraError, match=r"auditkit\[sklearn\]"):
        subject_of(config)


def test_it_travels_to_another_process(tmp_path):
    subject, data = subject_of(saved(tmp_path, pipeline(RandomForestClassifier(3, random_state=0))))
    copy = pickle.loads(pickle.dumps(subject))
    first, second = (s.predict(data, batch_size=64).log_probabilities for s in (subject, copy))
    assert np.array_equal(first, second)
