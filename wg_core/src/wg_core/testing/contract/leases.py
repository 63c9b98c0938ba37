"""Leases, beats and the fence. Invariants 2 (one holder) and 3 (an outcome from a lost lease changes nothing)."""

from __future__ import annotations

import pytest

from wg_core.backend import Backend
from wg_core.outcome import Ack, Applied, Bury, Cancel, Outcome, Progress, Release, Retry, Start
from wg_core.protocol import CancelJobs, Capability, WorkerBeat, WorkerNews
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import (
    LEASE_SECONDS,
    NewWorker,
    Producer,
    Worker,
    attempt_record,
    record_of,
)
from wg_core.testing.contract._capabilities import requires


def outcomes_of(worker: Worker, job_id: str, lease_no: int) -> list[Outcome]:
    """Return every outcome a worker may report of a job."""
    job = worker.take(job_id)
    record = attempt_record(job, worker.id, "retry")
    worker.release(job)
    return [
        Ack(id=job_id, lease_no=lease_no),
        Retry(id=job_id, lease_no=lease_no, delay_seconds=1.0, record=record),
        Bury(id=job_id, lease_no=lease_no, record=record),
        Release(id=job_id, lease_no=lease_no),
        Cancel(id=job_id, lease_no=lease_no, record=record),
        Start(id=job_id, lease_no=lease_no),
        Progress(id=job_id, lease_no=lease_no, value=b"1"),
    ]


def test_no_outcome_of_another_worker_is_applied(put: Producer, worker: Worker, new_worker: NewWorker) -> None:
    put("a")
    other = new_worker()
    outcomes = outcomes_of(other, "a", lease_no=2)
    job = worker.take("a")
    assert job.lease_no == 2
    assert other.report(*outcomes) == [Applied.LOST] * len(outcomes)
    assert worker.held() == [("a", 2)]
    worker.ack(job)


@pytest.mark.parametrize("lease_no", [0, 1, 3])
def test_no_outcome_under_another_lease_no_is_applied(put: Producer, worker: Worker, lease_no: int) -> None:
    put("a")
    outcomes = outcomes_of(worker, "a", lease_no)
    job = worker.take("a")
    assert job.lease_no == 2
    assert worker.report(*outcomes) == [Applied.LOST] * len(outcomes)
    assert worker.held() == [("a", 2)]
    worker.ack(job)


def test_no_outcome_of_a_job_that_waits_is_applied(put: Producer, worker: Worker) -> None:
    put("a")
    outcomes = outcomes_of(worker, "a", lease_no=1)
    assert worker.report(*outcomes) == [Applied.LOST] * len(outcomes)
    job = worker.take("a")
    assert (job.attempt, job.lease_no, job.snoozes, job.bounces) == (1, 2, 0, 0)


def test_an_outcome_of_an_unknown_job_is_lost(worker: Worker) -> None:
    assert worker.report(Ack(id="never-heard-of", lease_no=1)) == [Applied.LOST]


def test_an_outcome_of_an_unknown_worker_is_lost(put: Producer, worker: Worker, backend: Backend) -> None:
    put("a")
    job = worker.take("a")
    stranger = Worker(backend, worker.clock, "stranger")
    assert stranger.report(Ack(id="a", lease_no=job.lease_no)) == [Applied.LOST]
    worker.ack(job)


@requires(Capability.INSPECT)
def test_a_lost_outcome_leaves_no_trace_in_the_record(put: Producer, worker: Worker, backend: Backend) -> None:
    put("a")
    outcomes = outcomes_of(worker, "a", lease_no=7)
    worker.take("a")
    before = record_of(backend, "a")
    worker.report(*outcomes)
    assert record_of(backend, "a") == before


def test_a_worker_may_report_after_its_lease_ran_out_until_it_is_rescued(
    put: Producer, worker: Worker, clock: Clock
) -> None:
    put("a")
    job = worker.take("a")
    clock.advance(10 * LEASE_SECONDS)
    worker.ack(job)


def test_beats_keep_a_worker_alive(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("a")
    job = worker.take("a")
    for _ in range(10):
        clock.advance(LEASE_SECONDS - 1.0)
        assert worker.beat() == WorkerNews()
        assert backend.rescue(100, now=clock.now) == []
    worker.ack(job)


def test_a_lease_that_ran_out_is_renewed_while_nobody_rescued(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a")
    job = worker.take("a")
    clock.advance(LEASE_SECONDS + 5.0)
    assert worker.beat() == WorkerNews()
    assert backend.rescue(100, now=clock.now) == []
    worker.ack(job)


def test_gone_is_final(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("a", "b")
    job = worker.take("a")
    clock.advance(LEASE_SECONDS + 1.0)
    assert [rescued.id for rescued in backend.rescue(100, now=clock.now)] == ["a"]
    assert worker.beat().lease_lost
    assert worker.beat().lease_lost
    assert worker.report(Ack(id="a", lease_no=job.lease_no)) == [Applied.LOST]
    assert worker.held() == []


def test_a_worker_that_is_gone_but_still_holds_jobs_hears_that_it_lost_its_lease(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a", "b", "c")
    worker.reserve()
    clock.advance(LEASE_SECONDS + 1.0)
    assert len(backend.rescue(1, now=clock.now)) == 1
    assert worker.beat().lease_lost
    assert len(backend.rescue(100, now=clock.now)) == 2


def test_a_retired_worker_is_gone(worker: Worker, backend: Backend, clock: Clock) -> None:
    backend.retire(worker.id, [], "killed by signal 9", now=clock.now)
    assert worker.beat().lease_lost


def test_a_beat_of_a_worker_that_never_registered_brings_nobody_to_life(backend: Backend, clock: Clock) -> None:
    stranger = Worker(backend, clock, "stranger")
    assert stranger.beat().lease_lost
    assert stranger.beat().lease_lost


def test_registering_twice_is_registering_once(put: Producer, worker: Worker) -> None:
    put("a")
    job = worker.take("a")
    assert worker.beat(first=True) == WorkerNews()
    assert worker.held() == [("a", 1)]
    worker.ack(job)


def test_one_beat_serves_many_workers_and_answers_each(
    worker: Worker, new_worker: NewWorker, backend: Backend, clock: Clock
) -> None:
    others = [new_worker() for _ in range(30)]
    backend.retire(others[3].id, [], "killed", now=clock.now)
    clock.advance(LEASE_SECONDS - 1.0)
    ids = [worker.id, "stranger", *(other.id for other in others)]
    answer = backend.beat([WorkerBeat(worker=name, lease_seconds=LEASE_SECONDS) for name in ids], now=clock.now)
    assert answer.news.keys() == set(ids)
    lost = {name for name, news in answer.news.items() if news.lease_lost}
    assert lost == {"stranger", others[3].id}
    clock.advance(LEASE_SECONDS - 1.0)
    assert worker.reserve() == []


def test_a_beat_renews_only_the_workers_it_names(
    put: Producer, worker: Worker, new_worker: NewWorker, backend: Backend, clock: Clock
) -> None:
    put("a", "b")
    worker.take("a")
    other = new_worker()
    other.take("b")
    clock.advance(LEASE_SECONDS - 1.0)
    worker.beat()
    clock.advance(2.0)
    assert [rescued.id for rescued in backend.rescue(100, now=clock.now)] == ["b"]


def test_a_beat_with_no_workers_is_answered(backend: Backend) -> None:
    assert backend.beat([]).news == {}


def test_leases_shorter_than_a_second_work(put: Producer, backend: Backend, clock: Clock) -> None:
    put("a")
    beat = WorkerBeat(worker="hasty", lease_seconds=0.25, first=True)
    backend.beat([beat], now=clock.now)
    backend.reserve(None, 1, "hasty", request_no=1, now=clock.now)
    clock.advance(0.2)
    assert backend.rescue(100, now=clock.now) == []
    clock.advance(0.1)
    assert [rescued.id for rescued in backend.rescue(100, now=clock.now)] == ["a"]


def test_held_lists_what_runs_under_the_worker(put: Producer, worker: Worker, backend: Backend) -> None:
    put("a", "b", "c", "d")
    jobs = {job.id: job for job in worker.reserve()}
    worker.ack(jobs["a"])
    worker.retry(jobs["b"])
    worker.release(jobs["c"])
    worker.take("c")
    assert worker.held() == [("c", 2), ("d", 1)]
    assert backend.held("stranger") == []


@requires(Capability.ALTER)
def test_the_worker_hears_of_a_cancel_until_the_job_ended(
    put: Producer, worker: Worker, new_worker: NewWorker, backend: Backend, clock: Clock
) -> None:
    put("a", "b")
    job = worker.take("a")
    other = new_worker()
    other.take("b")
    assert backend.alter(["a"], CancelJobs(), now=clock.now).changed == ("a",)
    assert worker.beat().cancels == (("a", job.lease_no),)
    assert worker.beat().cancels == (("a", job.lease_no),)
    assert other.beat().cancels == ()
    worker.applied(Cancel(id="a", lease_no=job.lease_no))
    assert worker.beat().cancels == ()


@requires(Capability.PAUSE)
def test_the_answer_to_a_beat_names_the_paused_queues(worker: Worker, backend: Backend, clock: Clock) -> None:
    beat = WorkerBeat(worker=worker.id, lease_seconds=LEASE_SECONDS)
    backend.pause("mail")
    backend.pause("not yet there")
    assert backend.beat([beat], now=clock.now).paused == {"mail", "not yet there"}
    backend.resume("mail")
    assert backend.beat([beat], now=clock.now).paused == {"not yet there"}


@requires(Capability.INSPECT)
def test_workers_lists_who_is_registered_with_what_they_said(
    put: Producer, worker: Worker, new_worker: NewWorker, backend: Backend, clock: Clock
) -> None:
    put("a", "b")
    worker.reserve()
    worker.beat(info=b'{"host":"here"}')
    clock.advance(1.0)
    other = new_worker()
    worker.beat()  # without info: what was said stays
    records = {record.id: record for record in backend.workers(now=clock.now)}
    assert records.keys() == {worker.id, other.id}
    assert (records[worker.id].info, records[worker.id].running) == (b'{"host":"here"}', 2)
    assert records[other.id].running == 0
    assert records[worker.id].lease_until == clock.ahead(LEASE_SECONDS)
    assert next(iter(records)) == worker.id, "oldest first"
