"""Kills private trainings with SIGKILL at random moments and counts what the ledger then says.

A program of its own: ``python -m tests.privacy.kill_anywhere FOLDER KILLS SEED``. It forks, so that the
libraries are loaded once; it never trains itself, as threads do not survive a fork. Every step that is about
to be taken is first written to a file, one byte each, its number: the plain truth that the ledger is held
against. The signal comes once so many steps were written, and a moment more; so the moments are spread over
the training however fast the machine is. Prints one JSON document.
"""

import json
import os
import random
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from auditkit.privacy import private_steps
from auditkit.privacy.accounting import noise_for_epsilon
from auditkit.privacy.dp_fit import dp_fit
from tests.privacy.ledgers import QUICK, network, recording, rows

POLLED_S = 0.0002
LATEST_S = 0.004
"""A few steps."""


def train(folder: Path, certified: bool, started: int) -> None:
    """One training in this process; the byte comes before the step."""
    truth = os.open(folder / "steps", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    real = private_steps.PrivateSteps.take

    def counted(self, step: int) -> None:
        os.write(truth, bytes([step]))
        real(self, step)

    private_steps.PrivateSteps.take = counted
    os.write(started, b"s")
    dp_fit(network(), rows(), replace(QUICK, certified=certified), seed=0, recording=recording(folder))


def one(folder: Path, certified: bool, after_steps: int, after_s: float) -> bool:
    """Fork a training, kill it so long after so many of its steps; whether it was still alive."""
    before = written(folder)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        train(folder, certified, writing)
        os._exit(0)
    os.close(writing)
    os.read(reading, 1)
    os.close(reading)
    while written(folder) - before < after_steps:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(POLLED_S)
    time.sleep(after_s)
    if os.waitpid(child, os.WNOHANG)[0]:
        return False
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def written(folder: Path) -> int:
    """Steps taken so far, those taken twice twice."""
    steps = folder / "steps"
    return steps.stat().st_size if steps.exists() else 0


def counts(folder: Path) -> dict[str, int]:
    state = recording(folder).account.state()
    steps = (folder / "steps").read_bytes() if (folder / "steps").exists() else b""
    reserved = sum(spent.steps for spent in state.spent())
    return {"taken": len(steps), "different": len(set(steps)), "reserved": reserved}


def main(folder: Path, kills: int, seed: int) -> dict:
    rng = random.Random(seed)
    noise_for_epsilon(QUICK.epsilon, QUICK.delta, 60 / 600, QUICK.steps)  # the forks inherit it
    found = []
    for index in range(kills):
        place = folder / str(index)
        place.mkdir(parents=True)
        certified = rng.random() < 0.5
        was_alive = one(place, certified, rng.randrange(QUICK.steps), rng.uniform(0, LATEST_S))
        first = counts(place)
        again_alive = one(place, certified, rng.randrange(QUICK.steps // 2), rng.uniform(0, LATEST_S))
        both = counts(place)
        found.append(
            {"certified": certified, "killed": [was_alive, again_alive], "first": first, "both": both}
        )
    return {"found": found}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
