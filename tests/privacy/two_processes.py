"""What two processes that train together find, written down for the tests; run by ``python -m``."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np
import torch

from auditkit.__main__ import main as auditkit
from auditkit.data.dataset import Dataset
from auditkit.errors import AuditkitError
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.distributed import Processes, processes_of_environment
from auditkit.privacy.dp_settings import DpSettings
from auditkit.privacy.draws import Draws, EntropyDraws, SeededDraws
from auditkit.privacy.leading_steps import LeadingSteps, follow
from auditkit.privacy.shared_steps import SharedSteps, shared_sum
from auditkit.privacy.units import PersonRows, PrivateUnits
from auditkit.randomness import torch_rng
from tests.privacy.networks import built, mlp, mlp_with_dropout

HOW = DpSettings(epsilon=1.0)
PLAN = Mechanism(noise_multiplier=0.5, sample_rate=0.3, steps=60, max_grad_norm=0.5, normaliser=12.0)
QUIET = Mechanism(noise_multiplier=0.0, sample_rate=0.3, steps=60, max_grad_norm=0.5, normaliser=12.0)
RARE = Mechanism(noise_multiplier=0.5, sample_rate=0.02, steps=40, max_grad_norm=0.5, normaliser=1.0)
NOISE = Mechanism(noise_multiplier=3.0, sample_rate=1e-12, steps=1, max_grad_norm=0.5, normaliser=100.0)


def rows(n: int = 40) -> Dataset:
    """Random rows in three classes."""
    return Dataset(
        name="rows",
        source="test",
        split=None,
        inputs=torch.randn(n, 6, generator=torch_rng(0, "rows")),
        y_true=np.arange(n, dtype=np.int64) % 3,
        classes=("a", "b", "c"),
    )


def units(*, persons: bool = False) -> PrivateUnits:
    """All rows, alone or three to a person."""
    owner = PersonRows.of(np.arange(40) // 3, 4) if persons else None
    return PrivateUnits.of(rows(), torch.device("cpu"), owner)


def wide() -> torch.nn.Module:
    """400,003 parameters: as many draws of noise."""
    return mlp(hidden=40_000)


def train(
    processes: Processes,
    mechanism: Mechanism,
    draws: Draws,
    *,
    make=mlp,
    many: int | None = None,
    persons: bool = False,
    about: str = "same",
    disturb=lambda _steps, _step: None,
):
    """Some steps; what is in the weights then, or the error."""
    private = units(persons=persons)
    module = built(make)
    kind = LeadingSteps if processes.is_first else SharedSteps
    with ClippedGradients(module, mechanism.max_grad_norm, rows_per_unit=private.rows_per_unit) as clipped:
        try:
            steps = kind(clipped, private, mechanism, HOW, draws, processes=processes, about={"rows": about})
            if not processes.is_first:
                disturb(steps, None)
            torch.manual_seed(0)
            if isinstance(steps, LeadingSteps):
                with steps.leading() as ending:
                    for step in range(many or mechanism.steps):
                        disturb(steps, step)
                        steps.take(step)
                    steps.finish()
                    ending.content = b"certificate"
                left = b"certificate"
            else:
                left = follow(steps)
        except AuditkitError as error:
            return f"{type(error).__name__}: {error}"
    assert left == b"certificate"
    return [parameter.detach().numpy() for parameter in module.parameters()]


def whole_sum(processes: Processes):
    """The clipped sum of all rows, a part in each process."""
    batch = units().batch(np.arange(40)[processes.rank :: 2], 0)
    with ClippedGradients(built(mlp), 0.5) as clipped:
        return [part.numpy() for part in shared_sum(clipped, batch, QUIET, EntropyDraws(), processes)]


def noise_of(processes: Processes, draws: Draws, repetitions: int = 1):
    """Noise alone, times the divisor."""
    empty = units().batch(np.array([], dtype=np.int64), 0)
    found = []
    with ClippedGradients(built(wide).double(), 0.5) as clipped:
        for _ in range(repetitions):
            parts = shared_sum(clipped, empty, NOISE, draws, processes)
            found.append(torch.cat([part.flatten() for part in parts]) * NOISE.normaliser)
    return torch.cat(found).numpy()


def other_weights(steps: SharedSteps, step: int | None) -> None:
    """The second process has other weights before its first step."""
    if step is None:
        with torch.no_grad():
            steps._clipped.parameters[0].add_(1.0)


def other_draws(steps: SharedSteps, step: int | None) -> None:
    """The second process draws once more than the first."""
    if step is None:
        steps._draws.poisson_rows(3, 0.5)


def refusal(_steps: SharedSteps, step: int | None) -> None:
    """The first process fails between two steps, as when a budget does not suffice."""
    if step == 3:
        raise AuditkitError("the budget does not suffice")


def replayed(processes: Processes):
    """Ten certified steps with dropout, and the last five of them once more from what was saved."""
    private, module = units(), built(mlp_with_dropout)
    kind = LeadingSteps if processes.is_first else SharedSteps
    with ClippedGradients(module, 0.5) as clipped:
        steps = kind(clipped, private, PLAN, HOW, EntropyDraws(), processes=processes, about={})
        if not isinstance(steps, LeadingSteps):
            follow(steps)
            return None
        with steps.leading():
            for step in range(5):
                steps.take(step)
            tensors, position = steps.tensors(), steps.position()
            for step in range(5, 10):
                steps.take(step)
            first = [parameter.detach().clone().numpy() for parameter in module.parameters()]
            steps.restore(tensors)
            steps.move_to(position)
            for step in range(5, 10):
                steps.take(step)
            second = [parameter.detach().clone().numpy() for parameter in module.parameters()]
    return first, second


def lost(processes: Processes):
    """The second process ends while the first waits for its part."""
    if not processes.is_first:
        os._exit(0)
    try:
        processes.add_up(torch.zeros(10))
    except AuditkitError as error:
        return f"{type(error).__name__}: {error}"
    return None


def everything(processes: Processes) -> dict[str, object]:
    """Every quick scenario by its name."""
    seeded, third = SeededDraws.from_seed(1), "third" if processes.rank else "first"
    return {
        "sum": whole_sum(processes),
        "quiet": train(processes, QUIET, SeededDraws.from_seed(0), many=1),
        "seeded": train(processes, PLAN, SeededDraws.from_seed(0), many=20),
        "persons": train(processes, PLAN, SeededDraws.from_seed(0), many=5, persons=True),
        "certified": train(processes, PLAN, EntropyDraws(), many=3),
        "rare": train(processes, RARE, EntropyDraws()),
        "noise": noise_of(processes, EntropyDraws()),
        "seeded noise": noise_of(processes, seeded),
        "other rows": train(processes, PLAN, EntropyDraws(), about=third),
        "other weights": train(processes, PLAN, EntropyDraws(), disturb=other_weights),
        "other draws": train(processes, PLAN, EntropyDraws(), disturb=other_draws),
        "refused": train(processes, PLAN, EntropyDraws(), disturb=refusal),
        "replayed": replayed(processes),
    }


def main() -> None:
    """Arguments: what to do, and where to write what was found."""
    torch.set_num_threads(1)
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "all":
        auditkit(["retrain", str(folder / "loans.yaml"), "--epsilon", "3", "--json"])
        # A process that is early would still find the store of the group that ended on the same port.
        os.environ["MASTER_PORT"] = os.environ["NEXT_PORT"]
    with processes_of_environment() as processes:
        assert processes is not None
        if what == "noise":
            found: dict[str, object] = {"noise": noise_of(processes, EntropyDraws(), repetitions=10)}
        else:
            found = everything(processes)
        (folder / f"{processes.rank}.pickle").write_bytes(pickle.dumps(found))
        if what == "all":
            error = lost(processes)
            (folder / "lost.pickle").write_bytes(pickle.dumps(error))


if __name__ == "__main__":
    main()
