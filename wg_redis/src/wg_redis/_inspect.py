"""What people read: jobs, pages, counts, workers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import msgspec

from wg_core.errors import BackendRejectedError
from wg_core.job import JobRecord, JobState, Timestamp
from wg_core.protocol import JobFilter, JobPage, QueueStats, Stats, StatsLevel, WorkerRecord
from wg_redis._records import decode_hold, job_record
from wg_redis._scripts import load
from wg_redis._server import Server

LOOK_AT_MOST = 1_000
"""How many jobs and queues a page of `find` looks at before it answers, however few jobs match."""


def get(server: Server, ids: Sequence[str]) -> list[JobRecord]:
    """See `Backend.get`."""
    return [job_record(reply) for reply in server.read(load("get"), *ids)]


# ---------------------------------------------------------------------- find


class _Cursor(msgspec.Struct, array_like=True, frozen=True):
    """Where the next page goes on: the partition of the index, and the last job that was looked at in it."""

    partition: str
    score: str = ""
    id: str = ""


def find(server: Server, where: JobFilter, cursor: str | None, limit: int) -> JobPage:
    """See `Backend.find`."""
    position = _Cursor("") if cursor is None else _decode_cursor(cursor)
    partitions = [name for name in _partitions(server, where) if name >= position.partition]
    jobs: list[JobRecord] = []
    look = LOOK_AT_MOST
    while partitions and look > 0 and len(jobs) < limit:
        if partitions[0] != position.partition:
            position = _Cursor(partitions[0])
        found, looked, position, more = _page(server, where, position, limit - len(jobs), look)
        jobs += found
        look -= looked + 1
        if not more:
            partitions.pop(0)
            position = _Cursor(partitions[0]) if partitions else position
    return JobPage(jobs=tuple(jobs), cursor=_encode_cursor(position) if partitions else None)


def _partitions(server: Server, where: JobFilter) -> list[str]:
    """Return what the index of a state is divided into: ready jobs by queue, running ones by worker."""
    if where.state is JobState.READY:
        return [where.queue] if where.queue is not None else _members(server, "queues")
    if where.state is JobState.RUNNING:
        return sorted({*_members(server, "workers"), *_members(server, "gone")})
    if where.state in {JobState.SCHEDULED, JobState.RETRY, JobState.DEAD}:
        return [""]
    return []  # ended jobs leave no record


def _members(server: Server, name: str) -> list[str]:
    return sorted(member.decode() for member in server.command("ZRANGE", server.prefix + name, 0, -1))


def _page(
    server: Server, where: JobFilter, position: _Cursor, limit: int, look: int
) -> tuple[list[JobRecord], int, _Cursor, bool]:
    """Return jobs, how many were looked at, the position of the last of those, and whether there is more behind it."""
    jobs, looked, score, job_id, more = server.read(
        load("page"),
        where.state.value,
        position.partition,
        where.queue or "",
        where.name or "",
        position.score,
        position.id,
        limit,
        look,
    )
    last = _Cursor(position.partition, score.decode(), job_id.decode())
    return [job_record(reply) for reply in jobs], looked, last, bool(more)


def _encode_cursor(cursor: _Cursor) -> str:
    return msgspec.json.encode(cursor).decode()


def _decode_cursor(cursor: str) -> _Cursor:
    try:
        return msgspec.json.decode(cursor, type=_Cursor)
    except msgspec.MsgspecError as error:
        raise BackendRejectedError(f"not a cursor of this backend: {cursor!r}") from error


# ---------------------------------------------------------------------- counts


def stats(server: Server, level: StatsLevel, now: Timestamp | str) -> Stats:
    """See `Backend.stats`."""
    moment, queues, paused, totals, scheduled, retry, dead, running, workers = server.read(load("stats"), now)
    names = {queue.decode(): (ready, ready_at) for queue, ready, ready_at in queues}
    stopped = {queue.decode() for queue in paused}
    ended = Counter({field.decode(): int(number) for field, number in zip(totals[::2], totals[1::2], strict=True)})
    by_state = _by_queue(server) if level is StatsLevel.EXACT else {}
    return Stats(
        queues={
            name: QueueStats(
                ready=ready,
                oldest_ready_seconds=None if ready_at < 0 else max(0, moment - ready_at) / 1000,
                paused=name in stopped,
                done=ended[f"done:{name}"],
                failed=ended[f"failed:{name}"],
                cancelled=ended[f"cancelled:{name}"],
                expired=ended[f"expired:{name}"],
                scheduled=by_state["scheduled"][name] if by_state else None,
                retry=by_state["retry"][name] if by_state else None,
                running=by_state["running"][name] if by_state else None,
                dead=by_state["dead"][name] if by_state else None,
            )
            for name, (ready, ready_at) in (dict.fromkeys(stopped, (0, -1)) | names).items()
        },
        ready=sum(ready for ready, _ in names.values()),
        scheduled=scheduled,
        retry=retry,
        running=running,
        dead=dead,
        workers=workers,
    )


def _by_queue(server: Server) -> dict[str, Counter[str]]:
    """Count jobs by queue, a thousand at a time, so that those that move meanwhile may be missed."""
    counts = {state: Counter(_tallies(server, index)) for state, index in _INDEX_OF.items()}
    return counts | {"running": _running_by_queue(server)}


_INDEX_OF = {"scheduled": "schedule", "retry": "retry", "dead": "dead"}


def _tallies(server: Server, index: str) -> Counter[str]:
    counts: Counter[str] = Counter()
    rank, looked = 0, -1
    while looked:
        looked, *tally = server.read(load("tally"), index, rank)
        rank += looked
        for queue, number in zip(tally[::2], tally[1::2], strict=True):
            counts[queue.decode()] += number
    return counts


def _running_by_queue(server: Server) -> Counter[str]:
    holds: Iterator[bytes] = (
        hold
        for index in ("workers", "gone")
        for worker in _members(server, index)
        for hold in server.command("HVALS", f"{server.prefix}running:{worker}")
    )
    return Counter(decode_hold(hold)[2] for hold in holds)


def workers(server: Server) -> list[WorkerRecord]:
    """See `Backend.workers`."""
    return [
        WorkerRecord(id=worker.decode(), info=info, lease_until=int(lease_until), running=running)
        for worker, _, lease_until, info, running in sorted(
            server.read(load("workers")), key=lambda reply: (int(reply[1]), reply[0])
        )
    ]
