"""What a private training will come to, told before its first step; no row is looked at."""

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from auditkit.data.dataset import Dataset
from auditkit.data.sequences import targets_of
from auditkit.energy.cpu_model import cpu_energy
from auditkit.energy.quantity import Quantity
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.draws import EntropyDraws
from auditkit.privacy.memory import within_memory
from auditkit.privacy.noisy_step import noisy_gradients
from auditkit.randomness import global_generators_seeded, torch_rng

TRIALS = 3
MOST_TRIAL_ROWS = 1024
_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Figures of a training that has not begun.

    Attributes:
        mechanism: As it will be.
        n_parameters: How many numbers are trained.
        noise_to_signal: Length of the noise of one step over the largest sum it can hide, ``sigma * sqrt(p) /
            (n * q)``.
        duration_s: From a few steps on random rows; ``None`` where none could be taken.
        energy: Of the processor; ``None`` on an accelerator, whose share is not estimated.
    """

    mechanism: Mechanism
    n_parameters: int
    noise_to_signal: float
    duration_s: float | None
    energy: Quantity | None

    def sentences(self) -> Iterator[str]:
        """For the user."""
        plan = self.mechanism
        yield (
            f"plan: {plan.steps:,} steps of {plan.normaliser:,.0f} {plan.unit}s on average, noise multiplier "
            f"{plan.noise_multiplier:g}, {self.n_parameters:,} weights"
        )
        yield (
            f"noise of a step: {self.noise_to_signal:.2g} times the largest sum of gradients it can hide"
            + ("; many steps must average it out" if self.noise_to_signal > 1 else "")
        )
        yield "loss of accuracy: not known beforehand; it depends on the rows, and none was looked at"
        if self.duration_s is not None:
            energy = (
                f", {_rough(self.energy.low)} to {_rough(self.energy.high)} J of the processor"
                if self.energy
                else ""
            )
            yield f"about {_rough(self.duration_s)} s{energy}, from steps on random rows"


def forecast(clipped: ClippedGradients, data: Dataset, mechanism: Mechanism) -> Forecast:
    """What training as ``mechanism`` says will come to.

    Args:
        clipped: Open; its module and the global generators are left as they were. Where memory ends, it works
            on fewer rows at once from then on.
        data: Only the shape and type of a row are used.
        mechanism: As it will be.
    """
    n_parameters = sum(parameter.numel() for parameter in clipped.parameters)
    device = clipped.parameters[0].device
    per_unit = clipped.rows_per_unit
    n_units = max(1, min(MOST_TRIAL_ROWS // per_unit, round(mechanism.normaliser)))
    with global_generators_seeded(_SEED):
        wall_s, cpu_s = _trial_step(clipped, _random_rows(data, n_units * per_unit), mechanism, device)
    repeated = mechanism.steps * max(1.0, mechanism.normaliser / n_units)
    return Forecast(
        mechanism=mechanism,
        n_parameters=n_parameters,
        noise_to_signal=mechanism.noise_multiplier * math.sqrt(n_parameters) / mechanism.normaliser,
        duration_s=repeated * wall_s,
        energy=cpu_energy(repeated * cpu_s) if device.type == "cpu" else None,
    )


def _trial_step(
    clipped: ClippedGradients, rows: Dataset, mechanism: Mechanism, device: torch.device
) -> tuple[float, float]:
    """Wall-clock and processor seconds of one step, the median of a few after a first."""
    everything = replace(mechanism, sample_rate=1.0)
    inputs, targets, draws = rows.inputs.to(device), targets_of(rows).to(device), EntropyDraws()
    walls, cpus = [], []
    for _ in range(1 + TRIALS):
        start, cpu_start = time.perf_counter(), time.process_time()
        gradients = within_memory(
            clipped, lambda: noisy_gradients(clipped, inputs, targets, everything, draws), lambda: None
        )
        float(gradients[0].sum())  # waits for an accelerator
        walls.append(time.perf_counter() - start)
        cpus.append(time.process_time() - cpu_start)
    return statistics.median(walls[1:]), statistics.median(cpus[1:])


def _random_rows(data: Dataset, n_rows: int) -> Dataset:
    """Random rows with the shape, type and classes of ``data``."""
    rng = torch_rng(_SEED, "forecast")
    shape = (n_rows, *data.inputs.shape[1:])
    if data.inputs.is_floating_point():
        inputs = torch.randn(shape, generator=rng).to(data.inputs.dtype)
    else:
        tokens = data.features.tokens
        n_levels = 2 if tokens is None else len(tokens.vocabulary)
        inputs = torch.randint(0, n_levels, shape, generator=rng).to(data.inputs.dtype)
    return Dataset(
        name="random rows",
        source="forecast",
        split=None,
        inputs=inputs,
        y_true=np.arange(n_rows, dtype=np.int64) % len(data.classes),
        classes=data.classes,
        features=data.features,
        task=data.task,
    )


def _rough(value: float) -> str:
    """Two significant digits, without an exponent."""
    return f"{float(f'{value:.2g}'):,g}"
