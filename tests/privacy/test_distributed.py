"""Private training in two processes over gloo, against the same in one."""

import json
import os
import pickle
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.distributed import processes_of_environment
from auditkit.privacy.draws import SeededDraws
from auditkit.privacy.ledger_file import read_chain
from auditkit.privacy.private_steps import PrivateSteps
from auditkit.records import Message, Reserved, Started
from tests.cli.conftest import CONFIG, write_loans
from tests.privacy.networks import built, mlp
from tests.privacy.two_processes import HOW, NOISE, PLAN, QUIET, units

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 100  # reached only where two processes wait for each other
SAME_SUM = 1e-6
VARIANCE_WITHIN = 0.01  # 4.5 standard errors for the 400,003 draws of a quick test, 14 in the proof


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def environment_of(rank: int, ports: tuple[int, int], folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "AUDITKIT_LEDGER": str(folder / "ledger"),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(ports[0]),
        "NEXT_PORT": str(ports[1]),
        "OMP_NUM_THREADS": "1",
    }


def run_two(what: str, folder: Path) -> list[dict]:
    """What each of two processes found, and printed."""
    ports = free_port(), free_port()
    write_loans(folder / "loans.csv", n=300)
    (folder / "loans.yaml").write_text(CONFIG)
    command = [sys.executable, "-m", "tests.privacy.two_processes", what, str(folder)]
    started = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment_of(rank, ports, folder),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        told = [process.communicate(timeout=TIMEOUT_S) for process in started]
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert [process.returncode for process in started] == [0, 0], "\n".join(error for _, error in told)
    return [
        {**pickle.loads((folder / f"{rank}.pickle").read_bytes()), "printed": printed}
        for rank, (printed, _) in enumerate(told)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("processes")


@pytest.fixture(scope="module")
def found(folder) -> list[dict]:
    return run_two("all", folder)


def alone(mechanism, many: int, *, persons: bool = False) -> list[np.ndarray]:
    """The weights after the same steps in one process."""
    private, module = units(persons=persons), built(mlp)
    with ClippedGradients(module, mechanism.max_grad_norm, rows_per_unit=private.rows_per_unit) as clipped:
        steps = PrivateSteps(clipped, private, mechanism, HOW, SeededDraws.from_seed(0))
        for step in range(many):
            steps.take(step)
        steps.finish()
    return [parameter.detach().numpy() for parameter in module.parameters()]


def flat(parts: list[np.ndarray]) -> np.ndarray:
    return np.concatenate([part.ravel() for part in parts]).astype(np.float64)


def apart(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    """Relative distance."""
    return float(np.linalg.norm(flat(one) - flat(other)) / np.linalg.norm(flat(other)))


def test_the_clipped_sum_is_that_of_one_process(found):
    with ClippedGradients(built(mlp), QUIET.max_grad_norm) as clipped:
        parts = clipped.clipped_sum(*units().batch(np.arange(40), 0))
    expected = [part.numpy() / QUIET.normaliser for part in parts]
    for one in found:
        assert apart(one["sum"], expected) <= SAME_SUM


def test_a_drawn_step_is_that_of_one_process(found):
    expected = alone(QUIET, 1)
    for one in found:
        assert apart(one["quiet"], expected) <= SAME_SUM


@pytest.mark.parametrize(("name", "many", "persons"), [("seeded", 20, False), ("persons", 5, True)])
def test_a_seed_gives_the_same_training_whatever_the_number_of_processes(found, name, many, persons):
    assert apart(found[0][name], alone(PLAN, many, persons=persons)) <= 1e-4


@pytest.mark.parametrize("name", ["seeded", "persons", "certified", "rare", "noise", "seeded noise"])
def test_all_processes_end_with_the_same_bits(found, name):
    one, other = (process[name] for process in found)
    pairs = [(one, other)] if isinstance(one, np.ndarray) else list(zip(one, other, strict=True))
    assert all(np.array_equal(a, b) for a, b in pairs)


def test_steps_without_any_row_for_a_process_are_taken_like_all_others(found):
    assert all(np.isfinite(part).all() for part in found[0]["rare"])


@pytest.mark.parametrize("name", ["noise", "seeded noise"])
def test_the_noise_has_the_promised_variance(found, name):
    variance = (NOISE.noise_multiplier * NOISE.max_grad_norm) ** 2
    assert np.mean(found[0][name] ** 2) == pytest.approx(variance, rel=VARIANCE_WITHIN)


def test_certified_noise_lies_on_one_grid_whatever_is_added(found):
    share = NOISE.noise_multiplier * NOISE.max_grad_norm / np.sqrt(2)
    grid = 2.0 ** (np.floor(np.log2(share)) - 36)
    values = found[0]["noise"] / grid
    assert np.abs(values - np.rint(values)).max() < 0.01


@pytest.mark.proof
def test_the_variance_of_the_noise_over_four_million_draws(tmp_path):
    noise = run_two("noise", tmp_path)[0]["noise"]
    variance = (NOISE.noise_multiplier * NOISE.max_grad_norm) ** 2
    assert len(noise) == 10 * 400_003
    assert np.mean(noise**2) == pytest.approx(variance, rel=0.004)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("other rows", "rank 1 has rows"),
        ("other weights", "rank 1 has parameters"),
        ("other draws", "rank 1 has drawn units"),
    ],
)
def test_processes_that_differ_all_stop_and_name_the_rank_and_the_difference(found, name, what):
    for one in found:
        assert one[name].startswith("ProcessesDisagreeError")
        assert what in one[name]


def test_when_the_first_process_refuses_the_others_stop_with_its_words(found):
    assert found[0]["refused"] == "AuditkitError: the budget does not suffice"
    assert found[1]["refused"] == "AuditkitError: rank 1 stopped with rank 0: the budget does not suffice"


def test_a_replay_repeats_noise_and_dropout_of_all_processes_bit_by_bit(found):
    first, second = found[0]["replayed"]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_process_that_ends_is_noticed(found, folder):
    error = pickle.loads((folder / "lost.pickle").read_bytes())
    assert error.startswith("ProcessLostError: rank 0 lost another of the 2 processes")


def test_a_process_alone_has_no_others():
    for environment in ({}, {"RANK": "0", "WORLD_SIZE": "1"}):
        with processes_of_environment(environment=environment) as processes:
            assert processes is None
    assert not torch.distributed.is_initialized()


def test_retrain_in_two_processes_gives_one_result_one_ledger_and_one_checkpoint(found, folder):
    assert found[1]["printed"] == ""
    expect_one_of_everything(folder, found[0]["printed"])


@pytest.mark.proof
def test_retrain_under_torchrun(tmp_path):
    write_loans(tmp_path / "loans.csv", n=300)
    (tmp_path / "loans.yaml").write_text(CONFIG)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launcher, "-m", "auditkit", "retrain", "loans.yaml", "--epsilon", "3", "--json"],
        cwd=tmp_path,
        env={**os.environ, "AUDITKIT_LEDGER": str(tmp_path / "ledger"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    expect_one_of_everything(tmp_path, done.stdout)


def expect_one_of_everything(folder: Path, printed: str) -> None:
    certificate = json.loads(printed)["certificate"]
    assert certificate["epsilon"] <= 3
    assert certificate["certified"]
    assert "2 processes" in " ".join(str(Message.model_validate(one)) for one in certificate["assumptions"])
    (ledger,) = (folder / "ledger").glob("*.jsonl")
    entries = [line.entry for line in read_chain(ledger).lines]
    assert sum(isinstance(entry, Started) for entry in entries) == 1
    reserved = sum(entry.spending.steps for entry in entries if isinstance(entry, Reserved))
    assert reserved == certificate["steps"] == 500
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["loans", "loans-dp-3"]
