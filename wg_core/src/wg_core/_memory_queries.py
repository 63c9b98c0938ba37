"""What a memory backend answers to people: records, pages, counts. Callers hold `MemoryStore.changed`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import msgspec

from wg_core._memory_records import JobEntry, StoredJob, StoredQueue, StoredWorker
from wg_core._memory_store import MemoryStore
from wg_core._sorted_keys import SortedKeys
from wg_core.errors import BackendRejectedError
from wg_core.history import decode_history
from wg_core.job import JobRecord, JobState, Timestamp
from wg_core.protocol import JobFilter, JobPage, QueueStats, Stats, WorkerRecord

LOOK_AT_MOST = 1_000
"""How many jobs a page of `find` looks at before it answers, however few of them match."""


class _Cursor(msgspec.Struct, array_like=True, frozen=True):
    """The last job a page looked at: its queue (ready jobs only) and its place in the index."""

    queue: str
    place: tuple[int, int]


def job_record(job: StoredJob) -> JobRecord:
    """Return everything that is known of a job."""
    return JobRecord(
        id=job.new.id,
        name=job.new.name,
        queue=job.new.queue,
        state=job.state,
        priority=job.priority,
        body=job.new.body,
        attempt=job.attempt,
        max_retries=job.new.max_retries,
        lease_no=job.lease_no,
        at_most_once=job.new.at_most_once,
        crashes=job.crashes,
        snoozes=job.snoozes,
        bounces=job.bounces,
        enqueued_at=job.enqueued_at,
        run_at=job.run_at if job.state in {JobState.SCHEDULED, JobState.RETRY} else None,
        expires_at=job.expires_at,
        reserved_at=job.reserved_at if job.holder else None,
        ended_at=job.ended_at if job.state is JobState.DEAD else None,
        worker=job.holder.id if job.holder else None,
        started=job.started,
        cancel_requested=job.cancel_requested,
        progress=job.progress,
        history=decode_history(job.history),
    )


def find(store: MemoryStore, where: JobFilter, cursor: str | None, limit: int) -> JobPage:
    """Return a page; its cursor names the last job that was looked at."""
    after = None if cursor is None else _decode_cursor(cursor)
    candidates = islice(_candidates(store, where, after), max(LOOK_AT_MOST, limit) + 1)
    matching: list[JobRecord] = []
    looked_at: JobEntry | None = None
    for looked, entry in enumerate(candidates):
        if looked == max(LOOK_AT_MOST, limit) or len(matching) == limit:
            return JobPage(jobs=tuple(matching), cursor=_encode_cursor(looked_at))
        looked_at = entry
        job = entry[2]
        if (where.name is None or job.new.name == where.name) and (where.queue is None or job.new.queue == where.queue):
            matching.append(job_record(job))
    return JobPage(jobs=tuple(matching))


def _candidates(store: MemoryStore, where: JobFilter, after: _Cursor | None) -> Iterator[JobEntry]:
    if where.state in store.indexes:
        yield from _beyond(store.indexes[where.state], after)
    elif where.state is JobState.READY:
        for name in sorted(store.queues if where.queue is None else {where.queue} & store.queues.keys()):
            if after is None or name >= after.queue:
                here = after if after is not None and name == after.queue else None
                yield from _beyond(store.queues[name].ready, here)


def _beyond(index: SortedKeys[JobEntry], after: _Cursor | None) -> Iterator[JobEntry]:
    if after is None:
        return iter(index)
    place, sequence = after.place
    return index.since((place, sequence + 1))


def _encode_cursor(entry: JobEntry | None) -> str | None:
    if entry is None:
        return None
    place, sequence, job = entry
    return msgspec.json.encode(_Cursor(job.new.queue, (place, sequence))).decode()


def _decode_cursor(cursor: str) -> _Cursor:
    try:
        return msgspec.json.decode(cursor, type=_Cursor)
    except msgspec.MsgspecError as error:
        raise BackendRejectedError(f"not a cursor of this backend: {cursor!r}") from error


def stats(store: MemoryStore, now: Timestamp) -> Stats:
    """Return exact counts; they are kept as jobs move, so nothing is counted here."""
    queues = {name: _queue_stats(queue, now, paused=name in store.paused) for name, queue in store.queues.items()}
    for name in store.paused - store.queues.keys():
        queues[name] = QueueStats(ready=0, paused=True)
    return Stats(
        queues=queues,
        ready=sum(len(queue.ready) for queue in store.queues.values()),
        scheduled=len(store.indexes[JobState.SCHEDULED]),
        retry=len(store.indexes[JobState.RETRY]),
        running=len(store.indexes[JobState.RUNNING]),
        dead=len(store.indexes[JobState.DEAD]),
        workers=sum(worker.lives(now) for worker in store.workers.values()),
    )


def _queue_stats(queue: StoredQueue, now: Timestamp, *, paused: bool) -> QueueStats:
    oldest = _oldest_ready(queue.ready)
    return QueueStats(
        ready=len(queue.ready),
        oldest_ready_seconds=None if oldest is None else max(0, now - oldest.ready_at) / 1000,
        paused=paused,
        done=queue.ended[JobState.DONE],
        failed=queue.ended[JobState.DEAD],
        cancelled=queue.ended[JobState.CANCELLED],
        expired=queue.ended[JobState.EXPIRED],
        scheduled=queue.counts[JobState.SCHEDULED],
        retry=queue.counts[JobState.RETRY],
        running=queue.counts[JobState.RUNNING],
        dead=queue.counts[JobState.DEAD],
    )


def _oldest_ready(ready: SortedKeys[JobEntry]) -> StoredJob | None:
    """Return the job with the smallest sequence number: the first of one priority, so one look per priority."""
    oldest: JobEntry | None = None
    entry = ready.first()
    while entry is not None:
        if oldest is None or entry[1] < oldest[1]:
            oldest = entry
        entry = next(ready.since((entry[0] + 1,)), None)
    return None if oldest is None else oldest[2]


def worker_record(worker: StoredWorker) -> WorkerRecord:
    """Return a worker as people see it."""
    return WorkerRecord(id=worker.id, info=worker.info, lease_until=worker.lease_until, running=len(worker.held))
