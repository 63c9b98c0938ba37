"""Failed attempts: the delay, the count, the history of attempts."""

from __future__ import annotations

import msgspec

from wg_core.backend import Backend
from wg_core.history import HISTORY_KEEP_BYTES, AttemptRecord, encode_record
from wg_core.job import JobState
from wg_core.outcome import Retry
from wg_core.protocol import Capability
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import Producer, Worker, attempt_record, new_job, record_of
from wg_core.testing.contract._capabilities import requires


def test_a_failed_job_runs_again_after_its_delay_and_not_before(put: Producer, worker: Worker) -> None:
    put("a")
    backend, clock = worker.backend, worker.clock
    worker.retry(worker.take("a"), delay_seconds=10.0)
    assert worker.held() == []
    clock.advance(9.999)
    assert backend.promote(10, now=clock.now).moved == 0
    assert worker.reserve() == []
    clock.advance(0.001)
    assert backend.promote(10, now=clock.now).moved == 1
    job = worker.take("a")
    assert (job.attempt, job.lease_no, job.crashes) == (2, 2, 0)


def test_a_retry_without_delay_is_due_at_once(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("a")
    worker.retry(worker.take("a"), delay_seconds=0.0)
    assert backend.promote(10, now=clock.now).moved == 1
    worker.take("a")


def test_a_retried_job_queues_up_again_behind_the_others(put: Producer, worker: Worker, backend: Backend) -> None:
    put("a", "b")
    worker.retry(worker.take("a"), delay_seconds=0.0)
    backend.promote(10, now=worker.clock.now)
    put("c")
    assert worker.reserve_ids() == ["b", "a", "c"]


def test_a_retried_job_keeps_everything_it_was_enqueued_with(put: Producer, worker: Worker, backend: Backend) -> None:
    stored = new_job("a", name="n", body=b"body", queue="q", priority=9, max_retries=7, at_most_once=True)
    put.all([stored])
    first = worker.take("a")
    worker.retry(first, delay_seconds=1.0)
    worker.clock.advance(1.0)
    backend.promote(10, now=worker.clock.now)
    second = worker.take("a")
    assert second == msgspec.structs.replace(first, attempt=2, lease_no=2, reserved_at=worker.clock.now)


@requires(Capability.INSPECT)
def test_a_job_that_waits_for_its_retry_says_when_and_why(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a")
    job = worker.take("a")
    worker.retry(job, delay_seconds=0.25)
    record = record_of(backend, "a")
    assert (record.state, record.run_at, record.worker) == (JobState.RETRY, clock.ahead(0.25), None)
    assert record.history == (attempt_record(job, worker.id, "retry"),)


@requires(Capability.INSPECT)
def test_every_attempt_is_remembered_in_order(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("a", max_retries=9)
    expected: list[AttemptRecord] = []
    for _ in range(4):
        job = worker.take("a")
        expected.append(attempt_record(job, worker.id, "retry"))
        worker.retry(job, delay_seconds=0.0)
        clock.advance(0.5)
        backend.promote(10, now=clock.now)
    last = worker.take("a")
    worker.bury(last)
    expected.append(attempt_record(last, worker.id, "dead"))
    assert list(record_of(backend, "a").history) == expected
    assert record_of(backend, "a").attempt == 5


@requires(Capability.INSPECT)
def test_a_long_history_is_bounded_and_keeps_the_newest_attempts(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a", max_retries=10_000)
    written: list[AttemptRecord] = []
    for number in range(40):
        job = worker.take("a")
        text = f"{number} ü " + "x" * 5_000
        record = AttemptRecord(attempt=job.attempt, outcome="retry", worker=worker.id, traceback=text)
        worker.applied(Retry(id="a", lease_no=job.lease_no, delay_seconds=0.0, record=record))
        written.append(record)
        backend.promote(10, now=clock.now)
    kept = record_of(backend, "a").history
    assert list(kept) == written[-len(kept) :]
    newest = HISTORY_KEEP_BYTES // len(encode_record(written[-1]))
    assert newest - 1 <= len(kept) < 40, "at least the newest bytes are kept, and not everything for ever"


@requires(Capability.INSPECT)
def test_one_record_larger_than_the_whole_history_breaks_nothing(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a")
    job = worker.take("a")
    huge = AttemptRecord(attempt=1, outcome="retry", worker=worker.id, traceback="y" * (3 * HISTORY_KEEP_BYTES))
    worker.applied(Retry(id="a", lease_no=job.lease_no, delay_seconds=0.0, record=huge))
    assert len(record_of(backend, "a").history) <= 1
    backend.promote(10, now=clock.now)
    again = worker.take("a")
    worker.bury(again)
    assert record_of(backend, "a").history[-1] == attempt_record(again, worker.id, "dead")
