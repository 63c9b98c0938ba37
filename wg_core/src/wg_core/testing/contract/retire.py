"""Jobs of workers that are known to be dead: back at once, and only what ran is charged. Invariants 1, 4, 12."""

from __future__ import annotations

from wg_core.backend import Backend
from wg_core.job import JobState
from wg_core.protocol import CancelJobs, Capability, Rescued
from wg_core.testing.clock import Clock
from wg_core.testing.contract._actors import (
    NewWorker,
    Producer,
    Reaper,
    Worker,
    record_of,
    state_of,
)
from wg_core.testing.contract._capabilities import requires


def test_a_killed_worker_gives_its_jobs_back_at_once_and_only_what_ran_is_charged(
    put: Producer, worker: Worker, new_worker: NewWorker, reaper: Reaper
) -> None:
    put("ran", "waited-1", "waited-2", name="work")
    jobs = {job.id: job for job in worker.reserve()}
    rescued = reaper.killed(worker, jobs["ran"])
    assert rescued["ran"] == Rescued(id="ran", name="work", worker=worker.id, state=JobState.READY, charged=True)
    assert not rescued["waited-1"].charged
    assert not rescued["waited-2"].charged
    again = {job.id: (job.attempt, job.lease_no, job.crashes) for job in new_worker().reserve()}
    assert again == {"ran": (2, 2, 1), "waited-1": (1, 2, 0), "waited-2": (1, 2, 0)}


def test_jobs_of_a_killed_worker_keep_their_place(
    put: Producer, worker: Worker, new_worker: NewWorker, reaper: Reaper
) -> None:
    put("a", "b", "c")
    jobs = worker.reserve()
    put("d")
    reaper.killed(worker, jobs[1])
    assert new_worker().reserve_ids() == ["a", "b", "c", "d"]


def test_a_job_marked_by_start_is_charged_without_being_named(put: Producer, worker: Worker, reaper: Reaper) -> None:
    put("a", "b")
    a, _ = worker.reserve()
    worker.start(a)
    rescued = reaper.killed(worker)
    assert (rescued["a"].charged, rescued["b"].charged) == (True, False)


def test_what_ran_under_an_older_lease_no_is_not_charged(put: Producer, worker: Worker, reaper: Reaper) -> None:
    put("a")
    old = worker.take("a")
    worker.release(old)
    worker.take("a")
    assert not reaper.killed(worker, old)["a"].charged


def test_a_handler_that_is_named_twice_is_charged_for_the_lease_no_that_counts(
    put: Producer, worker: Worker, reaper: Reaper
) -> None:
    put("a")
    old = worker.take("a")
    worker.release(old)
    now = worker.take("a")
    assert reaper.killed(worker, now, old)["a"].charged


def test_a_started_job_with_no_attempts_left_dies_with_its_worker(
    put: Producer, worker: Worker, new_worker: NewWorker, reaper: Reaper
) -> None:
    put("a", max_retries=0)
    job = worker.take("a")
    assert reaper.killed(worker, job)["a"].state is JobState.DEAD
    assert new_worker().reserve() == []


@requires(Capability.INSPECT)
def test_the_record_of_a_killed_worker_says_the_reason(
    put: Producer, worker: Worker, reaper: Reaper, backend: Backend
) -> None:
    put("ran", "waited")
    ran, _ = worker.reserve()
    reaper.killed(worker, ran)
    (record,) = record_of(backend, "ran").history
    assert (record.outcome, record.worker) == ("crashed", worker.id)
    assert "killed by signal 9" in (record.error_message or "")
    assert record_of(backend, "waited").history == ()


@requires(Capability.INSPECT, Capability.ALTER)
def test_retiring_a_worker_carries_out_pending_cancels(
    put: Producer, worker: Worker, reaper: Reaper, *, backend: Backend, clock: Clock
) -> None:
    put("a")
    job = worker.take("a")
    backend.alter(["a"], CancelJobs(), now=clock.now)
    assert reaper.killed(worker, job)["a"].state is JobState.CANCELLED
    assert state_of(backend, "a") is None


def test_retiring_twice_or_a_stranger_is_no_error(put: Producer, worker: Worker, reaper: Reaper) -> None:
    put("a")
    worker.take("a")
    assert list(reaper.killed(worker)) == ["a"]
    assert reaper.killed(worker) == {}
    assert reaper.killed(Worker(worker.backend, worker.clock, "stranger")) == {}


def test_retiring_one_worker_leaves_the_others_alone(
    put: Producer, worker: Worker, new_worker: NewWorker, reaper: Reaper
) -> None:
    put("a", "b")
    worker.take("a")
    other = new_worker()
    job = other.take("b")
    assert list(reaper.killed(worker)) == ["a"]
    other.ack(job)


def test_thousands_of_jobs_of_a_killed_worker_come_back_in_one_step(
    put: Producer, worker: Worker, new_worker: NewWorker, reaper: Reaper
) -> None:
    ids = [f"{number}" for number in range(3_000)]
    put(*ids)
    jobs = worker.reserve(3_000)
    assert len(reaper.killed(worker, *jobs[:8])) == 3_000
    assert new_worker().reserve_ids(3_000) == ids
