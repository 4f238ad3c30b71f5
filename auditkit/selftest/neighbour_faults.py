"""Private trainings with one thing wrong, told by the same training with one row less."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from auditkit.models.losses import per_row_loss
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.draws import Draws
from auditkit.privacy.neighbours import Training
from auditkit.randomness import numpy_rng
from auditkit.records import Message
from auditkit.selftest.breaks import Break
from auditkit.selftest.mechanism import PROMISED, Ours, compared, linear_module

SELDOM = Mechanism(noise_multiplier=1.0, sample_rate=0.05, steps=40, max_grad_norm=0.5, normaliser=0.6)
"""Most steps are empty, or have the row alone."""

COUNTING = replace(PROMISED, max_grad_norm=0.5)
"""A row moves the count by a half at most: it counts as plus or minus a half."""

Released = Iterator[Sequence[Tensor]]


def neighbour_faults() -> tuple[Break, ...]:
    """All of them."""
    return (
        _break(Message(text="a batch that was broken off is merged into the next step"), StaleFlags()),
        _break(
            Message(text="a row that is not finite makes the whole step so"), UnguardedRows(), value=torch.inf
        ),
        _break(
            Message(text="batches of one size, with epsilon as for rows drawn independently"), FixedBatches()
        ),
        _break(Message(text="a sampling rate that follows the number of rows"), FollowsRows(rate=True)),
        _break(Message(text="a number of steps that follows the number of rows"), FollowsRows(steps=True)),
        _break(Message(text="a divisor that follows the number of rows"), FollowsRows(normaliser=True)),
        _break(
            Message(text="clipped rows counted as 0 and 1, with noise as for plus and minus a half"),
            Counted(centre=0.0),
            sound=Counted(centre=0.5),
            mechanism=COUNTING,
        ),
        _break(Message(text="a sum of no rows divided by their number"), ByActualSize(), mechanism=SELDOM),
    )


def _break(
    fault: Message,
    faulty: Training,
    *,
    sound: Training | None = None,
    value: float = 100.0,
    mechanism: Mechanism = PROMISED,
) -> Break:
    check = partial(differences, mechanism=mechanism, value=value)
    return Break(
        fault=fault,
        figure="neighbour_differences",
        faulty=partial(check, faulty),
        sound=partial(check, sound or Ours(mechanism)),
    )


def differences(train: Training, *, mechanism: Mechanism, value: float) -> tuple[int, int]:
    """In how many ways the training shows a row, and how many steps it took."""
    found = compared(train, mechanism=mechanism, value=value)
    return len(found.differences), found.n_steps[0]


class StaleFlags:
    """Every batch comes in two pieces; flags in a queue say after which piece a step is due.

    Whoever fetched pieces ahead left two flags of a batch that was never worked on.
    """

    def __call__(self, inputs: Tensor, targets: Tensor, draws: Draws) -> Released:
        """See :data:`Training`."""
        due, held = deque([False, False]), _Sum()
        for _ in range(PROMISED.steps):
            rows = torch.from_numpy(draws.poisson_rows(len(inputs), PROMISED.sample_rate))
            due.extend([False, True])
            for piece in rows.tensor_split(2):
                held.add(inputs[piece], targets[piece])
                if due.popleft():
                    yield [held.noisy(draws) / PROMISED.normaliser]
                    held = _Sum()


class UnguardedRows:
    """Scales a gradient by what its norm asks for, and infinity times zero is no number."""

    def __call__(self, inputs: Tensor, targets: Tensor, draws: Draws) -> Released:
        """See :data:`Training`."""
        module = linear_module()
        parameters = list(module.parameters())
        for _ in range(PROMISED.steps):
            rows = draws.poisson_rows(len(inputs), PROMISED.sample_rate)
            total = torch.zeros(sum(parameter.numel() for parameter in parameters))
            for row in rows.tolist():
                loss = per_row_loss(module(inputs[row : row + 1]), targets[row : row + 1]).sum()
                flat = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])
                total += flat * (PROMISED.max_grad_norm / flat.norm()).clamp(max=1.0)
            yield [_with_noise(total, draws) / PROMISED.normaliser]


class FixedBatches:
    """As many rows in every step as are expected in it, from all rows in random order."""

    def __call__(self, inputs: Tensor, targets: Tensor, draws: Draws) -> Released:
        """See :data:`Training`."""
        for step in range(PROMISED.steps):
            order = numpy_rng(0, "selftest", "order", str(step)).permutation(len(inputs))
            rows = torch.from_numpy(order[: round(PROMISED.normaliser)])
            yield [_Sum().add(inputs[rows], targets[rows]).noisy(draws) / PROMISED.normaliser]


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowsRows:
    """What is public is computed from the rows at hand."""

    rate: bool = False
    steps: bool = False
    normaliser: bool = False

    def __call__(self, inputs: Tensor, targets: Tensor, draws: Draws) -> Released:
        """See :data:`Training`."""
        n_rows = len(inputs)
        rate = PROMISED.normaliser / n_rows if self.rate else PROMISED.sample_rate
        normaliser = PROMISED.sample_rate * n_rows if self.normaliser else PROMISED.normaliser
        for _ in range(n_rows // 2 if self.steps else PROMISED.steps):
            rows = torch.from_numpy(draws.poisson_rows(n_rows, rate))
            yield [_Sum().add(inputs[rows], targets[rows]).noisy(draws) / normaliser]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How many rows of a step were clipped, as clipping to a quantile asks; ``centre`` is taken off each."""

    centre: float

    def __call__(self, inputs: Tensor, targets: Tensor, draws: Draws) -> Released:
        """See :data:`Training`."""
        clipped = ClippedGradients(linear_module(), PROMISED.max_grad_norm)
        for _ in range(COUNTING.steps):
            rows = torch.from_numpy(draws.poisson_rows(len(inputs), COUNTING.sample_rate))
            norms = clipped.norms(inputs[rows], targets[rows])
            count = ((norms > PROMISED.max_grad_norm).float() - self.centre).sum()
            yield [_with_noise(count[None], draws) / COUNTING.normaliser]


class ByActualSize:
    """Divided by the number of rows in the step; 0 over 0 where there are none."""

    def __call__(self, inputs: Tensor, targets: Tensor, draws: Draws) -> Released:
        """See :data:`Training`."""
        for _ in range(SELDOM.steps):
            rows = torch.from_numpy(draws.poisson_rows(len(inputs), SELDOM.sample_rate))
            yield [_Sum().add(inputs[rows], targets[rows]).noisy(draws) / len(rows)]


class _Sum:
    """A clipped sum that is still open."""

    def __init__(self) -> None:
        self._clipped = ClippedGradients(linear_module(), PROMISED.max_grad_norm)
        self._parts = [torch.zeros_like(parameter) for parameter in self._clipped.parameters]

    def add(self, inputs: Tensor, targets: Tensor) -> "_Sum":
        self._clipped.add_clipped_sum(self._parts, inputs, targets)
        return self

    def noisy(self, draws: Draws) -> Tensor:
        return _with_noise(torch.cat([part.flatten() for part in self._parts]), draws)


def _with_noise(total: Tensor, draws: Draws) -> Tensor:
    noise = torch.from_numpy(draws.normal(len(total)))
    return total + noise * PROMISED.noise_multiplier * PROMISED.max_grad_norm
