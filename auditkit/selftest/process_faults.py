"""Processes that train together, of which one leaves out what the others do; played by threads."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.distributed import Processes, ProcessesDisagreeError, ProcessLostError
from auditkit.privacy.dp_settings import DpSettings
from auditkit.privacy.draws import SeededDraws
from auditkit.privacy.shared_steps import SharedSteps
from auditkit.privacy.units import PrivateUnits
from auditkit.records import Message
from auditkit.selftest.breaks import Break
from auditkit.selftest.mechanism import linear_module
from auditkit.selftest.subjects import rows_of

COUNT, N_ROWS, PATIENCE_S = 2, 8, 20
SELDOM = Mechanism(noise_multiplier=1.0, sample_rate=0.1, steps=12, max_grad_norm=0.5, normaliser=0.8)
"""In most steps one process or both are without rows."""

HOW = DpSettings(epsilon=1.0)


def process_faults() -> tuple[Break, ...]:
    """The one of them."""
    return (
        Break(
            fault=Message(text="a process without rows in a step leaves the step out"),
            figure="processes_out_of_step",
            faulty=partial(_out_of_step, LeavesOutEmpty),
            sound=partial(_out_of_step, SharedSteps),
        ),
    )


class LeavesOutEmpty(SharedSteps):
    """Goes on to the next step, as loaders do that hand out no empty batch."""

    def gradients(self, step: int) -> list[Tensor]:
        """See :class:`SharedSteps`."""
        position = self._draws.position()
        chosen = self._draws.poisson_rows(len(self._units), self._mechanism.sample_rate)
        if not len(chosen[self.processes.rank :: self.processes.count]):
            return [torch.zeros_like(parameter) for parameter in self._clipped.parameters]
        self._draws.move_to(position)
        return super().gradients(step)


def _out_of_step(kind: type[SharedSteps]) -> tuple[int, int]:
    """How many processes stopped because another was at another step, of how many."""
    meeting = Meeting()
    with ThreadPoolExecutor(COUNT) as threads:
        stopped = [
            threads.submit(_has_stopped, kind, InThreads(rank, COUNT, meeting)) for rank in range(COUNT)
        ]
        return sum(one.result() for one in stopped), COUNT


def _has_stopped(kind: type[SharedSteps], processes: Processes) -> bool:
    inputs = np.ones((N_ROWS, 3))
    units = PrivateUnits.of(rows_of(inputs, np.arange(N_ROWS) % 2 == 0), torch.device("cpu"))
    clipped = ClippedGradients(linear_module(), SELDOM.max_grad_norm)
    try:
        steps = kind(
            clipped, units, SELDOM, HOW, SeededDraws.from_seed(0), processes=processes, about={"rows": "same"}
        )
        for step in range(SELDOM.steps):
            steps.gradients(step)
        processes.wait()
    except (ProcessesDisagreeError, ProcessLostError):
        return True
    return False


@dataclass(slots=True)
class Meeting:
    """Where threads wait for one another and see what each brought."""

    barrier: threading.Barrier = field(default_factory=lambda: threading.Barrier(COUNT, timeout=PATIENCE_S))
    brought: list[Any] = field(default_factory=lambda: [None] * COUNT)

    def everyones(self, rank: int, mine: object) -> list[Any]:
        """What all brought, by rank.

        Raises:
            ProcessLostError: Another does not come.
        """
        try:
            self.brought[rank] = mine
            self.barrier.wait()
            found = list(self.brought)
            self.barrier.wait()
        except threading.BrokenBarrierError as error:
            raise ProcessLostError(f"thread {rank} waited for another in vain") from error
        return found


@dataclass(frozen=True, slots=True)
class InThreads(Processes):
    """Processes that are threads of this one."""

    meeting: Meeting

    def from_first(self, content: bytes = b"") -> bytes:
        """See :class:`Processes`."""
        return bytes(self.meeting.everyones(self.rank, content)[0])

    def from_all(self, content: bytes) -> list[bytes]:
        """See :class:`Processes`."""
        return self.meeting.everyones(self.rank, content)

    def numbers_from_all(self, numbers: Sequence[int]) -> list[list[int]]:
        """See :class:`Processes`."""
        return self.meeting.everyones(self.rank, list(numbers))

    def add_up(self, values: Tensor) -> None:
        """See :class:`Processes`."""
        values.copy_(sum(self.meeting.everyones(self.rank, values.clone())))
