"""What became of a job: values that a worker reports to the store, and the decision that produces them."""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from wg_core.history import AttemptRecord


class CountsAs(enum.StrEnum):
    """Which counter of the job a Release raises; none of them uses up an attempt."""

    NONE = "none"
    SNOOZE = "snooze"
    BOUNCE = "bounce"


class Ack(msgspec.Struct, frozen=True, kw_only=True):
    """The handler returned: the job is done. `result` is JSON, kept only where the job has a result_ttl."""

    id: str
    lease_no: int
    result: bytes | None = None


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt failed: run again `delay_seconds` from the store's now."""

    id: str
    lease_no: int
    delay_seconds: float
    record: AttemptRecord


class Bury(msgspec.Struct, frozen=True, kw_only=True):
    """The attempt failed for good: to the dead letters."""

    id: str
    lease_no: int
    record: AttemptRecord


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Given back: the attempt does not count. Without a delay it stands where it stood before the reserve."""

    id: str
    lease_no: int
    delay_seconds: float = 0.0
    counts_as: CountsAs = CountsAs.NONE


class Cancel(msgspec.Struct, frozen=True, kw_only=True):
    """The handler ended because the job was cancelled."""

    id: str
    lease_no: int
    record: AttemptRecord | None = None


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The handler is about to run: reported and answered before it does, so a crash can be charged for certain."""

    id: str
    lease_no: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The handler says how far it is; `value` is JSON."""

    id: str
    lease_no: int
    value: bytes


Outcome: TypeAlias = Ack | Retry | Bury | Release | Cancel | Start | Progress
"""What a worker may report of a job it holds. Start and Progress leave it running, the others end the hold."""


class Applied(enum.StrEnum):
    """The store's answer to one outcome."""

    APPLIED = "applied"
    LOST = "lost"
    """(id, worker, lease_no) is not running: nothing was changed."""
