"""Single moves of a memory backend, decided by an outcome or an action. Callers hold `MemoryStore.changed`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from wg_core._memory_records import StoredJob, StoredWorker
from wg_core._memory_store import MemoryStore
from wg_core.history import encode_record
from wg_core.job import JobState, NewJob, ReservedJob, Timestamp, check_timestamp, milliseconds
from wg_core.outcome import Ack, Applied, Bury, Cancel, CountsAs, Outcome, Progress, Release, Retry, Start
from wg_core.protocol import Action, CancelJobs, DeleteJobs, ReprioritiseJobs, RequeueJobs, RescheduleJobs, Retention

WAITING = frozenset({JobState.SCHEDULED, JobState.READY, JobState.RETRY})
_APPLIES_TO: dict[type[Action], frozenset[JobState]] = {
    CancelJobs: WAITING | {JobState.RUNNING},
    RequeueJobs: frozenset({JobState.DEAD, JobState.SCHEDULED, JobState.RETRY}),
    DeleteJobs: WAITING | {JobState.DEAD},
    ReprioritiseJobs: WAITING,
    RescheduleJobs: WAITING,
}


def check_job(new: NewJob) -> None:
    """Refuse what no store could keep, before anything of its batch is stored."""
    check_timestamp(new.run_at or 0)
    milliseconds(new.delay_seconds)
    milliseconds(new.expires_in_seconds or 0.0)


def check_outcome(outcome: Outcome) -> None:
    """Refuse what no store could keep, before anything of its batch is applied."""
    if isinstance(outcome, Retry | Release):
        milliseconds(outcome.delay_seconds)
    if isinstance(outcome, Retry | Bury):
        encode_record(outcome.record)


def check_action(action: Action) -> None:
    """Refuse what no store could keep, before any job is changed."""
    if isinstance(action, RescheduleJobs):
        check_timestamp(action.run_at or 0)
        milliseconds(action.delay_seconds)


def enqueue_job(store: MemoryStore, new: NewJob, now: Timestamp) -> bool:
    """Store the job unless its id is known; tell whether it was stored."""
    if new.id in store.jobs:
        return False
    store.add(new, now)
    return True


def reserve_jobs(
    store: MemoryStore, queues: Sequence[str], limit: int, worker: StoredWorker, now: Timestamp
) -> Iterator[StoredJob]:
    """Hand up to `limit` jobs to the worker: the queues in their order, each from its front."""
    return islice(
        (job for queue in queues if queue not in store.paused for job in _reserve_from(store, queue, worker, now)),
        limit,
    )


def _reserve_from(store: MemoryStore, queue: str, worker: StoredWorker, now: Timestamp) -> Iterator[StoredJob]:
    """Hand over job after job for as long as the caller asks; those that expired end here."""
    if queue not in store.queues:
        return
    ready = store.queues[queue].ready
    while (entry := ready.first()) is not None:
        job = entry[2]
        if job.expires_at is not None and job.expires_at <= now:
            store.remove(job, JobState.EXPIRED)
        else:
            store.hold(job, worker, now)
            yield job


def reserved_job(job: StoredJob) -> ReservedJob:
    """Return a running job as its worker sees it."""
    assert job.reserved_at is not None
    return ReservedJob(
        id=job.new.id,
        name=job.new.name,
        queue=job.new.queue,
        priority=job.priority,
        body=job.new.body,
        attempt=job.attempt,
        lease_no=job.lease_no,
        max_retries=job.new.max_retries,
        at_most_once=job.new.at_most_once,
        crashes=job.crashes,
        snoozes=job.snoozes,
        bounces=job.bounces,
        enqueued_at=job.enqueued_at,
        reserved_at=job.reserved_at,
    )


def apply_outcome(store: MemoryStore, worker: StoredWorker, outcome: Outcome, now: Timestamp) -> Applied:
    """Apply an outcome where the fence (id, worker, lease_no) holds."""
    job = worker.held.get(outcome.id)
    if job is None or job.lease_no != outcome.lease_no:
        return Applied.LOST
    match outcome:
        case Ack():
            store.remove(job, JobState.DONE)
        case Retry():
            store.retry(job, outcome.record, now + milliseconds(outcome.delay_seconds))
        case Bury():
            store.bury(job, outcome.record, now)
        case Release():
            _release(store, job, outcome, now)
        case Cancel():
            store.remove(job, JobState.CANCELLED)
        case Start():
            job.started = True
        case Progress():
            job.progress = outcome.value
    return Applied.APPLIED


def _release(store: MemoryStore, job: StoredJob, outcome: Release, now: Timestamp) -> None:
    if outcome.counts_as is CountsAs.SNOOZE:
        job.snoozes += 1
    elif outcome.counts_as is CountsAs.BOUNCE:
        job.bounces += 1
    store.give_back(job, now + milliseconds(outcome.delay_seconds), now)


def alter_job(
    store: MemoryStore, job_id: str, action: Action, expected: frozenset[JobState] | None, now: Timestamp
) -> str | None:
    """Change one job; return why it was refused, None when it was changed."""
    job = store.jobs.get(job_id)
    if job is None:
        return "no such job"
    if job.state not in _APPLIES_TO[type(action)] or (expected is not None and job.state not in expected):
        return job.state.value
    match action:
        case CancelJobs():
            _cancel(store, job)
        case RequeueJobs():
            _requeue(store, job, now)
        case DeleteJobs():
            store.remove(job)
        case ReprioritiseJobs():
            store.reprioritise(job, action.priority)
        case RescheduleJobs():
            _reschedule(store, job, action, now)
    return None


def _cancel(store: MemoryStore, job: StoredJob) -> None:
    if job.holder is None:
        store.remove(job, JobState.CANCELLED)
    else:
        job.cancel_requested = True
        job.holder.cancels[job.new.id] = job


def _requeue(store: MemoryStore, job: StoredJob, now: Timestamp) -> None:
    if job.state is JobState.DEAD:
        job.attempt = job.crashes = job.snoozes = job.bounces = 0
        job.expires_at = None
    store.make_ready(job, now)


def _reschedule(store: MemoryStore, job: StoredJob, action: RescheduleJobs, now: Timestamp) -> None:
    run_at = action.run_at if action.run_at is not None else now + milliseconds(action.delay_seconds)
    if run_at > now or job.state is not JobState.READY:
        store.wait_until(job, run_at, now)


def prune_dead(store: MemoryStore, policy: Retention, limit: int, now: Timestamp) -> int:
    """Delete the oldest dead jobs that are too old or too many."""
    dead, pruned = store.indexes[JobState.DEAD], 0
    kept = None if policy.dead_seconds is None else milliseconds(policy.dead_seconds)
    while pruned < limit and (entry := dead.last()) is not None:
        job = entry[2]
        assert job.ended_at is not None
        too_old = kept is not None and job.ended_at + kept <= now
        if not too_old and (policy.dead_most is None or len(dead) <= policy.dead_most):
            break
        store.remove(job)
        pruned += 1
    return pruned


def expire_waiting(store: MemoryStore, limit: int, now: Timestamp) -> int:
    """End waiting jobs whose time ran out."""
    expired = 0
    while expired < limit and (entry := store.expiring.first()) is not None and entry[0] <= now:
        store.remove(entry[2], JobState.EXPIRED)
        expired += 1
    return expired
