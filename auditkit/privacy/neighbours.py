"""Record and replay: the mechanism on two sets of rows that differ in one, with the same random numbers.

With noise and sampling the same, all that differs between the two is what the row adds. If that is within the
clipping norm, and nothing else of the mechanism differs, the noise hides the row as promised. It is a test of
code on one pair of neighbours, not a proof; a row that is chosen to show a fault shows most of them.

Source: Cebere et al. (2026), arXiv:2602.17454 (the method, and the faults it found in twelve libraries).
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auditkit.data.dataset import IntArray
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.draws import Draws, Running, SeededDraws
from auditkit.randomness import global_generators_seeded, numpy_rng

SLACK = 1e-6
"""Above the clipping norm; the rest of the tolerance is the rounding of what is compared."""

Training = Callable[[Tensor, Tensor, Draws], Iterable[Sequence[Tensor]]]
"""From inputs and targets, draws to what every step releases: one tensor per parameter."""


@dataclass(slots=True)
class RecordedDraws:
    """Draws that keep what they were asked for. A row is sampled or not whatever other rows there are.

    Attributes:
        identities: A number for each row at hand, the same in both sets.
        seed: Of sampling and noise.
        asked: Every request, the numbers of rows left out.
    """

    identities: IntArray
    seed: int = 0
    certified: bool = False
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    sampled: list[IntArray] = field(default_factory=list)
    _noise: SeededDraws | None = None

    def poisson_rows(self, n_rows: int, sample_rate: float) -> IntArray:
        """Those of the rows at hand whose own number says so in this step."""
        self.asked.append(("rows", sample_rate, n_rows - len(self.identities)))
        step = len(self.sampled)
        chances = numpy_rng(self.seed, "neighbours", str(step)).random(int(self.identities.max()) + 2)
        rows: IntArray = np.flatnonzero(chances[self.identities] < sample_rate)
        self.sampled.append(self.identities[rows])
        return rows

    def normal(self, size: int) -> Any:
        """See :class:`Draws`."""
        self.asked.append(("normal", size))
        return self._streams().normal(size)

    def fill_with_noise(self, values: Any, deviation: float) -> None:
        """See :class:`Draws`."""
        self.asked.append(("noise", len(values), deviation))
        self._streams().fill_with_noise(values, deviation)

    def start_noise(self, values: Any, deviation: float) -> Running:
        """See :class:`Draws`."""
        self.asked.append(("noise", len(values), deviation))
        return self._streams().start_noise(values, deviation)

    def add_noise(self, values: Any, deviation: float, divisor: float) -> None:
        """See :class:`Draws`."""
        self.asked.append(("added noise", len(values), deviation, divisor))
        self._streams().add_noise(values, deviation, divisor)

    def position(self) -> dict[str, Any]:
        """See :class:`Draws`."""
        return self._streams().position()

    def move_to(self, position: dict[str, Any]) -> None:
        """See :class:`Draws`."""
        self._streams().move_to(position)

    def _streams(self) -> SeededDraws:
        if self._noise is None:
            self._noise = SeededDraws.from_seed(self.seed)
        return self._noise


@dataclass(frozen=True, slots=True, kw_only=True)
class NeighbourFinding:
    """How a mechanism differs between two neighbours.

    Attributes:
        moved: The farthest that a step moves, over what one row may move it; infinite where it is not finite.
        moved_without_row: The same over the steps in which the row was not sampled: both do the same then.
        n_steps: With the row and without.
        promised_steps: As many should be taken, whoever is there.
        steps_with_row: In how many the row was sampled; nothing is shown where that is 0.
        same_requests: Whether sampling rate, size and deviation of the noise were the same in every step.
        allowed: Largest ``moved``, the rounding of noise and sum included.
    """

    moved: float
    moved_without_row: float
    n_steps: tuple[int, int]
    promised_steps: int
    steps_with_row: int
    same_requests: bool
    allowed: float

    @property
    def differences(self) -> tuple[str, ...]:
        """What shows besides that for which the noise is made."""
        wrong = {
            "a step moves too far": self.moved > self.allowed,
            "a step without the row moves": self.moved_without_row > 0,
            "other numbers of steps": {*self.n_steps} != {self.promised_steps},
            "other noise or sampling": not self.same_requests,
            "the row was never sampled": self.steps_with_row == 0,
        }
        return tuple(what for what, is_wrong in wrong.items() if is_wrong)

    @property
    def holds(self) -> bool:
        """Whether nothing shows but what the noise is made for."""
        return not self.differences


def compare_neighbours(
    train: Training, inputs: Tensor, targets: Tensor, row: int, mechanism: Mechanism
) -> NeighbourFinding:
    """Run ``train`` with ``row`` and without it.

    Args:
        train: Takes every step at the same weights, so that the steps can be compared one by one.
        inputs: Of all rows.
        targets: Of all rows.
        row: The one that is taken out.
        mechanism: What was promised.
    """
    everyone = np.arange(len(inputs))
    kept = np.delete(everyone, row)
    (steps, draws), (others, other_draws) = (_run(train, inputs, targets, who) for who in (everyone, kept))
    promised = mechanism.max_grad_norm / mechanism.normaliser
    moves = [_distance(one, other) for one, other in zip(steps, others, strict=False)]
    without_row = [move for move, chosen in zip(moves, draws.sampled, strict=False) if row not in chosen]
    rounding = max((_rounding(step) for step in steps), default=0.0)
    return NeighbourFinding(
        moved=max(moves, default=0.0) / promised,
        moved_without_row=max(without_row, default=0.0) / promised,
        n_steps=(len(steps), len(others)),
        promised_steps=mechanism.steps,
        steps_with_row=sum(row in chosen for chosen in draws.sampled),
        same_requests=draws.asked == other_draws.asked,
        allowed=1 + SLACK + rounding / promised,
    )


def _run(
    train: Training, inputs: Tensor, targets: Tensor, who: IntArray
) -> tuple[list[Sequence[Tensor]], RecordedDraws]:
    draws = RecordedDraws(who)
    rows = torch.from_numpy(who).to(inputs.device)
    with global_generators_seeded(0):
        return list(train(inputs[rows], targets[rows], draws)), draws


def _distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    squared = sum(float((a.double() - b.double()).square().sum()) for a, b in zip(one, other, strict=True))
    return math.sqrt(squared) if math.isfinite(squared) else math.inf


def _rounding(step: Sequence[Tensor]) -> float:
    """What the last bits of the released numbers may hide."""
    squared = sum(float((part.double().abs() * torch.finfo(part.dtype).eps).square().sum()) for part in step)
    return 4 * math.sqrt(squared) if math.isfinite(squared) else 0.0
