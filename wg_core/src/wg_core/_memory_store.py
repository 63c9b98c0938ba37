"""The moves of a memory store between its ordered indexes. Callers hold `MemoryStore.changed`."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from wg_core._memory_records import JobEntry, StoredJob, StoredQueue, StoredWorker
from wg_core._sorted_keys import SortedKeys
from wg_core.history import AttemptRecord, vanished
from wg_core.job import JobState, NewJob, Timestamp, milliseconds
from wg_core.protocol import Rescued


class MemoryStore:
    """Jobs by id, and one ordered index per state (ready: one per queue)."""

    def __init__(self) -> None:
        self.renew_lock()
        self.clear()

    def renew_lock(self) -> None:
        """Replace the lock, whoever held it: for the child of a fork."""
        self.changed = threading.Condition(threading.Lock())

    def clear(self) -> None:
        """Forget everything."""
        self.jobs: dict[str, StoredJob] = {}
        self.queues: dict[str, StoredQueue] = {}
        self.workers: dict[str, StoredWorker] = {}
        self.paused: set[str] = set()
        self.expiring: SortedKeys[JobEntry] = SortedKeys()
        self.indexes: dict[JobState, SortedKeys[JobEntry]] = {
            state: SortedKeys() for state in (JobState.SCHEDULED, JobState.RETRY, JobState.RUNNING, JobState.DEAD)
        }
        self._last_sequence = 0

    # ------------------------------------------------------------------ looking

    def next_due(self) -> JobEntry | None:
        """Return the entry of the job that waits for the earliest time: (run_at, sequence number, job)."""
        heads = (self.indexes[JobState.SCHEDULED].first(), self.indexes[JobState.RETRY].first())
        return min((head for head in heads if head is not None), default=None)

    def live_worker(self, worker: str, now: Timestamp) -> StoredWorker | None:
        """Return the worker if it has a live lease."""
        known = self.workers.get(worker)
        return known if known is not None and known.lives(now) else None

    def has_ready(self, queues: Sequence[str] | None) -> bool:
        """Whether one of the queues (None: any) has something to hand out."""
        names = self.queues if queues is None else queues
        return any(name not in self.paused and name in self.queues and len(self.queues[name].ready) for name in names)

    # ------------------------------------------------------------------ entering and leaving

    def add(self, new: NewJob, now: Timestamp) -> None:
        """Store a job: ready, or scheduled when its time is ahead."""
        run_at = new.run_at if new.run_at is not None else now + milliseconds(new.delay_seconds)
        expires = None if new.expires_in_seconds is None else now + milliseconds(new.expires_in_seconds)
        self.queues.setdefault(new.queue, StoredQueue())
        job = self.jobs[new.id] = StoredJob(new, new.priority, now, expires, JobState.READY)
        self.wait_until(job, run_at, now)

    def remove(self, job: StoredJob, how: JobState | None = None) -> None:
        """Drop a job for good; `how` it ended is counted (None: deleted)."""
        self._leave(job)
        del self.jobs[job.new.id]
        if how is not None:
            self.queues[job.new.queue].ended[how] += 1

    # ------------------------------------------------------------------ moves

    def make_ready(self, job: StoredJob, now: Timestamp) -> None:
        """Put the job at the tail of its priority and wake waiters."""
        self._last_sequence += 1
        self._leave(job)
        job.sequence, job.ready_at, job.run_at = self._last_sequence, now, None
        self._enter(job, JobState.READY)

    def wait_until(self, job: StoredJob, run_at: Timestamp, now: Timestamp) -> None:
        """Schedule the job, or make it ready when its time has come."""
        if run_at <= now:
            self.make_ready(job, now)
            return
        if not job.sequence:
            self._last_sequence += 1
            job.sequence = self._last_sequence
        self._put_off(job, JobState.SCHEDULED, run_at)

    def hold(self, job: StoredJob, worker: StoredWorker, now: Timestamp) -> None:
        """Hand the job to a worker."""
        self._leave(job)
        job.attempt += 1
        job.lease_no += 1
        job.holder, job.reserved_at = worker, now
        worker.held[job.new.id] = job
        self._enter(job, JobState.RUNNING)

    def retry(self, job: StoredJob, record: AttemptRecord, run_at: Timestamp) -> None:
        """Let the job run again at a time, unless it is to be cancelled."""
        job.remember(record)
        if job.cancel_requested:
            self.remove(job, JobState.CANCELLED)
        else:
            self._put_off(job, JobState.RETRY, run_at)

    def bury(self, job: StoredJob, record: AttemptRecord, now: Timestamp) -> None:
        """Move the job to the dead letters."""
        self._leave(job)
        job.remember(record)
        job.ended_at = now
        self.queues[job.new.queue].ended[JobState.DEAD] += 1
        self._enter(job, JobState.DEAD)

    def give_back(self, job: StoredJob, run_at: Timestamp, now: Timestamp) -> JobState:
        """Undo a reserve: the attempt does not count and the job stands where it stood (or waits until `run_at`)."""
        if job.cancel_requested:
            self.remove(job, JobState.CANCELLED)
            return JobState.CANCELLED
        job.attempt -= 1
        if run_at > now:
            self._put_off(job, JobState.SCHEDULED, run_at)
        else:
            self._stand_again(job)
        return job.state

    def reprioritise(self, job: StoredJob, priority: int) -> None:
        """Change the priority and keep the sequence number."""
        self._leave(job)
        job.priority = priority
        self._enter(job, job.state)

    def settle(self, job: StoredJob, reason: str, now: Timestamp, *, started: bool) -> Rescued:
        """Take a job from its dead worker; the rules are those of `Backend.rescue`."""
        assert job.holder is not None
        worker, charged = job.holder.id, started and not job.cancel_requested
        state = self._charge(job, reason, now) if charged else self.give_back(job, now, now)
        return Rescued(id=job.new.id, name=job.new.name, worker=worker, state=state, charged=charged)

    def _charge(self, job: StoredJob, reason: str, now: Timestamp) -> JobState:
        assert job.holder is not None
        assert job.reserved_at is not None
        job.crashes += 1
        record = vanished(
            attempt=job.attempt, worker=job.holder.id, reserved_at=job.reserved_at, ended_at=now, reason=reason
        )
        if job.new.at_most_once or job.attempt > job.new.max_retries:
            self.bury(job, record, now)
        else:
            job.remember(record)
            self._stand_again(job)
        return job.state

    # ------------------------------------------------------------------ indexes

    def _stand_again(self, job: StoredJob) -> None:
        self._leave(job)
        self._enter(job, JobState.READY)

    def _put_off(self, job: StoredJob, state: JobState, run_at: Timestamp) -> None:
        self._leave(job)
        job.run_at = run_at
        self._enter(job, state)

    def _enter(self, job: StoredJob, state: JobState) -> None:
        queue = self.queues[job.new.queue]
        job.state = state
        job.entry = entry = (*_position(job), job)
        queue.counts[state] += 1
        if state is JobState.READY:
            queue.ready.add(entry)
            self.changed.notify_all()
        else:
            self.indexes[state].add(entry)
        if job.expires_at is not None and state in _WAITING:
            job.expiry_entry = (job.expires_at, job.sequence, job)
            self.expiring.add(job.expiry_entry)

    def _leave(self, job: StoredJob) -> None:
        if job.entry is None:
            return  # a new job stands nowhere yet
        queue = self.queues[job.new.queue]
        queue.counts[job.state] -= 1
        index = queue.ready if job.state is JobState.READY else self.indexes[job.state]
        index.remove(job.entry)
        job.entry = None
        if job.expiry_entry is not None:
            self.expiring.remove(job.expiry_entry)
            job.expiry_entry = None
        if job.holder is not None:
            job.holder.held.pop(job.new.id)
            job.holder.cancels.pop(job.new.id, None)
            job.holder, job.started, job.cancel_requested, job.progress = None, False, False, None


_WAITING = frozenset({JobState.SCHEDULED, JobState.READY, JobState.RETRY})


def _position(job: StoredJob) -> tuple[int, int]:
    match job.state:
        case JobState.READY:
            return -job.priority, job.sequence
        case JobState.RUNNING:
            return _known(job.reserved_at), job.sequence
        case JobState.DEAD:
            return -_known(job.ended_at), -job.sequence
        case _:
            return _known(job.run_at), job.sequence


def _known(value: Any) -> int:
    assert isinstance(value, int)
    return value
