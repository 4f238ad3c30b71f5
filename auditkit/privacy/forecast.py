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
from auditkit.privacy.rehearsal import N_TRAININGS, Rehearsal, SpreadLoss, rehearse
from auditkit.privacy.shortened import MOST_ROWS, Recipe
from auditkit.randomness import global_generators_seeded, torch_rng

TRIALS = 3
MOST_TRIAL_ROWS = 1024

REHEARSAL_STEPS = 100
"""Losses come out within one or two points of those of all 1,000 steps, where these are small."""

REHEARSAL_SHARE, REHEARSAL_S = 0.1, 5.0
"""Of the training, or processor seconds: what a rehearsal may take, whichever is more."""

_SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Figures of a training that has not begun.

    Attributes:
        mechanism: As it will be.
        n_measuring: How many of its steps measure means and scales, and train nothing.
        n_parameters: How many numbers are trained.
        noise_to_signal: Length of the noise of one step over the largest sum it can hide, ``sigma * sqrt(p) /
            (n * q)``.
        duration_s: From a few steps on random rows; ``None`` where none could be taken.
        energy: Of the processor; ``None`` on an accelerator, whose share is not estimated.
        rehearsal: The training on made-up rows, which tells what accuracy it may lose.
        unknown_loss: Why nothing is known of that, where there is no rehearsal.
    """

    mechanism: Mechanism
    n_measuring: int
    n_parameters: int
    noise_to_signal: float
    duration_s: float | None
    energy: Quantity | None
    rehearsal: Rehearsal | None
    unknown_loss: str | None

    def sentences(self) -> Iterator[str]:
        """For the user."""
        plan = self.mechanism
        yield (
            f"plan: {plan.steps:,} steps of {plan.normaliser:,.0f} {plan.unit}s on average, noise multiplier "
            f"{plan.noise_multiplier:g}, {self.n_parameters:,} weights"
            + (f"; the first {self.n_measuring} measure what rows look like" if self.n_measuring else "")
        )
        yield (
            f"noise of a step: {self.noise_to_signal:.2g} times the largest sum of gradients it can hide"
            + ("; many steps must average it out" if self.noise_to_signal > 1 else "")
        )
        if self.rehearsal is None:
            yield f"loss of accuracy: not known beforehand; {self.unknown_loss}"
        else:
            yield from _of_loss(self.rehearsal, replace(plan, steps=plan.steps - self.n_measuring))
        if self.duration_s is not None:
            energy = (
                f", {_rough(self.energy.low)} to {_rough(self.energy.high)} J of the processor"
                if self.energy
                else ""
            )
            yield f"about {_rough(self.duration_s)} s{energy}, from steps on random rows"


def _of_loss(found: Rehearsal, plan: Mechanism) -> Iterator[str]:
    """The range, and what it was found on."""
    losses = [f"{_points(spread.loss)} {_where(spread, found)}" for spread in found.spreads]
    if found.spreads[-1].n_directions < found.n_inputs:
        losses.append("unknown where they vary in more, as little of that is learned even without noise")
    yield f"loss of accuracy: about {', '.join(losses)} (estimated)"
    ends = [share for spread in found.spreads for share in spread.without]
    alone = ", each person with one row" if plan.unit == "person" else ""
    changed = ", none of them changed" if plan.copies > 1 else ""
    yield (
        f"found on made-up rows as if there were {found.n_units:,}{alone}{changed}, with {found.n_inputs:,} "
        f"inputs and {found.n_classes} classes that are told apart at {100 * min(ends):.0f} to "
        f"{100 * max(ends):.0f} % without noise and clipping; {found.steps:,} steps of {found.rows:,} stand "
        f"for {plan.steps:,} of {plan.normaliser:,.0f}, with as much noise in all. None of your rows was "
        "looked at: they may lose more, or less, above all where a training without noise would overfit"
    )


def _points(loss: tuple[float, float]) -> str:
    """Whole percentage points, rounded outwards; what noise gained by chance is no gain."""
    low, high = max(0, math.floor(100 * loss[0])), max(1, math.ceil(100 * loss[1]))
    return f"{low} to {high} points"


def _where(spread: SpreadLoss, found: Rehearsal) -> str:
    if spread.n_directions < found.n_inputs:
        return f"where rows vary in {spread.n_directions} directions"
    subject = "they" if len(found.spreads) > 1 else "rows"
    return f"where {subject} vary in all {found.n_inputs:,}"


def forecast(
    clipped: ClippedGradients, data: Dataset, mechanism: Mechanism, how: Recipe, *, n_measuring: int = 0
) -> Forecast:
    """What training as ``mechanism`` says will come to.

    Args:
        clipped: Open; its module and the global generators are left as they were. Where memory ends, it works
            on fewer rows at once from then on.
        data: Only the shape and type of a row, and the classes, are used.
        mechanism: As it will be.
        how: The settings; ``learning_rate`` is known.
        n_measuring: How many of its steps measure, which takes next to no time.
    """
    training = replace(mechanism, steps=max(1, mechanism.steps - n_measuring))
    n_parameters = sum(parameter.numel() for parameter in clipped.parameters)
    n_units = max(1, min(MOST_TRIAL_ROWS // clipped.rows_per_unit, round(mechanism.normaliser)))
    wall_s, cpu_s = _trial_step(clipped, data, training, n_units)
    repeated = training.steps * max(1.0, mechanism.normaliser / n_units)
    unknown_loss = _nothing_stands_in(data) or _too_long(clipped, data, training, repeated * cpu_s)
    rehearsal = None
    if unknown_loss is None:
        rehearsal = rehearse(clipped, data, training, how, REHEARSAL_STEPS)
        if not rehearsal.spreads:
            unknown_loss = "even without noise the model learns little from made-up rows in so few steps"
    return Forecast(
        mechanism=mechanism,
        n_measuring=n_measuring,
        n_parameters=n_parameters,
        noise_to_signal=mechanism.noise_multiplier * math.sqrt(n_parameters) / mechanism.normaliser,
        duration_s=repeated * wall_s,
        energy=cpu_energy(repeated * cpu_s) if clipped.parameters[0].device.type == "cpu" else None,
        rehearsal=None if unknown_loss else rehearsal,
        unknown_loss=unknown_loss,
    )


def _nothing_stands_in(data: Dataset) -> str | None:
    """Why no rows can be made up."""
    if data.task != "classification":
        return "what a model of language loses depends on the texts, and none was looked at"
    if data.features.tokens is not None or not data.inputs.is_floating_point():
        return "it depends on the texts, for which nothing made up can stand in, and none was looked at"
    return None


def _too_long(
    clipped: ClippedGradients, data: Dataset, mechanism: Mechanism, training_s: float
) -> str | None:
    """Why the rows are not made up, though they could be; processor seconds."""
    n_units = max(1, min(MOST_ROWS // clipped.rows_per_unit, round(mechanism.normaliser)))
    _, step_s = _trial_step(clipped, data, mechanism, n_units)
    rehearsal_s = N_TRAININGS * min(REHEARSAL_STEPS, mechanism.steps) * step_s
    if rehearsal_s <= max(REHEARSAL_S, REHEARSAL_SHARE * training_s):
        return None
    return (
        f"it depends on the rows, and none was looked at; to try it out on made-up ones would take "
        f"{_rough(rehearsal_s)} s of the processor, and the training about {_rough(training_s)} s"
    )


def _trial_step(
    clipped: ClippedGradients, data: Dataset, mechanism: Mechanism, n_units: int
) -> tuple[float, float]:
    """Wall-clock and processor seconds of a step of ``n_units`` units, the median of a few after a first."""
    everything = replace(mechanism, sample_rate=1.0)
    rows, device = _random_rows(data, n_units * clipped.rows_per_unit), clipped.parameters[0].device
    inputs, targets, draws = rows.inputs.to(device), targets_of(rows).to(device), EntropyDraws()
    walls, cpus = [], []
    with global_generators_seeded(_SEED):
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
