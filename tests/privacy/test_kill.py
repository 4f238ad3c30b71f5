"""kill -9 at random moments: what was spent is never under-counted, and over-counted by a block at most."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = 50
ROOT = Path(__file__).parents[2]


def killed(folder: Path, kills: int, *, seed: int) -> list[dict]:
    """Trainings that were killed, taken up, and killed again."""
    words = [sys.executable, "-m", "tests.privacy.kill_anywhere", str(folder), str(kills), str(seed)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        words, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=20 + 10 * kills
    )
    return json.loads(done.stdout)["found"]


def check(found: list[dict]) -> None:
    for one in found:
        first, both = one["first"], one["both"]
        assert first["taken"] <= first["reserved"] <= first["taken"] + BLOCK
        assert both["reserved"] >= first["reserved"]
        # with noise from a seed a step taken twice is the same release, and a run begun anew is charged anew
        assert (both["taken"] if one["certified"] else both["different"]) <= both["reserved"]
        if one["certified"]:  # every kill costs a block at most
            assert both["reserved"] <= both["taken"] + 2 * BLOCK


@pytest.mark.slow
def test_a_killed_training_never_spent_more_than_its_ledger_says(tmp_path):
    check(killed(tmp_path, 3, seed=2))


@pytest.mark.proof
def test_about_two_hundred_kills_are_never_under_counted(tmp_path):
    found = killed(tmp_path, 125, seed=1)
    check(found)
    middle = [one for one in found if one["killed"][0] and 0 < one["first"]["taken"] < 120]
    assert len(middle) >= 100
    assert sum(sum(one["killed"]) for one in found) >= 200
