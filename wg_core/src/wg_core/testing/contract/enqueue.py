"""Producing jobs. Invariants 1 (no loss) and 10 (idempotent by id)."""

from __future__ import annotations

import pytest

from wg_core.backend import Backend
from wg_core.job import EnqueueResult
from wg_core.protocol import Capability
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import Producer, Worker, new_job
from wg_core.testing.contract._capabilities import assert_refused, requires


def test_a_worker_receives_the_job_as_it_was_enqueued(put: Producer, worker: Worker, clock: Clock) -> None:
    enqueued_at = clock.now
    put("a", name="send_email", body=b'{"v":1,"args":{}}', queue="mail", priority=7, max_retries=5, at_most_once=True)
    clock.advance(1.5)
    job = worker.take("a")
    assert (job.name, job.body, job.queue, job.priority) == ("send_email", b'{"v":1,"args":{}}', "mail", 7)
    assert (job.max_retries, job.at_most_once) == (5, True)
    assert (job.attempt, job.lease_no, job.crashes, job.snoozes, job.bounces) == (1, 1, 0, 0, 0)
    assert (job.enqueued_at, job.reserved_at) == (enqueued_at, clock.now)


def test_a_job_that_says_nothing_gets_the_defaults(put: Producer, worker: Worker) -> None:
    put("a")
    job = worker.take("a")
    assert (job.queue, job.priority, job.max_retries, job.at_most_once) == ("default", 0, 3, False)


def test_the_answer_is_in_the_order_of_the_batch(backend: Backend, clock: Clock) -> None:
    jobs = [new_job(job_id) for job_id in ("c", "a", "b")]
    assert backend.enqueue(jobs, now=clock.now) == [EnqueueResult(job_id, stored=True) for job_id in ("c", "a", "b")]


def test_an_empty_batch_is_answered_with_nothing(backend: Backend) -> None:
    assert backend.enqueue([]) == []


def test_a_full_batch_of_at_least_500_is_stored_whole_and_in_order(
    backend: Backend, put: Producer, worker: Worker
) -> None:
    assert backend.max_batch >= 500
    ids = [f"job-{number}" for number in range(backend.max_batch)]
    put(*ids)
    assert worker.reserve_ids(backend.max_batch) == ids


def test_a_batch_may_go_to_many_queues(put: Producer, worker: Worker) -> None:
    put.all([new_job(f"{number}", queue=f"queue {number}") for number in range(20)])
    for number in range(20):
        assert worker.reserve_ids(queues=[f"queue {number}"]) == [f"{number}"]


def test_the_same_id_again_while_the_job_waits_changes_nothing(put: Producer, backend: Backend, worker: Worker) -> None:
    put("a", body=b"first", priority=1)
    again = new_job("a", body=b"second", priority=2, queue="other")
    assert backend.enqueue([again]) == [EnqueueResult("a", stored=False)]
    job = worker.take("a")
    assert (job.body, job.priority, job.queue) == (b"first", 1, "default")
    assert worker.reserve() == []


def test_the_same_id_again_while_the_job_runs_changes_nothing(put: Producer, backend: Backend, worker: Worker) -> None:
    put("a")
    job = worker.take("a")
    assert backend.enqueue([new_job("a")]) == [EnqueueResult("a", stored=False)]
    assert worker.reserve() == []
    worker.ack(job)


def test_the_same_id_again_while_the_job_waits_for_its_retry_changes_nothing(
    put: Producer, backend: Backend, worker: Worker
) -> None:
    put("a")
    worker.retry(worker.take("a"))
    assert backend.enqueue([new_job("a")]) == [EnqueueResult("a", stored=False)]
    assert worker.reserve() == []


def test_the_same_id_again_while_the_job_is_dead_changes_nothing(
    put: Producer, backend: Backend, worker: Worker
) -> None:
    put("a")
    worker.bury(worker.take("a"))
    assert backend.enqueue([new_job("a")]) == [EnqueueResult("a", stored=False)]
    assert worker.reserve() == []


@requires(Capability.DELAY)
def test_the_same_id_again_while_the_job_is_scheduled_changes_nothing(
    put: Producer, backend: Backend, worker: Worker
) -> None:
    put("a", delay_seconds=60.0)
    assert backend.enqueue([new_job("a")]) == [EnqueueResult("a", stored=False)]
    assert worker.reserve() == []


def test_the_first_of_equal_ids_in_a_batch_wins(backend: Backend, worker: Worker) -> None:
    batch = [new_job("a", body=b"1"), new_job("b"), new_job("a", body=b"2")]
    assert [result.stored for result in backend.enqueue(batch)] == [True, True, False]
    assert [(job.id, job.body) for job in worker.reserve()] == [("a", b"1"), ("b", b'{"v":1}')]


def test_known_ids_do_not_keep_the_rest_of_a_batch_from_being_stored(
    put: Producer, backend: Backend, worker: Worker
) -> None:
    put("b")
    results = backend.enqueue([new_job(job_id) for job_id in ("a", "b", "c")])
    assert [(result.id, result.stored) for result in results] == [("a", True), ("b", False), ("c", True)]
    assert worker.reserve_ids() == ["b", "a", "c"]


def test_an_id_is_free_again_after_its_job_ended(put: Producer, worker: Worker) -> None:
    put("a", body=b"1")
    worker.ack(worker.take("a"))
    put("a", body=b"2")
    job = worker.take("a")
    assert (job.body, job.attempt) == (b"2", 1)


def test_what_is_not_declared_is_refused_by_name(backend: Backend) -> None:
    for capability in frozenset(Capability) - backend.capabilities:
        assert_refused(backend, capability)


def test_a_refused_batch_leaves_nothing_behind(backend: Backend, put: Producer, worker: Worker) -> None:
    for capability in (Capability.UNIQUE, Capability.RESULTS, Capability.TRANSACTIONAL, Capability.DELAY):
        if capability not in backend.capabilities:
            assert_refused(backend, capability)
    assert worker.reserve() == []
    put("a")


@pytest.mark.parametrize("priority", [-100, -1, 0, 1, 100])
def test_every_priority_comes_back_as_it_was_given(put: Producer, worker: Worker, priority: int) -> None:
    put("a", priority=priority)
    assert worker.take("a").priority == priority
