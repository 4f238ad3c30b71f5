"""One ledger for one file and split, whatever columns are dropped and whatever roles they have."""

import numpy as np
import pytest

from auditkit.jobs.ledger import account_of
from auditkit.jobs.prepare import open_project


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("train", "other", "test"):
        lines = [
            f"{client},{rng.integers(3)},{rng.integers(9)},{rng.random():.3f},{client % 2}"
            for client in range(40)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(["client,region,age,w,granted", *lines]))
    (tmp_path / "audit.yaml").write_text(
        "version: 1\nsubject: {architecture: mlp, training: {epochs: 1}}\n"
        "audits: {performance: {}}\nledger: ledger\n"
        "data: {source: test.csv, train: train.csv, target: granted}\n"
    )
    return tmp_path


def fingerprint(folder, *overrides):
    return account_of(open_project(folder / "audit.yaml", overrides)).fingerprint


@pytest.mark.parametrize(
    "override",
    [
        "data.drop=[client, region]",
        "data.person=client",
        "data.weight=w",
        "data.sensitive_features=[region]",
        "data.features=[age]",
        "data.prediction=region",
    ],
)
def test_a_dropped_column_or_another_role_is_the_same_ledger(folder, override):
    assert fingerprint(folder, override) == fingerprint(folder)


def test_other_rows_have_another_ledger(folder):
    assert fingerprint(folder, "data.train=other.csv") != fingerprint(folder)
