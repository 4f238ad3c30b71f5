"""Mitigated variants in a whole run: audited beside the baseline, made again to the same answers."""

import json

import numpy as np
import pytest

from auditkit.__main__ import main

CONFIG = """\
version: 1
seed: 3
subject:
  checkpoint: checkpoints/loans
  architecture: {name: tabular-mlp, hidden: [8]}
  training: {optimizer: adam, learning_rate: 0.01, batch_size: 64, epochs: 4}
data: {source: loans.csv, target: granted, positive: "yes", sensitive_features: [sex]}
variants:
  thresholds: {kind: mitigate, method: threshold-optimiser}
  inputs: {kind: mitigate, method: correlation-remover}
  weights: {kind: mitigate, method: reweighing}
audits: {performance: {}, group-fairness: {}, attribution: {max_rows: 16}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A table in which men are favoured, and some sexes are missing; the working directory."""
    rng = np.random.default_rng(11)
    sex = rng.choice(["female", "male", ""], 900, p=[0.45, 0.5, 0.05])
    income = rng.normal(3, 1, 900)
    granted = np.where(income - 3 + 1.0 * (sex == "male") + 0.5 * rng.normal(size=900) > 0, "yes", "no")
    lines = [f"{s},{i:.4f},{g}" for s, i, g in zip(sex, income, granted, strict=True)]
    (tmp_path / "loans.csv").write_text("\n".join(["sex,income,granted", *lines]) + "\n", encoding="utf-8")
    (tmp_path / "loans.yaml").write_text(CONFIG, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(folder) -> dict:
    assert main(["run", "loans.yaml"]) == 0
    (found,) = folder.glob("runs/*/run.json")
    return json.loads(found.read_text(encoding="utf-8"))


def test_a_run_pairs_them_with_the_baseline_and_a_second_start_finds_the_same(folder):
    first = run(folder)
    gaps = {
        result["subject"]: measurement["value"]
        for result in first["results"]
        for measurement in result["measurements"]
        if measurement["metric"] == "selection_rate.difference"
    }
    assert max(gaps["thresholds"], gaps["inputs"], gaps["weights"]) < gaps["baseline"]
    changes = {
        result["subject"]
        for result in first["results"]
        for measurement in result["measurements"]
        if measurement["metric"] == "selection_rate.difference.change" and measurement["value"] is not None
    }
    assert changes == {"thresholds", "inputs", "weights"}
    skipped = {result["subject"] for result in first["results"] if result["status"] == "skipped"}
    assert skipped == {"thresholds"}
    assert not [result for result in first["results"] if result["status"] == "failed"]
    digests = {subject["name"]: subject["digest"] for subject in first["subjects"]}
    again = run(folder)
    assert {subject["name"]: subject["digest"] for subject in again["subjects"]} == digests


def test_a_variant_without_its_attribute_ends_with_the_remedy(folder, capsys):
    config = folder / "loans.yaml"
    config.write_text(CONFIG.replace("sensitive_features: [sex]", "drop: [sex]"), encoding="utf-8")
    assert main(["run", "loans.yaml"]) == 2
    error = capsys.readouterr().err
    assert "variant 'thresholds': mitigate" in error
    assert "data.sensitive_features" in error
