"""A table of predictions as a subject: the scales of its scores, and what labels alone leave out."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, log_softmax, softmax

from auditkit.errors import ConfigError, DataError, UsageError
from tests.subjects.projects import run_of, subject_of
from tests.tolerances import FLOAT

N = 200
AUDITS = "performance: {}, calibration: {}, group-fairness: {}, membership-inference: {}"


def table(k: int = 2) -> pd.DataFrame:
    """Labels ``0 .. k-1`` that follow logits ``z0 .. z(k-1)``, with a group and members."""
    rng = np.random.default_rng(2)
    z = rng.normal(size=(N, k))
    frame = pd.DataFrame({f"z{j}": z[:, j] for j in range(k)})
    frame["label"] = [int(rng.choice(k, p=softmax(row))) for row in z]
    frame["group"] = rng.choice(["a", "b"], N)
    frame["seen"] = rng.random(N) < 0.5
    return frame


def project_with(tmp_path, frame, data, *, audits=AUDITS):
    frame.to_csv(tmp_path / "t.csv", index=False)
    config = tmp_path / "t.yaml"
    config.write_text(
        "version: 1\nsubject: {predictions: t.csv}\n"
        f"data: {{target: label, sensitive_features: [group], members: seen, {data}}}\naudits: {{{audits}}}\n"
    )
    return config


def logs(config):
    subject, data = subject_of(config)
    return subject.predict(data, batch_size=16).log_probabilities


@pytest.mark.parametrize("scale", ["probability", "log-probability", "logit"])
def test_a_column_per_label_may_be_on_any_scale(tmp_path, scale):
    frame = table(3)
    z = frame[["z0", "z1", "z2"]].to_numpy()
    frame[["s0", "s1", "s2"]] = {
        "probability": softmax(z, axis=1),
        "log-probability": log_softmax(z, axis=1),
    }.get(scale, z)
    config = project_with(tmp_path, frame, f"score: {{0: s0, 1: s1, 2: s2}}, score_scale: {scale}")
    assert logs(config) == pytest.approx(log_softmax(z, axis=1), **FLOAT)


def test_logarithms_keep_every_bit(tmp_path):
    frame = table(3)
    frame[["s0", "s1", "s2"]] = log_softmax(frame[["z0", "z1", "z2"]].to_numpy(), axis=1)
    config = project_with(tmp_path, frame, "score: {0: s0, 1: s1, 2: s2}, score_scale: log-probability")
    assert np.array_equal(logs(config), frame[["s0", "s1", "s2"]].to_numpy())


@pytest.mark.parametrize("scale", ["probability", "log-probability", "logit"])
def test_one_column_is_about_the_positive_label(tmp_path, scale):
    frame = table()
    z = frame["z1"].to_numpy()
    frame["s"] = {"probability": expit(z), "log-probability": np.log(expit(z)), "logit": z}[scale]
    config = project_with(tmp_path, frame, f"score: s, positive: 1, score_scale: {scale}")
    assert np.exp(logs(config)) == pytest.approx(np.column_stack([expit(-z), expit(z)]), **FLOAT)


def test_the_labels_of_the_columns_are_the_classes_in_their_order(tmp_path):
    frame = table(3)
    frame[["s0", "s1", "s2"]] = softmax(frame[["z0", "z1", "z2"]].to_numpy(), axis=1)
    config = project_with(tmp_path, frame[frame["label"] < 2], "score: {2: s2, 0: s0, 1: s1}")
    subject, data = subject_of(config)
    assert subject.card.classes == data.classes == ("2", "0", "1")
    assert [int(data.classes[code]) for code in data.y_true] == frame[frame["label"] < 2]["label"].tolist()


def test_labels_alone_give_what_labels_give(tmp_path):
    frame = table().assign(said=lambda f: (f["z1"] > f["z0"]).astype(int))
    config = project_with(tmp_path, frame, "prediction: said, positive: 1")
    run = run_of(config, tmp_path / "run")
    status = {result.audit: result.status for result in run.results}
    assert status == {
        "performance": "measured",
        "calibration": "skipped",
        "group-fairness": "measured",
        "membership-inference": "skipped",
    }
    figures = {m.metric: m for m in run.results[0].measurements if not m.group}
    held_out = frame[~frame["seen"]]
    assert figures["accuracy"].value == (held_out["said"] == held_out["label"]).mean()
    assert figures["log_loss"].value is figures["auc"].value is figures["brier"].value is None
    assert (run.subjects[0].n_parameters, run.subjects[0].size_b) == (None, None)


def test_the_model_card_of_a_table_claims_no_library(tmp_path):
    from auditkit.reporting.model_card import render_model_card

    frame = table().assign(said=lambda f: f["label"])
    run = run_of(project_with(tmp_path, frame, "prediction: said"), tmp_path / "run")
    card = render_model_card(run)
    assert "library_name" not in card
    assert "parameters" not in card.splitlines()[card.splitlines().index("# t") + 2]


@pytest.mark.parametrize(
    ("data", "error", "said"),
    [
        ("positive: 1", UsageError, "data.prediction .labels. or data.score"),
        ("score: z1, positive: 1", DataError, "expected probabilities"),
        ("score: {0: z0, 1: z1}", DataError, "expected probabilities"),
        ("score: {0: half, 1: one}", DataError, "sum to 1.5, expected 1"),
        ("score: {0: half, 1: half}, score_scale: log-probability", DataError, "at most 0"),
        ("score: half", DataError, "needs two classes and data.positive"),
        ("score: {0: half}", DataError, "name a column for every label"),
        ("score: {0: half, 2: half}", DataError, "names no column for the label '1'"),
        ("score: {0: half, 1: hal}", DataError, "data.score: no column 'hal'. Did you mean 'half'"),
        ("prediction: group", DataError, "no label"),
        ("prediction: swapped, score: {0: p, 1: q}", DataError, "disagree in 200 of 200 rows"),
        ("score: half, positive: 1, score_scale: percent", ConfigError, "score_scale"),
        ("prediction: label, source: other.csv", UsageError, "is not the table of predictions"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_remedy(tmp_path, data, error, said):
    frame = table().assign(half=0.5, one=1.0, p=0.9, q=0.1, swapped=1)
    frame.to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(error, match=said):
        subject_of(project_with(tmp_path, frame, data))
