"""Races between threads. Invariants 2 (one holder), 3 (fencing), 7 (moves are atomic), 10 (idempotent by id)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from wg_core.backend import Backend
from wg_core.job import ReservedJob
from wg_core.outcome import Ack, Applied
from wg_core.protocol import CancelJobs, Capability, RequeueJobs
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import (
    LEASE_SECONDS,
    NewWorker,
    Producer,
    Worker,
    exact,
    new_job,
    queue_stats,
)
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._fixtures import OpenBackend
from wg_core.testing.contract._races import at_once

ROUNDS = range(3)


@pytest.fixture(params=["one instance", "an instance each"])
def instances(request: pytest.FixtureRequest, backend: Backend, open_backend: OpenBackend) -> Callable[[], Backend]:
    """Give each racer its backend: all the same, or one for each."""
    return open_backend if request.param == "an instance each" else lambda: backend


def take_all(worker: Worker, limit: int = 3) -> list[ReservedJob]:
    """Reserve until nothing is left."""
    taken: list[ReservedJob] = []
    while jobs := worker.reserve(limit):
        taken += jobs
    return taken


@pytest.mark.parametrize("limit", [1, 7])
def test_many_workers_never_get_one_job_twice(
    put: Producer, new_worker: NewWorker, instances: Callable[[], Backend], limit: int
) -> None:
    ids = [f"{number}" for number in range(300)]
    put(*ids)
    workers = [new_worker(instances()) for _ in range(6)]
    taken = [job for jobs in at_once(*(partial(take_all, worker, limit) for worker in workers)) for job in jobs]
    assert sorted(job.id for job in taken) == sorted(ids)
    assert {(job.attempt, job.lease_no) for job in taken} == {(1, 1)}


def test_many_workers_on_several_queues_never_get_one_job_twice(
    put: Producer, new_worker: NewWorker, instances: Callable[[], Backend]
) -> None:
    put.all([new_job(f"{number}", queue=f"q{number % 4}", priority=number % 3) for number in range(200)])
    taken = at_once(*(partial(take_all, new_worker(instances())) for _ in range(6)))
    assert sorted(int(job.id) for jobs in taken for job in jobs) == list(range(200))


def test_jobs_enqueued_while_others_reserve_are_neither_lost_nor_doubled(
    new_worker: NewWorker, instances: Callable[[], Backend], clock: Clock
) -> None:
    def produce(producer: Backend, first: int) -> list[str]:
        ids = [f"{number}" for number in range(first, first + 60)]
        for start in range(0, 60, 4):
            producer.enqueue([new_job(job_id) for job_id in ids[start : start + 4]], now=clock.now)
        return ids

    def consume(worker: Worker) -> list[str]:
        taken: list[str] = []
        for _ in range(40):
            jobs = worker.reserve(3)
            worker.ack(*jobs)
            taken += [job.id for job in jobs]
        return taken

    consumers = [partial(consume, new_worker(instances())) for _ in range(3)]
    answers = at_once(partial(produce, instances(), 0), partial(produce, instances(), 60), *consumers)
    taken = [job_id for answer in answers[2:] for job_id in answer]
    rest = [job.id for job in take_all(new_worker())]
    assert sorted(taken + rest, key=int) == [f"{number}" for number in range(120)]


def test_ids_enqueued_by_many_at_once_are_stored_once(
    new_worker: NewWorker, instances: Callable[[], Backend], clock: Clock
) -> None:
    batch = [new_job(f"{number}") for number in range(50)]
    answers = at_once(*(partial(instances().enqueue, batch, now=clock.now) for _ in range(6)))
    stored = [result.id for results in answers for result in results if result.stored]
    assert sorted(stored) == sorted(job.id for job in batch)
    assert sorted(new_worker().reserve_ids()) == sorted(stored)


def test_overlapping_batches_in_opposite_order_do_not_get_in_each_others_way(
    new_worker: NewWorker, instances: Callable[[], Backend], clock: Clock
) -> None:
    batch = [new_job(f"{number}") for number in range(100)]
    batches = [batch, batch[::-1], batch[50:] + batch[:50], batch[::2] + batch[1::2]]
    answers = at_once(*(partial(instances().enqueue, jobs, now=clock.now) for jobs in batches))
    assert sum(result.stored for results in answers for result in results) == 100
    assert len(new_worker().reserve(200)) == 100


@requires(Capability.DELAY)
def test_many_promoters_move_each_job_once(
    put: Producer, new_worker: NewWorker, instances: Callable[[], Backend], clock: Clock
) -> None:
    put.all([new_job(f"{number}", delay_seconds=1.0) for number in range(200)])
    clock.advance(1.0)

    def promote_all(backend: Backend) -> int:
        moved = 0
        while (page := backend.promote(7, now=clock.now).moved) > 0:
            moved += page
        return moved

    assert sum(at_once(*(partial(promote_all, instances()) for _ in range(6)))) == 200
    assert sorted(int(job.id) for job in take_all(new_worker(), 50)) == list(range(200))


def test_many_rescuers_take_each_job_once_and_charge_it_once(
    put: Producer, new_worker: NewWorker, instances: Callable[[], Backend], clock: Clock
) -> None:
    put(*(f"{number}" for number in range(120)))
    for _ in range(4):
        new_worker().reserve(30)
    clock.advance(LEASE_SECONDS + 1.0)

    def rescue_all(backend: Backend) -> list[str]:
        rescued: list[str] = []
        while page := backend.rescue(7, now=clock.now):
            rescued += [job.id for job in page]
        return rescued

    answers = at_once(*(partial(rescue_all, instances()) for _ in range(6)))
    rescued = [job_id for answer in answers for job_id in answer]
    assert sorted(rescued, key=int) == [f"{number}" for number in range(120)]
    again = take_all(new_worker(), 50)
    assert {(job.attempt, job.lease_no, job.crashes) for job in again} == {(2, 2, 1)}
    assert len(again) == 120


@pytest.mark.parametrize("round_no", ROUNDS)
def test_a_report_and_a_rescue_at_once_settle_each_job_one_way(
    put: Producer, new_worker: NewWorker, instances: Callable[[], Backend], clock: Clock, *, round_no: int
) -> None:
    put(*(f"{number}" for number in range(40)))
    worker = new_worker(instances())
    jobs = worker.reserve(40)
    clock.advance(LEASE_SECONDS + 1.0)
    rescuer = instances()

    def ack_one_by_one() -> list[str]:
        acks = [Ack(id=job.id, lease_no=job.lease_no) for job in jobs]
        return [ack.id for ack in acks if worker.report(ack) == [Applied.APPLIED]]

    def rescue_one_by_one() -> list[str]:
        rescued: list[str] = []
        while page := rescuer.rescue(1 + round_no, now=clock.now):
            rescued += [job.id for job in page]
        return rescued

    done, rescued = at_once(ack_one_by_one, rescue_one_by_one)
    assert sorted(done + rescued, key=int) == [f"{number}" for number in range(40)]
    assert sorted(job.id for job in take_all(new_worker(), 50)) == sorted(rescued)


@pytest.mark.parametrize("round_no", ROUNDS)
def test_retire_and_rescue_at_once_settle_each_job_once(
    put: Producer, new_worker: NewWorker, instances: Callable[[], Backend], clock: Clock, *, round_no: int
) -> None:
    put(*(f"{number}" for number in range(40)))
    worker = new_worker()
    started = [(job.id, job.lease_no) for job in worker.reserve(40)]
    clock.advance(LEASE_SECONDS + 1.0)
    answers = at_once(
        partial(instances().rescue, 10 * (1 + round_no), now=clock.now),
        partial(instances().retire, worker.id, started, "killed", now=clock.now),
        partial(instances().retire, worker.id, started, "killed", now=clock.now),
    )
    settled = [job.id for rescued in answers for job in rescued]
    assert len(settled) == len(set(settled))
    settled += [job.id for job in instances().rescue(100, now=clock.now)]
    assert sorted(settled, key=int) == [f"{number}" for number in range(40)]
    assert {job.crashes for job in take_all(new_worker(), 50)} == {1}


@pytest.mark.parametrize("round_no", ROUNDS)
def test_a_beat_and_a_rescue_at_once_agree_on_who_lives(
    put: Producer, new_worker: NewWorker, instances: Callable[[], Backend], clock: Clock, *, round_no: int
) -> None:
    put(*(f"{number}" for number in range(8)))
    workers = [new_worker(instances()) for _ in range(4)]
    for worker in workers:
        worker.reserve(2)
    clock.advance(LEASE_SECONDS + 1.0)

    def beat_each() -> set[str]:
        return {worker.id for worker in workers[round_no % 2 :: 2] if not worker.beat().lease_lost}

    def rescue() -> set[str]:
        return {job.worker for job in instances().rescue(100, now=clock.now)}

    alive, rescued = at_once(beat_each, rescue)
    assert not alive & rescued
    assert {worker.id for worker in workers if len(worker.held()) == 2} == alive


@requires(Capability.INSPECT, Capability.ALTER)
@pytest.mark.parametrize("round_no", ROUNDS)
def test_a_cancel_and_an_ack_at_once_end_each_job_once(
    put: Producer, new_worker: NewWorker, backend: Backend, clock: Clock, *, round_no: int
) -> None:
    ids = [f"{number}" for number in range(20 + round_no)]
    put(*ids)
    worker = new_worker()
    jobs = worker.reserve()

    def ack_one_by_one() -> int:
        return sum(worker.report(Ack(id=job.id, lease_no=job.lease_no)) == [Applied.APPLIED] for job in jobs)

    def cancel_one_by_one() -> int:
        return sum(len(backend.alter([job_id], CancelJobs(), now=clock.now).changed) for job_id in reversed(ids))

    acked, _ = at_once(ack_one_by_one, cancel_one_by_one)
    stats = queue_stats(backend, clock)
    assert (acked, stats.done, stats.cancelled, stats.running) == (len(ids), len(ids), 0, 0)


@requires(Capability.INSPECT, Capability.ALTER)
def test_a_cancel_and_a_reserve_at_once_give_each_job_one_fate(
    put: Producer, new_worker: NewWorker, instances: Callable[[], Backend], backend: Backend, *, clock: Clock
) -> None:
    ids = [f"{number}" for number in range(60)]
    put(*ids)
    worker, operator = new_worker(instances()), instances()

    def cancel_one_by_one() -> list[ReservedJob]:
        for job_id in reversed(ids):
            operator.alter([job_id], CancelJobs(), now=clock.now)
        return []

    taken, _ = at_once(partial(take_all, worker, 1), cancel_one_by_one)
    stats = queue_stats(backend, clock)
    assert (stats.cancelled, stats.running, stats.ready) == (60 - len(taken), len(taken), 0)
    assert worker.held() == sorted((job.id, 1) for job in taken)


@requires(Capability.INSPECT, Capability.ALTER)
def test_two_operators_requeue_a_dead_job_once(
    put: Producer, worker: Worker, instances: Callable[[], Backend], backend: Backend, *, clock: Clock
) -> None:
    ids = [f"{number}" for number in range(30)]
    put(*ids)
    for job in worker.reserve():
        worker.bury(job)
    answers = at_once(*(partial(instances().alter, ids, RequeueJobs(), now=clock.now) for _ in range(4)))
    changed = [job_id for answer in answers for job_id in answer.changed]
    assert sorted(changed) == sorted(ids)
    assert (exact(backend, clock).ready, exact(backend, clock).dead) == (30, 0)


def test_jobs_passed_from_hand_to_hand_never_burn_an_attempt(
    put: Producer, new_worker: NewWorker, instances: Callable[[], Backend]
) -> None:
    put("a", "b", "c")

    def juggle(worker: Worker) -> None:
        for _ in range(30):
            for job in worker.reserve(1):
                worker.release(job)

    at_once(*(partial(juggle, new_worker(instances())) for _ in range(4)))
    jobs = new_worker().reserve()
    assert [(job.id, job.attempt) for job in jobs] == [("a", 1), ("b", 1), ("c", 1)]
