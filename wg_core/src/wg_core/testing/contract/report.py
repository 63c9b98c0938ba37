"""What becomes of a running job: Ack, Bury, Release, Cancel, Start, Progress (Retry: see `retry`)."""

from __future__ import annotations

from wg_core.backend import Backend
from wg_core.job import JobState
from wg_core.outcome import Ack, Applied, Bury, Cancel, CountsAs, Outcome, Progress, Release, Retry, Start
from wg_core.protocol import CancelJobs, Capability
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import (
    NewWorker,
    Producer,
    Worker,
    attempt_record,
    queue_stats,
    record_of,
    state_of,
)
from wg_core.testing.contract._capabilities import requires


def test_a_finished_job_is_gone(put: Producer, worker: Worker, new_worker: NewWorker) -> None:
    put("a")
    worker.ack(worker.take("a"))
    assert worker.held() == []
    assert worker.reserve() == []
    assert new_worker().reserve() == []


def test_a_job_ends_once(put: Producer, worker: Worker) -> None:
    put("a")
    ack = Ack(id="a", lease_no=worker.take("a").lease_no)
    assert worker.report(ack) == [Applied.APPLIED]
    assert worker.report(ack) == [Applied.LOST]


def test_two_ends_of_one_job_in_a_batch_apply_the_first(put: Producer, worker: Worker) -> None:
    put("a")
    job = worker.take("a")
    ack, release = Ack(id="a", lease_no=job.lease_no), Release(id="a", lease_no=job.lease_no)
    assert worker.report(ack, release) == [Applied.APPLIED, Applied.LOST]
    assert worker.reserve() == []


def test_outcomes_of_one_job_apply_in_order(put: Producer, worker: Worker) -> None:
    put("a")
    no = worker.take("a").lease_no
    outcomes: list[Outcome] = [
        Start(id="a", lease_no=no),
        Progress(id="a", lease_no=no, value=b"0.5"),
        Ack(id="a", lease_no=no),
    ]
    assert worker.report(*outcomes) == [Applied.APPLIED] * 3
    assert worker.held() == []


def test_an_empty_report_is_answered_with_nothing(worker: Worker) -> None:
    assert worker.report() == []


def test_a_mixed_batch_is_answered_in_order_and_each_job_goes_its_way(put: Producer, worker: Worker) -> None:
    put("ack", "retry", "bury", "release", "cancel", "start", "progress", "lost")
    jobs = {job.id: job for job in worker.reserve()}
    outcomes: list[Outcome] = [
        Ack(id="lost", lease_no=99),
        Release(id="release", lease_no=1),
        Bury(id="bury", lease_no=1, record=attempt_record(jobs["bury"], worker.id, "dead")),
        Ack(id="ack", lease_no=1),
        Start(id="start", lease_no=1),
        Retry(id="retry", lease_no=1, delay_seconds=5.0, record=attempt_record(jobs["retry"], worker.id, "retry")),
        Progress(id="progress", lease_no=1, value=b"1"),
        Cancel(id="cancel", lease_no=1),
    ]
    assert worker.report(*outcomes) == [Applied.LOST] + [Applied.APPLIED] * 7
    assert worker.held() == [("lost", 1), ("progress", 1), ("start", 1)]
    assert worker.reserve_ids() == ["release"]


@requires(Capability.INSPECT)
def test_every_outcome_leads_to_its_state(put: Producer, worker: Worker, backend: Backend) -> None:
    put("ack", "retry", "bury", "release", "start")
    jobs = {job.id: job for job in worker.reserve()}
    worker.ack(jobs["ack"])
    worker.retry(jobs["retry"])
    worker.bury(jobs["bury"])
    worker.release(jobs["release"])
    worker.applied(Start(id="start", lease_no=1))
    states = [state_of(backend, job_id) for job_id in ("ack", "retry", "bury", "release", "start")]
    assert states == [None, JobState.RETRY, JobState.DEAD, JobState.READY, JobState.RUNNING]


@requires(Capability.INSPECT)
def test_a_buried_job_keeps_its_record_and_when_it_died(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a", body=b"the body")
    job = worker.take("a")
    clock.advance(3.0)
    worker.bury(job)
    dead = record_of(backend, "a")
    assert (dead.state, dead.body, dead.attempt, dead.ended_at) == (JobState.DEAD, b"the body", 1, clock.now)
    assert dead.history == (attempt_record(job, worker.id, "dead"),)
    assert (dead.worker, dead.reserved_at) == (None, None)


@requires(Capability.INSPECT)
def test_a_running_job_tells_who_holds_it_and_since_when(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a")
    clock.advance(2.0)
    worker.take("a")
    record = record_of(backend, "a")
    assert (record.state, record.worker, record.reserved_at) == (JobState.RUNNING, worker.id, clock.now)
    assert (record.attempt, record.lease_no, record.started, record.cancel_requested) == (1, 1, False, False)


@requires(Capability.INSPECT)
def test_start_marks_the_attempt_and_only_this_one(put: Producer, worker: Worker, backend: Backend) -> None:
    put("a")
    job = worker.take("a")
    worker.applied(Start(id="a", lease_no=job.lease_no))
    assert record_of(backend, "a").started
    worker.release(job)
    worker.take("a")
    assert not record_of(backend, "a").started


@requires(Capability.INSPECT)
def test_progress_is_stored_and_the_last_one_wins(put: Producer, worker: Worker, backend: Backend) -> None:
    put("a")
    no = worker.take("a").lease_no
    assert record_of(backend, "a").progress is None
    worker.applied(Progress(id="a", lease_no=no, value=b'{"done":1}'))
    worker.applied(Progress(id="a", lease_no=no, value=b'{"done":2}'))
    assert record_of(backend, "a").progress == b'{"done":2}'
    assert worker.held() == [("a", no)]


def test_a_release_gives_the_attempt_back(put: Producer, worker: Worker) -> None:
    put("a", max_retries=0)
    worker.release(worker.take("a"))
    assert worker.take("a").attempt == 1


def test_a_release_counts_as_what_it_says(put: Producer, worker: Worker) -> None:
    put("a")
    for counts_as in (CountsAs.SNOOZE, CountsAs.BOUNCE, CountsAs.NONE, CountsAs.BOUNCE):
        worker.applied(Release(id="a", lease_no=worker.take("a").lease_no, counts_as=counts_as))
    job = worker.take("a")
    assert (job.snoozes, job.bounces, job.attempt) == (1, 2, 1)


def test_a_release_with_a_delay_comes_back_when_it_is_due(put: Producer, worker: Worker, backend: Backend) -> None:
    put("a")
    worker.release(worker.take("a"), delay_seconds=5.0)
    assert worker.held() == []
    worker.clock.advance(4.999)
    assert backend.promote(10, now=worker.clock.now).moved == 0
    assert worker.reserve() == []
    worker.clock.advance(0.001)
    assert backend.promote(10, now=worker.clock.now).moved == 1
    job = worker.take("a")
    assert (job.attempt, job.lease_no) == (1, 2)


@requires(Capability.INSPECT)
def test_a_release_with_a_delay_is_scheduled(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("a")
    worker.release(worker.take("a"), delay_seconds=5.0)
    record = record_of(backend, "a")
    assert (record.state, record.run_at, record.worker) == (JobState.SCHEDULED, clock.ahead(5.0), None)


@requires(Capability.INSPECT)
def test_a_cancelled_job_is_gone_and_counted(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("a")
    job = worker.take("a")
    worker.applied(Cancel(id="a", lease_no=job.lease_no, record=attempt_record(job, worker.id, "cancelled")))
    assert state_of(backend, "a") is None
    assert queue_stats(backend, clock).cancelled == 1
    assert worker.reserve() == []


@requires(Capability.INSPECT, Capability.ALTER)
def test_a_pending_cancel_turns_retry_and_release_into_cancelled(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("retried", "released", "delayed")
    retried, released, delayed = worker.reserve()
    backend.alter(["retried", "released", "delayed"], CancelJobs(), now=clock.now)
    assert record_of(backend, "retried").cancel_requested
    worker.retry(retried)
    worker.release(released)
    worker.release(delayed, delay_seconds=5.0)
    assert backend.get(["retried", "released", "delayed"]) == []
    assert queue_stats(backend, clock).cancelled == 3
    assert worker.reserve() == []


@requires(Capability.INSPECT, Capability.ALTER)
def test_a_job_that_ended_before_it_heard_of_its_cancel_ended_as_it_did(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("done", "buried")
    done, buried = worker.reserve()
    backend.alter(["done", "buried"], CancelJobs(), now=clock.now)
    worker.ack(done)
    worker.bury(buried)
    stats = queue_stats(backend, clock)
    assert (stats.done, stats.failed, stats.cancelled) == (1, 1, 0)
    assert state_of(backend, "buried") is JobState.DEAD
