"""What a private checkpoint reads rows by: measured figures, or what the user calls public."""

import json

import numpy as np
import pytest

from auditkit.__main__ import main
from auditkit.data.preprocessing import NumericFeature
from auditkit.jobs.audit import audit, prepare_audit
from auditkit.jobs.prepare import audit_data, open_project
from auditkit.subjects.checkpoint import load_checkpoint

VARIANT = "variants:\n  dp-6: {kind: dp-retrain, epsilon: 6, steps: 60, recipe: auto}"


@pytest.fixture
def private(project, tmp_path, monkeypatch):
    monkeypatch.setenv("AUDITKIT_LEDGER", str(tmp_path / "ledger"))
    project.rewrite("variants:\n  int8: {kind: quantise}", VARIANT)
    project.rewrite("audits:", "retrain: {steps: 60}\naudits:")
    return project


def figures_of(steps) -> set[float]:
    numbers = [feature for feature in steps.features if isinstance(feature, NumericFeature)]
    return {value for one in numbers for value in (one.mean, one.scale, one.fill)}


def accuracy_in(run, subject: str) -> float:
    (result,) = [
        one for one in run.results if (one.audit, one.subject, one.against) == ("performance", subject, None)
    ]
    return next(one.value for one in result.measurements if one.metric == "accuracy" and not one.group)


def test_the_checkpoint_holds_none_of_the_figures_of_the_audited_one(private, capsys):
    assert private.auditkit("retrain", "loans.yaml", "--epsilon", "6", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    audited = load_checkpoint(private.folder / "checkpoints/loans").preprocessing
    own = load_checkpoint(private.folder / "checkpoints/loans-dp-6").preprocessing
    assert [one.name for one in own.features] == [one.name for one in audited.features]
    assert figures_of(audited)
    assert not figures_of(audited) & figures_of(own)
    job = next(one for one in own.features if one.name == "job")
    assert job.levels == ("farm", "office", "shop")
    card = (private.folder / "checkpoints/loans-dp-6/card.json").read_text()
    assert not any(str(value) in card for value in figures_of(audited) if len(str(value)) > 6)
    assert "not_covered" not in told["certificate"]
    assert told["certificate"]["failure_probability"] == pytest.approx(1e-3 * told["certificate"]["delta"])


def test_the_reloaded_checkpoint_predicts_as_the_variant_did_in_the_run(private, capsys):
    run, folder = audit(prepare_audit("loans.yaml"))
    assert all(result.status == "measured" for result in run.results), run.results
    place = folder.path / "variants" / "dp-6"
    project = open_project("loans.yaml", ["subject.checkpoint=" + str(place), "subject.training=null"])
    subject = load_checkpoint(place)
    data = audit_data(project, subject).held_out()
    right = subject.predict(data, batch_size=256).y_pred == data.y_true
    assert float(right.mean()) == accuracy_in(run, "dp-6")
    words = ("--set", f"subject.checkpoint={place}", "--set", "variants={}", "--set", "subject.training=null")
    private.auditkit("run", "loans.yaml", "--out", "again", "--set", "policy=[]", *words)
    again = json.loads((private.folder / "again" / "run.json").read_text())
    (value,) = [
        one["value"]
        for result in again["results"]
        if result["audit"] == "performance"
        for one in result["measurements"]
        if one["metric"] == "accuracy" and not one.get("group")
    ]
    assert value == accuracy_in(run, "dp-6")


def test_a_run_compares_both_on_the_same_rows(private):
    run, _ = audit(prepare_audit("loans.yaml"))
    (paired,) = [one for one in run.results if one.audit == "performance" and one.against == "baseline"]
    change = next(one.value for one in paired.measurements if one.metric == "accuracy.change")
    assert change == pytest.approx(accuracy_in(run, "dp-6") - accuracy_in(run, "baseline"))
    assert abs(change) < 0.15


def test_public_preprocessing_keeps_that_of_the_audited_model(private, capsys):
    words = ("--epsilon", "6", "--public-preprocessing", "--json")
    assert private.auditkit("retrain", "loans.yaml", *words) == 0
    certificate = json.loads(capsys.readouterr().out)["certificate"]
    audited = load_checkpoint(private.folder / "checkpoints/loans").preprocessing
    assert load_checkpoint(private.folder / "checkpoints/loans-dp-6").preprocessing == audited
    assert "not_covered" not in certificate
    assert any("by the word of the user" in one["text"] for one in certificate["assumptions"])


@pytest.fixture
def reviews(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDITKIT_LEDGER", str(tmp_path / "ledger"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    words = ["good fine film", "bad dull film"]
    kinds = rng.integers(0, 2, 300)
    lines = [f"{words[kind]} {rng.integers(0, 9)},{'no' if kind else 'yes'}" for kind in kinds]
    (tmp_path / "reviews.csv").write_text("\n".join(["text,liked", *lines]) + "\n")
    (tmp_path / "reviews.yaml").write_text(
        "version: 1\nseed: 1\nsubject:\n  architecture: {name: rnn, width: 4, hidden: 4}\n"
        "  training: {epochs: 1}\ndata: {source: reviews.csv, text: text, target: liked, tokenizer: word}\n"
        "retrain: {steps: 5, accept_weak: true}\naudits:\n  performance: {}\n"
    )
    return tmp_path / "reviews.yaml"


def test_the_words_of_private_texts_are_refused_unless_they_are_called_public(reviews, capsys):
    assert main(["retrain", str(reviews), "--epsilon", "6"]) == 5
    said = capsys.readouterr().err
    assert "was collected from the training rows" in said
    assert "--public-preprocessing" in said
    assert not list(reviews.parent.glob("ledger/*"))
    assert main(["retrain", str(reviews), "--epsilon", "6", "--public-preprocessing", "--json"]) == 0
    certificate = json.loads(capsys.readouterr().out)["certificate"]
    assert any("by the word of the user" in one["text"] for one in certificate["assumptions"])


def test_texts_read_as_bytes_need_no_word_of_the_user(reviews, capsys):
    words = ("--set", "data.tokenizer=byte", "--epsilon", "6", "--json")
    assert main(["retrain", str(reviews), *words]) == 0
    assert "not_covered" not in json.loads(capsys.readouterr().out)["certificate"]


def test_no_text_that_is_one_row_s_own_is_in_a_private_checkpoint(private, capsys):
    path = private.folder / "loans.csv"
    header, *lines = path.read_text().splitlines()
    job = header.split(",").index("job")
    rows = [line.split(",") for line in lines]
    for number, row in enumerate(rows[::20]):
        row[job] = f"letter {number}"
    path.write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")
    assert private.auditkit("train", "loans.yaml") == 0
    capsys.readouterr()
    assert private.auditkit("retrain", "loans.yaml", "--epsilon", "6") == 0
    shown = capsys.readouterr().out
    assert "levels of text columns noisy counts found" in shown, shown
    assert b"letter" in _everything_in(private.folder / "checkpoints/loans")
    assert b"letter" not in _everything_in(private.folder / "checkpoints/loans-dp-6")


def _everything_in(folder) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir())
