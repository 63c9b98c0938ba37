"""Looking at jobs: get and find."""

from __future__ import annotations

import pytest

from wg_core.backend import Backend
from wg_core.job import JobRecord, JobState
from wg_core.protocol import (
    Capability,
    JobFilter,
)
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import (
    NewWorker,
    Producer,
    Worker,
    found_ids,
    new_job,
)
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._fixtures import InEachState


@requires(Capability.INSPECT)
def test_get_returns_what_exists_in_the_order_asked_for(put: Producer, backend: Backend) -> None:
    put("a", "b", "c")
    assert [record.id for record in backend.get(["c", "nothing", "a"])] == ["c", "a"]
    assert backend.get([]) == []


@requires(Capability.INSPECT)
def test_get_returns_everything_that_was_stored(put: Producer, backend: Backend, clock: Clock) -> None:
    put.all(
        [
            new_job("a", name="n", body=b"b", queue="q", priority=-7, max_retries=9, at_most_once=True),
            new_job("e", expires_in_seconds=1.5),
        ]
    )
    assert backend.get(["a", "e"]) == [
        JobRecord(
            id="a", name="n", queue="q", state=JobState.READY, priority=-7, body=b"b", attempt=0, max_retries=9,
            lease_no=0, at_most_once=True, enqueued_at=clock.now,
        ),
        JobRecord(
            id="e", name="work", queue="default", state=JobState.READY, priority=0, body=b'{"v":1}', attempt=0,
            max_retries=3, lease_no=0, enqueued_at=clock.now, expires_at=clock.ahead(1.5),
        ),
    ]  # fmt: skip


@requires(Capability.INSPECT, Capability.DELAY)
def test_find_lists_the_jobs_of_each_state(backend: Backend, in_each_state: InEachState) -> None:
    for state in in_each_state:
        assert found_ids(backend, JobState(state)) == [state]


@requires(Capability.INSPECT)
@pytest.mark.parametrize("limit", [1, 3, 7, 100])
def test_pages_of_ready_jobs_follow_the_order_of_reserve_in_each_queue(
    put: Producer, backend: Backend, limit: int
) -> None:
    put("b-low", queue="b", priority=-1)
    put("b-1", "b-2", queue="b")
    put("a-1", queue="a")
    put("a-high", queue="a", priority=1)
    put("c-1", queue="c")
    assert found_ids(backend, JobState.READY, limit) == ["a-high", "a-1", "b-1", "b-2", "b-low", "c-1"]
    assert found_ids(backend, JobState.READY, limit, queue="b") == ["b-1", "b-2", "b-low"]
    assert found_ids(backend, JobState.READY, limit, queue="unknown") == []


@requires(Capability.INSPECT, Capability.DELAY)
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_pages_of_scheduled_jobs_follow_their_times(put: Producer, backend: Backend, limit: int) -> None:
    put.all([new_job(f"{number}", delay_seconds=60.0 + number % 3) for number in range(9)])
    found = found_ids(backend, JobState.SCHEDULED, limit)
    assert [int(job_id) % 3 for job_id in found] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len(set(found)) == 9


@requires(Capability.INSPECT)
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_pages_of_retries_follow_their_times(put: Producer, worker: Worker, backend: Backend, limit: int) -> None:
    put(*(f"{number}" for number in range(9)))
    for number, job in enumerate(worker.reserve()):
        worker.retry(job, delay_seconds=60.0 - number)
    assert found_ids(backend, JobState.RETRY, limit) == [f"{number}" for number in reversed(range(9))]


@requires(Capability.INSPECT)
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_pages_of_dead_jobs_begin_with_the_newest(
    put: Producer, worker: Worker, backend: Backend, clock: Clock, limit: int
) -> None:
    put(*(f"{number}" for number in range(9)))
    for job in worker.reserve():
        clock.advance(0.5)
        worker.bury(job)
    assert found_ids(backend, JobState.DEAD, limit) == [f"{number}" for number in reversed(range(9))]


@requires(Capability.INSPECT)
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_pages_of_jobs_that_died_together_miss_none(
    put: Producer, worker: Worker, backend: Backend, limit: int
) -> None:
    ids = [f"{number}" for number in range(9)]
    put(*ids)
    for job in worker.reserve():
        worker.bury(job)
    assert sorted(found_ids(backend, JobState.DEAD, limit)) == ids


@requires(Capability.INSPECT)
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_pages_of_running_jobs_miss_none(put: Producer, new_worker: NewWorker, backend: Backend, limit: int) -> None:
    ids = [f"{number}" for number in range(9)]
    put(*ids)
    for _ in range(3):
        new_worker().reserve(3)
    assert sorted(found_ids(backend, JobState.RUNNING, limit)) == ids


@requires(Capability.INSPECT)
@pytest.mark.parametrize("limit", [1, 10])
def test_find_by_name_and_queue(put: Producer, worker: Worker, backend: Backend, limit: int) -> None:
    put.all([new_job(f"{number}", name=f"name{number % 2}", queue=f"queue{number % 3}") for number in range(12)])
    assert found_ids(backend, JobState.READY, limit, name="name1") == ["3", "9", "1", "7", "5", "11"]
    assert found_ids(backend, JobState.READY, limit, name="name1", queue="queue1") == ["1", "7"]
    for job in worker.reserve():
        worker.bury(job)
    assert sorted(found_ids(backend, JobState.DEAD, limit, name="name0", queue="queue2")) == ["2", "8"]
    assert found_ids(backend, JobState.DEAD, limit, name="nobody") == []


@requires(Capability.INSPECT)
def test_jobs_that_move_while_somebody_pages_neither_hide_nor_repeat_the_others(
    put: Producer, worker: Worker, backend: Backend
) -> None:
    put(*(f"{number}" for number in range(10)))
    page = backend.find(JobFilter(state=JobState.READY), limit=4)
    worker.reserve(4)  # the very jobs of the first page
    seen = [record.id for record in page.jobs]
    while page.cursor is not None:
        page = backend.find(JobFilter(state=JobState.READY), cursor=page.cursor, limit=4)
        seen += [record.id for record in page.jobs]
    assert seen == [f"{number}" for number in range(10)]
