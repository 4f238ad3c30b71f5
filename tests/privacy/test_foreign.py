"""Histories that Opacus wrote: read without executing anything, computed again, and not simply believed."""

import warnings

import pytest
import torch
from opacus.accountants import PRVAccountant, RDPAccountant
from opacus.accountants.gdp import GaussianAccountant

from auditkit.errors import CheckpointError, UnsafeError
from auditkit.privacy.composition import composed
from auditkit.privacy.foreign import read_history
from auditkit.records import Spending


def checkpoint(path, accountant, history):
    accountant.history = history
    state = {
        "module_state_dict": {"w": torch.zeros(2)},
        "privacy_accountant_state_dict": accountant.state_dict(),
    }
    torch.save(state, path)
    return path


@pytest.mark.parametrize("kind", [PRVAccountant, RDPAccountant])
def test_the_history_of_a_checkpoint_is_computed_again(tmp_path, kind):
    path = checkpoint(tmp_path / "c.pt", kind(), [(2.0, 0.1, 60), (3.0, 0.1, 5), (2.0, 0.1, 40)])
    found = read_history(path)
    assert found.spendings == (
        Spending(noise_multiplier=2.0, sample_rate=0.1, steps=100),
        Spending(noise_multiplier=3.0, sample_rate=0.1, steps=5),
    )
    assert composed(found.spendings[:1], 1e-4).epsilon == pytest.approx(1.976, abs=1e-3)
    text = " ".join(map(str, found.unverified))
    for part in ("older checkpoint", "Poisson", "clipping norm", "seed", "these very rows"):
        assert part in text


def test_the_figure_of_gaussian_dp_is_not_used_and_this_is_said(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # Opacus warns that it is experimental
        accountant = GaussianAccountant()
    found = read_history(checkpoint(tmp_path / "c.pt", accountant, [(2.0, 0.1, 100)]))
    assert "gdp" in " ".join(map(str, found.unverified))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"weights": torch.zeros(2)}, "no history"),
        ({"history": []}, "empty"),
        ({"history": [(0.0, 0.1, 5)]}, "noise multiplier above 0"),
        ({"history": [(1.0, 0.1)]}, "noise multiplier above 0"),
        ({"history": [(1.0, 1.5, 5)]}, "sample rate up to 1"),
    ],
)
def test_what_is_no_history_is_refused(tmp_path, content, reason):
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=reason):
        read_history(tmp_path / "c.pt")


class Boom:
    def __reduce__(self):
        return (print, ("executed",))


def test_a_file_that_would_execute_code_is_refused(tmp_path, capsys):
    torch.save({"history": [Boom()]}, tmp_path / "c.pt")
    with pytest.raises((UnsafeError, CheckpointError)):
        read_history(tmp_path / "c.pt")
    assert capsys.readouterr().out == ""
