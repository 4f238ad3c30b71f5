"""The first of several processes leads: what it does with its steps, the others do at the same time.

It alone knows of the ledger, of what was saved and of the user. Each of its acts is an order that the others
wait for; where it ends, or fails between two steps, they end with it.
"""

import enum
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from auditkit.errors import AuditkitError, PrivacyRefusedError
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedGradients
from auditkit.privacy.distributed import Processes, ProcessesDisagreeError, ProcessLostError
from auditkit.privacy.draws import Draws
from auditkit.privacy.first_steps import FirstSteps
from auditkit.privacy.partial import Identity
from auditkit.privacy.private_steps import Optimiser, PrivateSteps
from auditkit.privacy.shared_steps import SharedSteps
from auditkit.privacy.units import PrivateUnits
from auditkit.records import Certificate

_VERSIONS = ("auditkit", "torch", "numpy")


class _Order(enum.IntEnum):
    """What the first process tells the others to do."""

    TAKE = 1
    RESTORE = 2
    POSITION = 3
    MOVE = 4
    FINISH = 5
    END = 6
    STOP = 7


class LeadingSteps(SharedSteps):
    """The steps of the first process: whatever it does, it has the others do at the same time."""

    _is_busy = False

    def take(self, step: int) -> None:
        """One private step of all processes."""
        seed = int(torch.randint(2**62, ()))  # from the generator that is saved, so that a replay repeats it
        with self._ordered(_Order.TAKE, step, seed):
            self.take_with(step, seed)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what :meth:`tensors` gave, everywhere."""
        with self._ordered(_Order.RESTORE):
            self.processes.from_first(safetensors.torch.save(tensors))
            super().restore(tensors)

    def position(self) -> dict[str, Any] | None:
        """Where sampling and noise of all processes stand; a secret."""
        with self._ordered(_Order.POSITION):
            return {"processes": _positions(self.processes, super().position())}

    def move_to(self, position: dict[str, Any]) -> None:
        """Let sampling and noise go on from there, everywhere."""
        if len(position.get("processes", ())) != self.processes.count:
            raise PrivacyRefusedError(
                f"The training to replay was not of {self.processes.count} processes. Start as many as it had"
            )
        with self._ordered(_Order.MOVE):
            self.processes.from_first(json.dumps(position).encode())
            super().move_to(position["processes"][0])

    def finish(self) -> None:
        """Put the average in place of the weights, everywhere."""
        with self._ordered(_Order.FINISH):
            super().finish()

    @contextmanager
    def leading(self) -> Iterator["Ending"]:
        """Keep the others at work inside the block; they stop where it ends, or where it fails.

        Yields:
            Where to leave what they shall have of it.
        """
        ending = Ending()
        try:
            yield ending
        except (ProcessesDisagreeError, ProcessLostError):
            raise  # every process knows
        except BaseException as error:
            # In the midst of a step the others wait for something else; they notice that this one ends.
            if not self._is_busy:
                with suppress(ProcessLostError):
                    self._order(_Order.STOP)
                    self.processes.from_first(str(error).encode())
            raise
        self._order(_Order.END)
        self.processes.from_first(ending.content)

    @contextmanager
    def _ordered(self, order: _Order, step: int = 0, seed: int = 0) -> Iterator[None]:
        self._is_busy = True
        self._order(order, step, seed)
        yield
        self._is_busy = False

    def _order(self, order: _Order, step: int = 0, seed: int = 0) -> None:
        self.processes.numbers_from_first([int(order), step, seed])


@dataclass(slots=True)
class Ending:
    """What the first process leaves to the others when all is done."""

    content: bytes = field(default=b"")


def steps_of(
    clipped: ClippedGradients,
    units: PrivateUnits,
    mechanism: Mechanism,
    how: Optimiser,
    draws: Draws,
    *,
    measured: FirstSteps | None = None,
    processes: Processes | None,
    identity: Identity,
) -> PrivateSteps:
    """The steps of this process, alone or among others; see :class:`SharedSteps`.

    Raises:
        ProcessesDisagreeError: The processes do not mean the same training.
    """
    if processes is None:
        return PrivateSteps(clipped, units, mechanism, how, draws, measured=measured)
    kind = LeadingSteps if processes.is_first else SharedSteps
    about = {**identity.content, **{name: identity.machine[name] for name in _VERSIONS}}
    return kind(clipped, units, mechanism, how, draws, measured=measured, processes=processes, about=about)


def certified_together(steps: PrivateSteps, train: Callable[[], Certificate]) -> Certificate:
    """``train`` in this process, which leads the others where there are any; in those, what it says.

    Args:
        steps: From :func:`steps_of`.
        train: Takes them all.
    """
    if isinstance(steps, LeadingSteps):
        with steps.leading() as ending:
            certificate = train()
            ending.content = certificate.model_dump_json().encode()
        return certificate
    if isinstance(steps, SharedSteps):
        return Certificate.model_validate_json(follow(steps))
    return train()


def follow(steps: SharedSteps) -> bytes:
    """Do what the first process says until it ends.

    Returns:
        What it left.

    Raises:
        AuditkitError: It stopped; its words are repeated.
    """
    processes = steps.processes
    while True:
        number, step, seed = processes.numbers_from_first([0, 0, 0])
        order = _Order(number)
        if order is _Order.TAKE:
            steps.take_with(step, seed)
        elif order is _Order.POSITION:
            _positions(processes, steps.position())
        elif order is _Order.FINISH:
            steps.finish()
        else:
            content = processes.from_first()
            if order is _Order.END:
                return content
            if order is _Order.STOP:
                raise AuditkitError(f"rank {processes.rank} stopped with rank 0: {content.decode()}")
            _APPLY[order](steps, content)


def _restore(steps: SharedSteps, content: bytes) -> None:
    steps.restore(safetensors.torch.load(content))


def _move(steps: SharedSteps, content: bytes) -> None:
    steps.move_to(json.loads(content)["processes"][steps.processes.rank])


_APPLY: Mapping[_Order, Callable[[SharedSteps, bytes], None]] = {
    _Order.RESTORE: _restore,
    _Order.MOVE: _move,
}


def _positions(processes: Processes, own: dict[str, Any] | None) -> list[dict[str, Any]]:
    return [json.loads(part) for part in processes.from_all(json.dumps(own).encode())]
