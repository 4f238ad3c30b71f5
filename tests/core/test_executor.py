"""Where tasks run changes nothing but the time; a worker that dies takes no other task with it."""

import os
import signal
import threading

import pytest

from auditkit.errors import UsageError
from auditkit.execution.executor import ProcessExecutor, SerialExecutor, WorkerLost, make_executor


def add(shared, task):
    return shared + task


def act(shared, task):
    """Tasks by name: those that misbehave, and those that must not suffer from it."""
    if task == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "unsendable":
        return threading.Lock()
    if task == "raise":
        raise ZeroDivisionError("by design")
    return f"{shared} {task}"


def as_dict(executor, function, shared, tasks):
    pairs = list(executor.run(function, shared, tasks))
    assert len(pairs) == len(tasks)
    return dict(pairs)


def test_serial_yields_in_the_order_of_the_tasks():
    assert list(SerialExecutor().run(add, 10, [3, 1, 2])) == [(0, 13), (1, 11), (2, 12)]


def test_no_tasks_need_no_worker():
    assert list(ProcessExecutor(2).run(add, 0, [])) == []


@pytest.mark.slow
def test_processes_give_what_serial_gives():
    tasks = list(range(7))
    assert as_dict(ProcessExecutor(2), add, 10, tasks) == as_dict(SerialExecutor(), add, 10, tasks)


@pytest.mark.slow
def test_a_worker_that_dies_loses_its_own_task_alone():
    tasks = ["a", "b", "die", *"cdefgh"]
    results = as_dict(ProcessExecutor(2), act, "did", tasks)
    lost = {index for index, value in results.items() if isinstance(value, WorkerLost)}
    assert lost == {2}
    assert results[2].reason == "the worker process died (out of memory?)"
    assert {results[index] for index in results if index != 2} == {f"did {name}" for name in "abcdefgh"}


@pytest.mark.slow
def test_what_cannot_be_brought_back_is_lost_with_the_reason():
    results = as_dict(ProcessExecutor(2), act, "did", ["unsendable", "raise", "a"])
    assert "cannot pickle" in results[0].reason
    assert "ZeroDivisionError: by design" in results[1].reason
    assert results[2] == "did a"


def test_what_cannot_be_sent_is_refused_with_the_remedy():
    with pytest.raises(UsageError, match=r"cannot be sent to another process.*Use executor: serial"):
        list(ProcessExecutor(2).run(add, threading.Lock(), [1]))


@pytest.mark.parametrize(
    ("name", "workers", "expected"),
    [("serial", 4, SerialExecutor()), ("process", 1, SerialExecutor()), ("process", 3, ProcessExecutor(3))],
)
def test_one_worker_needs_no_process_of_its_own(name, workers, expected):
    assert make_executor(name, workers) == expected
