"""``auditkit retrain``: what the config sets, what the command sets, and what an interruption costs."""

import json

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


def test_one_that_nothing_interrupted_says_nothing_of_it(private, capsys):
    assert private.auditkit("retrain", "loans.yaml", "--epsilon", "6", "--set", "retrain.steps=30") == 0
    assert "charged twice" not in capsys.readouterr().out
