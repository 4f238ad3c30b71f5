"""``auditkit retrain``: what the config sets, what the command sets, and what an interruption costs."""

import json
import re
import shutil

import pytest

from auditkit.jobs.retrain import retrain
from tests.privacy.ledgers import Killed, dies_after


@pytest.fixture
def private(project, tmp_path, monkeypatch):
    """The project with a ledger of its own and a short private training."""
    monkeypatch.setenv("AUDITKIT_LEDGER", str(tmp_path / "ledger"))
    project.rewrite("audits:", "retrain: {steps: 20, max_grad_norm: 0.5, clipping: automatic}\naudits:")
    return project


def test_the_config_sets_what_a_variant_can_be_told_and_the_command_goes_before_it(private, capsys):
    words = ("--epsilon", "6", "--json", "--set", "retrain.steps=30", "--reproducible")
    assert private.auditkit("retrain", "loans.yaml", *words) == 0
    certificate = json.loads(capsys.readouterr().out)["certificate"]
    assert (certificate["steps"], certificate["certified"]) == (30, False)
    assert certificate["max_grad_norm"] == 0.5
    assert "short or long" in certificate["clipping"]["text"]


def test_a_typo_is_named_with_its_place_and_the_right_word(private, capsys):
    private.rewrite("max_grad_norm", "max_grad_nrom")
    assert private.auditkit("retrain", "loans.yaml", "--epsilon", "6") == 2
    said = capsys.readouterr().err
    line = (
        private.config.read_text()
        .splitlines()
        .index("retrain: {steps: 20, max_grad_nrom: 0.5, clipping: automatic}")
    )
    assert f"loans.yaml:{line + 1}:22: retrain.max_grad_nrom" in said
    assert "Did you mean 'max_grad_norm'?" in said
    assert "epsilon" not in said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "retrain.steps=0",
            "--set retrain.steps=0: retrain.steps: input should be greater than or equal to 1",
        ),
        ("retrain.epochs=2", "retrain: give steps or epochs, not both"),
        ("retrain.epsilon=3", "retrain.epsilon: is given with the command"),
        ("retrain=fast", "retrain: input should be a valid dictionary, got 'fast'"),
    ],
)
def test_impossible_settings_are_refused_in_plain_words(private, capsys, override, said):
    assert private.auditkit("retrain", "loans.yaml", "--epsilon", "6", "--set", override) == 2
    assert said in capsys.readouterr().err


def test_an_empty_section_is_as_good_as_none(private):
    private.rewrite("retrain: {steps: 20, max_grad_norm: 0.5, clipping: automatic}", "retrain:")
    assert private.auditkit("config", "show", "loans.yaml") == 0


def test_what_an_interruption_charged_twice_stands_at_the_end(private, capsys, monkeypatch):
    monkeypatch.setattr("auditkit.privacy.recorded.SAVING_SHARE", 1e9)
    monkeypatch.setattr("auditkit.privacy.recorded.BLOCK_STEPS", 10)
    steps = ("retrain.steps=30",)
    with pytest.raises(Killed):
        retrain("loans.yaml", epsilon=6, overrides=steps, report_progress=dies_after(20))
    assert private.auditkit("retrain", "loans.yaml", "--epsilon", "6", "--set", *steps) == 0
    shown = capsys.readouterr()
    epsilon, after = shown.out.split("10 steps charged twice after an interruption: epsilon ")[1].split(
        " where 6 was asked for\n"
    )
    assert float(epsilon) > 6
    assert f"epsilon {epsilon} at delta" in shown.out
    assert "40 steps" in shown.out
    assert after.startswith("ledger ")
    assert "goes on after step 10 of 30" in shown.err


def test_steps_that_were_repeated_bit_by_bit_are_told_of_and_not_charged_twice(private, capsys, monkeypatch):
    monkeypatch.setattr("auditkit.privacy.recorded.SAVING_SHARE", 1e9)
    monkeypatch.setattr("auditkit.privacy.recorded.BLOCK_STEPS", 10)
    steps = ("retrain.steps=30",)
    with pytest.raises(Killed):
        retrain("loans.yaml", epsilon=6, replay=True, overrides=steps, report_progress=dies_after(20))
    words = ("--epsilon", "6", "--replay", "--set", *steps)
    assert private.auditkit("retrain", "loans.yaml", *words) == 0
    shown = capsys.readouterr()
    assert "goes on after step 10 of 30 with the same noise" in shown.err
    assert "repeated bit by bit with the same noise, charged once" in shown.out
    assert "charged twice" not in shown.out


def test_one_that_nothing_interrupted_says_nothing_of_it(private, capsys):
    assert private.auditkit("retrain", "loans.yaml", "--epsilon", "6", "--set", "retrain.steps=30") == 0
    assert "charged twice" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--delta", "0.1"], 2, "delta must be above 0 and below 1/n"),
        (["--epsilon", "30"], 5, "above 20 that protects next to nobody"),
        (["--epsilon", "200"], 2, "expected a number above 0 and at most 100"),
        (["--epsilon", "0.0001"], 2, "no noise multiplier below"),
        (["--set", "retrain.expected_batch_size=5000"], 2, "expected_batch_size must be within 1 and"),
        (["--set", "retrain.augmentation_multiplicity=4"], 2, "above 1 it needs an augmentation"),
        (["--unit", "person"], 2, "name the column in data.person"),
    ],
    ids=["delta", "weak", "too weak", "too strong", "batch", "copies", "persons"],
)
def test_what_the_config_and_the_rows_rule_out_is_refused_before_a_baseline_is_trained(
    private, capsys, words, code, said
):
    shutil.rmtree(private.folder / "checkpoints")
    assert private.auditkit("retrain", "loans.yaml", "--epsilon", "6", *words) == code
    assert said in capsys.readouterr().err.replace("\n", " ")
    assert not (private.folder / "checkpoints").exists()


def test_a_run_refuses_such_a_variant_before_its_baseline_is_trained(private, capsys):
    shutil.rmtree(private.folder / "checkpoints")
    private.rewrite("int8: {kind: quantise}", "dp: {kind: dp-retrain, epsilon: 3, delta: 0.1}")
    assert private.auditkit("run", "loans.yaml") == 2
    assert "variant 'dp': private training: delta must be" in capsys.readouterr().err.replace("\n", " ")
    assert not (private.folder / "checkpoints").exists()


def test_accuracies_and_their_paired_change_are_those_of_the_report_with_intervals(private, capsys):
    words = ("--epsilon", "6", "--reproducible")
    assert private.auditkit("retrain", "loans.yaml", *words) == 0
    shown = capsys.readouterr().out
    assert ": 1 training on these rows, epsilon" in shown
    lines = [line for line in shown.splitlines() if "accuracy" in line or "paired change" in line]
    number = r"^[−+]?[\d.]+ (%|pp) +\([−\d.]+ – [−\d.]+\) +"
    assert [re.sub(number, "", line) for line in lines] == [
        "accuracy before",
        "accuracy after",
        "paired change, 270 rows",
    ]
    shutil.rmtree(private.folder / "checkpoints" / "loans-dp-6")
    assert private.auditkit("retrain", "loans.yaml", *words, "--json") == 0
    before, after, change = json.loads(capsys.readouterr().out)["figures"]
    assert before["interval"]["low"] < before["value"] < before["interval"]["high"]
    assert change["metric"] == "accuracy.change"
    assert change["value"] == pytest.approx(after["value"] - before["value"])
    assert private.auditkit("run", "loans.yaml", "--only", "performance", "--json") == 0
    (result, *_) = json.loads(capsys.readouterr().out)["results"]
    assert before in result["measurements"]


def test_noise_that_drowns_all_is_refused_as_unsafe(private, capsys):
    assert private.auditkit("retrain", "loans.yaml", "--epsilon", "0.05") == 5
    assert "nothing would be learned" in capsys.readouterr().err.replace("\n", " ")
