"""One ledger for one file, whatever columns are dropped, whatever roles they have and however it is split."""

from dataclasses import replace

import numpy as np
import pytest

from auditkit.data.sources import read_rows
from auditkit.errors import PrivacyRefusedError
from auditkit.jobs.ledger import account_of
from auditkit.jobs.prepare import open_project
from auditkit.privacy.account import Account
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.fingerprint import fingerprint_of_rows


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDITKIT_LEDGER", str(tmp_path / "ledger"))
    rng = np.random.default_rng(0)
    for name in ("train", "other", "test"):
        lines = [
            f"{client},{rng.integers(3)},{rng.integers(9)},{rng.random():.3f},{client % 3 == 0},{client % 2}"
            for client in range(40)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(["client,region,age,w,seen,granted", *lines]))
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
        "data.members=seen",
        "data.members=train",
    ],
)
def test_a_dropped_column_or_another_role_is_the_same_ledger(folder, override):
    assert fingerprint(folder, override) == fingerprint(folder)


@pytest.mark.parametrize(
    "override",
    ["data.person=region", "data.members=seen", "data.members=train", "data.test_fraction=0.5"],
)
def test_a_file_that_is_split_has_one_ledger_however_it_is_split(split, override):
    assert fingerprint(split, override) == fingerprint(split)


def test_a_file_has_the_ledger_that_it_has_as_the_training_file_of_another_config(folder):
    assert fingerprint(folder, "data.source=train.csv", "data.train=null") == fingerprint(folder)


@pytest.fixture
def split(folder):
    """One file for training and held-out rows."""
    text = (folder / "audit.yaml").read_text()
    (folder / "audit.yaml").write_text(
        text.replace("source: test.csv, train: train.csv", "source: train.csv")
    )
    return folder


MECHANISM = Mechanism(noise_multiplier=2.5, sample_rate=0.5, steps=50, max_grad_norm=1.0, normaliser=20.0)


def spend(account) -> None:
    with account.begin(MECHANISM, 1e-5, purpose="test", certified=True) as run:
        run.reserve(0, 50)
        run.end(50)


def of_training_rows(folder) -> Account:
    """The account that earlier versions opened: that of the training rows alone."""
    data = open_project(folder / "audit.yaml").config.data
    rows = read_rows(data, split="train", seed=0, folder=folder)
    return Account(
        folder=folder / "ledger", fingerprint=fingerprint_of_rows(rows), name=rows.name, source=data.source
    )


def test_a_ledger_of_the_training_rows_from_before_goes_on_being_used(split):
    earlier = of_training_rows(split)
    assert earlier.fingerprint != fingerprint(split)
    spend(earlier)
    assert fingerprint(split) == earlier.fingerprint


def test_what_a_ledger_from_before_holds_counts_under_another_split_too(split):
    earlier = of_training_rows(split)
    earlier.set_budget(9.0, 1e-5)
    spend(earlier)
    again = account_of(open_project(split / "audit.yaml", ["data.members=seen"]))
    assert again.reference(1e-5).n_runs == 1
    with pytest.raises(PrivacyRefusedError, match="budget of these rows is 9"):
        spend(again)
    earlier.set_budget(90.0, 1e-5, may_rise=True)
    spend(replace(again, fingerprint="ab" * 32, beside=(earlier,)))
    beside = replace(again, fingerprint="ab" * 32, beside=(earlier,)).reference(1e-5)
    assert (beside.n_runs, beside.same_name, beside.budget_epsilon) == (2, 0, 90.0)
    assert beside.epsilon > earlier.reference(1e-5).epsilon


@pytest.mark.parametrize("override", ["data.drop=[sex, postcode_area]", "data.features=[income]"])
def test_a_built_in_table_has_one_ledger_whatever_is_dropped(folder, override):
    text = (folder / "audit.yaml").read_text()
    (folder / "audit.yaml").write_text(text[: text.index("data:")] + "data: {source: lending}\n")
    assert fingerprint(folder, override) == fingerprint(folder)


def test_a_budget_holds_when_a_column_is_dropped(folder):
    def account(*overrides):
        return account_of(open_project(folder / "audit.yaml", overrides))

    spend(account("privacy_budget=9"))
    with pytest.raises(PrivacyRefusedError, match="budget of these rows is 9"):
        spend(account("data.drop=[client, region]"))


def test_other_rows_have_another_ledger(folder):
    assert fingerprint(folder, "data.train=other.csv") != fingerprint(folder)
