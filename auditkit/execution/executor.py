"""Where tasks run. An executor knows nothing of audits: it maps a function over tasks, in any order."""

import pickle
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Protocol, TypeVar

import torch

from auditkit.errors import UsageError

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """Stands for the result of a task whose worker died, or whose result could not be brought back."""

    reason: str


class Executor(Protocol):
    """Maps ``function(shared, task)`` over tasks. ``shared`` travels to a worker once."""

    def run(
        self, function: Callable[[Shared, Task], Result], shared: Shared, tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result | WorkerLost]]:
        """Yield ``(index of the task, result)`` as tasks finish."""
        ...


@dataclass(frozen=True, slots=True)
class SerialExecutor:
    """One after the other, in this process."""

    def run(
        self, function: Callable[[Shared, Task], Result], shared: Shared, tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result | WorkerLost]]:
        """Yield in the order of the tasks."""
        for index, task in enumerate(tasks):
            yield index, function(shared, task)


@dataclass(frozen=True, slots=True)
class ProcessExecutor:
    """In fresh processes on this machine, which share nothing and are given ``shared`` by value."""

    workers: int

    def run(
        self, function: Callable[[Shared, Task], Result], shared: Shared, tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result | WorkerLost]]:
        """Yield as tasks finish. A task whose worker dies yields :class:`WorkerLost`; the others go on.

        Raises:
            UsageError: ``function`` or ``shared`` cannot be sent to another process.
        """
        payload = self._packed(function, shared)
        waiting = list(range(len(tasks)))
        while waiting:
            lost = yield from _in_pool(payload, tasks, waiting, self.workers)
            # One death takes the whole pool with it. Whoever caused it was among the first in line: these run
            # again one after the other, so that the next death has one cause. The rest start again together.
            suspects, rest = lost[: 2 * self.workers + 1], lost[2 * self.workers + 1 :]
            again = yield from _in_pool(payload, tasks, suspects, 1)
            if again:
                yield again[0], WorkerLost("the worker process died (out of memory?)")
            waiting = again[1:] + rest

    def _packed(self, function: Callable[[Shared, Task], Result], shared: Shared) -> bytes:
        threads = max(1, torch.get_num_threads() // self.workers)
        try:
            return pickle.dumps((function, shared, threads))
        except Exception as error:
            raise UsageError(
                f"execution.executor: the subject, the data or an audit cannot be sent to another process "
                f"({type(error).__name__}: {error}). Use executor: serial"
            ) from error


def _in_pool(
    payload: bytes, tasks: Sequence[Any], chosen: Sequence[int], workers: int
) -> Generator[tuple[int, Any], None, list[int]]:
    """Yield the results of the chosen tasks as they finish; return those lost to the death of a worker."""
    lost: list[int] = []
    if not chosen:
        return lost
    pool = ProcessPoolExecutor(
        max_workers=min(workers, len(chosen)),
        mp_context=get_context("spawn"),
        initializer=_Worker.receive,
        initargs=(payload,),
    )
    try:
        futures = {_submit(pool, tasks[index]): index for index in chosen}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool:
                lost.append(futures[future])
            except Exception as error:
                reason = f"the worker process gave no result: {type(error).__name__}: {error}"
                yield futures[future], WorkerLost(reason)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return sorted(lost)


def _submit(pool: ProcessPoolExecutor, task: Any) -> "Future[Any]":
    """A future of ``task``, already broken when the pool is."""
    try:
        return pool.submit(_Worker.perform, task)
    except BrokenProcessPool as error:
        future: Future[Any] = Future()
        future.set_exception(error)
        return future


class _Worker:
    """What a worker process was given at its start."""

    payload: bytes
    opened: tuple[Callable[[Any, Any], Any], Any] | None = None

    @classmethod
    def receive(cls, payload: bytes) -> None:
        """Keep what the parent process sent; opened by the first task, whose error can be told."""
        cls.payload = payload

    @classmethod
    def perform(cls, task: Any) -> Any:
        """Run one task."""
        if cls.opened is None:
            function, shared, threads = pickle.loads(cls.payload)  # noqa: S301 - from our parent process
            torch.set_num_threads(threads)
            cls.opened = function, shared
            cls.payload = b""
        function, shared = cls.opened
        return function(shared, task)


def make_executor(name: str, workers: int) -> Executor:
    """The executor of that name: ``serial`` or ``process``."""
    return ProcessExecutor(workers) if name == "process" and workers > 1 else SerialExecutor()
