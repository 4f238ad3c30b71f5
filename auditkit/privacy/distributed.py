"""Processes that train one model together: what they tell one another, and that they agree.

They are started by ``torchrun``, which gives each a rank and the address of the first. What they tell one
another goes over the network as it is: the sampling key of the first process, and sums of clipped gradients
with a share of the noise. The network between them is trusted as the processes are, which all hold the rows.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from auditkit.errors import AuditkitError, UsageError

T = TypeVar("T")

PATIENCE = timedelta(days=1)
"""For processes that are alive: the first may train a baseline while the others wait. One that ends closes
its connections, which the others notice at once."""

_SHOWN = 12


class ProcessesDisagreeError(AuditkitError):
    """Processes that should do the same do not; every one of them stops."""


class ProcessLostError(AuditkitError):
    """Another process ended while this one waited for it."""


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: Of this process, 0 for the first.
        count: How many there are.
    """

    rank: int
    count: int

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes."""
        return self.rank == 0

    def from_first(self, content: bytes = b"") -> bytes:
        """What the first process gave, in every process; what others give is not looked at."""
        size = self.numbers_from_first([len(content)])[0]
        values = torch.empty(size, dtype=torch.uint8)
        if self.is_first:
            values = torch.frombuffer(bytearray(content), dtype=torch.uint8) if content else values
        if size:
            self._together(lambda: dist.broadcast(values, src=0))
        return values.numpy().tobytes()

    def numbers_from_first(self, numbers: Sequence[int]) -> list[int]:
        """As many whole numbers as the first process gave; every process gives a sequence of that length."""
        values = torch.tensor(numbers, dtype=torch.int64)
        self._together(lambda: dist.broadcast(values, src=0))
        return [int(value) for value in values.tolist()]

    def numbers_from_all(self, numbers: Sequence[int]) -> list[list[int]]:
        """The whole numbers that each process gave, by rank; every process gives equally many."""
        mine = torch.tensor(numbers, dtype=torch.int64)
        everyone = [torch.empty_like(mine) for _ in range(self.count)]
        self._together(lambda: dist.all_gather(everyone, mine))
        return [[int(value) for value in values.tolist()] for values in everyone]

    def from_all(self, content: bytes) -> list[bytes]:
        """What each process gave, by rank."""
        sizes = [size for (size,) in self.numbers_from_all([len(content)])]
        mine = torch.zeros(max(sizes), dtype=torch.uint8)
        mine[: len(content)] = torch.tensor(list(content), dtype=torch.uint8)
        everyone = [torch.empty_like(mine) for _ in range(self.count)]
        self._together(lambda: dist.all_gather(everyone, mine))
        return [part.numpy().tobytes()[:size] for part, size in zip(everyone, sizes, strict=True)]

    def wait(self) -> None:
        """Until every process is here."""
        self.numbers_from_all([0])

    def add_up(self, values: torch.Tensor) -> None:
        """Put the sum over all processes into ``values``, the same bits everywhere."""
        self._together(lambda: dist.all_reduce(values))

    def first_then_others(self, work: Callable[[], T]) -> T:
        """``work`` in the first process, which may write what it makes, then in all others, which find it."""
        if self.is_first:
            made = work()
            self.wait()
            return made
        self.wait()
        return work()

    def refuse_disagreement(self, about: Mapping[str, str]) -> None:
        """Stop every process where one of them has something else.

        Args:
            about: What must be the same, by name; every process has the same names.

        Raises:
            ProcessesDisagreeError: In all of them, with the rank and what it has.
        """
        digests = [hashlib.sha256(text.encode()).digest() for text in about.values()]
        everyone = self.from_all(b"".join(digests))
        differing = [
            f"rank {rank} has {name} {there[place : place + 32].hex()[:_SHOWN]}, "
            f"rank 0 {everyone[0][place : place + 32].hex()[:_SHOWN]}"
            for rank, there in enumerate(everyone)
            for place, name in zip(range(0, 32 * len(digests), 32), about, strict=True)
            if there[place : place + 32] != everyone[0][place : place + 32]
        ]
        if differing:
            raise ProcessesDisagreeError(
                f"private training in {self.count} processes: {'; '.join(differing)}. Start all of them from "
                "the same config, files and versions"
            )

    def _together(self, work: Callable[[], object]) -> None:
        try:
            work()
        except (RuntimeError, ValueError) as error:
            raise ProcessLostError(
                f"rank {self.rank} lost another of the {self.count} processes; what that one reported says "
                f"why ({str(error).splitlines()[0][:120]})"
            ) from error


@contextmanager
def processes_of_environment(
    device: str = "cpu", environment: Mapping[str, str] = os.environ
) -> Iterator[Processes | None]:
    """Join the processes that ``torchrun`` started; ``None`` where this one is alone.

    Tensors on the CPU go over gloo, those on a GPU over NCCL where each process has a GPU of its own.

    Args:
        device: Where this process will train; with CUDA the GPU of its local rank becomes the current one.
        environment: Has ``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR`` and ``MASTER_PORT``.

    Raises:
        UsageError: This torch has no gloo.
    """
    count = int(environment.get("WORLD_SIZE", "1"))
    if count == 1 or "RANK" not in environment:
        yield None
        return
    if not (dist.is_available() and dist.is_gloo_available()):
        raise UsageError("This torch has no gloo, over which processes talk; train in one process")
    backend = "gloo"
    if device.startswith("cuda"):
        n_devices, local = torch.cuda.device_count(), int(environment.get("LOCAL_RANK", "0"))
        torch.cuda.set_device(local % n_devices)
        if n_devices >= int(environment.get("LOCAL_WORLD_SIZE", count)) and dist.is_nccl_available():
            backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=PATIENCE, rank=int(environment["RANK"]), world_size=count)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
