"""Where tasks run. An executor knows nothing of audits: it maps a function over tasks, in any order."""

import pickle
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Protocol, TypeVar

import torch

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class WorkerLost:
    """Stands for the result of a task whose worker died."""

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
        """Yield as tasks finish. Tasks of a worker that died yield :class:`WorkerLost`."""
        threads = max(1, torch.get_num_threads() // self.workers)
        payload = pickle.dumps((function, shared, threads))
        pool = ProcessPoolExecutor(
            max_workers=min(self.workers, max(1, len(tasks))),
            mp_context=get_context("spawn"),
            initializer=_Worker.receive,
            initargs=(payload,),
        )
        try:
            futures = {pool.submit(_Worker.perform, task): index for index, task in enumerate(tasks)}
            for future in as_completed(futures):
                try:
                    yield futures[future], future.result()
                except BrokenProcessPool:
                    yield futures[future], WorkerLost("the worker process died (out of memory?)")
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


class _Worker:
    """What a worker process was given at its start."""

    function: Callable[[Any, Any], Any]
    shared: Any

    @classmethod
    def receive(cls, payload: bytes) -> None:
        """Unpack what the parent process sent."""
        cls.function, cls.shared, threads = pickle.loads(payload)  # noqa: S301 - from our parent process
        torch.set_num_threads(threads)

    @classmethod
    def perform(cls, task: Any) -> Any:
        """Run one task."""
        return cls.function(cls.shared, task)


def make_executor(name: str, workers: int) -> Executor:
    """The executor of that name: ``serial`` or ``process``."""
    return ProcessExecutor(workers) if name == "process" and workers > 1 else SerialExecutor()
