"""Producers and workers that act on a clock, and the values that tests compare."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from wg_core.backend import Backend
from wg_core.history import AttemptRecord
from wg_core.job import JobRecord, JobState, NewJob, ReservedJob
from wg_core.outcome import Ack, Applied, Bury, Outcome, Release, Retry, Start
from wg_core.protocol import JobFilter, QueueStats, Rescued, Stats, StatsLevel, WorkerBeat, WorkerNews
from wg_core.testing.clock import Clock

LEASE_SECONDS = 30.0
PATIENCE_SECONDS = 60.0
"""How long a test waits for another thread or process before it gives up; never a measure of speed."""


class Producer:
    """Enqueues jobs at the clock's time."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self.backend, self.clock = backend, clock

    def __call__(self, *ids: str, **fields: Any) -> None:
        """Store a job for each id, in one batch; `fields` are those of NewJob."""
        self.all([new_job(job_id, **fields) for job_id in ids])

    def all(self, jobs: Sequence[NewJob]) -> None:
        """Store these jobs, in as many batches as it takes."""
        for start in range(0, len(jobs), self.backend.max_batch):
            batch = jobs[start : start + self.backend.max_batch]
            results = self.backend.enqueue(batch, now=self.clock.now)
            assert [(result.id, result.stored) for result in results] == [(job.id, True) for job in batch]


class Worker:
    """Reserves and reports at the clock's time, and counts its request numbers as a real worker does."""

    def __init__(self, backend: Backend, clock: Clock, worker_id: str) -> None:
        self.backend, self.clock, self.id = backend, clock, worker_id
        self._reserve_no = self._report_no = 0

    def beat(self, *, first: bool = False, info: bytes | None = None) -> WorkerNews:
        """Send a sign of life and return the news."""
        beat = WorkerBeat(worker=self.id, lease_seconds=LEASE_SECONDS, first=first, info=info)
        return self.backend.beat([beat], now=self.clock.now).news[self.id]

    def reserve(
        self, limit: int = 100, *, queues: Sequence[str] | None = None, request_no: int | None = None
    ) -> list[ReservedJob]:
        """Reserve under the next request number, or the one given."""
        if request_no is None:
            self._reserve_no += 1
            request_no = self._reserve_no
        return self.backend.reserve(queues, limit, self.id, request_no=request_no, now=self.clock.now)

    def reserve_ids(self, limit: int = 100, *, queues: Sequence[str] | None = None) -> list[str]:
        """Reserve and return the ids, in order."""
        return [job.id for job in self.reserve(limit, queues=queues)]

    def take(self, job_id: str | None = None) -> ReservedJob:
        """Reserve exactly one job, and check which."""
        (job,) = self.reserve(1)
        assert job_id is None or job.id == job_id
        return job

    def report(self, *outcomes: Outcome, request_no: int | None = None) -> list[Applied]:
        """Report under the next request number, or the one given."""
        if request_no is None:
            self._report_no += 1
            request_no = self._report_no
        return self.backend.report(self.id, outcomes, request_no=request_no, now=self.clock.now)

    def applied(self, *outcomes: Outcome) -> None:
        """Report outcomes that must be applied."""
        assert self.report(*outcomes) == [Applied.APPLIED] * len(outcomes)

    def ack(self, *jobs: ReservedJob) -> None:
        """Finish the jobs."""
        self.applied(*(Ack(id=job.id, lease_no=job.lease_no) for job in jobs))

    def start(self, job: ReservedJob) -> None:
        """Mark the job as started."""
        self.applied(Start(id=job.id, lease_no=job.lease_no))

    def retry(self, job: ReservedJob, delay_seconds: float = 10.0) -> None:
        """Report a failed attempt."""
        record = attempt_record(job, self.id, "retry")
        self.applied(Retry(id=job.id, lease_no=job.lease_no, delay_seconds=delay_seconds, record=record))

    def bury(self, job: ReservedJob) -> None:
        """Send the job to the dead letters."""
        self.applied(Bury(id=job.id, lease_no=job.lease_no, record=attempt_record(job, self.id, "dead")))

    def release(self, job: ReservedJob, delay_seconds: float = 0.0) -> None:
        """Give the job back."""
        self.applied(Release(id=job.id, lease_no=job.lease_no, delay_seconds=delay_seconds))

    def held(self) -> list[tuple[str, int]]:
        """Return what the store says this worker holds, in order of id."""
        return sorted(self.backend.held(self.id))


class NewWorker:
    """Registers workers, each under an id of its own."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self.backend, self.clock = backend, clock

    def __call__(self, backend: Backend | None = None) -> Worker:
        """Return a worker whose lease has begun; it uses the given instance of the backend."""
        worker = Worker(backend or self.backend, self.clock, f"w-{uuid.uuid4().hex}")
        assert worker.beat(first=True) == WorkerNews()
        return worker


class Reaper:
    """Lets workers die in the two ways there are: with their machine, or under the eyes of their supervisor."""

    def __init__(self, backend: Backend, clock: Clock) -> None:
        self.backend, self.clock = backend, clock

    def lease_runs_out(self, worker: Worker, limit: int = 100) -> dict[str, Rescued]:
        """Let the lease end and rescue."""
        self.clock.advance(LEASE_SECONDS + 1.0)
        return {rescued.id: rescued for rescued in self.backend.rescue(limit, now=self.clock.now)}

    def killed(self, worker: Worker, *started: ReservedJob) -> dict[str, Rescued]:
        """Retire the worker, whose handlers of `started` were running."""
        begun = [(job.id, job.lease_no) for job in started]
        rescued = self.backend.retire(worker.id, begun, "killed by signal 9", now=self.clock.now)
        return {job.id: job for job in rescued}


def new_job(job_id: str, **fields: Any) -> NewJob:
    """Return a small job."""
    return NewJob(**{"id": job_id, "name": "work", "body": b'{"v":1}', **fields})


def attempt_record(job: ReservedJob, worker: str, outcome: str) -> AttemptRecord:
    """Return the record of an attempt that failed."""
    return AttemptRecord(
        attempt=job.attempt,
        outcome=outcome,
        worker=worker,
        started_at=job.reserved_at,
        ended_at=job.reserved_at + 5,
        error_type="ValueError",
        error_message="it did not work: ümläut, “quotes” and {braces}",
        traceback='Traceback (most recent call last):\n  File "x.py", line 1\nValueError',
    )


def record_of(backend: Backend, job_id: str) -> JobRecord:
    """Return the record of a job that must exist."""
    (record,) = backend.get([job_id])
    return record


def state_of(backend: Backend, job_id: str) -> JobState | None:
    """Return the state of a job, None when there is no such job."""
    records = backend.get([job_id])
    return records[0].state if records else None


def exact(backend: Backend, clock: Clock) -> Stats:
    """Return exact counts at the clock's time."""
    return backend.stats(StatsLevel.EXACT, now=clock.now)


def queue_stats(backend: Backend, clock: Clock, queue: str = "default") -> QueueStats:
    """Return exact counts of one queue."""
    return exact(backend, clock).queues[queue]


def find_all(backend: Backend, where: JobFilter, limit: int = 100) -> list[JobRecord]:
    """Follow the cursor to the end."""
    page = backend.find(where, limit=limit)
    found = list(page.jobs)
    while page.cursor is not None:
        page = backend.find(where, cursor=page.cursor, limit=limit)
        assert len(page.jobs) <= limit
        found += page.jobs
    return found


def found_ids(backend: Backend, state: JobState, limit: int = 100, **where: str) -> list[str]:
    """Return the ids of all jobs that a filter finds."""
    return [record.id for record in find_all(backend, JobFilter(state=state, **where), limit)]
