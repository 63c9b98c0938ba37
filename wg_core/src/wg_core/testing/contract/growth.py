"""Residue. Invariants 13 and 14: finished work leaves no growing residue, and counts return to zero."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from wg_core.backend import Backend
from wg_core.outcome import Cancel, Progress, Release
from wg_core.protocol import CancelJobs, Capability, DeleteJobs, Retention
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import LEASE_SECONDS, NewWorker, Producer, Worker, exact, new_job
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._fixtures import Residue


def assert_nothing_stays(residue: Residue, cycle: Callable[[int], None]) -> None:
    """Assert that many turns of a cycle leave as much behind as two."""
    cycle(0)
    cycle(1)
    after_two = dict(residue())
    for turn in range(2, 8):
        cycle(turn)
    assert dict(residue()) == after_two


def test_finished_jobs_leave_nothing_behind(put: Producer, worker: Worker, residue: Residue) -> None:
    def cycle(turn: int) -> None:
        put(*(f"{turn}-{number}" for number in range(20)), queue="mail", priority=turn % 3)
        jobs = worker.reserve()
        worker.applied(*(Progress(id=job.id, lease_no=job.lease_no, value=b"1") for job in jobs))
        worker.ack(*jobs)

    assert_nothing_stays(residue, cycle)


def test_retried_and_released_jobs_leave_nothing_behind(
    put: Producer, worker: Worker, backend: Backend, clock: Clock, residue: Residue
) -> None:
    def cycle(turn: int) -> None:
        put(f"{turn}-retried", f"{turn}-released")
        retried, released = worker.reserve()
        worker.retry(retried, delay_seconds=0.1)
        worker.applied(Release(id=released.id, lease_no=released.lease_no, delay_seconds=0.1))
        clock.advance(0.2)
        backend.promote(10, now=clock.now)
        worker.ack(*worker.reserve())

    assert_nothing_stays(residue, cycle)


@requires(Capability.ALTER)
def test_cancelled_deleted_expired_and_pruned_jobs_leave_nothing_behind(
    put: Producer, worker: Worker, backend: Backend, clock: Clock, *, residue: Residue
) -> None:
    def cycle(turn: int) -> None:
        put(f"{turn}-running", f"{turn}-buried", priority=1)
        put(f"{turn}-waiting", f"{turn}-deleted")
        put(f"{turn}-expired", expires_in_seconds=0.5)
        running, buried = worker.reserve(2)
        worker.bury(buried)
        backend.alter([running.id, f"{turn}-waiting"], CancelJobs(), now=clock.now)
        worker.applied(Cancel(id=running.id, lease_no=running.lease_no))
        backend.alter([f"{turn}-deleted"], DeleteJobs(), now=clock.now)
        clock.advance(1.0)
        backend.prune(Retention(dead_most=0), 100, now=clock.now)

    assert_nothing_stays(residue, cycle)


def test_workers_that_came_and_went_leave_nothing_behind(
    put: Producer, new_worker: NewWorker, backend: Backend, clock: Clock, residue: Residue
) -> None:
    def cycle(turn: int) -> None:
        put(f"{turn}-a", f"{turn}-b")
        retired, lost = new_worker(), new_worker()
        retired.ack(retired.take())
        lost.ack(lost.take())
        backend.retire(retired.id, [], "stopped", now=clock.now)
        clock.advance(LEASE_SECONDS + 1.0)
        backend.rescue(100, now=clock.now)
        backend.rescue(100, now=clock.now)
        retired.beat()
        lost.report(*[])

    assert_nothing_stays(residue, cycle)


def test_waits_and_interrupts_leave_nothing_behind(backend: Backend, put: Producer, residue: Residue) -> None:
    put("a")

    def cycle(turn: int) -> None:
        backend.interrupt()
        backend.wait(["default", f"queue-{turn}"], 0.01)
        backend.wait(None, 0.01)

    assert_nothing_stays(residue, cycle)


@requires(Capability.INSPECT, Capability.DELAY)
@pytest.mark.parametrize("count", [1, 500])
def test_after_all_work_is_done_every_length_is_zero(
    put: Producer, worker: Worker, backend: Backend, clock: Clock, *, count: int
) -> None:
    put.all([new_job(f"{number}", delay_seconds=number % 3) for number in range(count)])
    clock.advance(3.0)
    backend.promote(1_000, now=clock.now)
    for number, job in enumerate(worker.reserve(1_000)):
        if number % 5 == 0:
            worker.retry(job, delay_seconds=0.0)
        else:
            worker.ack(job)
    backend.promote(1_000, now=clock.now)
    worker.ack(*worker.reserve(1_000))
    stats = exact(backend, clock)
    assert (stats.ready, stats.scheduled, stats.retry, stats.running, stats.dead) == (0, 0, 0, 0, 0)
    assert stats.queues["default"].done == count
    assert stats.queues["default"].oldest_ready_seconds is None
