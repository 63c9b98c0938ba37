"""The job as the store sees it: states, and the records that go in and come out of a backend."""

from __future__ import annotations

import enum
import math
from typing import Final, TypeAlias

import msgspec

from wg_core.errors import BackendRejectedError
from wg_core.history import AttemptRecord

Timestamp: TypeAlias = int
"""Milliseconds since 1970-01-01T00:00:00 UTC by the store's clock."""

LATEST: Final[Timestamp] = 2**53 - 1
"""The last moment (in the year 287396) that every store keeps exactly, also one that counts in floating point."""

_LONGEST_SECONDS = 2**42
"""Over a hundred thousand years: any moment of today's plus this is before LATEST."""


def milliseconds(seconds: float) -> int:
    """Return a duration in the unit of timestamps, rounded; BackendRejectedError when it is not finite or too long."""
    if not math.isfinite(seconds) or abs(seconds) > _LONGEST_SECONDS:
        raise BackendRejectedError(f"a duration must be finite and at most {_LONGEST_SECONDS} seconds, got {seconds!r}")
    return round(seconds * 1000)


def check_timestamp(moment: Timestamp) -> Timestamp:
    """Return the moment; BackendRejectedError when it is beyond LATEST (or as far before 1970)."""
    if abs(moment) > LATEST:
        raise BackendRejectedError(f"a time must be at most {LATEST} ms from 1970, got {moment!r}")
    return moment


class JobState(enum.StrEnum):
    """Where a job stands. The last three exist only while a record of the ended job is kept."""

    SCHEDULED = "scheduled"
    READY = "ready"
    RUNNING = "running"
    RETRY = "retry"
    DEAD = "dead"
    DONE = "done"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class UniqueScope(enum.StrEnum):
    """How long a unique key is held."""

    UNTIL_FINISHED = "until_finished"
    UNTIL_STARTED = "until_started"
    FOR_A_TIME = "for_a_time"


class UniqueKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that admits one job: of the jobs that carry it, one is stored while it is held."""

    key: str
    scope: UniqueScope = UniqueScope.UNTIL_FINISHED
    ttl_seconds: float | None = None


class NewJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job on its way into a store.

    `run_at` wins over `delay_seconds`; both zero or in the past mean ready at once. `expires_in_seconds` counts
    from the moment it is stored. `body` is opaque to the backend and comes back byte-equal.
    """

    id: str
    name: str
    body: bytes
    queue: str = "default"
    priority: int = 0
    delay_seconds: float = 0.0
    run_at: Timestamp | None = None
    expires_in_seconds: float | None = None
    max_retries: int = 3
    at_most_once: bool = False
    unique: UniqueKey | None = None
    result_ttl_seconds: float = 0.0
    id_is_new: bool = False
    """Whether the id was made for this job alone and is sent for the first time.

    A hint: a store knows such an id only if the call arrives after its own repeat, held up on its way. Where that
    cannot be, because what is stored is committed by a later message, it may spare the look. False is never wrong.
    """


class EnqueueResult(msgspec.Struct, frozen=True):
    """What became of one job of a batch: stored, or the id of the job that was there before."""

    id: str
    stored: bool


class ReservedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job handed to a worker. (id, worker, lease_no) is the fence for everything it reports."""

    id: str
    name: str
    queue: str
    priority: int
    body: bytes
    attempt: int
    """1 on the first run; given back by release, so it counts runs that were used up."""
    lease_no: int
    """Rises at every reserve of this job and never falls."""
    max_retries: int
    at_most_once: bool = False
    crashes: int = 0
    """How many times a worker died under this job."""
    snoozes: int = 0
    bounces: int = 0
    """How many times a worker gave it back because it could not run it (no handler, newer envelope)."""
    enqueued_at: Timestamp
    reserved_at: Timestamp


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a store knows of one job, for people and tests; not used on the hot path."""

    id: str
    name: str
    queue: str
    state: JobState
    priority: int
    body: bytes
    attempt: int
    max_retries: int
    lease_no: int
    at_most_once: bool = False
    crashes: int = 0
    snoozes: int = 0
    bounces: int = 0
    enqueued_at: Timestamp
    run_at: Timestamp | None = None
    """When a scheduled or retrying job is due."""
    expires_at: Timestamp | None = None
    reserved_at: Timestamp | None = None
    """When the running attempt was reserved."""
    ended_at: Timestamp | None = None
    """When the job became dead."""
    worker: str | None = None
    """Who holds it while it is running."""
    started: bool = False
    """Whether a Start was reported for the running attempt."""
    cancel_requested: bool = False
    progress: bytes | None = None
    """What the running attempt last said of itself."""
    history: tuple[AttemptRecord, ...] = ()
    """Ended attempts, oldest first; bounded (see `wg_core.history`)."""
