"""Handing out jobs. Invariants 2 (one holder) and 5."""

from __future__ import annotations

import pytest

from wg_core.backend import Backend
from wg_core.errors import LeaseLostError
from wg_core.protocol import Capability, Retention
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import (
    LEASE_SECONDS,
    NewWorker,
    Producer,
    Worker,
    exact,
    queue_stats,
    state_of,
)
from wg_core.testing.contract._capabilities import requires


def test_an_empty_store_gives_nothing(worker: Worker) -> None:
    assert worker.reserve() == []
    assert worker.reserve(queues=["unknown", "also unknown"]) == []


def test_never_more_than_the_limit_is_handed_out(put: Producer, worker: Worker) -> None:
    put("a", "b", "c", "d", "e")
    assert len(worker.reserve(2)) == 2
    assert len(worker.reserve(2)) == 2
    assert len(worker.reserve(2)) == 1
    assert worker.reserve(2) == []


def test_the_limit_spans_all_queues(put: Producer, worker: Worker) -> None:
    put("a1", "a2", queue="a")
    put("b1", "b2", queue="b")
    assert worker.reserve_ids(3, queues=["a", "b"]) == ["a1", "a2", "b1"]


def test_a_reserved_job_is_handed_to_nobody_else(put: Producer, worker: Worker, new_worker: NewWorker) -> None:
    put("a", "b")
    worker.take("a")
    other = new_worker()
    assert other.reserve_ids() == ["b"]
    assert worker.held() == [("a", 1)]
    assert other.held() == [("b", 1)]


def test_thousands_of_jobs_can_be_reserved_and_finished_in_one_call(put: Producer, worker: Worker) -> None:
    ids = [f"{number}" for number in range(5_000)]
    put(*ids)
    jobs = worker.reserve(10_000)
    assert [job.id for job in jobs] == ids
    worker.ack(*jobs)
    assert worker.held() == []


def test_attempt_and_lease_no_rise_with_each_reserve(put: Producer, worker: Worker, backend: Backend) -> None:
    put("a", max_retries=9)
    for number in range(1, 5):
        job = worker.take("a")
        assert (job.attempt, job.lease_no) == (number, number)
        worker.retry(job, delay_seconds=0.0)
        assert backend.promote(10, now=worker.clock.now).moved == 1


def test_lease_no_never_falls_though_a_release_gives_the_attempt_back(put: Producer, worker: Worker) -> None:
    put("a")
    for number in range(1, 5):
        job = worker.take("a")
        assert (job.attempt, job.lease_no) == (1, number)
        worker.release(job)


def test_a_worker_that_never_beat_may_not_reserve(put: Producer, backend: Backend, clock: Clock) -> None:
    put("a")
    stranger = Worker(backend, clock, "stranger")
    with pytest.raises(LeaseLostError) as error:
        stranger.reserve()
    assert error.value.worker == "stranger"


def test_a_worker_whose_lease_ran_out_may_not_reserve_until_it_beats(
    put: Producer, worker: Worker, clock: Clock
) -> None:
    put("a")
    clock.advance(LEASE_SECONDS + 0.001)
    with pytest.raises(LeaseLostError):
        worker.reserve()
    assert not worker.beat().lease_lost
    assert worker.reserve_ids() == ["a"]


def test_a_worker_that_is_gone_may_not_reserve(put: Producer, worker: Worker, backend: Backend) -> None:
    put("a")
    backend.retire(worker.id, [], "killed", now=worker.clock.now)
    with pytest.raises(LeaseLostError):
        worker.reserve()


def test_a_refused_reserve_leaves_the_jobs_to_others(
    put: Producer, backend: Backend, clock: Clock, worker: Worker
) -> None:
    put("a")
    with pytest.raises(LeaseLostError):
        Worker(backend, clock, "stranger").reserve()
    job = worker.take("a")
    assert (job.attempt, job.lease_no) == (1, 1)


def test_a_job_is_handed_out_until_the_moment_it_expires(put: Producer, worker: Worker, clock: Clock) -> None:
    put("a", "b", expires_in_seconds=10.0)
    clock.advance(9.999)
    worker.take("a")
    clock.advance(0.001)
    assert worker.reserve() == []


def test_expired_jobs_do_not_stand_in_the_way_of_others(put: Producer, worker: Worker, clock: Clock) -> None:
    put(*(f"old-{number}" for number in range(30)), expires_in_seconds=1.0, priority=1)
    put("fresh-1", "fresh-2")
    clock.advance(2.0)
    found: list[str] = []
    for _ in range(40):  # a store may end expired jobs in several bounded steps
        found += worker.reserve_ids(1)
    assert found == ["fresh-1", "fresh-2"]


@requires(Capability.INSPECT, Capability.ALTER)
def test_an_expired_job_ends_as_expired(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("a", "b", expires_in_seconds=10.0)
    clock.advance(10.0)
    assert worker.reserve() == []
    backend.prune(Retention(), 100, now=clock.now)
    assert backend.get(["a", "b"]) == []
    assert queue_stats(backend, clock).expired == 2
    assert exact(backend, clock).ready == 0


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
def test_a_scheduled_job_expires_too(put: Producer, backend: Backend, clock: Clock) -> None:
    put("a", delay_seconds=60.0, expires_in_seconds=30.0)
    clock.advance(30.0)
    assert backend.prune(Retention(), 100, now=clock.now) == 1
    assert state_of(backend, "a") is None
    assert queue_stats(backend, clock).expired == 1


@requires(Capability.INSPECT, Capability.ALTER)
def test_a_job_that_waits_for_its_retry_expires_too(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a", expires_in_seconds=30.0)
    worker.retry(worker.take("a"), delay_seconds=60.0)
    clock.advance(30.0)
    assert backend.prune(Retention(), 100, now=clock.now) == 1
    assert state_of(backend, "a") is None


@requires(Capability.ALTER)
def test_a_running_job_does_not_expire(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("a", expires_in_seconds=1.0)
    job = worker.take("a")
    clock.advance(20.0)
    assert backend.prune(Retention(), 100, now=clock.now) == 0
    worker.ack(job)


@requires(Capability.ALTER)
def test_jobs_without_an_expiry_are_never_pruned(put: Producer, backend: Backend, clock: Clock, worker: Worker) -> None:
    put("a")
    clock.advance(20.0)
    assert backend.prune(Retention(), 100, now=clock.ahead(10 * 365 * 86_400)) == 0
    worker.take("a")
