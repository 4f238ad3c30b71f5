"""A project of a user around a model that is not ours: loans as a table, and a config."""

from pathlib import Path

import numpy as np
import pandas as pd

from auditkit.jobs.audit import Prepared, audit, prepare_audit
from auditkit.jobs.prepare import audit_data, obtain_subject, open_project
from auditkit.records import Run

FEATURES = ["sex", "income", "children", "job"]


def loans(n: int = 400) -> pd.DataFrame:
    """Loans with texts, whole numbers, other numbers, and gaps; granted by income and children."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame(
        {
            "sex": rng.choice(["female", "male"], n),
            "income": np.round(rng.normal(3, 1, n), 4),
            "children": rng.integers(0, 4, n),
            "job": rng.choice(["office", "farm", "shop"], n),
        }
    )
    score = frame["income"] - 3 - 0.2 * frame["children"] + 0.5 * rng.normal(size=n)
    frame["granted"] = np.where(score > 0, "yes", "no")
    frame.loc[::17, "income"] = np.nan
    frame.loc[3::29, "job"] = None
    return frame


def write_project(folder: Path, subject: str, *, data: str = "", audits: str = "performance: {}") -> Path:
    """``loans.csv`` and a config with this ``subject:``; returns the config."""
    if not (folder / "loans.csv").exists():
        loans().to_csv(folder / "loans.csv", index=False)
    config = folder / "project.yaml"
    config.write_text(
        f"version: 1\nseed: 3\nsubject: {{{subject}}}\n"
        "data: {source: loans.csv, split: all, target: granted, positive: 'yes', "
        f"sensitive_features: [sex]{', ' if data else ''}{data}}}\n"
        f"audits: {{{audits}}}\n",
        encoding="utf-8",
    )
    return config


def subject_of(config: Path):
    """The subject of a config, and its rows."""
    project = open_project(config)
    subject = obtain_subject(project)
    return subject, audit_data(project, subject)


def run_of(config: Path, out: Path) -> Run:
    """The whole audit."""
    prepared: Prepared = prepare_audit(config)
    return audit(prepared, out=out)[0]


def probabilities(config: Path) -> np.ndarray:
    """What the subject of a config says of its rows."""
    subject, data = subject_of(config)
    return subject.predict(data, batch_size=64).probabilities
