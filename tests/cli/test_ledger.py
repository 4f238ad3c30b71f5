"""``auditkit ledger`` and the ledger that ``retrain`` and ``run`` keep."""

import json
import shutil

import pytest
import torch

from auditkit.__main__ import main
from auditkit.data.sources import read_rows
from auditkit.jobs.prepare import open_project
from auditkit.privacy.account import Account
from auditkit.privacy.accounting import epsilon_prv
from auditkit.privacy.fingerprint import fingerprint_of_rows


@pytest.fixture
def private(project, tmp_path, monkeypatch):
    """The project with a ledger of its own, a short private variant and a short private training."""
    monkeypatch.setenv("AUDITKIT_LEDGER", str(tmp_path / "ledger"))
    project.rewrite("int8: {kind: quantise}", "dp-6: {kind: dp-retrain, epsilon: 6, steps: 20}")
    project.rewrite("audits:", "retrain: {steps: 50}\naudits:")
    return project


def test_a_retrained_model_is_in_the_ledger_and_its_certificate_names_the_line(private, capsys):
    assert main(["retrain", str(private.config), "--epsilon", "3", "--json"]) == 0
    captured = capsys.readouterr()
    certificate = json.loads(captured.out)["certificate"]
    assert "noise of a step" in captured.err
    assert "loss of accuracy: about" in captured.err
    assert main(["ledger", "--json"]) == 0
    (ledger,) = json.loads(capsys.readouterr().out)
    assert ledger["fingerprint"] == certificate["ledger"]["fingerprint"]
    assert ledger["last_line"] == certificate["ledger"]["line"]["hash"]
    assert ledger["epsilon"] == pytest.approx(certificate["epsilon"])
    assert [run["ended"] for run in ledger["runs"]] == [True]
    assert main(["ledger"]) == 0
    assert "    1 run  epsilon" in capsys.readouterr().out
    assert not list((private.folder / "checkpoints").glob(".*.unfinished"))


def test_a_fresh_run_trains_its_private_variant_anew_in_the_place_of_the_earlier_one(private, capsys):
    words = ["run", str(private.config), "--only", "performance", "--out", "run"]
    assert main(words) == main([*words, "--fresh"]) == 0
    assert (private.folder / "run" / "variants" / "dp-6" / "key").exists()
    capsys.readouterr()
    assert main(["ledger", "loans.csv", "--json"]) == 0
    assert [run["ended"] for run in json.loads(capsys.readouterr().out)["runs"]] == [True, True]


def test_variants_of_a_run_are_charged_to_the_same_rows(private, capsys):
    assert main(["retrain", str(private.config), "--epsilon", "3"]) == 0
    assert main(["run", str(private.config), "--only", "performance"]) == 0
    capsys.readouterr()
    assert main(["ledger", "loans.csv", "--json"]) == 0
    ledger = json.loads(capsys.readouterr().out)
    assert [run["certified"] for run in ledger["runs"]] == [True, False]
    alone = [run["epsilon"] for run in ledger["runs"]]
    assert max(alone) < ledger["epsilon"] < sum(alone)
    assert ledger["lines"][0]["entry"]["kind"] == "opened"
    assert main(["ledger", ledger["fingerprint"][:8]]) == 0
    shown = capsys.readouterr().out
    assert "variant dp-6 of loans: 20 steps" in shown
    assert "not certified" in shown
    assert "no budget set" in shown
    assert main(["ledger", "loans.csv", "--json", "--tuned-by", "geometric"]) == 0
    tuning = json.loads(capsys.readouterr().out)["tuning"]
    assert tuning["one"] == pytest.approx(alone[-1])
    assert 1.5 * tuning["one"] < tuning["tuned"] < 10 * tuning["one"]
    assert main(["ledger", "loans.csv", "--tuned-by", "geometric", "--mean", "0.5"]) == 2
    assert "mean above 1, got 0.5" in capsys.readouterr().err


def test_a_budget_refuses_before_the_first_step_and_is_raised_on_purpose(private, capsys):
    assert main(["retrain", str(private.config), "--epsilon", "3", "--budget", "2"]) == 5
    assert "budget" in capsys.readouterr().err
    assert main(["ledger", "--json"]) == 0
    (ledger,) = json.loads(capsys.readouterr().out)
    assert (ledger["epsilon"], ledger["remaining"], ledger["budget"]["epsilon"]) == (0, 2, 2)
    assert not (private.folder / "checkpoints" / "loans-dp-3").exists()
    assert main(["retrain", str(private.config), "--epsilon", "3", "--budget", "4"]) == 5
    assert "--set-budget 4" in capsys.readouterr().err
    assert main(["ledger", "loans.csv", "--set-budget", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["remaining"] == 4


def test_a_tampered_ledger_is_refused_by_name(private, tmp_path, capsys):
    assert main(["retrain", str(private.config), "--epsilon", "3", "--budget", "9"]) == 0
    (path,) = (tmp_path / "ledger").glob("*.jsonl")
    path.write_text(path.read_text().replace('"steps":50', '"steps":5', 1))
    assert main(["ledger"]) == 5
    assert "line 3 was changed" in capsys.readouterr().err
    assert main(["retrain", str(private.config), "--epsilon", "3"]) == 5


@pytest.fixture
def lost(private, tmp_path, capsys):
    """A private checkpoint whose ledger was moved away."""
    assert main(["retrain", str(private.config), "--epsilon", "3", "--budget", "9"]) == 0
    (tmp_path / "ledger").rename(tmp_path / "elsewhere")
    capsys.readouterr()
    return private


@pytest.mark.parametrize("epsilon", ["3", "2"], ids=["at the target", "beside it"])
def test_a_ledger_that_is_gone_is_no_fresh_budget(lost, epsilon, tmp_path, capsys):
    card = json.loads((lost.folder / "checkpoints" / "loans-dp-3" / "card.json").read_text())
    line = card["certificate"]["ledger"]["line"]
    assert main(["retrain", str(lost.config), "--epsilon", epsilon]) == 5
    said = capsys.readouterr().err
    assert f"lacks line {line['number'] + 1} ({line['hash'][:12]})" in said
    assert "loans-dp-3" in said
    assert "Put the ledger back" in said
    assert not (tmp_path / "ledger").exists()
    (tmp_path / "elsewhere").rename(tmp_path / "ledger")
    assert main(["retrain", str(lost.config), "--epsilon", epsilon]) == 0


def test_a_ledger_that_was_cut_off_is_refused(private, tmp_path, capsys):
    assert main(["retrain", str(private.config), "--epsilon", "3"]) == 0
    (path,) = (tmp_path / "ledger").glob("*.jsonl")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert main(["retrain", str(private.config), "--epsilon", "2"]) == 5
    assert "cut off" in capsys.readouterr().err


def test_that_a_lost_ledger_was_accepted_stands_in_the_certificate(lost, capsys):
    words = ["retrain", str(lost.config), "--epsilon", "2", "--accept-lost-ledger", "--json"]
    assert main(words) == 0
    captured = capsys.readouterr()
    evidence = json.loads(captured.out)["certificate"]["not_covered"]
    (waiver,) = [one for one in evidence if "was lost" in one["text"]]
    assert waiver["values"] == {"n": 1, "checkpoint": "loans-dp-3"}
    assert "the ledger of these rows was lost" in captured.err


def test_a_lost_ledger_of_the_training_rows_from_before_is_missed(private, tmp_path, capsys):
    project = open_project(private.config)
    rows = read_rows(project.config.data, split="train", seed=3, folder=private.folder)
    place = tmp_path / "ledger"
    Account(
        folder=place, fingerprint=fingerprint_of_rows(rows), name=rows.name, source=rows.source
    ).set_budget(9.0, 1e-5)
    assert main(["retrain", str(private.config), "--epsilon", "3"]) == 0
    assert [path.stem for path in place.glob("*.jsonl")] == [fingerprint_of_rows(rows)]
    shutil.rmtree(place)
    assert main(["retrain", str(private.config), "--epsilon", "2"]) == 5
    said = capsys.readouterr().err.replace("\n", " ")
    assert "loans-dp-3 rests" in said
    assert fingerprint_of_rows(rows)[:12] in said


def test_a_lost_ledger_is_told_of_in_every_later_certificate_and_in_the_ledger(lost, capsys):
    assert main(["retrain", str(lost.config), "--epsilon", "2", "--accept-lost-ledger"]) == 0
    shutil.rmtree(lost.folder / "checkpoints" / "loans-dp-3")
    capsys.readouterr()
    assert main(["retrain", str(lost.config), "--epsilon", "1.5", "--json"]) == 0
    certificate = json.loads(capsys.readouterr().out)["certificate"]
    (told,) = [one for one in certificate["assumptions"] if "was lost before" in one["text"]]
    assert told["values"] == {"n": 1}
    assert main(["ledger", "loans.csv"]) == 0
    assert "which certificates rest (loans-dp-3 for one)" in capsys.readouterr().out


def test_a_variant_is_refused_and_accepted_where_the_ledger_is_gone_as_retrain_is(lost, tmp_path, capsys):
    assert main(["run", str(lost.config), "--only", "performance", "--out", "audited"]) == 5
    said = capsys.readouterr().err
    assert "variant 'dp-6'" in said
    assert "loans-dp-3" in said
    assert "accept_lost_ledger: true" in said
    assert not (tmp_path / "ledger").exists()
    lost.rewrite("steps: 20", "steps: 20, accept_lost_ledger: true")
    assert main(["run", str(lost.config), "--only", "performance", "--out", "audited", "--json"]) == 0
    certificate = json.loads(capsys.readouterr().out)["subjects"][1]["certificate"]
    (waiver,) = [one for one in certificate["not_covered"] if "was lost" in one["text"]]
    assert waiver["values"] == {"n": 1, "checkpoint": "loans-dp-3"}


def test_a_ledger_that_a_variant_of_another_run_rests_on_is_missed(private, tmp_path, capsys):
    assert main(["run", str(private.config), "--only", "performance"]) == 0
    (tmp_path / "ledger").rename(tmp_path / "elsewhere")
    private.rewrite("steps: 20", "steps: 30")
    capsys.readouterr()
    for words in (["run", "--only", "performance"], ["retrain", "--epsilon", "3", "--budget", "9"]):
        assert main([words[0], str(private.config), *words[1:]]) == 5
        assert "variants/dp-6 rests" in capsys.readouterr().err.replace("\n", " ")
    assert not (tmp_path / "ledger").exists()


def test_checkpoints_of_other_rows_ask_nothing_of_this_ledger(lost):
    text = (lost.folder / "loans.csv").read_text(encoding="utf-8")
    (lost.folder / "loans.csv").write_text(text + "male,3.5,farm,yes\n", encoding="utf-8")
    lost.rewrite("checkpoints/loans", "checkpoints/more")
    assert main(["retrain", str(lost.config), "--epsilon", "3"]) == 0


def test_a_weak_promise_must_be_asked_for_twice(private, capsys):
    assert main(["retrain", str(private.config), "--epsilon", "30"]) == 5
    assert "--accept-weak" in capsys.readouterr().err


def test_a_foreign_history_is_charged(private, tmp_path, capsys):
    torch.save({"history": [(2.0, 0.1, 100)], "mechanism": "prv"}, tmp_path / "foreign.pt")
    words = ["ledger", str(private.config), "--import", str(tmp_path / "foreign.pt"), "--delta", "1e-4"]
    assert main([*words, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["epsilon"] == pytest.approx(epsilon_prv(2.0, 0.1, 100, 1e-4))
    assert len(document["lines"][-1]["entry"]["unverified"]) >= 5


def test_what_must_be_believed_of_a_foreign_history_is_told_once(private, tmp_path, capsys):
    for name, steps in (("one.pt", 100), ("other.pt", 50)):
        torch.save({"history": [(2.0, 0.1, steps)], "mechanism": "prv"}, tmp_path / name)
        assert main(["ledger", str(private.config), "--import", str(tmp_path / name)]) == 0
        shown = capsys.readouterr().out
        assert shown.count("- That each row was in a step independently of all others") == 1
    assert shown.count("imported: ") == 2
    assert main(["ledger", "loans.csv"]) == 0
    assert "- That the noise was drawn as recorded" in capsys.readouterr().out


def test_a_file_that_is_imported_again_is_charged_again_and_this_is_told(private, tmp_path, capsys):
    torch.save({"history": [(2.0, 0.1, 100)], "mechanism": "prv"}, tmp_path / "foreign.pt")
    torch.save({"history": [(2.0, 0.1, 50)], "mechanism": "prv"}, tmp_path / "other.pt")
    (tmp_path / "copy.pt").write_bytes((tmp_path / "foreign.pt").read_bytes())
    for name, is_known in (("foreign.pt", False), ("other.pt", False), ("copy.pt", True)):
        assert main(["ledger", str(private.config), "--import", str(tmp_path / name), "--json"]) == 0
        captured = capsys.readouterr()
        assert ("imported before" in captured.err) == is_known
    document = json.loads(captured.out)
    assert document["runs"][0]["run"] in captured.err
    assert [run["steps"] for run in document["runs"]] == [100, 50, 100]


def test_a_ledger_without_imports_lists_nothing_to_believe(private, capsys):
    assert main(["retrain", str(private.config), "--epsilon", "3"]) == 0
    capsys.readouterr()
    assert main(["ledger", "loans.csv"]) == 0
    assert "holds only if" not in capsys.readouterr().out


def test_an_empty_place_and_an_unknown_name_are_told(private, capsys):
    assert main(["ledger"]) == 0
    assert "no privacy was spent yet" in capsys.readouterr().out
    assert main(["ledger", "nobody"]) == 2
    assert "Known: none yet" in capsys.readouterr().err
    assert main(["ledger", "--set-budget", "3"]) == 2
