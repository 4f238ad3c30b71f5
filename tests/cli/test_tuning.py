"""``retrain --tune private`` from the outside."""

import json

import pytest

from auditkit.__main__ import main
from auditkit.privacy.certificate import recomputed_epsilon
from auditkit.records import Certificate

TUNING = """\
variants: {}
tuning: {law: geometric, mean: 1.5, candidates: [{learning_rate: 0.02, steps: 20}, {steps: 15}]}"""


@pytest.fixture
def private(project, tmp_path, monkeypatch):
    """The project with a ledger of its own and a short tuning that always releases something."""
    monkeypatch.setenv("AUDITKIT_LEDGER", str(tmp_path / "ledger"))
    project.rewrite("variants:\n  int8: {kind: quantise}", TUNING)
    return project


def test_a_tuned_model_is_certified_charged_and_reported(private, capsys):
    words = ["retrain", str(private.config), "--epsilon", "4", "--tune", "private"]
    assert main([*words, "--json"]) == 0
    captured = capsys.readouterr()
    certificate = Certificate.model_validate(json.loads(captured.out)["certificate"])
    assert certificate.epsilon == recomputed_epsilon(certificate)
    assert 3.9 < certificate.epsilon <= 4
    assert certificate.certified
    assert certificate.tuning.candidates == ("learning_rate 0.02, steps 20", "steps 15")
    assert "how many runs there are must stay unknown" in captured.err
    made = sorted(path.name for path in (private.folder / "checkpoints").iterdir())
    assert made == ["loans", "loans-dp-4-tuned"]
    assert main(["ledger", "loans.csv"]) == 0
    shown = capsys.readouterr().out
    assert "a tuning (geometric, 1.5 runs expected), epsilon" in shown
    assert "charged as a whole" in shown
    assert main(["retrain", str(private.config), "--epsilon", "1", "--budget", "4"]) == 5
    assert "spent or promised" in capsys.readouterr().err


def test_a_tuning_above_the_budget_is_refused_before_the_first_run(private, capsys):
    words = ["retrain", str(private.config), "--epsilon", "4", "--tune", "private", "--budget", "3"]
    assert main(words) == 5
    assert "with this run epsilon would reach" in capsys.readouterr().err
    assert main(["ledger", "--json"]) == 0
    (ledger,) = json.loads(capsys.readouterr().out)
    assert (ledger["epsilon"], ledger["runs"]) == (0, [])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--replay"], "exclude each other"),
        (["--set", "tuning.mean=1"], "expected a mean above 1, got 1"),
        (["--set", "tuning.candidates=[{}]"], "a candidate sets at least one of learning_rate"),
        (["--set", "tuning.candidates=[{expected_batch_size: 5000}]"], "expected_batch_size must be within"),
    ],
)
def test_what_cannot_be_tuned_is_refused_by_name(private, more, said, capsys):
    words = ["retrain", str(private.config), "--epsilon", "4", "--tune", "private"]
    assert main([*words, *more]) == 2
    assert said in capsys.readouterr().err
