"""What a handler may know of the job it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, MutableMapping
from contextvars import ContextVar
from typing import Any

import msgspec

from wg_core._held import HeldJob
from wg_core.errors import JobCancelled, JobTimeout, NoCurrentJobError, PayloadError
from wg_core.job import Timestamp

_current: ContextVar[CurrentJob] = ContextVar("wg_current_job")
_encode = msgspec.json.Encoder().encode
_log = logging.getLogger("wg.job")

PROGRESS_LIMIT = 65_536
"""Bytes of JSON that one progress value may have."""


class CurrentJob:
    """The job that the calling handler runs. Get it with `current_job()`; valid until the handler returns.

    May be passed to other threads of the handler's own.
    """

    __slots__ = ("_held", "_send_progress", "deadline")

    def __init__(self, held: HeldJob, deadline: float | None, send_progress: Callable[[HeldJob], None]) -> None:
        self._held = held
        self._send_progress = send_progress
        self.deadline = deadline
        """When the job's time is over, on the time.monotonic() clock; None when it has no timeout."""

    @property
    def id(self) -> str:
        """The job's id."""
        return self._held.job.id

    @property
    def name(self) -> str:
        """The job's name, which selected the handler."""
        return self._held.job.name

    @property
    def queue(self) -> str:
        """The queue it came from."""
        return self._held.job.queue

    @property
    def attempt(self) -> int:
        """1 on the first run."""
        return self._held.job.attempt

    @property
    def max_retries(self) -> int:
        """How often it is repeated at most; it runs at most once more often than that."""
        return self._held.job.max_retries

    @property
    def lease_no(self) -> int:
        """Rises with every reserve of this job and never falls."""
        return self._held.job.lease_no

    @property
    def fencing(self) -> tuple[str, int]:
        """(id, lease_no): let your own writes refuse a lower lease_no of the same id, and a late run harms nothing."""
        return self._held.job.id, self._held.job.lease_no

    @property
    def enqueued_at(self) -> Timestamp:
        """When it was enqueued: milliseconds since the epoch, by the store's clock."""
        return self._held.job.enqueued_at

    @property
    def time_left(self) -> float | None:
        """Seconds until the deadline, never below zero; None when it has no timeout."""
        return None if self.deadline is None else max(0.0, self.deadline - time.monotonic())

    @property
    def cancelled(self) -> bool:
        """Whether the handler should stop: somebody cancelled the job, or it is not this worker's any more."""
        return self._held.cancelled or self.lease_lost

    @property
    def lease_lost(self) -> bool:
        """Whether the job may run elsewhere by now; what this handler returns will not be recorded."""
        return self._held.is_over or self._held.lease.lost

    def check(self) -> None:
        """Raise JobCancelled when the job is `cancelled`, JobTimeout when its time is over; else return."""
        if self.cancelled:
            reason = "its lease was lost" if self.lease_lost else "it was cancelled"
            raise JobCancelled(f"{self._held} should stop: {reason}")
        if self.deadline is not None and time.monotonic() >= self.deadline:
            raise JobTimeout(f"{self._held} has used up its time")

    def progress(self, value: Any) -> None:
        """Show how far the handler is: any value that JSON can hold, at most 64 KiB of it.

        Returns at once; of values in quick succession only the newest is stored. PayloadError when it is not JSON.
        """
        try:
            encoded = _encode(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise PayloadError(f"progress must be JSON: {error}") from error
        if len(encoded) > PROGRESS_LIMIT:
            raise PayloadError(f"progress must be at most {PROGRESS_LIMIT} bytes of JSON, got {len(encoded)}")
        self._held.progress = encoded
        if not self._held.is_progress_waiting:
            self._held.is_progress_waiting = True
            self._send_progress(self._held)

    @property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger `wg.job` whose lines begin with the job and whose records carry its fields as attributes."""
        return _JobLogger(self._held)


class _JobLogger(logging.LoggerAdapter[logging.Logger]):
    def __init__(self, held: HeldJob) -> None:
        job = held.job
        super().__init__(_log, {"job_id": job.id, "job_name": job.name, "queue": job.queue, "attempt": job.attempt})
        self._held = held

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Put the job before the message; a message without arguments is no format, so its % signs stay."""
        text, args = (f"%s: {msg}", (self._held, *args)) if args else ("%s: %s", (self._held, msg))
        super().log(level, text, *args, **kwargs)

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        """Add the job's fields to those of the caller instead of replacing them."""
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return msg, kwargs


def current_job() -> CurrentJob:
    """Return the job that the calling handler runs; NoCurrentJobError outside a handler.

    A thread that the handler starts does not inherit it: pass it on.
    """
    job = _current.get(None)
    if job is None:
        raise NoCurrentJobError("current_job() was called outside a running handler")
    return job


def enter_job(job: CurrentJob) -> None:
    """Make the job the current one of this context. For the worker, which gives every run a fresh context."""
    _current.set(job)
