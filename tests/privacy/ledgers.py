"""Accounts, mechanisms and small trainings for the tests of the ledger."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from auditkit.data.dataset import Dataset
from auditkit.privacy.account import Account
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.dp_settings import DpSettings
from auditkit.privacy.recorded import Recording

FINGERPRINT = "ab" * 32
DELTA = 1e-5
MECHANISM = Mechanism(noise_multiplier=2.0, sample_rate=0.1, steps=120, max_grad_norm=1.0, normaliser=60.0)
QUICK = DpSettings(epsilon=8.0, delta=1e-4, steps=120, expected_batch_size=60)


def account(folder: Path, *, fingerprint: str = FINGERPRINT, name: str = "people") -> Account:
    return Account(folder=folder, fingerprint=fingerprint, name=name, source="people.csv")


def key_file(folder: Path) -> Path:
    """Apart from ``folder``, the same for its neighbours."""
    return folder.parent / "keys" / "replay.key"


def recording(folder: Path, *, replay: bool = False) -> Recording:
    return Recording(
        account=account(folder / "ledger"),
        purpose="test",
        partial=folder / "unfinished",
        replay_key=key_file(folder) if replay else None,
    )


def rows(n: int = 600, *, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    y_true = rng.integers(0, 3, n)
    inputs = np.eye(3, 6)[y_true] * 2 + 0.4 * rng.standard_normal((n, 6))
    return Dataset(
        name="people",
        source="people.csv",
        split=None,
        inputs=torch.tensor(inputs, dtype=torch.float32),
        y_true=y_true.astype(np.int64),
        classes=("a", "b", "c"),
    )


def network() -> nn.Module:
    """Linear layers with dropout, always from the same weights."""
    rng = torch.Generator().manual_seed(1)
    module = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 3))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=rng))
    return module


class Killed(BaseException):
    """Stands for a signal that ends the process: nothing of ours catches it."""


def dies_after(steps: int):
    """A progress report that ends the training when so many steps were taken."""

    def report(done: int, _total: int, _text: str) -> None:
        if done >= steps:
            raise Killed

    return report
