"""Races between processes, and what a fork may do. Invariants 2, 7, 10 for several processes on one store."""

from __future__ import annotations

import os
import signal
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from wg_core.backend import Backend
from wg_core.job import JobState
from wg_core.protocol import Capability
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import (
    LEASE_SECONDS,
    PATIENCE_SECONDS,
    NewWorker,
    Producer,
    Worker,
    new_job,
    queue_stats,
    state_of,
)
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._fixtures import OpenBackend
from wg_core.testing.contract._races import in_processes, lines_of_killed
from wg_core.testing.contract.waiting import waiting

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


@requires(Capability.MULTI_PROCESS)
def test_a_wait_ends_when_another_process_enqueues(
    child_order: Callable[..., dict[str, Any]], open_backend: OpenBackend
) -> None:
    with waiting(open_backend()) as waiter:
        in_processes([child_order("enqueue", ids=["a"])])
        waiter.assert_finds_work()


@requires(Capability.MULTI_PROCESS, Capability.DURABLE)
def test_what_was_answered_survives_the_killed_process_that_asked(
    child_order: Callable[..., dict[str, Any]], new_worker: NewWorker
) -> None:
    ids = [f"{number}" for number in range(20)]
    assert in_processes([child_order("enqueue_and_die", ids=ids)]) == [ids]
    assert new_worker().reserve_ids() == ids


def rescue_until_forgotten(worker: str, backend: Backend, clock: Clock) -> None:
    """Rescue until the store has settled all that a killed worker held.

    A server may still be busy with the last call of a client that is gone; meanwhile a rescue leaves the worker out.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(record.id == worker for record in backend.workers(now=clock.now)):
        assert time.monotonic() < deadline, "the store keeps a worker whose lease is over"
        backend.rescue(1_000, now=clock.now)


@requires(Capability.MULTI_PROCESS, Capability.INSPECT)
@pytest.mark.parametrize("after_lines", [1, 7, 20])
def test_a_worker_killed_at_any_moment_loses_no_job_and_finishes_none_twice(
    put: Producer,
    child_order: Callable[..., dict[str, Any]],
    new_worker: NewWorker,
    *,
    backend: Backend,
    clock: Clock,
    after_lines: int,
) -> None:
    put(*(f"{number}" for number in range(300)))
    said = lines_of_killed(child_order("work_in_sight", worker="victim"), after_lines)
    finished = [job_id for ids in said for job_id in ids]
    clock.advance(1_000.0)
    rescue_until_forgotten("victim", backend, clock)
    rest = new_worker().reserve_ids(1_000)
    assert len(finished) == len(set(finished))
    assert not set(finished) & set(rest)
    assert queue_stats(backend, clock).done + len(rest) == 300
    assert queue_stats(backend, clock).done - len(finished) in {0, 1, 2, 3}, "at most one report was not heard of"


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
        signal.alarm(round(PATIENCE_SECONDS))  # a child that hangs must not outlive the test
        code = 1
        try:
            deed()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
