"""The edges of what may be said: numbers that are none, limits of nothing, one id twice, batches of everything.

What a store cannot keep it refuses as a whole, so that a caller may send the rest again. Invariants 3, 6, 7, 13.
"""

from __future__ import annotations

import math
from collections import Counter

import pytest

from wg_core.backend import Backend
from wg_core.errors import BackendRejectedError, LeaseLostError
from wg_core.history import HISTORY_KEEP_BYTES, AttemptRecord
from wg_core.job import JobState, ReservedJob
from wg_core.outcome import Ack, Applied, Bury, Cancel, CountsAs, Outcome, Progress, Release, Retry, Start
from wg_core.protocol import (
    Action,
    CancelJobs,
    Capability,
    DeleteJobs,
    JobFilter,
    JobPage,
    RequeueJobs,
    RescheduleJobs,
    Retention,
    WorkerBeat,
    WorkerNews,
)
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import (
    LEASE_SECONDS,
    NewWorker,
    Producer,
    Worker,
    attempt_record,
    exact,
    found_ids,
    new_job,
    queue_stats,
    record_of,
    state_of,
)
from wg_core.testing.contract._capabilities import requires
from wg_core.testing.contract._fixtures import InEachState

no_duration = pytest.mark.parametrize("seconds", [math.inf, math.nan, 1e15], ids=str)
no_moment = pytest.mark.parametrize("run_at", [2**53, 2**63, -(2**64)], ids=str)

# ---------------------------------------------------------------------- numbers that are none


@no_duration
def test_a_batch_with_an_expiry_that_is_no_duration_is_refused_whole(
    backend: Backend, worker: Worker, clock: Clock, *, seconds: float
) -> None:
    with pytest.raises(BackendRejectedError):
        backend.enqueue([new_job("good"), new_job("bad", expires_in_seconds=seconds)], now=clock.now)
    assert worker.reserve() == []


@requires(Capability.DELAY)
@no_duration
def test_a_batch_with_a_delay_that_is_no_duration_is_refused_whole(
    backend: Backend, worker: Worker, clock: Clock, *, seconds: float
) -> None:
    with pytest.raises(BackendRejectedError):
        backend.enqueue([new_job("good"), new_job("bad", delay_seconds=seconds)], now=clock.now)
    assert worker.reserve() == []


@requires(Capability.DELAY)
@no_moment
def test_a_batch_with_a_time_that_no_store_can_keep_is_refused_whole(
    backend: Backend, worker: Worker, clock: Clock, *, run_at: int
) -> None:
    with pytest.raises(BackendRejectedError):
        backend.enqueue([new_job("good"), new_job("bad", run_at=run_at)], now=clock.now)
    assert worker.reserve() == []


@requires(Capability.INSPECT, Capability.DELAY)
def test_the_latest_time_comes_back_as_it_was_given(backend: Backend, clock: Clock) -> None:
    latest = 2**53 - 1
    backend.enqueue([new_job("a", run_at=latest)], now=clock.now)
    assert record_of(backend, "a").run_at == latest
    assert found_ids(backend, JobState.SCHEDULED) == ["a"]


@no_duration
@pytest.mark.parametrize("kind", [Retry, Release])
def test_a_report_with_a_delay_that_is_no_duration_is_refused_whole(
    put: Producer, worker: Worker, kind: type[Retry | Release], *, seconds: float
) -> None:
    put("good", "bad")
    good, bad = worker.reserve()
    record = attempt_record(bad, worker.id, "retry")
    outcome: Outcome = Release(id="bad", lease_no=1, delay_seconds=seconds)
    if kind is Retry:
        outcome = Retry(id="bad", lease_no=1, delay_seconds=seconds, record=record)
    ack = Ack(id=good.id, lease_no=good.lease_no)
    with pytest.raises(BackendRejectedError):
        worker.report(ack, outcome, request_no=7)
    assert len(worker.held()) == 2
    assert worker.report(ack, request_no=7) == [Applied.APPLIED], "a refused number was not used up"


def test_a_report_with_a_record_that_is_no_text_is_refused_whole(put: Producer, worker: Worker) -> None:
    put("good", "bad")
    good, bad = worker.reserve()
    record = AttemptRecord(attempt=1, outcome="dead", worker=worker.id, error_message="\ud800")
    with pytest.raises(BackendRejectedError):
        worker.report(Ack(id=good.id, lease_no=1), Bury(id=bad.id, lease_no=1, record=record))
    assert len(worker.held()) == 2


@no_duration
def test_a_lease_that_is_no_duration_is_refused(worker: Worker, clock: Clock, *, seconds: float) -> None:
    beats = [
        WorkerBeat(worker=worker.id, lease_seconds=10 * LEASE_SECONDS),
        WorkerBeat(worker="x", lease_seconds=seconds, first=True),
    ]
    with pytest.raises(BackendRejectedError):
        worker.backend.beat(beats, now=clock.now)
    clock.advance(LEASE_SECONDS)
    with pytest.raises(LeaseLostError):
        worker.reserve()


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
@no_duration
def test_jobs_are_not_put_off_by_what_is_no_duration(
    put: Producer, backend: Backend, clock: Clock, *, seconds: float
) -> None:
    put("a", "b")
    with pytest.raises(BackendRejectedError):
        backend.alter(["a", "b"], RescheduleJobs(delay_seconds=seconds), now=clock.now)
    assert found_ids(backend, JobState.READY) == ["a", "b"]


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
@no_moment
def test_jobs_are_not_put_off_to_a_time_that_no_store_can_keep(
    put: Producer, backend: Backend, clock: Clock, *, run_at: int
) -> None:
    put("a", "b")
    with pytest.raises(BackendRejectedError):
        backend.alter(["a", "b"], RescheduleJobs(run_at=run_at), now=clock.now)
    assert found_ids(backend, JobState.READY) == ["a", "b"]


@requires(Capability.INSPECT, Capability.ALTER)
@no_duration
def test_nothing_is_pruned_by_an_age_that_is_no_duration(
    put: Producer, worker: Worker, backend: Backend, clock: Clock, *, seconds: float
) -> None:
    put("a")
    worker.bury(worker.take("a"))
    with pytest.raises(BackendRejectedError):
        backend.prune(Retention(dead_seconds=seconds), 10, now=clock.now)
    assert state_of(backend, "a") is JobState.DEAD


# ---------------------------------------------------------------------- delays of nothing, and less


@requires(Capability.DELAY)
@pytest.mark.parametrize("delay", [0.0, 0.0004, -0.0004, -1.0, -1e9])
def test_a_delay_of_less_than_a_millisecond_is_none(put: Producer, worker: Worker, *, delay: float) -> None:
    put("a")
    put("b", delay_seconds=delay)
    worker.release(worker.take("a"), delay_seconds=delay)
    assert worker.reserve_ids() == ["a", "b"], "a stands where it stood"


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
@pytest.mark.parametrize("action", [RescheduleJobs(delay_seconds=-5.0), RescheduleJobs(run_at=-5)], ids=str)
def test_jobs_that_are_put_off_to_the_past_are_ready(
    in_each_state: InEachState, backend: Backend, clock: Clock, action: Action
) -> None:
    assert in_each_state
    result = backend.alter(["scheduled", "ready", "retry"], action, now=clock.now)
    assert result.changed == ("scheduled", "ready", "retry")
    assert set(found_ids(backend, JobState.READY)) == {"scheduled", "ready", "retry"}


# ---------------------------------------------------------------------- limits of nothing


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_nothing_moves_nothing(
    put: Producer, worker: Worker, backend: Backend, clock: Clock, *, limit: int
) -> None:
    put("running", "dead", priority=1)
    worker.bury(worker.reserve(2)[1])
    put("ready", "due", "expired", expires_in_seconds=1.0)
    put("due-too", delay_seconds=1.0)
    assert worker.reserve(limit) == []
    assert worker.reserve(limit, queues=["default"]) == []
    clock.advance(LEASE_SECONDS + 1.0)
    before = exact(backend, clock)
    assert backend.promote(limit, now=clock.now).moved == 0
    assert backend.rescue(limit, now=clock.now) == []
    assert backend.prune(Retention(dead_seconds=0.0, dead_most=0), limit, now=clock.now) == 0
    assert exact(backend, clock).queues == before.queues
    for state in JobState:
        assert backend.find(JobFilter(state=state), limit=limit) == JobPage()


def test_no_queue_gives_nothing_and_asks_for_a_lease_all_the_same(
    put: Producer, worker: Worker, new_worker: NewWorker, clock: Clock
) -> None:
    put("a")
    assert worker.reserve(queues=[]) == []
    clock.advance(LEASE_SECONDS)
    with pytest.raises(LeaseLostError):
        worker.reserve(queues=[])
    assert new_worker().reserve_ids() == ["a"]


# ---------------------------------------------------------------------- one id twice, and no state at all


@requires(Capability.INSPECT, Capability.ALTER)
@pytest.mark.parametrize("action", [CancelJobs(), DeleteJobs(), RequeueJobs()], ids=lambda it: type(it).__name__)
def test_an_id_that_is_named_twice_is_changed_once_and_not_refused(
    put: Producer, worker: Worker, backend: Backend, clock: Clock, *, action: Action
) -> None:
    put("a", "b")
    for job in worker.reserve():
        worker.bury(job)
    if isinstance(action, CancelJobs):
        backend.alter(["a", "b"], RequeueJobs(), now=clock.now)
    result = backend.alter(["a", "b", "a", "nobody", "nobody"], action, now=clock.now)
    assert (result.changed, result.refused) == (("a", "b"), {"nobody": "no such job"})
    assert queue_stats(backend, clock).cancelled == (2 if isinstance(action, CancelJobs) else 0)


@requires(Capability.INSPECT, Capability.ALTER, Capability.DELAY)
def test_expecting_no_state_changes_nothing(in_each_state: InEachState, backend: Backend, clock: Clock) -> None:
    result = backend.alter(in_each_state, DeleteJobs(), expected=frozenset(), now=clock.now)
    assert (result.changed, result.refused) == ((), {state: state for state in in_each_state})


@requires(Capability.ALTER, Capability.DELAY)
def test_jobs_of_several_states_queue_up_in_the_order_in_which_they_are_named(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("dead", "retry")
    dead, retry = worker.reserve()
    worker.bury(dead)
    worker.retry(retry)
    put("scheduled", delay_seconds=60.0)
    backend.alter(["dead", "scheduled", "retry"], RequeueJobs(), now=clock.now)
    assert worker.reserve_ids() == ["dead", "scheduled", "retry"]


# ---------------------------------------------------------------------- what an end leaves in the record


@requires(Capability.INSPECT, Capability.ALTER)
def test_a_dead_job_that_is_requeued_after_its_time_runs(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a", expires_in_seconds=1.0)
    worker.bury(worker.take("a"))
    clock.advance(5.0)
    assert backend.alter(["a"], RequeueJobs(), now=clock.now).changed == ("a",)
    assert record_of(backend, "a").expires_at is None
    assert backend.prune(Retention(), 10, now=clock.now) == 0
    worker.take("a")


@requires(Capability.INSPECT)
@pytest.mark.parametrize("how", ["retry", "release", "bury", "killed"])
def test_progress_is_that_of_the_running_attempt(
    put: Producer, worker: Worker, backend: Backend, clock: Clock, *, how: str
) -> None:
    put("a")
    job = worker.take("a")
    worker.applied(Progress(id="a", lease_no=1, value=b"1"))
    if how == "killed":
        backend.retire(worker.id, [("a", 1)], "killed", now=clock.now)
    else:
        getattr(worker, how)(job)
    assert record_of(backend, "a").progress is None


@requires(Capability.INSPECT)
def test_the_newest_record_is_kept_whole_however_large(put: Producer, worker: Worker, backend: Backend) -> None:
    put("a")
    job = worker.take("a")
    huge = AttemptRecord(attempt=1, outcome="dead", worker=worker.id, traceback="ü" * HISTORY_KEEP_BYTES)
    worker.applied(Bury(id=job.id, lease_no=job.lease_no, record=huge))
    assert record_of(backend, "a").history == (huge,)


# ---------------------------------------------------------------------- a clock that is set back


def test_a_clock_that_is_set_back_stops_nothing_and_takes_nobody_for_dead(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put("a", "b", "c")
    a, b = worker.reserve(2)
    clock.advance(-3_600.0)
    assert worker.beat() == WorkerNews()
    assert backend.rescue(10, now=clock.now) == []
    worker.ack(a)
    worker.retry(b, delay_seconds=1.0)
    put("d")
    assert worker.reserve_ids() == ["c", "d"]
    clock.advance(1.0)
    assert backend.promote(10, now=clock.now).moved == 1
    worker.take("b")


@requires(Capability.INSPECT)
def test_ages_are_not_negative_after_the_clock_was_set_back(put: Producer, backend: Backend, clock: Clock) -> None:
    put("a")
    clock.advance(-3_600.0)
    assert queue_stats(backend, clock).oldest_ready_seconds == 0.0


# ---------------------------------------------------------------------- batches of everything


def outcome_number(number: int, job: ReservedJob, worker: Worker) -> Outcome:
    """Return outcomes of every kind in turn."""
    job_id, no = job.id, job.lease_no
    kinds: tuple[Outcome, ...] = (
        Ack(id=job_id, lease_no=no),
        Retry(id=job_id, lease_no=no, delay_seconds=5.0, record=attempt_record(job, worker.id, "retry")),
        Bury(id=job_id, lease_no=no, record=attempt_record(job, worker.id, "dead")),
        Release(id=job_id, lease_no=no),
        Release(id=job_id, lease_no=no, delay_seconds=5.0, counts_as=CountsAs.SNOOZE),
        Cancel(id=job_id, lease_no=no),
        Start(id=job_id, lease_no=no),
        Progress(id=job_id, lease_no=no, value=b"1"),
        Ack(id=job_id, lease_no=no + 1),
        Ack(id=f"unknown-{number}", lease_no=1),
    )
    return kinds[number % len(kinds)]


@requires(Capability.INSPECT)
def test_a_thousand_outcomes_of_every_kind_each_followed_by_one_that_is_too_late(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    put.all([new_job(f"{number}") for number in range(1_000)])
    jobs = worker.reserve(1_000)
    first = [outcome_number(number, job, worker) for number, job in enumerate(jobs)]
    second = [Ack(id=job.id, lease_no=job.lease_no) for job in jobs]
    answer = worker.report(*first, *second, request_no=1)
    applied, late = answer[:1_000], answer[1_000:]
    assert Counter(applied) == {Applied.APPLIED: 800, Applied.LOST: 200}
    ended = [number % 10 < 6 for number in range(1_000)]
    assert late == [Applied.LOST if has_ended else Applied.APPLIED for has_ended in ended]
    assert worker.report(*first, *second, request_no=1) == answer
    stats = queue_stats(backend, clock)
    assert (stats.done, stats.cancelled, stats.failed) == (500, 100, 100)
    assert (stats.ready, stats.scheduled, stats.retry, stats.running, stats.dead) == (100, 100, 100, 0, 100)


@requires(Capability.INSPECT, Capability.ALTER)
def test_all_cancels_of_more_than_a_thousand_running_jobs_reach_their_worker(
    put: Producer, worker: Worker, backend: Backend, clock: Clock
) -> None:
    ids = [f"{number}" for number in range(1_500)]
    put.all([new_job(job_id) for job_id in ids])
    jobs = {job.id: job for job in worker.reserve(2_000)}
    for start in (0, 750):
        backend.alter(ids[start : start + 750], CancelJobs(), now=clock.now)
    heard: set[str] = set()
    while news := worker.beat().cancels:
        assert not heard & {job_id for job_id, _ in news}
        heard |= {job_id for job_id, _ in news}
        worker.applied(*(Cancel(id=job_id, lease_no=jobs[job_id].lease_no) for job_id, _ in news))
    assert heard == set(ids)
    assert worker.held() == []
