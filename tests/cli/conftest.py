"""A small project of a user: a table, a config, a trained checkpoint."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from auditkit.__main__ import main

CONFIG = """\
version: 1
seed: 3
subject:
  checkpoint: checkpoints/loans
  architecture: {name: tabular-mlp, hidden: [16]}
  training: {optimizer: adam, learning_rate: 0.01, batch_size: 64, epochs: 4}
data:
  source: loans.csv
  target: granted
  positive: "yes"
  sensitive_features: [sex]
  members: train
variants:
  int8: {kind: quantise}
audits:
  performance: {}
  calibration: {}
  group-fairness: {}
  attribution: {max_rows: 64}
  membership-inference: {}
policy:
  - {figure: performance/accuracy, at_least: 0.6}
"""


def write_loans(path: Path, *, n: int = 900) -> None:
    """Loans that depend on income, and on sex a little; some sexes are missing."""
    rng = np.random.default_rng(11)
    sex = rng.choice(["female", "male", ""], n, p=[0.45, 0.5, 0.05])
    income = rng.normal(3, 1, n)
    score = income - 3 + 0.8 * (sex == "male") + 0.5 * rng.normal(size=n)
    granted = np.where(score > 0, "yes", "no")
    job = rng.choice(["office", "farm", "shop"], n)
    lines = ["sex,income,job,granted"]
    lines += [f"{s},{i:.4f},{j},{g}" for s, i, j, g in zip(sex, income, job, granted, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class UserProject:
    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "loans.yaml"

    def rewrite(self, old: str, new: str) -> None:
        """Change the config as a user would."""
        text = self.config.read_text(encoding="utf-8")
        assert old in text
        self.config.write_text(text.replace(old, new), encoding="utf-8")

    def auditkit(self, *words: object) -> int:
        """Run a command and return its exit code."""
        return main([str(word) for word in words])


@pytest.fixture(scope="session")
def trained_project(tmp_path_factory) -> Path:
    """Made once; tests work on copies."""
    folder = tmp_path_factory.mktemp("trained")
    write_loans(folder / "loans.csv")
    (folder / "loans.yaml").write_text(CONFIG, encoding="utf-8")
    assert main(["train", str(folder / "loans.yaml")]) == 0
    return folder


@pytest.fixture
def project(trained_project, tmp_path, monkeypatch) -> UserProject:
    """A fresh copy of the trained project, as the working directory."""
    folder = tmp_path / "project"
    shutil.copytree(trained_project, folder)
    monkeypatch.chdir(folder)
    return UserProject(folder)
