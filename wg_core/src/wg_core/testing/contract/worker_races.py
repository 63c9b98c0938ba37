"""Races about who lives and who died. Invariants 2 (one holder), 3 (fencing), 7 (moves are atomic), 12, 13."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from wg_core.backend import Backend
from wg_core.errors import LeaseLostError
from wg_core.job import ReservedJob
from wg_core.outcome import Ack, Applied, Bury, Cancel, Outcome, Release, Retry
from wg_core.protocol import Capability, WorkerBeat
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import (
    LEASE_SECONDS,
    NewWorker,
    Producer,
    Worker,
    attempt_record,
    exact,
    queue_stats,
)
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._fixtures import OpenBackend, Residue
from wg_core.testing.contract._races import assert_each_in_one_place, at_once

ROUNDS = range(8)


def reserve_if_alive(worker: Worker, limit: int) -> list[str]:
    """Reserve; nothing when the lease is lost."""
    try:
        return worker.reserve_ids(limit)
    except LeaseLostError:
        return []


def settle_all_of_the_dead(backend: Backend, clock: Clock) -> list[str]:
    """Let every lease run out and rescue until nothing is left; return the ids."""
    clock.advance(LEASE_SECONDS + 1.0)
    rescued: list[str] = []
    while page := backend.rescue(50, now=clock.now):
        rescued += [job.id for job in page]
    return rescued


@requires(Capability.INSPECT)
def test_a_worker_retired_while_it_reserves_takes_nothing_with_it(
    backend: Backend, open_backend: OpenBackend, put: Producer, new_worker: NewWorker, *, clock: Clock
) -> None:
    its_own, supervisor = open_backend(), open_backend()
    ids = [f"{number}" for number in range(4)]
    put(*ids)
    for _ in range(2 * len(ROUNDS)):
        worker = new_worker(its_own)
        at_once(
            partial(reserve_if_alive, worker, 4), partial(supervisor.retire, worker.id, [], "killed", now=clock.now)
        )
        # The retire may have come first: then there was a live lease, and the reserve found it or not.
        assert worker.held() == []
        assert_each_in_one_place(backend, clock, ids)
    assert new_worker().reserve_ids() == ids


@requires(Capability.INSPECT)
def test_a_worker_rescued_while_it_reserves_takes_nothing_with_it(
    backend: Backend, open_backend: OpenBackend, put: Producer, new_worker: NewWorker, *, clock: Clock
) -> None:
    its_own, rescuers = open_backend(), [open_backend(), open_backend()]
    ids = [f"{number}" for number in range(4)]
    put(*ids)
    for _ in range(2 * len(ROUNDS)):
        worker = new_worker(its_own)
        later = clock.now + round(1000 * (LEASE_SECONDS + 1.0))
        at_once(partial(reserve_if_alive, worker, 4), *(partial(each.rescue, 2, now=later) for each in rescuers))
        settle_all_of_the_dead(backend, clock)
        assert worker.held() == []
        assert_each_in_one_place(backend, clock, ids)
    assert sorted(new_worker().reserve_ids()) == ids


@requires(Capability.INSPECT)
def test_a_beat_and_many_rescues_at_once_agree_on_each_worker(
    backend: Backend, open_backend: OpenBackend, put: Producer, new_worker: NewWorker, *, clock: Clock
) -> None:
    its_own, rescuers = open_backend(), [open_backend(), open_backend()]
    ids: list[str] = []
    for turn in range(2 * len(ROUNDS)):
        batch, queue = [f"{turn}-{number}" for number in range(3)], f"q{turn}"
        ids += batch
        put(*batch, queue=queue)
        worker = new_worker(its_own)
        worker.reserve(3, queues=[queue])
        clock.advance(LEASE_SECONDS + 1.0)

        def beat(worker: Worker = worker) -> list[str]:
            return [] if worker.beat().lease_lost else ["alive"]

        def rescue(rescuer: Backend) -> list[str]:
            return [job.id for _ in range(4) for job in rescuer.rescue(1, now=clock.now)]

        alive, *rescued = at_once(beat, *(partial(rescue, each) for each in rescuers))
        rescued.append([job.id for job in backend.rescue(50, now=clock.now)])  # rescuers may pass over what others hold
        held = [job_id for job_id, _ in worker.held()]
        taken = sorted(job_id for answer in rescued for job_id in answer)
        assert (held, taken) == ((batch, []) if alive else ([], batch))
        assert worker.beat().lease_lost == (not alive)
        assert_each_in_one_place(backend, clock, ids)
        backend.retire(worker.id, [], "the round is over", now=clock.now)


OUTCOMES: dict[str, Callable[[ReservedJob, Worker], Outcome]] = {
    "ack": lambda job, _: Ack(id=job.id, lease_no=job.lease_no),
    "cancel": lambda job, _: Cancel(id=job.id, lease_no=job.lease_no),
    "release": lambda job, _: Release(id=job.id, lease_no=job.lease_no),
    "retry": lambda job, worker: Retry(
        id=job.id, lease_no=job.lease_no, delay_seconds=5.0, record=attempt_record(job, worker.id, "retry")
    ),
    "bury": lambda job, worker: Bury(id=job.id, lease_no=job.lease_no, record=attempt_record(job, worker.id, "dead")),
}


def report_in_parts(worker: Worker, jobs: list[ReservedJob]) -> list[str]:
    """Report outcomes of all kinds, three at a time; return the ids of those that were applied."""
    kinds = list(OUTCOMES.values())
    outcomes = [kinds[place % len(kinds)](job, worker) for place, job in enumerate(jobs)]
    applied: list[str] = []
    for start in range(0, len(outcomes), 3):
        part = outcomes[start : start + 3]
        answers = zip(part, worker.report(*part), strict=True)
        applied += [outcome.id for outcome, answer in answers if answer is Applied.APPLIED]
    return applied


@requires(Capability.INSPECT)
@pytest.mark.parametrize("ending", ["retire", "rescue"])
def test_outcomes_reported_while_their_worker_is_given_up_settle_each_job_one_way(
    backend: Backend, open_backend: OpenBackend, put: Producer, new_worker: NewWorker, *, clock: Clock, ending: str
) -> None:
    its_own, others = open_backend(), [open_backend(), open_backend()]
    ids: list[str] = []
    for turn in ROUNDS:
        batch = [f"{turn}-{number}" for number in range(2 * len(OUTCOMES))]
        put(*batch)
        ids += batch
        worker = new_worker(its_own)
        jobs = worker.reserve(50)
        if ending == "rescue":
            clock.advance(LEASE_SECONDS + 1.0)

        def give_up(other: Backend, worker: Worker = worker) -> list[str]:
            if ending == "rescue":
                return [job.id for job in other.rescue(4, now=clock.now)]
            return [job.id for job in other.retire(worker.id, [], "-", now=clock.now)]

        report = partial(report_in_parts, worker, jobs)
        applied, *rescued = at_once(report, *(partial(give_up, each) for each in others))
        rest = settle_all_of_the_dead(backend, clock)
        settled = sorted(applied + [job_id for answer in rescued for job_id in answer] + rest)
        assert settled == sorted(job.id for job in jobs)
        assert_each_in_one_place(backend, clock, ids)


def come_and_go(put: Producer, new_worker: NewWorker, backend: Backend, clock: Clock) -> int:
    """Let a worker live and end in peace, so that the store holds what it keeps for good; return what it did."""
    for queue in ("a", "b"):
        put(f"calm-{queue}", queue=queue)
    worker = new_worker()
    worker.ack(*worker.reserve(2))
    backend.retire(worker.id, [], "-", now=clock.now)
    return 2


def ack_one_by_one(worker: Worker, jobs: list[ReservedJob]) -> int:
    """Report one by one; return how many were applied."""
    return sum(worker.report(Ack(id=job.id, lease_no=job.lease_no)) == [Applied.APPLIED] for job in jobs)


@requires(Capability.INSPECT)
@pytest.mark.parametrize("ending", ["retire", "rescue"])
def test_totals_stay_exact_while_the_workers_that_counted_are_forgotten(
    backend: Backend,
    open_backend: OpenBackend,
    put: Producer,
    new_worker: NewWorker,
    *,
    clock: Clock,
    residue: Residue,
    ending: str,
) -> None:
    backends, others = [open_backend() for _ in range(3)], [open_backend(), open_backend()]
    done = come_and_go(put, new_worker, backend, clock)
    at_rest = dict(residue())
    for turn in ROUNDS[:5]:
        for queue in ("a", "b"):
            put(*(f"{turn}-{queue}-{number}" for number in range(9)), queue=queue)
        workers = [new_worker(each) for each in backends]
        held = [(worker, worker.reserve(6)) for worker in workers]
        if ending == "rescue":
            clock.advance(LEASE_SECONDS + 1.0)

        def give_up(other: Backend, workers: list[Worker] = workers) -> int:
            for worker in workers:
                if ending == "rescue":
                    other.rescue(2, now=clock.now)
                else:
                    other.retire(worker.id, [], "-", now=clock.now)
            return 0

        done += sum(
            at_once(*(partial(ack_one_by_one, *each) for each in held), *(partial(give_up, each) for each in others))
        )
        settle_all_of_the_dead(backend, clock)
        last = new_worker()
        rest = last.reserve(50)
        last.ack(*rest)
        done += len(rest)
        backend.retire(last.id, [], "-", now=clock.now)
    stats = exact(backend, clock)
    assert sum(queue.done + queue.failed for queue in stats.queues.values()) == done + stats.dead
    assert done + stats.dead == 2 + 18 * len(ROUNDS[:5])
    assert dict(residue()) == at_rest


def test_a_report_that_arrives_while_its_worker_is_retired_leaves_nothing_behind(
    open_backend: OpenBackend, put: Producer, new_worker: NewWorker, backend: Backend, clock: Clock, *, residue: Residue
) -> None:
    its_own, supervisor = open_backend(), open_backend()
    come_and_go(put, new_worker, backend, clock)
    at_rest = dict(residue())
    for turn in range(2 * len(ROUNDS)):
        put(*(f"{turn}-{number}" for number in range(4)), queue="a")
        worker = new_worker(its_own)
        jobs = worker.reserve(4)

        def retire(worker: Worker = worker) -> int:
            return len(supervisor.retire(worker.id, [], "-", now=clock.now))

        done, given_back = at_once(partial(ack_one_by_one, worker, jobs), retire)
        assert done + given_back == 4
        last = new_worker()
        last.ack(*last.reserve(4))
        backend.retire(last.id, [], "-", now=clock.now)
    assert dict(residue()) == at_rest


@requires(Capability.INSPECT)
def test_the_totals_of_a_worker_that_many_rescuers_forget_at_once_are_kept_once(
    backend: Backend, open_backend: OpenBackend, put: Producer, new_worker: NewWorker, *, clock: Clock, residue: Residue
) -> None:
    rescuers = [open_backend() for _ in range(4)]
    before = come_and_go(put, new_worker, backend, clock)
    at_rest = dict(residue())
    for turn in ROUNDS:
        put(*(f"{turn}-{number}" for number in range(6)), queue="a")
        workers = [new_worker(), new_worker(), new_worker()]
        for worker in workers:
            worker.reserve(2)
        clock.advance(LEASE_SECONDS + 1.0)
        backend.rescue(3, now=clock.now)  # all are gone, and some jobs of theirs are left, which they may still finish
        left = [(worker, Ack(id=job_id, lease_no=no)) for worker in workers for job_id, no in worker.held()]
        assert [worker.report(ack) for worker, ack in left] == [[Applied.APPLIED]] * 3
        at_once(*(partial(each.rescue, 10, now=clock.now) for each in rescuers))
        backend.rescue(10, now=clock.now)
        assert backend.workers(now=clock.now) == []
        assert queue_stats(backend, clock, "a").done == before // 2 + 6 * turn + 3
        last = new_worker()
        last.ack(*last.reserve(3))
        backend.retire(last.id, [], "-", now=clock.now)
    assert dict(residue()) == at_rest


def test_beats_that_name_the_same_workers_in_any_order_do_not_get_in_each_others_way(
    open_backend: OpenBackend, clock: Clock
) -> None:
    supervisors = [open_backend() for _ in range(4)]
    for turn in ROUNDS:
        workers = [f"{turn}-{number}" for number in range(6)]
        orders = (workers, workers[::-1], workers[3:] + workers[:3], workers[::2] + workers[1::2])

        def beat(supervisor: Backend, order: list[str]) -> set[bool]:
            beats = [WorkerBeat(worker=worker, lease_seconds=LEASE_SECONDS, first=True) for worker in order]
            return {news.lease_lost for news in supervisor.beat(beats, now=clock.now).news.values()}

        assert at_once(*(partial(beat, *each) for each in zip(supervisors, orders, strict=True))) == [{False}] * 4
