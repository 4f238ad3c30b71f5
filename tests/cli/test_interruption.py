"""A run that is killed is recognised as unfinished, and a second start ends with the same figures."""

import os
import signal
import subprocess
import sys
import time

import pytest

from auditkit.store import RunFolder
from tests.cli.test_run import figures


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_figures(project, capsys):
    project.auditkit("run", "loans.yaml", "--out", "whole")
    capsys.readouterr()
    process = subprocess.Popen(
        [sys.executable, "-m", "auditkit", "run", "loans.yaml", "--out", "killed"],
        cwd=project.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    results = project.folder / "killed" / "results"
    deadline = time.monotonic() + 120
    while not list(results.glob("*.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    killed = RunFolder(project.folder / "killed")
    if not killed.is_complete:
        assert project.auditkit("report", "killed") == 2
        assert "unfinished" in capsys.readouterr().err
    assert project.auditkit("run", "loans.yaml", "--out", "killed") == 0
    assert figures(killed.load_run()) == figures(RunFolder(project.folder / "whole").load_run())
    assert project.auditkit("verify", "killed") == 0
