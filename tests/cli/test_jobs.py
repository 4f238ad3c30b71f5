"""``train``, ``retrain``, ``init``, ``audits`` and ``config`` from the outside."""

import json

import pytest
from pydantic import TypeAdapter

from auditkit.config import RunConfig
from auditkit.privacy.accounting import epsilon_prv


def test_train_writes_weights_and_card(project):
    folder = project.folder / "checkpoints" / "loans"
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert (folder / "model.safetensors").exists()
    record = card["training"]
    assert record["steps"] > 0
    assert record["duration_s"] > 0
    assert record["samples_per_s"] > 0
    assert len(record["data_digest"]) == 64


def test_an_audit_of_a_checkpoint_needs_no_training_rows(project):
    """The preprocessing travels with the checkpoint: the training file may be gone."""
    rows = (project.folder / "loans.csv").read_text(encoding="utf-8").splitlines()
    (project.folder / "later.csv").write_text("\n".join([rows[0], *rows[-120:]]) + "\n", encoding="utf-8")
    (project.folder / "loans.csv").unlink()
    project.rewrite("source: loans.csv", "source: later.csv\n  split: all")
    project.rewrite("  members: train\n", "")
    assert project.auditkit("run", "loans.yaml", "--only", "performance") == 0


def test_retrain_leaves_a_checkpoint_whose_certificate_holds(project, capsys):
    assert project.auditkit("retrain", "loans.yaml", "--epsilon", "3", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    certificate = document["certificate"]
    recomputed = epsilon_prv(
        certificate["noise_multiplier"],
        certificate["sample_rate"],
        certificate["steps"],
        certificate["delta"],
    )
    assert certificate["epsilon"] == pytest.approx(recomputed, rel=1e-6)
    assert certificate["epsilon"] <= 3
    assert certificate["certified"]
    assert (project.folder / "checkpoints" / "loans-dp-3" / "card.json").exists()


@pytest.mark.parametrize("epsilon", ["0", "-1", "nan", "inf"])
def test_a_budget_that_is_no_budget_is_refused(project, epsilon, capsys):
    assert project.auditkit("retrain", "loans.yaml", "--epsilon", epsilon) == 2
    assert "epsilon" in capsys.readouterr().err


def test_init_from_a_table_gives_a_config_that_runs(project):
    assert project.auditkit("init", "mine.yaml", "--data", "loans.csv") == 0
    text = (project.folder / "mine.yaml").read_text(encoding="utf-8")
    assert 'target: "granted"' in text
    assert 'positive: "yes"' in text
    assert '["sex"]' in text
    assert project.auditkit("run", "mine.yaml", "--dry-run") == 0


def test_init_does_not_overwrite(project, capsys):
    assert project.auditkit("init", "loans.yaml") == 2
    assert "--force" in capsys.readouterr().err


@pytest.mark.parametrize("template", ["tabular", "image", "text", "lm"])
def test_every_template_is_a_valid_config(project, template):
    assert project.auditkit("init", "new.yaml", "--template", template) == 0
    assert project.auditkit("config", "show", "new.yaml") == 0


def test_the_schema_accepts_what_the_config_accepts(project, capsys):
    assert project.auditkit("config", "schema") == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["properties"]) == set(RunConfig.model_fields)
    assert TypeAdapter(RunConfig).json_schema()["properties"].keys() == schema["properties"].keys()


def test_audits_lists_and_describes(project, capsys):
    assert project.auditkit("audits") == 0
    assert "group-fairness" in capsys.readouterr().out
    assert project.auditkit("audits", "membership-inference", "--json") == 0
    description = json.loads(capsys.readouterr().out)
    assert description["limits"]


def test_audits_of_an_unknown_name_gives_the_closest(project, capsys):
    assert project.auditkit("audits", "calibraton") == 2
    assert "'calibration'" in capsys.readouterr().err
