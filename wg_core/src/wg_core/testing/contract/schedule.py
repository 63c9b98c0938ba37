"""Jobs that wait for their time. Invariants 6 (never early) and 7 (moves are atomic)."""

from __future__ import annotations

import pytest

from wg_core.backend import Backend
from wg_core.job import JobState
from wg_core.protocol import Capability, Promoted
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import NewWorker, Producer, Worker, new_job, record_of
from wg_core.testing.contract._capabilities import requires

YEAR_SECONDS = 365 * 86_400.0


@requires(Capability.DELAY)
@pytest.mark.parametrize("delay_seconds", [0.001, 0.25, 1.0, 90.5, 30 * 86_400.0, 50 * YEAR_SECONDS])
def test_a_delayed_job_is_ready_when_it_is_due_and_not_a_millisecond_before(
    put: Producer, new_worker: NewWorker, backend: Backend, clock: Clock, delay_seconds: float
) -> None:
    put("a", delay_seconds=delay_seconds)
    clock.advance(delay_seconds - 0.001)
    assert backend.promote(10, now=clock.now).moved == 0
    worker = new_worker()
    assert worker.reserve() == []
    clock.advance(0.001)
    assert backend.promote(10, now=clock.now).moved == 1
    worker.take("a")


@requires(Capability.DELAY)
def test_a_time_to_run_at_counts_rather_than_the_delay(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a", run_at=clock.ahead(5.0), delay_seconds=500.0)
    clock.advance(4.999)
    assert backend.promote(10, now=clock.now).moved == 0
    clock.advance(0.001)
    assert backend.promote(10, now=clock.now).moved == 1
    worker.take("a")


@requires(Capability.DELAY)
def test_a_time_in_the_past_means_at_once(put: Producer, worker: Worker, clock: Clock) -> None:
    put("long-ago", run_at=1)
    put("just-now", run_at=clock.now)
    put("no-time")
    assert worker.reserve_ids() == ["long-ago", "just-now", "no-time"]


@requires(Capability.DELAY, Capability.INSPECT)
def test_a_scheduled_job_says_when_it_is_due(put: Producer, backend: Backend, clock: Clock) -> None:
    put("a", delay_seconds=1.5, priority=3, queue="mail")
    record = record_of(backend, "a")
    assert (record.state, record.run_at, record.priority) == (JobState.SCHEDULED, clock.ahead(1.5), 3)
    assert (record.queue, record.attempt, record.lease_no, record.enqueued_at) == ("mail", 0, 0, clock.now)
    clock.advance(1.5)
    backend.promote(10, now=clock.now)
    assert (record_of(backend, "a").state, record_of(backend, "a").run_at) == (JobState.READY, None)


@requires(Capability.DELAY)
def test_due_jobs_become_ready_in_the_order_of_their_times(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put.all([new_job(f"{number}", delay_seconds=(1 + number * 7 % 20) / 1000) for number in range(20)])
    clock.advance(1.0)
    assert backend.promote(100, now=clock.now).moved == 20
    assert worker.reserve_ids() == sorted((f"{n}" for n in range(20)), key=lambda job_id: int(job_id) * 7 % 20)


@requires(Capability.DELAY)
def test_due_jobs_queue_up_behind_those_that_are_ready(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("delayed", delay_seconds=1.0)
    put("ready")
    clock.advance(1.0)
    backend.promote(10, now=clock.now)
    put("later")
    assert worker.reserve_ids() == ["ready", "delayed", "later"]


@requires(Capability.DELAY)
def test_priority_does_not_make_a_job_early(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("urgent", delay_seconds=10.0, priority=100)
    put("slow", delay_seconds=9.0, priority=-100)
    clock.advance(9.5)
    assert backend.promote(10, now=clock.now).moved == 1
    assert worker.reserve_ids() == ["slow"]


@requires(Capability.DELAY)
def test_a_promoted_job_stands_by_its_priority_in_its_queue(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("ready", queue="mail")
    put("urgent", queue="mail", priority=1, delay_seconds=1.0)
    put("elsewhere", queue="other", delay_seconds=1.0)
    clock.advance(1.0)
    backend.promote(10, now=clock.now)
    assert worker.reserve_ids(queues=["mail"]) == ["urgent", "ready"]
    assert worker.reserve_ids(queues=["other"]) == ["elsewhere"]


def test_promote_tells_that_nothing_waits(backend: Backend, put: Producer) -> None:
    assert backend.promote(10) == Promoted(moved=0, next_due_seconds=None)
    put("a")
    assert backend.promote(10) == Promoted(moved=0, next_due_seconds=None)


@requires(Capability.DELAY)
def test_promote_moves_at_most_its_limit_earliest_first_and_tells_when_to_come_back(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put.all([new_job(f"{number}", delay_seconds=1.0 + number) for number in (3, 1, 2)])
    put("last", delay_seconds=60.5)
    clock.advance(10.0)
    assert backend.promote(2, now=clock.now) == Promoted(moved=2, next_due_seconds=0.0)
    assert worker.reserve_ids() == ["1", "2"]
    assert backend.promote(2, now=clock.now) == Promoted(moved=1, next_due_seconds=50.5)
    assert backend.promote(2, now=clock.now) == Promoted(moved=0, next_due_seconds=50.5)


@requires(Capability.DELAY)
def test_retries_and_scheduled_jobs_are_promoted_together_by_time(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("retry-1", "retry-3")
    first, second = worker.reserve()
    worker.retry(first, delay_seconds=1.0)
    worker.retry(second, delay_seconds=3.0)
    put("scheduled-2", delay_seconds=2.0)
    put("scheduled-4", delay_seconds=4.0)
    assert backend.promote(10, now=clock.now) == Promoted(moved=0, next_due_seconds=1.0)
    clock.advance(5.0)
    assert backend.promote(3, now=clock.now) == Promoted(moved=3, next_due_seconds=0.0)
    assert worker.reserve_ids() == ["retry-1", "scheduled-2", "retry-3"]
    assert backend.promote(3, now=clock.now) == Promoted(moved=1, next_due_seconds=None)


@requires(Capability.DELAY)
def test_promoting_thousands_in_one_call_works(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put.all([new_job(f"{number}", delay_seconds=1.0) for number in range(3_000)])
    clock.advance(1.0)
    moved = 0
    while (promoted := backend.promote(5_000, now=clock.now)).moved:
        moved += promoted.moved
    assert moved == 3_000
    assert len(worker.reserve(5_000)) == 3_000
