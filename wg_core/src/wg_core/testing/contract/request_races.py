"""One request that arrives twice at the same moment. Invariants 2 (one holder), 16 (a lost answer strands nothing)."""

from __future__ import annotations

from functools import partial

import pytest

from wg_core.backend import Backend
from wg_core.history import AttemptRecord
from wg_core.job import JobState, ReservedJob
from wg_core.outcome import Ack, Applied, Bury, Outcome, Release, Retry, Start
from wg_core.protocol import Capability
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import NewWorker, Producer, Worker, attempt_record
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._fixtures import OpenBackend
from wg_core.testing.contract._races import assert_each_in_one_place, at_once

SENDERS = 3
EACH = 4


def same_worker_on(worker: Worker, backend: Backend) -> Worker:
    """Return the worker as it is when its next call takes another connection."""
    return Worker(backend, worker.clock, worker.id)


@requires(Capability.INSPECT)
@pytest.mark.parametrize("is_first", [True, False], ids=["first request", "later request"])
def test_a_reserve_that_arrives_twice_at_once_reserves_once_and_answers_both(
    backend: Backend, open_backend: OpenBackend, put: Producer, new_worker: NewWorker, *, clock: Clock, is_first: bool
) -> None:
    backends = [open_backend() for _ in range(SENDERS)]
    ids: list[str] = []
    worker = new_worker()
    for turn in range(1, 9):
        worker = new_worker() if is_first else worker
        batch = [f"{turn}-{number}" for number in range(3 * EACH)]
        put(*batch, queue=f"q{turn % 2}")
        ids += batch
        calls = [partial(same_worker_on(worker, each).reserve, EACH, request_no=turn) for each in backends]
        jobs, *others = at_once(*calls)
        assert len(jobs) == EACH
        assert others == [jobs] * (SENDERS - 1)
        assert worker.held() == sorted((job.id, job.lease_no) for job in jobs)
        worker.ack(*jobs)
    assert set(assert_each_in_one_place(backend, clock, ids).values()) == {JobState.READY}


def one_of_each(jobs: list[ReservedJob], worker: Worker) -> list[Outcome]:
    """Return outcomes of each kind, some of which are lost."""
    acked, retried, buried, released, started = jobs

    def record(job: ReservedJob, outcome: str) -> AttemptRecord:
        return attempt_record(job, worker.id, outcome)

    return [
        Ack(id=acked.id, lease_no=1),
        Retry(id=retried.id, lease_no=1, delay_seconds=60.0, record=record(retried, "retry")),
        Ack(id=released.id, lease_no=99),
        Bury(id=buried.id, lease_no=1, record=record(buried, "dead")),
        Release(id=released.id, lease_no=1, delay_seconds=60.0),
        Start(id=started.id, lease_no=1),
        Ack(id="nobody", lease_no=1),
    ]


@requires(Capability.INSPECT)
@pytest.mark.parametrize("is_first", [True, False], ids=["first request", "later request"])
def test_a_report_that_arrives_twice_at_once_is_applied_once_and_answers_both(
    backend: Backend, open_backend: OpenBackend, put: Producer, new_worker: NewWorker, *, clock: Clock, is_first: bool
) -> None:
    backends = [open_backend() for _ in range(SENDERS)]
    ids: list[str] = []
    worker = new_worker()
    for turn in range(1, 9):
        worker = new_worker() if is_first else worker
        batch = [f"{turn}-{number}" for number in range(5)]
        put(*batch)
        ids += batch
        outcomes = one_of_each(worker.reserve(5), worker)
        calls = [partial(same_worker_on(worker, each).report, *outcomes, request_no=2 * turn) for each in backends]
        applied, lost = Applied.APPLIED, Applied.LOST
        assert at_once(*calls) == [[applied, applied, lost, applied, applied, applied, lost]] * SENDERS
        assert worker.held() == [(batch[4], 1)]
        worker.report(Ack(id=batch[4], lease_no=1), request_no=2 * turn + 1)
    states = assert_each_in_one_place(backend, clock, ids)
    stored = {state: list(states.values()).count(state) for state in states.values()}
    assert stored == {JobState.RETRY: 8, JobState.DEAD: 8, JobState.SCHEDULED: 8}
