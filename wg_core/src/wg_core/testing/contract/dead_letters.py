"""Changing jobs by hand: requeue, cancel, delete, reprioritise, reschedule, prune."""

from __future__ import annotations

import pytest

from wg_core.backend import Backend
from wg_core.job import JobState
from wg_core.protocol import (
    Action,
    AlterResult,
    CancelJobs,
    Capability,
    DeleteJobs,
    JobFilter,
    ReprioritiseJobs,
    RequeueJobs,
    RescheduleJobs,
    Retention,
)
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import (
    NewWorker,
    Producer,
    Worker,
    exact,
    found_ids,
    queue_stats,
    record_of,
    state_of,
)
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._fixtures import InEachState


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
@pytest.mark.parametrize(
    ("action", "changes"),
    [
        (CancelJobs(), {"scheduled", "ready", "retry", "running"}),
        (RequeueJobs(), {"scheduled", "retry", "dead"}),
        (DeleteJobs(), {"scheduled", "ready", "retry", "dead"}),
        (ReprioritiseJobs(7), {"scheduled", "ready", "retry"}),
        (RescheduleJobs(delay_seconds=90.0), {"scheduled", "ready", "retry"}),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, set) else "",
)
def test_an_action_changes_jobs_in_its_states_and_refuses_the_others_naming_their_state(
    backend: Backend, in_each_state: InEachState, action: Action, changes: set[str], clock: Clock
) -> None:
    before = {state: record_of(backend, state) for state in in_each_state}
    result = backend.alter([*in_each_state, "nobody"], action, now=clock.now)
    assert set(result.changed) == changes
    refused = set(in_each_state) - changes
    assert result.refused == {**{state: state for state in refused}, "nobody": "no such job"}
    for state in refused:
        assert record_of(backend, state) == before[state]


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
def test_an_action_is_fenced_by_the_expected_states(backend: Backend, in_each_state: InEachState, clock: Clock) -> None:
    ids = in_each_state
    result = backend.alter(ids, DeleteJobs(), expected=frozenset({JobState.DEAD, JobState.RETRY}), now=clock.now)
    assert set(result.changed) == {"dead", "retry"}
    assert result.refused == {state: state for state in ("scheduled", "ready", "running")}


@requires(Capability.ALTER)
def test_altering_nothing_is_answered_with_nothing(backend: Backend) -> None:
    assert backend.alter([], DeleteJobs()) == AlterResult()


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
def test_cancelled_jobs_that_wait_are_gone_and_counted(
    backend: Backend, in_each_state: InEachState, clock: Clock
) -> None:
    assert in_each_state
    backend.alter(["scheduled", "ready", "retry"], CancelJobs(), now=clock.now)
    assert backend.get(["scheduled", "ready", "retry"]) == []
    assert queue_stats(backend, clock).cancelled == 3


@requires(Capability.INSPECT, Capability.ALTER)
def test_cancelling_a_running_job_leaves_it_running_until_its_worker_ends_it(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a")
    job = worker.take("a")
    assert backend.alter(["a"], CancelJobs(), now=clock.now).changed == ("a",)
    record = record_of(backend, "a")
    assert (record.state, record.cancel_requested) == (JobState.RUNNING, True)
    worker.ack(job)


@requires(Capability.INSPECT, Capability.ALTER)
def test_a_dead_job_that_is_requeued_begins_anew_at_the_tail(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a", priority=1)
    worker.release(worker.take("a"))
    worker.bury(worker.take("a"))
    put("b", priority=1)
    assert backend.alter(["a"], RequeueJobs(), now=clock.now).changed == ("a",)
    record = record_of(backend, "a")
    assert (record.state, record.attempt, record.crashes, record.ended_at) == (JobState.READY, 0, 0, None)
    assert len(record.history) == 1, "what happened before stays in the record"
    b, a = worker.reserve()
    assert (b.id, a.id, a.attempt, a.lease_no, a.priority) == ("b", "a", 1, 3, 1)


@requires(Capability.ALTER)
def test_a_requeue_wipes_crashes_snoozes_and_bounces(
    put: Producer, worker: Worker, new_worker: NewWorker, backend: Backend, clock: Clock
) -> None:
    put("a", max_retries=0)
    job = worker.take("a")
    backend.retire(worker.id, [("a", job.lease_no)], "killed", now=clock.now)
    backend.alter(["a"], RequeueJobs(), now=clock.now)
    job = new_worker().take("a")
    assert (job.attempt, job.lease_no, job.crashes, job.snoozes, job.bounces) == (1, 2, 0, 0, 0)


@requires(Capability.ALTER)
def test_an_at_most_once_job_runs_again_when_somebody_requeues_it(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a", at_most_once=True)
    worker.bury(worker.take("a"))
    backend.alter(["a"], RequeueJobs(), now=clock.now)
    worker.take("a")


@requires(Capability.ALTER, Capability.DELAY)
def test_jobs_that_wait_for_their_time_can_be_made_ready_now(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("retry")
    worker.retry(worker.take("retry"), delay_seconds=60.0)
    put("scheduled", delay_seconds=60.0)
    backend.alter(["scheduled", "retry"], RequeueJobs(), now=clock.now)
    assert {job.id: job.attempt for job in worker.reserve()} == {"scheduled": 1, "retry": 2}
    assert backend.promote(10, now=clock.ahead(100.0)).moved == 0


@requires(Capability.INSPECT, Capability.ALTER)
def test_deleted_jobs_are_gone_and_their_ids_free(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("ready", "dead", priority=0)
    worker.release(worker.take("ready"))
    ready, dead = worker.reserve()
    worker.release(ready)
    worker.bury(dead)
    backend.alter(["ready", "dead"], DeleteJobs(), now=clock.now)
    assert worker.reserve() == []
    assert (exact(backend, clock).ready, exact(backend, clock).dead) == (0, 0)
    put("ready", "dead")
    assert record_of(backend, "dead").history == ()


@requires(Capability.ALTER, Capability.DELAY)
def test_a_new_priority_keeps_the_place_among_its_equals(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a")
    put("b", priority=5)
    put("c", "d")
    put("scheduled", delay_seconds=1.0)
    backend.alter(["a", "d", "scheduled"], ReprioritiseJobs(5), now=clock.now)
    clock.advance(1.0)
    backend.promote(10, now=clock.now)
    jobs = worker.reserve()
    assert [job.id for job in jobs] == ["a", "b", "d", "scheduled", "c"]
    assert [job.priority for job in jobs] == [5, 5, 5, 5, 0]


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
def test_a_waiting_job_can_be_put_off_or_brought_forward(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("put-off")
    put("forward", delay_seconds=60.0)
    put("now", delay_seconds=60.0)
    backend.alter(["put-off"], RescheduleJobs(run_at=clock.ahead(5.5)), now=clock.now)
    backend.alter(["forward"], RescheduleJobs(delay_seconds=2.5), now=clock.now)
    backend.alter(["now"], RescheduleJobs(), now=clock.now)
    assert (state_of(backend, "put-off"), record_of(backend, "put-off").run_at) == ("scheduled", clock.ahead(5.5))
    assert record_of(backend, "forward").run_at == clock.ahead(2.5)
    assert worker.reserve_ids() == ["now"]
    clock.advance(5.5)
    backend.promote(10, now=clock.now)
    assert worker.reserve_ids() == ["forward", "put-off"]


@requires(Capability.INSPECT, Capability.ALTER)
def test_what_is_found_can_be_altered_page_by_page(put: Producer, worker: Worker, backend: Backend) -> None:
    put(*(f"{number}" for number in range(10)), name="wanted")
    put("other", name="other")
    for job in worker.reserve():
        worker.bury(job)
    where, changed, cursor = JobFilter(state=JobState.DEAD, name="wanted"), 0, None
    while True:
        result, cursor = backend.alter_found(where, RequeueJobs(), cursor=cursor, limit=3)
        changed += len(result.changed)
        if cursor is None:
            break
    assert changed == 10
    assert found_ids(backend, JobState.DEAD) == ["other"]


# ---------------------------------------------------------------------- prune


@requires(Capability.INSPECT, Capability.ALTER)
def test_dead_jobs_that_are_too_old_are_pruned(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("old", "young", "running")
    old, young, _ = worker.reserve()
    worker.bury(old)
    clock.advance(10.0)
    worker.bury(young)
    assert backend.prune(Retention(dead_seconds=10.5), 100, now=clock.now) == 0
    clock.advance(1.0)
    assert backend.prune(Retention(dead_seconds=10.5), 100, now=clock.now) == 1
    assert found_ids(backend, JobState.DEAD) == ["young"]
    assert state_of(backend, "running") is JobState.RUNNING
    assert backend.prune(Retention(), 100, now=clock.now) == 0


@requires(Capability.INSPECT, Capability.ALTER)
def test_of_too_many_dead_jobs_the_oldest_are_pruned_at_most_the_limit_at_a_time(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put(*(f"{number}" for number in range(8)))
    for job in worker.reserve():
        clock.advance(0.1)
        worker.bury(job)
    assert backend.prune(Retention(dead_most=3), 2, now=clock.now) == 2
    assert backend.prune(Retention(dead_most=3), 100, now=clock.now) == 3
    assert found_ids(backend, JobState.DEAD) == ["7", "6", "5"]


@requires(Capability.INSPECT, Capability.ALTER)
def test_pruned_jobs_still_count_as_failed(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("a")
    worker.bury(worker.take("a"))
    backend.prune(Retention(dead_most=0), 100, now=clock.now)
    assert (queue_stats(backend, clock).failed, exact(backend, clock).dead) == (1, 0)
