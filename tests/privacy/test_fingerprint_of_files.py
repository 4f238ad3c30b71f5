"""One ledger for one file and split, whatever columns are dropped and whatever roles they have."""

import numpy as np
import pytest

from auditkit.errors import PrivacyRefusedError
from auditkit.jobs.ledger import account_of
from auditkit.jobs.prepare import open_project
from auditkit.privacy.certificate import Mechanism


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


@pytest.mark.parametrize("override", ["data.drop=[sex, postcode_area]", "data.features=[income]"])
def test_a_built_in_table_has_one_ledger_whatever_is_dropped(folder, override):
    text = (folder / "audit.yaml").read_text()
    (folder / "audit.yaml").write_text(text[: text.index("data:")] + "data: {source: lending}\n")
    assert fingerprint(folder, override) == fingerprint(folder)


def test_a_budget_holds_when_a_column_is_dropped(folder):
    def account(*overrides):
        return account_of(open_project(folder / "audit.yaml", overrides))

    mechanism = Mechanism(noise_multiplier=2.5, sample_rate=0.5, steps=50, max_grad_norm=1.0, normaliser=20.0)
    with account("privacy_budget=9").begin(mechanism, 1e-5, purpose="first", certified=True) as run:
        run.reserve(0, 50)
        run.end(50)
    with (
        pytest.raises(PrivacyRefusedError, match="budget of these rows is 9"),
        account("data.drop=[client, region]").begin(mechanism, 1e-5, purpose="again", certified=True),
    ):
        pass


def test_other_rows_have_another_ledger(folder):
    assert fingerprint(folder, "data.train=other.csv") != fingerprint(folder)
