"""Jobs of workers whose lease ran out, and who is charged.

Invariants 1 (no loss), 2 (one holder), 4 (a job that kills its worker every time ends) and 12.
"""

from __future__ import annotations

from wg_core.backend import Backend
from wg_core.job import JobState
from wg_core.protocol import CancelJobs, Capability, Rescued
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import (
    LEASE_SECONDS,
    NewWorker,
    Producer,
    Reaper,
    Worker,
    exact,
    queue_stats,
    record_of,
    state_of,
)
from wg_core.testing.contract._capabilities import requires


def test_a_live_worker_is_not_rescued(put: Producer, worker: Worker, backend: Backend, clock: Clock) -> None:
    put("a")
    job = worker.take("a")
    clock.advance(LEASE_SECONDS - 0.001)
    assert backend.rescue(100, now=clock.now) == []
    worker.ack(job)


def test_the_jobs_of_a_worker_whose_lease_ran_out_are_ready_again(
    put: Producer, worker: Worker, new_worker: NewWorker, reaper: Reaper
) -> None:
    put("a", name="send_email")
    worker.take("a")
    rescued = Rescued(id="a", name="send_email", worker=worker.id, state=JobState.READY, charged=True)
    assert reaper.lease_runs_out(worker) == {"a": rescued}
    job = new_worker().take("a")
    assert (job.attempt, job.lease_no, job.crashes) == (2, 2, 1)


def test_a_rescuer_whose_own_lease_is_over_takes_nobody_for_dead(
    put: Producer, worker: Worker, new_worker: NewWorker, backend: Backend, clock: Clock
) -> None:
    put("a")
    worker.take("a")
    asking = new_worker()
    clock.advance(LEASE_SECONDS + 0.001)
    assert backend.rescue(100, rescuer=asking.id, now=clock.now) == []
    assert backend.rescue(100, rescuer="never-registered", now=clock.now) == []
    asking.beat()
    assert [rescued.id for rescued in backend.rescue(100, rescuer=asking.id, now=clock.now)] == ["a"]


def test_rescued_jobs_keep_their_priority_and_their_place(
    put: Producer, worker: Worker, new_worker: NewWorker, reaper: Reaper
) -> None:
    put("a", "b")
    put("urgent", priority=1)
    worker.reserve(3)
    put("c")
    put("urgent-too", priority=1)
    reaper.lease_runs_out(worker)
    assert new_worker().reserve_ids() == ["urgent", "urgent-too", "a", "b", "c"]


def test_a_rescue_moves_at_most_its_limit_and_further_ones_the_rest(
    put: Producer, worker: Worker, new_worker: NewWorker, reaper: Reaper, *, backend: Backend, clock: Clock
) -> None:
    ids = [f"{number}" for number in range(10)]
    put(*ids)
    worker.reserve()
    rescued = list(reaper.lease_runs_out(worker, limit=4))
    assert len(rescued) == 4
    while page := backend.rescue(4, now=clock.now):
        assert len(page) <= 4
        rescued += [job.id for job in page]
    assert sorted(rescued) == sorted(ids)
    assert sorted(new_worker().reserve_ids()) == sorted(ids)


def test_dead_workers_without_jobs_do_not_hide_those_with_jobs(
    put: Producer, new_worker: NewWorker, backend: Backend, clock: Clock
) -> None:
    for _ in range(10):
        new_worker()
    put("a", "b")
    clock.advance(1.0)
    holder = new_worker()
    holder.reserve()
    clock.advance(LEASE_SECONDS + 1.0)
    rescued: list[str] = []
    for _ in range(15):  # pages may be spent on workers that only need to be forgotten
        rescued += [job.id for job in backend.rescue(1, now=clock.now)]
    assert sorted(rescued) == ["a", "b"]


def test_jobs_of_several_dead_workers_are_rescued_and_each_names_its_worker(
    put: Producer, new_worker: NewWorker, backend: Backend, clock: Clock
) -> None:
    workers = [new_worker() for _ in range(5)]
    holders = {}
    for number, worker in enumerate(workers):
        put(f"{number}")
        holders[worker.take().id] = worker.id
    clock.advance(LEASE_SECONDS + 1.0)
    assert {job.id: job.worker for job in backend.rescue(100, now=clock.now)} == holders


@requires(Capability.INSPECT)
def test_a_dead_worker_is_forgotten_once_it_holds_nothing(
    put: Producer, worker: Worker, new_worker: NewWorker, reaper: Reaper, *, backend: Backend, clock: Clock
) -> None:
    new_worker()  # never held anything
    put("a")
    worker.take("a")
    reaper.lease_runs_out(worker)
    backend.rescue(100, now=clock.now)
    assert backend.workers(now=clock.now) == []
    assert exact(backend, clock).workers == 0


@requires(Capability.INSPECT)
def test_the_record_says_which_worker_vanished(
    put: Producer, worker: Worker, reaper: Reaper, *, backend: Backend, clock: Clock
) -> None:
    put("a")
    job = worker.take("a")
    reaper.lease_runs_out(worker)
    (record,) = record_of(backend, "a").history
    assert (record.attempt, record.outcome, record.worker) == (1, "crashed", worker.id)
    assert (record.started_at, record.ended_at) == (job.reserved_at, clock.now)
    assert worker.id in (record.error_message or "")


def test_a_job_that_kills_its_worker_every_time_ends_after_its_attempts(
    put: Producer, new_worker: NewWorker, reaper: Reaper
) -> None:
    put("poison", max_retries=2)
    for attempt, state in ((1, JobState.READY), (2, JobState.READY), (3, JobState.DEAD)):
        worker = new_worker()
        job = worker.take("poison")
        assert (job.attempt, job.crashes) == (attempt, attempt - 1)
        worker.start(job)
        assert reaper.lease_runs_out(worker)["poison"].state is state
    assert new_worker().reserve() == []


@requires(Capability.INSPECT)
def test_a_job_that_dies_of_its_crashes_counts_as_failed(
    put: Producer, worker: Worker, reaper: Reaper, *, backend: Backend, clock: Clock
) -> None:
    put("a", max_retries=0)
    worker.take("a")
    assert reaper.lease_runs_out(worker)["a"].state is JobState.DEAD
    record = record_of(backend, "a")
    assert (record.state, record.crashes, record.ended_at) == (JobState.DEAD, 1, clock.now)
    assert [attempt.outcome for attempt in record.history] == ["crashed"]
    assert queue_stats(backend, clock).failed == 1


def test_a_suspect_that_had_not_started_is_not_charged_again(
    put: Producer, new_worker: NewWorker, reaper: Reaper
) -> None:
    put("a", max_retries=1)
    first = new_worker()
    first.take("a")
    assert reaper.lease_runs_out(first)["a"].charged
    second = new_worker()
    assert second.take("a").crashes == 1
    rescued = reaper.lease_runs_out(second)["a"]
    assert (rescued.charged, rescued.state) == (False, JobState.READY)
    job = new_worker().take("a")
    assert (job.attempt, job.lease_no, job.crashes) == (2, 3, 1)


@requires(Capability.INSPECT, Capability.ALTER)
def test_a_rescue_carries_out_a_pending_cancel(
    put: Producer, worker: Worker, reaper: Reaper, *, backend: Backend, clock: Clock
) -> None:
    put("a")
    worker.take("a")
    backend.alter(["a"], CancelJobs(), now=clock.now)
    rescued = reaper.lease_runs_out(worker)["a"]
    assert (rescued.state, rescued.charged) == (JobState.CANCELLED, False)
    assert state_of(backend, "a") is None
    assert queue_stats(backend, clock).cancelled == 1
