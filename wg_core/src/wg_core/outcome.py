"""What became of a job: values that a worker reports to the store, and the decision that produces them."""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from wg_core._failure import error_message, error_name, error_traceback
from wg_core.backoff import retry_delay
from wg_core.errors import JobCancelled, JobError, JobTimeout, WgError
from wg_core.history import AttemptRecord
from wg_core.job import ReservedJob
from wg_core.validation import MAX_DURATION_SECONDS


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


class TimeoutStep(enum.StrEnum):
    """Which of the three steps ended a job whose time was over."""

    COOPERATIVE = "the handler stopped itself"
    RAISED = "ended by an exception raised in its thread"
    REPLACED = "its thread did not move, so its process is replaced"
    GIVEN_UP = "its thread did not move and was given up"


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """The circumstances in which one attempt ended. Times are milliseconds since the epoch, UTC."""

    worker: str
    started_at: int
    ended_at: int
    retry_delay: float
    """Seconds before the first retry, from the job's envelope."""
    timeout: float | None = None
    timeout_step: TimeoutStep | None = None
    cancelled: bool = False
    lease_lost: bool = False


def decide(job: ReservedJob, error: BaseException | None, ending: Ending, *, chance: float = 0.0) -> Outcome | None:
    """Turn the end of one attempt into the one thing to tell the store; None when the job is no longer ours.

    Pure: `chance` (from -1 to 1) is the jitter of the backoff. A handler that returns is done, also when a cancel
    or its timeout came too late to stop it. A handler that raises after a cancel is cancelled, whatever it raised.
    """
    if ending.lease_lost:
        return None
    if error is None:
        return Ack(id=job.id, lease_no=job.lease_no)
    if ending.cancelled or isinstance(error, JobCancelled):
        return Cancel(id=job.id, lease_no=job.lease_no, record=record_of(job, error, "cancelled", ending))
    if is_final(job, error):
        return Bury(id=job.id, lease_no=job.lease_no, record=record_of(job, error, "dead", ending))
    return Retry(
        id=job.id,
        lease_no=job.lease_no,
        delay_seconds=_delay(job, error, ending, chance),
        record=record_of(job, error, "retry", ending),
    )


def decide_unfinished(job: ReservedJob, ending: Ending) -> Outcome | None:
    """Turn an attempt that the worker must break off because it stops into what to tell the store (pure).

    The attempt is not used up, except that a job which may start only once did start.
    """
    if ending.lease_lost:
        return None
    if not (job.at_most_once or ending.cancelled):
        return Release(id=job.id, lease_no=job.lease_no)
    return decide(job, WgError("the worker stopped before the handler had ended"), ending)


def is_final(job: ReservedJob, error: BaseException) -> bool:
    """Whether this failure ends the job: it says so itself, the job may start only once, or the attempts are used."""
    is_fatal = isinstance(error, JobError) and error.is_fatal
    return is_fatal or job.at_most_once or job.attempt > job.max_retries


def record_of(job: ReservedJob, error: BaseException, outcome: str, ending: Ending) -> AttemptRecord:
    """Return what is remembered of a failed attempt."""
    return AttemptRecord(
        attempt=job.attempt,
        outcome=outcome,
        worker=ending.worker,
        started_at=ending.started_at,
        ended_at=ending.ended_at,
        error_type="JobTimeout" if isinstance(error, JobTimeout) else error_name(error),
        error_message=_message(error, ending),
        traceback=error_traceback(error) if error.__traceback__ is not None else None,
    )


def _message(error: BaseException, ending: Ending) -> str:
    if ending.timeout_step is None:
        return error_message(error)
    passed = f"the timeout of {ending.timeout} s passed; {ending.timeout_step.value}"
    return passed if isinstance(error, JobTimeout) else f"{error_message(error)} ({passed})"


def _delay(job: ReservedJob, error: BaseException, ending: Ending, chance: float) -> float:
    if isinstance(error, JobError):
        own = error.delay_seconds  # of a handler: anything may be in it
        if isinstance(own, int | float) and 0 <= own <= MAX_DURATION_SECONDS:
            return own
    return retry_delay(ending.retry_delay, job.attempt, chance)
