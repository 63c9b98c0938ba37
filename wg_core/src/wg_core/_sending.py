"""How batches of jobs reach the store although it stumbles: bounded repeats under the same ids."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Iterator, Sequence

import msgspec

from wg_core.backend import Backend
from wg_core.errors import AmbiguousResultError, BackendError, BackendUnavailableError
from wg_core.job import EnqueueResult, NewJob

DEFAULT_ENQUEUE_TIMEOUT_SECONDS = 3.0
MAX_BATCH_BYTES = 8 * 1_048_576
"""One request holds no more than this, whatever `max_batch` allows: servers limit theirs."""
FIRST_PAUSE_SECONDS = 0.05
LONGEST_PAUSE_SECONDS = 1.0


def split(jobs: Sequence[NewJob], most: int) -> Iterator[Sequence[NewJob]]:
    """Return the jobs in order, in batches of at most `most` jobs and MAX_BATCH_BYTES (or one larger job)."""
    start, size = 0, 0
    for index, job in enumerate(jobs):
        if index > start and (index - start == most or size + len(job.body) > MAX_BATCH_BYTES):
            yield jobs[start:index]
            start, size = index, 0
        size += len(job.body)
    if start < len(jobs):
        yield jobs[start:]


def send(backend: Backend, jobs: Sequence[NewJob], *, timeout_seconds: float) -> list[EnqueueResult]:
    """Store one batch, repeating it under the same ids while the store is away, for at most `timeout_seconds`.

    Raises the error of the last try; AmbiguousResultError also when only an earlier one was ambiguous, because
    then "nothing happened" is true of the last try alone.

    What is sent again is no longer said to be new to the store: an earlier try may have arrived, or be on its way. A
    batch with an at-most-once job is not repeated after an ambiguous try: the first may have arrived, run and ended
    without a record, and the second would run it again.
    """
    deadline = time.monotonic() + timeout_seconds
    may_be_stored = False
    may_run_twice = not any(job.at_most_once for job in jobs)
    for pause_seconds in _pauses():
        try:
            return backend.enqueue(jobs)
        except (AmbiguousResultError, BackendUnavailableError) as error:
            may_be_stored = may_be_stored or isinstance(error, AmbiguousResultError)
            is_last = may_be_stored and not may_run_twice
            if is_last or time.monotonic() + pause_seconds >= deadline:
                raise _final(error, may_be_stored=may_be_stored) from error
        jobs = [msgspec.structs.replace(job, id_is_new=False) for job in jobs]
        threading.Event().wait(pause_seconds)
    raise AssertionError("the pauses never end")


def _pauses() -> Iterator[float]:
    for attempt in itertools.count():
        longest = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** min(attempt, 10))
        yield longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads the repeats of many producers


def _final(error: BackendError, *, may_be_stored: bool) -> BackendError:
    if may_be_stored and not isinstance(error, AmbiguousResultError):
        return AmbiguousResultError(f"the jobs may have been stored by an earlier try; the last one: {error}")
    return error
