"""The questions and answers of the contract (`wg_core.backend`) that are not jobs or outcomes."""

from __future__ import annotations

import enum
from typing import Any, TypeAlias

import msgspec

from wg_core.job import JobRecord, JobState, Timestamp


class Capability(enum.StrEnum):
    """What a backend can do beyond the core tier. Declared ones are tested, the others are refused by name."""

    INSPECT = "inspect"
    """get, find, stats, workers, health"""
    ALTER = "alter"
    """alter, prune"""
    DELAY = "delay"
    """run_at and delay_seconds at enqueue (without it only retries are delayed)"""
    UNIQUE = "unique"
    PAUSE = "pause"
    RECORDS = "records"
    RESULTS = "results"
    TRANSACTIONAL = "transactional"
    """enqueue(connection=...)"""
    BLOCKING = "blocking"
    """wait is woken by the store, across processes, rather than by polling"""
    MULTI_PROCESS = "multi_process"
    """several processes can share one store"""
    DURABLE = "durable"
    """what was answered survives the death of every process that uses the store"""


class WorkerBeat(msgspec.Struct, frozen=True, kw_only=True):
    """One worker's sign of life."""

    worker: str
    """Unique per process start, at most 64 ASCII characters."""
    lease_seconds: float
    first: bool = False
    """Registers the worker; later beats never bring back one that is gone."""
    info: bytes | None = None
    """JSON about the worker (`WorkerInfo`), stored when given."""


class WorkerNews(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker must know: whether it was given up, and which of its jobs are to be cancelled."""

    lease_lost: bool = False
    cancels: tuple[tuple[str, int], ...] = ()
    """(id, lease_no) of running jobs with a pending cancel."""


class BeatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """News per worker of the beat (every one of them has an entry), and the paused queues."""

    news: dict[str, WorkerNews]
    paused: frozenset[str] = frozenset()


class WorkerInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a worker says of itself, for people."""

    host: str
    pid: int
    threads: int
    queues: tuple[str, ...] | None = None
    """None: every queue."""
    started_at: Timestamp
    version: str
    supervisor: str | None = None
    """`host:pid` of its supervisor, None when embedded."""


class WorkerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A worker as the store knows it."""

    id: str
    info: bytes | None
    lease_until: Timestamp
    running: int
    """How many jobs it holds (capped at 10,000)."""


class Rescued(msgspec.Struct, frozen=True, kw_only=True):
    """One job that was taken from a dead worker, and where it went: ready, dead or cancelled."""

    id: str
    name: str
    worker: str
    state: JobState
    charged: bool
    """Whether the attempt counted."""


class Promoted(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs became ready, and in how many seconds the next is due (0.0: at once; None: nothing waits)."""

    moved: int
    next_due_seconds: float | None


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs: one state, and optionally one queue and one name."""

    state: JobState
    queue: str | None = None
    name: str | None = None


class JobPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of jobs and where the next one begins."""

    jobs: tuple[JobRecord, ...] = ()
    cursor: str | None = None


class CancelJobs(msgspec.Struct, frozen=True):
    """Action of `Backend.alter`."""


class RequeueJobs(msgspec.Struct, frozen=True):
    """Action of `Backend.alter`."""


class DeleteJobs(msgspec.Struct, frozen=True):
    """Action of `Backend.alter`."""


class ReprioritiseJobs(msgspec.Struct, frozen=True):
    """Action of `Backend.alter`: the new priority, -100 to 100."""

    priority: int


class RescheduleJobs(msgspec.Struct, frozen=True, kw_only=True):
    """Action of `Backend.alter`: a time, or a delay from the store's now."""

    run_at: Timestamp | None = None
    delay_seconds: float = 0.0


Action: TypeAlias = CancelJobs | RequeueJobs | DeleteJobs | ReprioritiseJobs | RescheduleJobs


class AlterResult(msgspec.Struct, frozen=True, kw_only=True):
    """Which ids were changed, and why the others were not."""

    changed: tuple[str, ...] = ()
    refused: dict[str, str] = {}


class Retention(msgspec.Struct, frozen=True, kw_only=True):
    """How long dead letters are kept; None means without limit."""

    dead_seconds: float | None = None
    dead_most: int | None = None


class StatsLevel(enum.StrEnum):
    """How much a count may cost."""

    CHEAP = "cheap"
    EXACT = "exact"


COUNT_CAP = 10_000
"""A cheap count stops here."""


class QueueStats(msgspec.Struct, frozen=True, kw_only=True):
    """One queue. A cheap answer fills ready, oldest_ready_seconds, paused and the totals; exact fills all."""

    ready: int
    ready_capped: bool = False
    """True: there are more than `ready` (10,000)."""
    oldest_ready_seconds: float | None = None
    """For how long the job that became ready first has been waiting; None when nothing is."""
    paused: bool = False
    done: int = 0
    failed: int = 0
    """Jobs that went to the dead letters, ever."""
    cancelled: int = 0
    expired: int = 0
    scheduled: int | None = None
    retry: int | None = None
    running: int | None = None
    dead: int | None = None


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """All queues by name, and lengths over all queues (cheap: capped at 10,000, named in `capped`)."""

    queues: dict[str, QueueStats]
    ready: int
    scheduled: int
    retry: int
    running: int
    dead: int
    workers: int
    """Workers with a live lease."""
    capped: frozenset[str] = frozenset()


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """What the store says of itself. Unreachable stores raise instead."""

    latency_seconds: float
    server: str
    """Product and version."""
    warnings: tuple[str, ...] = ()
    details: dict[str, Any] = {}


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """What migrate did, or would do: versions before and after, and the statements (empty: nothing to do)."""

    from_version: int | None
    """None: there was no schema."""
    to_version: int
    statements: tuple[str, ...] = ()
    script: str = ""
    """The statements as a file that the store's own program (psql, mysql, sqlite3, redis-cli) runs as it is."""


class Document(msgspec.Struct, frozen=True, kw_only=True):
    """A small named document of capability `records`."""

    key: str
    value: bytes
    version: int
