"""Races of operators with workers, promoters and each other. Invariants 7 (moves are atomic), 13 (counts)."""

from __future__ import annotations

from functools import partial

import pytest

from wg_core.backend import Backend
from wg_core.job import JobState, ReservedJob
from wg_core.outcome import Outcome, Release, Retry
from wg_core.protocol import (
    Action,
    CancelJobs,
    Capability,
    DeleteJobs,
    ReprioritiseJobs,
    RequeueJobs,
    RescheduleJobs,
    Retention,
)
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import NewWorker, Producer, Worker, attempt_record, record_of
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._fixtures import OpenBackend
from wg_core.testing.contract._races import assert_each_in_one_place, at_once

ROUNDS = range(7)
EACH = 6
ACTIONS: list[Action] = [
    CancelJobs(),
    DeleteJobs(),
    RequeueJobs(),
    ReprioritiseJobs(9),
    RescheduleJobs(delay_seconds=60.0),
]


def name_of(action: Action) -> str:
    """Return how pytest calls a case."""
    return type(action).__name__


def alter(operator: Backend, ids: list[str], action: Action, clock: Clock) -> list[str]:
    """Alter page by page, against the order of the queue; return what was changed."""
    backwards = ids[::-1]
    pages = [backwards[start : start + 2] for start in range(0, len(ids), 2)]
    return [job_id for page in pages for job_id in operator.alter(page, action, now=clock.now).changed]


def assert_changed(
    backend: Backend, states: dict[str, JobState], changed: list[str], action: Action, *allowed: JobState
) -> None:
    """Assert that those that were changed show it; `allowed`: where a changed job may have gone on to."""
    for job_id in changed:
        match action:
            case DeleteJobs():
                assert job_id not in states
            case ReprioritiseJobs(priority):
                assert record_of(backend, job_id).priority == priority
            case RequeueJobs():
                assert states[job_id] in {JobState.READY, *allowed}
            case RescheduleJobs():
                assert states[job_id] in {JobState.SCHEDULED, *allowed}


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
@pytest.mark.parametrize("action", ACTIONS, ids=name_of)
def test_jobs_altered_while_they_are_reserved_have_one_fate(
    backend: Backend, open_backend: OpenBackend, put: Producer, new_worker: NewWorker, *, clock: Clock, action: Action
) -> None:
    operator, worker = open_backend(), new_worker(open_backend())
    ids: list[str] = []
    deleted = 0
    for turn in ROUNDS:
        batch, queue = [f"{turn}-{number}" for number in range(EACH)], f"q{turn}"
        ids += batch
        put(*batch, queue=queue)
        if isinstance(action, RequeueJobs):
            for job in worker.reserve(EACH, queues=[queue]):
                worker.bury(job)

        def take_one_by_one(queue: str = queue) -> list[str]:
            return [job_id for _ in range(EACH) for job_id in worker.reserve_ids(1, queues=[queue])]

        changed, taken = at_once(partial(alter, operator, batch, action, clock), take_one_by_one)
        deleted += len(changed) if isinstance(action, DeleteJobs) else 0
        states = assert_each_in_one_place(backend, clock, ids, deleted=deleted)
        assert_changed(backend, states, changed, action, JobState.RUNNING)
        running = {job_id for job_id in batch if states.get(job_id) is JobState.RUNNING}
        if isinstance(action, CancelJobs):  # of a running job it is a request
            assert running == set(taken)
        else:
            assert running == set(taken) and (
                isinstance(action, ReprioritiseJobs | RequeueJobs) or not running & set(changed)
            )


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
@pytest.mark.parametrize("action", ACTIONS, ids=name_of)
def test_jobs_altered_while_they_are_promoted_have_one_fate(
    backend: Backend, open_backend: OpenBackend, put: Producer, clock: Clock, *, action: Action
) -> None:
    operator, promoters = open_backend(), [open_backend(), open_backend()]
    ids: list[str] = []
    deleted = 0
    for turn in ROUNDS:
        batch = [f"{turn}-{number}" for number in range(EACH)]
        ids += batch
        put(*batch, delay_seconds=1.0)
        clock.advance(1.0)

        def promote(promoter: Backend) -> list[str]:
            for _ in range(EACH):
                promoter.promote(2, now=clock.now)
            return []

        changed, *_ = at_once(
            partial(alter, operator, batch, action, clock), *(partial(promote, each) for each in promoters)
        )
        deleted += len(changed) if isinstance(action, DeleteJobs) else 0
        states = assert_each_in_one_place(backend, clock, ids, deleted=deleted)
        assert_changed(backend, states, changed, action)
        refused = set(batch) - set(changed)
        assert not refused or isinstance(action, RequeueJobs), "a waiting job is always found, wherever it moves to"
        assert {states[job_id] for job_id in refused} <= {JobState.READY}


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
@pytest.mark.parametrize("action", ACTIONS, ids=name_of)
def test_jobs_altered_while_they_are_reported_have_one_fate(
    backend: Backend, open_backend: OpenBackend, put: Producer, new_worker: NewWorker, *, clock: Clock, action: Action
) -> None:
    operator, worker = open_backend(), new_worker(open_backend())
    ids: list[str] = []
    deleted = 0
    for turn in ROUNDS:
        batch, queue = [f"{turn}-{number}" for number in range(EACH)], f"q{turn}"
        ids += batch
        put(*batch, queue=queue)
        jobs = worker.reserve(EACH, queues=[queue])

        def give_away(jobs: list[ReservedJob] = jobs) -> list[str]:
            for start in range(0, EACH, 2):
                worker.applied(*(_retry_or_release(job, worker) for job in jobs[start : start + 2]))
            return []

        changed, _ = at_once(partial(alter, operator, batch, action, clock), give_away)
        deleted += len(changed) if isinstance(action, DeleteJobs) else 0
        states = assert_each_in_one_place(backend, clock, ids, deleted=deleted)
        assert_changed(backend, states, changed, action)
        if isinstance(action, CancelJobs):
            assert (sorted(changed), set(batch) & states.keys()) == (batch, set())
        assert worker.held() == []


def _retry_or_release(job: ReservedJob, worker: Worker) -> Outcome:
    """Return the outcome of a job by its number: to retry, to ready or to scheduled."""
    number = int(job.id.partition("-")[2])
    if number % 3 == 0:
        record = attempt_record(job, worker.id, "retry")
        return Retry(id=job.id, lease_no=job.lease_no, delay_seconds=60.0, record=record)
    return Release(id=job.id, lease_no=job.lease_no, delay_seconds=60.0 * (number % 3 - 1))


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
def test_operators_who_alter_the_same_jobs_in_any_order_do_not_get_in_each_others_way(
    backend: Backend, open_backend: OpenBackend, put: Producer, clock: Clock
) -> None:
    operators = [open_backend() for _ in range(4)]
    actions: tuple[Action, ...] = (ReprioritiseJobs(5), RescheduleJobs(delay_seconds=60.0), RequeueJobs(), CancelJobs())
    ids: list[str] = []
    for turn in ROUNDS:
        batch = [f"{turn}-{number}" for number in range(2 * EACH)]
        ids += batch
        put(*batch[:EACH])
        put(*batch[EACH:], delay_seconds=30.0)
        orders = (batch, batch[::-1], batch[EACH:] + batch[:EACH], batch[::2] + batch[1::2])
        calls = [
            partial(operator.alter, order, action, now=clock.now)
            for operator, order, action in zip(operators, orders, actions, strict=True)
        ]
        *_, cancelled = at_once(*calls)
        assert sorted(cancelled.changed) == sorted(batch), "a waiting job is always found, wherever it moves to"
        assert assert_each_in_one_place(backend, clock, ids) == {}


@requires(Capability.INSPECT, Capability.ALTER)
def test_a_dead_job_that_is_pruned_and_requeued_at_once_has_one_fate(
    backend: Backend, open_backend: OpenBackend, put: Producer, new_worker: NewWorker, *, clock: Clock
) -> None:
    operator, pruners = open_backend(), [open_backend(), open_backend()]
    worker = new_worker()
    ids: list[str] = []
    deleted = 0
    for turn in ROUNDS:
        batch, queue = [f"{turn}-{number}" for number in range(EACH)], f"q{turn}"
        ids += batch
        put(*batch, queue=queue)
        for job in worker.reserve(EACH, queues=[queue]):
            worker.bury(job)

        def prune(pruner: Backend) -> list[str]:
            return ["pruned"] * sum(pruner.prune(Retention(dead_most=0), 2, now=clock.now) for _ in range(EACH))

        requeued, *pruned = at_once(
            partial(alter, operator, batch, RequeueJobs(), clock), *(partial(prune, each) for each in pruners)
        )
        deleted += sum(len(answer) for answer in pruned)
        states = assert_each_in_one_place(backend, clock, ids, deleted=deleted)
        assert {job_id for job_id in batch if states.get(job_id) is JobState.READY} == set(requeued)


@requires(Capability.INSPECT, Capability.PAUSE)
def test_a_queue_paused_while_workers_reserve_gives_nothing_once_the_pause_was_answered(
    backend: Backend, open_backend: OpenBackend, put: Producer, new_worker: NewWorker, *, clock: Clock
) -> None:
    operator, workers = open_backend(), [new_worker(open_backend()) for _ in range(2)]
    ids: list[str] = []
    for turn in ROUNDS:
        batch, queue = [f"{turn}-{number}" for number in range(EACH)], f"q{turn}"
        ids += batch
        put(*batch, queue=queue)

        def pause(queue: str = queue) -> list[str]:
            operator.pause(queue)
            return []

        def take_one_by_one(worker: Worker, queue: str = queue) -> list[str]:
            return [job_id for _ in range(EACH) for job_id in worker.reserve_ids(1, queues=[queue])]

        _, *taken = at_once(pause, *(partial(take_one_by_one, each) for each in workers))
        assert workers[0].reserve(queues=[queue]) == []
        operator.resume(queue)
        rest = [job.id for job in workers[1].reserve(queues=[queue])]
        assert sorted([*rest, *(job_id for answer in taken for job_id in answer)]) == batch
    assert set(assert_each_in_one_place(backend, clock, ids).values()) == {JobState.RUNNING}


@requires(Capability.INSPECT, Capability.DELAY)
def test_many_promoters_and_few_due_jobs_move_each_job_once(
    backend: Backend, open_backend: OpenBackend, put: Producer, clock: Clock
) -> None:
    promoters = [open_backend() for _ in range(5)]
    ids: list[str] = []
    for turn in range(2 * len(ROUNDS)):
        batch = [f"{turn}-{number}" for number in range(1 + turn % 3)]
        ids += batch
        put(*batch, delay_seconds=1.0)
        clock.advance(1.0)
        answers = at_once(*(partial(each.promote, 100, now=clock.now) for each in promoters))
        assert sum(answer.moved for answer in answers) == len(batch)
    assert list(assert_each_in_one_place(backend, clock, ids).values()) == [JobState.READY] * len(ids)
