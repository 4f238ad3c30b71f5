"""The steps of a private training: what changes with each of them, and nothing else.

Everything that the next step depends on can be taken out and put back, so that an interrupted training goes
on, and a replayed one gives the same bits. How many rows are worked on at once belongs to that: it decides
the rounding of a sum.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol, TypeVar

import torch

from auditkit.data.dataset import IntArray
from auditkit.errors import DivergedError, UsageError
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients, ClippedSums
from auditkit.privacy.draws import Draws
from auditkit.privacy.first_steps import FirstSteps, NothingMeasured
from auditkit.privacy.memory import within_memory
from auditkit.privacy.noisy_step import noisy_sum
from auditkit.privacy.step_place import StepPlace
from auditkit.privacy.units import Batch, PrivateUnits

T = TypeVar("T")

ROWS_AT_ONCE = "rows_at_once"
"""Key of a position."""


class Optimiser(Protocol):
    """The part of the settings that says how a noisy gradient moves the weights."""

    @property
    def optimizer(self) -> Literal["sgd", "adam"]: ...  # noqa: D102 - see DpSettings
    @property
    def learning_rate(self) -> float | None: ...  # noqa: D102
    @property
    def momentum(self) -> float: ...  # noqa: D102
    @property
    def averaging(self) -> float: ...  # noqa: D102


class PrivateSteps:
    """Weights, their running average and the optimiser while they are trained.

    Args:
        clipped: Open; its parameters are trained.
        units: The private rows and what is sampled of them.
        mechanism: Its public inputs.
        how: How a gradient moves the weights.
        draws: Sampling and noise.
        measured: What the first steps measure, and how rows look by it; ``None`` measures nothing.
    """

    def __init__(
        self,
        clipped: ClippedGradients,
        units: PrivateUnits,
        mechanism: Mechanism,
        how: Optimiser,
        draws: Draws,
        *,
        measured: FirstSteps | None = None,
    ) -> None:
        self._clipped = clipped
        self._measured = measured or NothingMeasured()
        self._units = units
        self._mechanism = mechanism
        self._draws = draws
        self._decay = how.averaging
        self._device = clipped.parameters[0].device
        self._optimizer = _optimizer(clipped.parameters, how)
        self._place = StepPlace.of(
            clipped.module,
            clipped.parameters,
            self._measured.seen(units.inputs[:1]),
            round(mechanism.normaliser * units.rows_per_unit),
        )
        self._average = [parameter.detach().clone() for parameter in clipped.parameters]
        self._before_smaller: Callable[[int], None] = _nothing

    def take(self, step: int) -> None:
        """One private step."""
        if step < self._measured.n_steps:
            (noisy,) = self.gradients(step)
            self._measured.learn(step, noisy)
            return
        for parameter, gradient in zip(self._clipped.parameters, self.gradients(step), strict=True):
            parameter.grad = gradient
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        _move_average(self._average, self._clipped.parameters, min(self._decay, (1 + step) / (10 + step)))

    def gradients(self, step: int) -> list[torch.Tensor]:
        """The noisy sum of one Poisson draw over the divisor, a tensor per parameter."""
        engine = self._engine(step)
        place = self._place if engine is self._clipped else None

        def sum_of_draw() -> list[torch.Tensor]:
            chosen = self._draws.poisson_rows(len(self._units), self._mechanism.sample_rate)
            batch = self._batch(chosen, step)
            return noisy_sum(engine, batch, self._mechanism, self._draws, place)

        return self._within_memory(step, sum_of_draw)

    def _within_memory(self, step: int, work: Callable[[], T]) -> T:
        """``work``, again on fewer rows at once where memory ends, with the same draws each time."""
        draws, generators = self._draws.position(), self._generators()

        def go_back() -> None:
            self._draws.move_to(draws)
            self._set_generators(generators)
            self._before_smaller(step)

        return within_memory(self._clipped, work, go_back)

    def _engine(self, step: int) -> ClippedSums:
        """What is summed in a step: first what is to be measured of rows, then gradients."""
        return self._measured.engine(step) if step < self._measured.n_steps else self._clipped

    def _batch(self, chosen: IntArray, step: int) -> Batch:
        """Some units in a step: as they are where they are measured, then as the module sees them."""
        inputs, targets, weights = self._units.batch(chosen, step)
        if step >= self._measured.n_steps:
            inputs = self._measured.seen(inputs)
        return inputs, targets, weights

    def finish(self) -> None:
        """Put the average in place of the weights.

        Raises:
            DivergedError: The weights became infinite.
        """
        if not all(bool(torch.isfinite(tensor).all()) for tensor in self._average):
            raise DivergedError(
                "The private training diverged: weights became infinite. Lower learning_rate."
            )
        with torch.no_grad():
            for parameter, tensor in zip(self._clipped.parameters, self._average, strict=True):
                parameter.copy_(tensor)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Copies of all that the next step depends on, but for sampling and noise."""
        found = self._generators() | self._measured.tensors()
        for index, parameter in enumerate(self._clipped.parameters):
            found[f"weight {index}"] = parameter.detach().cpu().clone()
            found[f"average {index}"] = self._average[index].cpu().clone()
            for key, value in self._optimizer.state[parameter].items():
                found[f"optimizer {index} {key}"] = torch.as_tensor(value).detach().cpu().clone()
        return found

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Put back what :meth:`tensors` gave."""
        self._set_generators(tensors)
        self._measured.restore(tensors)
        state: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(" ")
            if kind == "optimizer":
                number, _, key = rest.partition(" ")
                state.setdefault(int(number), {})[key] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": state, "param_groups": groups})
        with torch.no_grad():
            for index, parameter in enumerate(self._clipped.parameters):
                parameter.copy_(tensors[f"weight {index}"])
                self._average[index].copy_(tensors[f"average {index}"])

    def before_smaller(self, do: Callable[[int], None]) -> None:
        """Have ``do`` called with a step whose memory does not suffice, before it is taken on fewer rows.

        All is then as it was before that step, but for the rows at once. What it raises ends the training.
        """
        self._before_smaller = do

    def position(self) -> dict[str, Any] | None:
        """Where sampling and noise stand, and how many rows are worked on at once; a secret.

        ``None`` where nothing could repeat them.
        """
        return {**self._draws.position(), ROWS_AT_ONCE: self._clipped.rows_at_once}

    def move_to(self, position: dict[str, Any]) -> None:
        """Let sampling and noise go on from there, on as many rows at once."""
        self._draws.move_to(position)
        self._clipped.rows_at_once = int(position.get(ROWS_AT_ONCE, self._clipped.rows_at_once))

    def _generators(self) -> dict[str, torch.Tensor]:
        """Of dropout and augmentation."""
        found = {"generator": torch.random.get_rng_state()}
        if self._device.type == "cuda":
            found["cuda generator"] = torch.cuda.get_rng_state(self._device)
        return found

    def _set_generators(self, tensors: dict[str, torch.Tensor]) -> None:
        torch.random.set_rng_state(tensors["generator"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(tensors["cuda generator"], self._device)


def _nothing(_step: int) -> None:
    """What is to be done before a step is taken on fewer rows where nothing is written down."""


def _move_average(average: Sequence[torch.Tensor], parameters: Sequence[torch.Tensor], decay: float) -> None:
    """Running average of the noisy weights; costs no privacy."""
    with torch.no_grad():
        for kept, parameter in zip(average, parameters, strict=True):
            kept.lerp_(parameter, 1 - decay)


def _optimizer(parameters: Sequence[torch.nn.Parameter], how: Optimiser) -> torch.optim.Optimizer:
    if how.learning_rate is None:
        raise UsageError("private training: learning_rate must be known before the first step")
    if how.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=how.learning_rate)
    return torch.optim.SGD(parameters, lr=how.learning_rate, momentum=how.momentum)
