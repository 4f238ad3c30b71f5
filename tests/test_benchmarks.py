"""What ``make bench`` and ``make proof`` say of a bar that was missed."""

import sys
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import bench, proof, record
from benchmarks.record import missed


@pytest.fixture(params=[bench, proof], ids=["bench", "proof"])
def command(request, tmp_path, monkeypatch):
    """One of the commands, whose results go elsewhere."""
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    return request.param


@pytest.mark.parametrize(("holds", "code"), [(True, 0), (False, 1)])
def test_a_bar_that_is_missed_is_named_and_ends_the_command_with_1(command, holds, code, monkeypatch, capsys):
    comparison = SimpleNamespace(run=lambda: {"ours_s": 1.0, "holds": holds})
    monkeypatch.setitem(sys.modules, "benchmarks.planted", comparison)
    assert command.main(["planted"]) == code
    assert ("missed: planted" in capsys.readouterr().out) == bool(code)


@pytest.mark.parametrize("name", sorted({*proof.CHECKS, *bench.COMPARISONS}))
def test_every_check_can_be_run(name):
    assert callable(import_module(f"benchmarks.{name}").run)


def test_figures_without_a_bar_miss_none():
    found = {"plain": {"ours_s": 1.0}, "slow": {"holds": False}, "slow too": {"holds": np.False_}}
    assert missed(found) == ["slow", "slow too"]
