"""Races of jobs that come in under one id. Invariants 7 (moves are atomic), 10 (idempotent by id)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pytest

from wg_core.backend import Backend
from wg_core.job import NewJob
from wg_core.protocol import Capability
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import NewWorker, Producer, exact, new_job, queue_stats
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._fixtures import InEachState, OpenBackend
from wg_core.testing.contract._races import assert_each_in_one_place, at_once


def stored_ids(backend: Backend, jobs: Sequence[NewJob], clock: Clock) -> list[str]:
    """Enqueue and return the ids that the store says it did not know."""
    return [result.id for result in backend.enqueue(jobs, now=clock.now) if result.stored]


@requires(Capability.INSPECT, Capability.DELAY)
@pytest.mark.parametrize("size", [1, 6])
def test_an_id_enqueued_at_once_for_now_and_for_later_is_one_job(
    backend: Backend, open_backend: OpenBackend, put: Producer, clock: Clock, *, size: int
) -> None:
    put("first")  # the queue is known from now on, as it nearly always is
    producers = [open_backend() for _ in range(4)]
    ids: list[str] = []
    for turn in range(12):
        batch = [f"{turn}-{number}" for number in range(size)]
        ids += batch
        answers = at_once(
            *(
                partial(stored_ids, producer, [new_job(job_id, delay_seconds=delay) for job_id in order], clock)
                for producer, delay, order in zip(
                    producers, (0.0, 60.0, 0.0, 60.0), (batch, batch, batch[::-1], batch[::-1]), strict=True
                )
            )
        )
        assert sorted(job_id for answer in answers for job_id in answer) == sorted(batch)
    assert_each_in_one_place(backend, clock, ["first", *ids])


@requires(Capability.INSPECT, Capability.DELAY)
def test_batches_of_jobs_for_now_and_for_later_that_share_ids_store_each_once(
    backend: Backend, open_backend: OpenBackend, clock: Clock
) -> None:
    producers = [open_backend() for _ in range(4)]
    ids: list[str] = []
    for turn in range(8):
        batch = [f"{turn}-{number}" for number in range(12)]
        ids += batch
        orders = (batch, batch[::-1], batch[6:] + batch[:6], batch[::2] + batch[1::2])
        calls = []
        for producer, order in zip(producers, orders, strict=True):
            jobs = [new_job(job_id, delay_seconds=60.0 * (place % 2)) for place, job_id in enumerate(order)]
            calls.append(partial(stored_ids, producer, jobs, clock))
        assert sorted(job_id for answer in at_once(*calls) for job_id in answer) == sorted(batch)
    assert_each_in_one_place(backend, clock, ids)


@requires(Capability.INSPECT, Capability.DELAY)
def test_an_id_enqueued_again_while_its_job_moves_stays_one_job(
    backend: Backend, open_backend: OpenBackend, put: Producer, new_worker: NewWorker, clock: Clock
) -> None:
    ids = ["a", "b", "c"]
    put(*ids)
    worker, promoter = new_worker(open_backend()), open_backend()

    def move_about() -> list[str]:
        for turn in range(20):
            for job in worker.reserve():
                worker.release(job) if turn % 2 else worker.retry(job, delay_seconds=0.0)
            promoter.promote(100, now=clock.now)
        return []

    def send_again(backend: Backend, delay_seconds: float) -> list[str]:
        jobs = [new_job(job_id, delay_seconds=delay_seconds) for job_id in ids]
        return [job_id for _ in range(15) for job in jobs for job_id in stored_ids(backend, [job], clock)]

    answers = at_once(move_about, partial(send_again, open_backend(), 0.0), partial(send_again, open_backend(), 60.0))
    assert answers == [[], [], []]
    assert sorted(assert_each_in_one_place(backend, clock, ids)) == ids


@requires(Capability.INSPECT, Capability.DELAY)
@pytest.mark.parametrize("delay_seconds", [0.0, 60.0])
def test_a_first_try_that_arrives_after_its_repeat_changes_nothing(
    backend: Backend, in_each_state: InEachState, clock: Clock, *, delay_seconds: float
) -> None:
    """A call may be held up on its way while the client gives up waiting and sends it again."""
    before = assert_each_in_one_place(backend, clock, in_each_state)
    late = [new_job(job_id, delay_seconds=delay_seconds, id_is_new=True) for job_id in in_each_state]
    assert [job_id for job in late for job_id in stored_ids(backend, [job], clock)] == []
    assert assert_each_in_one_place(backend, clock, in_each_state) == before


@requires(Capability.INSPECT)
def test_an_id_enqueued_again_while_its_job_is_claimed_and_finished_runs_as_often_as_it_was_stored(
    backend: Backend, open_backend: OpenBackend, put: Producer, new_worker: NewWorker, *, clock: Clock
) -> None:
    put("first")
    worker, producers = new_worker(open_backend()), [open_backend(), open_backend()]
    worker.ack(worker.take("first"))

    def send(producer: Backend) -> int:
        return sum(len(stored_ids(producer, [new_job(f"{number % 3}")], clock)) for number in range(40))

    def work() -> int:
        done = 0
        for _ in range(40):
            jobs = worker.reserve(1)
            worker.ack(*jobs)
            done += len(jobs)
        return done

    sent_by_one, sent_by_other, done = at_once(partial(send, producers[0]), partial(send, producers[1]), work)
    while jobs := worker.reserve():
        worker.ack(*jobs)
        done += len(jobs)
    assert done == sent_by_one + sent_by_other
    assert queue_stats(backend, clock).done == done + 1
    assert exact(backend, clock).running == exact(backend, clock).ready == 0
