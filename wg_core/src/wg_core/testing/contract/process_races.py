"""Races between processes, and what a fork may do. Invariants 2, 7, 10 for several processes on one store."""

from __future__ import annotations

import os
import signal
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from wg_core.backend import Backend
from wg_core.job import JobState
from wg_core.protocol import Capability
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import LEASE_SECONDS, NewWorker, Producer, Worker, new_job, state_of
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._races import in_processes

PROCESSES = 3


@pytest.fixture
def child_order(backend_url: str, backend_options: dict[str, Any], namespace: str) -> Callable[..., dict[str, Any]]:
    """Make an order for a child: `child_order("work", worker="w1")`."""

    def make(deed: str, **details: Any) -> dict[str, Any]:
        return {"deed": deed, "url": backend_url, "namespace": namespace, "options": backend_options, **details}

    return make


@requires(Capability.MULTI_PROCESS)
def test_processes_that_start_on_an_empty_store_at_once_all_come_up(
    child_order: Callable[..., dict[str, Any]], new_worker: NewWorker
) -> None:
    orders = [child_order("enqueue", ids=[f"{process}-{number}" for number in range(5)]) for process in range(4)]
    stored = in_processes(orders)
    assert stored == [each["ids"] for each in orders]
    assert len(new_worker().reserve()) == 20


@requires(Capability.MULTI_PROCESS)
def test_workers_in_several_processes_never_get_one_job_twice(
    put: Producer, child_order: Callable[..., dict[str, Any]], worker: Worker
) -> None:
    put(*(f"{number}" for number in range(200)))
    answers = in_processes([child_order("work", worker=f"w{process}") for process in range(PROCESSES)])
    done = [tuple(job) for answer in answers for job in answer]
    assert sorted(done, key=lambda job: int(job[0])) == [(f"{number}", 1, 1) for number in range(200)]
    assert worker.reserve() == []


@requires(Capability.MULTI_PROCESS)
def test_an_id_enqueued_by_several_processes_is_stored_once(
    child_order: Callable[..., dict[str, Any]], worker: Worker
) -> None:
    ids = [f"{number}" for number in range(40)]
    answers = in_processes([child_order("enqueue", ids=ids) for _ in range(PROCESSES)])
    stored = [job_id for answer in answers for job_id in answer]
    assert sorted(stored) == sorted(ids)
    assert sorted(worker.reserve_ids()) == sorted(ids)


@requires(Capability.MULTI_PROCESS, Capability.DELAY)
def test_promoters_in_several_processes_move_each_job_once(
    put: Producer, child_order: Callable[..., dict[str, Any]], worker: Worker, clock: Clock
) -> None:
    put(*(f"{number}" for number in range(100)), delay_seconds=1.0)
    now = clock.advance(1.0)
    assert sum(in_processes([child_order("promote", now=now) for _ in range(PROCESSES)])) == 100
    assert len(worker.reserve(200)) == 100


@requires(Capability.MULTI_PROCESS)
def test_rescuers_in_several_processes_take_each_job_once(
    put: Producer, child_order: Callable[..., dict[str, Any]], new_worker: NewWorker, clock: Clock
) -> None:
    put(*(f"{number}" for number in range(100)))
    for _ in range(4):
        new_worker().reserve(25)
    now = clock.advance(LEASE_SECONDS + 1.0)
    answers = in_processes([child_order("rescue", now=now) for _ in range(PROCESSES)])
    rescued = [job_id for answer in answers for job_id in answer]
    assert sorted(rescued, key=int) == [f"{number}" for number in range(100)]
    assert {job.crashes for job in new_worker().reserve(200)} == {1}


@requires(Capability.MULTI_PROCESS, Capability.INSPECT)
def test_a_backend_that_was_in_use_works_in_the_child_of_a_fork_and_in_the_parent(
    put: Producer, backend: Backend, worker: Worker
) -> None:
    put("before")
    assert _exit_code_of_fork(lambda: _enqueue_and_look(backend, "in-child")) == 0
    put("after")
    assert state_of(backend, "in-child") is JobState.READY
    assert worker.reserve_ids() == ["before", "in-child", "after"]


def _enqueue_and_look(backend: Backend, job_id: str) -> None:
    backend.enqueue([new_job(job_id)])
    assert state_of(backend, job_id) is JobState.READY
    backend.close()


def _exit_code_of_fork(deed: Callable[[], None]) -> int:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads is what this test is about
        pid = os.fork()
    if pid == 0:
        signal.alarm(20)  # a child that hangs must not outlive the test
        code = 1
        try:
            deed()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
