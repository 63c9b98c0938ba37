"""A store with many jobs in every state, and one call of each kind: to count what a call costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wg_core.backend import Backend
from wg_core.history import AttemptRecord
from wg_core.job import JobState, NewJob, ReservedJob
from wg_core.outcome import Ack, Bury, Release, Retry, Start
from wg_core.protocol import CancelJobs, JobFilter, RequeueJobs, RescheduleJobs, Retention, WorkerBeat

T0 = 1_700_000_000_000
HOUR = 3_600_000
RECORD = AttemptRecord(attempt=1, outcome="retry", worker="w")
Count = Callable[[Callable[[], object]], int]
"""Makes a call and tells what it cost: a number that does not depend on the machine."""


def new_jobs(prefix: str, count: int, **fields: object) -> Iterator[list[NewJob]]:
    for start in range(0, count, 1_000):
        ids = range(start, min(start + 1_000, count))
        yield [NewJob(id=f"{prefix}-{number}", name="work", body=b"{}", **fields) for number in ids]  # type: ignore[arg-type]


def fill(backend: Backend, count: int) -> None:
    """Put `count` jobs into each state; those that run are held by a worker of their own."""
    backend.beat([WorkerBeat(worker=worker, lease_seconds=1e6, first=True) for worker in ("busy", "w")], now=T0)
    for number, batch in enumerate(new_jobs("old", 3 * count, priority=5), start=1):
        backend.enqueue(batch, now=T0)
        jobs = backend.reserve(None, 1_000, "busy", request_no=number, now=T0)
        third = len(jobs) // 3
        failed = [Retry(id=job.id, lease_no=1, delay_seconds=2 * 3_600, record=RECORD) for job in jobs[:third]]
        dead = [Bury(id=job.id, lease_no=1, record=RECORD) for job in jobs[third : 2 * third]]
        backend.report("busy", [*failed, *dead], request_no=number, now=T0)
    for batch in new_jobs("ready", count, expires_in_seconds=1e6):
        backend.enqueue(batch, now=T0)
    for batch in new_jobs("later", count, delay_seconds=2 * 3_600):
        backend.enqueue(batch, now=T0)


def costs(backend: Backend, count: Count) -> dict[str, int]:
    """Make one call of each kind and return what each cost."""
    taken: list[ReservedJob] = []
    found: dict[str, int] = {}

    def call(name: str, function: Callable[[], object]) -> None:
        found[name] = count(function)

    def reserve(request_no: int) -> None:
        taken.extend(backend.reserve(None, 10, "w", request_no=request_no, now=T0))

    new = next(new_jobs("new", 10, priority=9))
    call("enqueue", lambda: backend.enqueue(new, now=T0))
    call("enqueue one", lambda: backend.enqueue([NewJob(id="one", name="work", body=b"{}")], now=T0))
    call("enqueue again", lambda: backend.enqueue(new, now=T0))
    call("reserve", lambda: reserve(1))
    call("reserve again", lambda: backend.reserve(None, 10, "w", request_no=1, now=T0))
    a, b, c, d, e = taken[:5]
    call("start", lambda: backend.report("w", [Start(id=a.id, lease_no=1)], request_no=1, now=T0))
    call("ack", lambda: backend.report("w", [Ack(id=a.id, lease_no=1)], request_no=2, now=T0))
    retry = Retry(id=b.id, lease_no=1, delay_seconds=1.0, record=RECORD)
    call("retry", lambda: backend.report("w", [retry], request_no=3, now=T0))
    call("release", lambda: backend.report("w", [Release(id=c.id, lease_no=1)], request_no=4, now=T0))
    call("bury", lambda: backend.report("w", [Bury(id=d.id, lease_no=1, record=RECORD)], request_no=5, now=T0))
    call("promote", lambda: backend.promote(10, now=T0 + HOUR))
    call("beat", lambda: backend.beat([WorkerBeat(worker="w", lease_seconds=1e6)], now=T0))
    call("held", lambda: backend.held("w"))
    call("cancel", lambda: backend.alter(["ready-7", e.id], CancelJobs(), now=T0))
    call("requeue", lambda: backend.alter([d.id], RequeueJobs(), now=T0))
    call("reschedule", lambda: backend.alter(["later-7"], RescheduleJobs(delay_seconds=60.0), now=T0))
    call("get", lambda: backend.get(["ready-1", "later-1", "nobody"]))
    for state in (JobState.READY, JobState.SCHEDULED, JobState.RETRY, JobState.DEAD):
        page = backend.find(JobFilter(state=state), limit=10)
        call(f"find {state}", lambda state=state: backend.find(JobFilter(state=state), limit=10))  # type: ignore[misc]
        call(
            f"find {state} further",
            lambda state=state, page=page: backend.find(JobFilter(state=state), cursor=page.cursor, limit=10),  # type: ignore[misc]
        )
    call("stats", lambda: backend.stats(now=T0))
    call("workers", lambda: backend.workers(now=T0))
    call("prune", lambda: backend.prune(Retention(dead_seconds=1e6), 10, now=T0))
    call("rescue", lambda: backend.rescue(10, now=T0))
    call("retire", lambda: backend.retire("w", [], "killed", now=T0))
    return found
