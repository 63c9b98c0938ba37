"""A job on its way to a store: what `.job(...)` returns, and the form in which a backend takes it."""

from __future__ import annotations

from typing import Generic, TypeVar, cast

import msgspec
from msgspec import UNSET, UnsetType

from wg_core._uuid7 import new_id
from wg_core.envelope import (
    DEFAULT_RETRY_DELAY_SECONDS,
    DEFAULT_TIMEOUT_SECONDS,
    ENVELOPE_VERSION,
    Envelope,
    encode_envelope,
)
from wg_core.job import NewJob
from wg_core.options import JobOptions
from wg_core.settings import Seconds
from wg_core.validation import to_timestamp

R = TypeVar("R")
T = TypeVar("T")

DEFAULT_QUEUE = "default"
DEFAULT_MAX_RETRIES = 3


class Job(msgspec.Struct, Generic[R], frozen=True):
    """An unsent job: `client.enqueue` sends it, as often as it is told to, each time as a new job.

    `R` is what its handler returns.
    """

    name: str
    args: bytes
    """The JSON object of its named arguments."""
    options: JobOptions = JobOptions()

    def with_options(self, changes: JobOptions | None) -> Job[R]:
        """Return a copy with some options replaced."""
        return self if changes is None else Job(self.name, self.args, self.options.merged(changes))


def to_new_job(job: Job[R]) -> NewJob:
    """Return the job as a backend takes it, under its own id or a new one."""
    options = job.options
    return NewJob(
        id=new_id() if options.id is UNSET else options.id,
        name=job.name,
        body=_body(job),
        queue=_given(options.queue, DEFAULT_QUEUE),
        priority=_given(options.priority, 0),
        delay_seconds=_given(_seconds(options.delay), 0.0),
        run_at=None if options.run_at is UNSET else to_timestamp(options.run_at),
        expires_in_seconds=_seconds_or_none(options.expires_in, None),
        max_retries=_given(options.max_retries, DEFAULT_MAX_RETRIES),
        at_most_once=_given(options.at_most_once, False),
        # At a moment that passes between two tries the second would go elsewhere, where it cannot meet the first.
        id_is_new=options.id is UNSET and options.run_at is UNSET,
    )


def _body(job: Job[R]) -> bytes:
    options = job.options
    return encode_envelope(
        Envelope(
            v=ENVELOPE_VERSION,
            args=msgspec.Raw(job.args),
            timeout=_seconds_or_none(options.timeout, DEFAULT_TIMEOUT_SECONDS),
            retry_delay=_given(_seconds(options.retry_delay), DEFAULT_RETRY_DELAY_SECONDS),
            headers={} if options.headers is UNSET else dict(options.headers),
        )
    )


def _given(value: T | UnsetType, default: T) -> T:
    return default if value is UNSET else value


def _seconds(value: Seconds | UnsetType) -> float | UnsetType:
    # JobOptions keeps durations as float seconds; its annotations say what its callers may pass.
    return cast("float | UnsetType", value)


def _seconds_or_none(value: Seconds | UnsetType | None, default: float | None) -> float | None:
    return default if value is UNSET else cast("float | None", value)
