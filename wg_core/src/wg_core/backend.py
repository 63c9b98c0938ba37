"""The contract between wg and a store. These docstrings are the specification for backend authors.

A backend is cut at the *transition*: every method below is one atomic step in the store, batch first. Policy
(backoff, retry decisions, buffering, cron, validation) never lives in a backend: it is told what to store.

Rules that hold for every method:

* Time is the store's clock. `now` (milliseconds since the epoch) replaces it for one call, so that tests can walk
  through leases and schedules; production code never passes it.
* Every call is thread-safe, and several processes may use one store at once.
* Driver errors never leave a backend: see the table in `wg_core.errors`. A call that changed nothing for certain
  raises BackendUnavailableError; one whose answer was lost raises AmbiguousResultError. Driver-level retries of
  writes are off. After the store is back, the next call works without reopening.
* No I/O before the first call that needs it, and no connection is used in another process than the one that
  opened it: `forget_connections` runs in the child after a fork.
* What no store could keep (durations that are not finite, times beyond `wg_core.job.LATEST`, text without UTF-8) is a
  BackendRejectedError, and then nothing of the call has happened; `wg_core.job.milliseconds` and `check_timestamp` say
  so. A limit of zero or less moves and finds nothing.
* Work per call does not grow with the number of jobs that wait, run, are scheduled or dead.
"""

from __future__ import annotations

import contextlib
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from wg_core.errors import UnsupportedError
from wg_core.job import EnqueueResult, JobRecord, JobState, NewJob, ReservedJob, Timestamp
from wg_core.outcome import Applied, Outcome
from wg_core.protocol import (
    Action,
    AlterResult,
    BeatAnswer,
    Capability,
    Document,
    Health,
    JobFilter,
    JobPage,
    Migration,
    Promoted,
    Rescued,
    Retention,
    Stats,
    StatsLevel,
    WorkerBeat,
    WorkerRecord,
)

API_VERSION = 1
"""The version of this contract; `open_backend` refuses a class that was written for another."""


class Backend(ABC):
    """One store, one namespace. Subclasses register under the entry-point group `wg.backends` by URL scheme."""

    api_version: ClassVar[int] = API_VERSION
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    max_batch: ClassVar[int] = 1_000
    """The most jobs that one `enqueue` stores atomically; at least 500. Clients split above it."""

    # ------------------------------------------------------------------ life

    @classmethod
    @abstractmethod
    def open(cls, url: str, namespace: str, **options: Any) -> Self:
        """Return a backend for `url` without any I/O.

        Options come from the URL's query and from keywords (keywords win). Unknown or malformed ones raise
        ConfigError naming the option and what was expected. The namespace was validated by `open_backend`; two
        namespaces on one store never see each other.
        """

    @abstractmethod
    def close(self) -> None:
        """Close every connection and wake every waiter. Idempotent; later calls raise BackendUnavailableError."""

    def forget_connections(self) -> None:  # noqa: B027 - optional: a store without connections has none to forget
        """Drop, without closing, every connection and lock inherited from a parent process.

        Runs in the child right after a fork, before anything else uses the backend. Must not do I/O.
        """

    @abstractmethod
    def migrate(self, *, dry_run: bool = False) -> Migration:
        """Create or upgrade the tables or keys; with `dry_run` only say what would be done.

        Idempotent and safe when many processes start at once. The first call that needs the schema does the same
        by itself, so calling this is optional. A table of ours that is there without our meta record is
        a SchemaError, never adopted. A store newer than this version is a SchemaError unless its
        `min_compatible` allows us.
        """

    # ------------------------------------------------------------------ core tier: producing

    @abstractmethod
    def enqueue(
        self, jobs: Sequence[NewJob], *, connection: Any = None, now: Timestamp | None = None
    ) -> list[EnqueueResult]:
        """Store a batch of at most `max_batch` jobs in one atomic step and one round trip; answer in order.

        An id of which any record exists (in any state) is the same job: nothing changes and the answer says
        `stored=False`. Within the batch the first of equal ids wins. New jobs go to ready (or scheduled when
        their time is ahead) and waiters of their queues are woken.

        `connection` (capability `transactional`): the batch is stored in the transaction that is open on this
        connection of the caller's, or that begins as with any statement of it. Nothing is committed, repeated or
        created there. The jobs are there, and waiters are woken, when the caller commits; a rollback leaves nothing.
        What is no connection, leads to another store or would commit each statement is a ConfigError, missing tables
        are a SchemaError; the driver's errors about locks, the connection or the transaction go on unchanged.

        Raises BackendRejectedError when the store refuses the content (nothing of the batch is stored).
        """

    # ------------------------------------------------------------------ core tier: working

    @abstractmethod
    def reserve(
        self,
        queues: Sequence[str] | None,
        limit: int,
        worker: str,
        *,
        request_no: int,
        now: Timestamp | None = None,
    ) -> list[ReservedJob]:
        """Move up to `limit` ready jobs to running under `worker` in one atomic step; never blocks for work.

        Order: the queues as listed; within a queue higher priority first, then first in first out. `queues=None`
        means every queue that exists, starting at another one with each request_no so that none starves. The
        answer is in that order. attempt and lease_no each rise by one. A paused queue gives nothing. A job past
        its expiry is never handed out; it ends as expired.

        `request_no` rises per worker with one outstanding: equal to the last one that returned jobs → those
        of its jobs that still run under it are returned again, nothing new is reserved; lower → BackendRejectedError.
        An empty answer need not be remembered.

        Raises LeaseLostError when the worker never beat, is gone, or its lease has run out.
        """

    @abstractmethod
    def report(
        self, worker: str, outcomes: Sequence[Outcome], *, request_no: int, now: Timestamp | None = None
    ) -> list[Applied]:
        """Apply a mixed batch of outcomes in one atomic step and one round trip; answer in order.

        Fence: an outcome is applied only where (id, worker, lease_no) is running; otherwise it changes nothing
        and is LOST. The lease itself is not looked at: until a rescue or retire moved the job, its worker may
        still report. The moves:

        * Ack → done: the job is gone (or kept as a record where it has a result_ttl).
        * Retry → retry, due `delay_seconds` from now, its record appended to the history; cancelled instead when
          a cancel is pending.
        * Bury → dead, record appended.
        * Release → back where it stood (same priority and sequence number), or scheduled when there is a delay;
          attempt falls by one; `counts_as` raises snoozes or bounces. Cancelled instead when a cancel is pending.
        * Cancel → cancelled.
        * Start → stays running, marked as started. Progress → stays running, value stored.

        Several outcomes of one job in a batch apply in order (Start, then Ack). `request_no` rises per worker,
        apart from reserve's: equal to the last → the same answer again and nothing is done twice; lower →
        BackendRejectedError. Waiters are woken for jobs that became ready.
        """

    @abstractmethod
    def beat(self, workers: Sequence[WorkerBeat], *, now: Timestamp | None = None) -> BeatAnswer:
        """Renew the leases of all given workers in one write; the answer carries the news.

        `first=True` registers the worker (again: idempotent). Otherwise a worker that is not there, or gone, is
        answered `lease_lost` and stays away: gone is final. A lease that ran out but was not yet rescued is
        renewed. The answer lists pending cancels of jobs the worker runs and the paused queues. A worker that a
        rescue in another transaction is just giving up may be answered as alive; its next beat tells.
        """

    @abstractmethod
    def held(self, worker: str) -> list[tuple[str, int]]:
        """Return (id, lease_no) of every job that is running under the worker, for reconciling."""

    @abstractmethod
    def retire(
        self, worker: str, started: Sequence[tuple[str, int]], reason: str, *, now: Timestamp | None = None
    ) -> list[Rescued]:
        """Give back at once all jobs of a worker known to be dead, and forget the worker; one atomic step.

        For its supervisor, after waitpid. `started` is (id, lease_no) of the handlers that were running; a job
        marked by Start counts as started too. Each job is settled as in `rescue`, except that here it is known
        whether it had started. Unknown workers are no error: the answer is empty.
        """

    @abstractmethod
    def rescue(self, limit: int, *, rescuer: str | None = None, now: Timestamp | None = None) -> list[Rescued]:
        """Settle up to `limit` jobs of workers whose lease is over; the predicate is in the writing statement.

        With `rescuer`, the id of the asking worker, nothing is done unless its own lease is live in that same step: a
        store that stood still sees every lease run out at once, and a rescue that was under way to it meanwhile
        must not take everybody for dead.

        The worker is marked gone first and forgotten once it holds nothing (also when it held nothing at all).
        What becomes of each job:

        * a pending cancel → cancelled;
        * at_most_once: started → charged like the next, but always dead; else given back;
        * else *charged* when it had started, or when nobody can know (not marked by Start, and crashes == 0):
          crashes + 1, a `history.vanished` record with the reason naming the worker, then dead when
          attempt > max_retries, otherwise ready. Not charged → given back as by Release (attempt falls by one).

        Jobs keep their priority and sequence number, so they come back where they stood. Waiters are woken.
        Many rescuers at once neither duplicate nor lose.
        """

    @abstractmethod
    def promote(self, limit: int, *, now: Timestamp | None = None) -> Promoted:
        """Move up to `limit` due jobs from scheduled and retry to ready, in run_at order; wakes waiters.

        They get new sequence numbers. Atomic per job with any number of promoters. The answer says how
        many moved and in how many seconds the next one is due (None when nothing waits for its time).
        """

    # ------------------------------------------------------------------ core tier: waiting

    @abstractmethod
    def wait(self, queues: Sequence[str] | None, timeout_seconds: float) -> None:
        """Block until there may be a ready job in the queues, at most `timeout_seconds`; a hint only.

        May return early for no reason. Values below a second work. Uses a connection of its own where it blocks
        in the store. Never raises for a lost connection: it returns early after a pause that `interrupt` cuts short.
        """

    @abstractmethod
    def interrupt(self) -> None:
        """Make the `wait` that is going on return at once, or the next one if there is none. From any thread."""

    # ------------------------------------------------------------------ capability: inspect

    def get(self, ids: Sequence[str]) -> list[JobRecord]:
        """Return the records of those ids that exist, in the order of `ids`."""
        raise self._unsupported(Capability.INSPECT)

    def find(self, where: JobFilter, *, cursor: str | None = None, limit: int = 100) -> JobPage:
        """Return a page of jobs in one state, and the cursor of the next page (None at the end).

        Order: ready in the order of reserve per queue (queues by name); scheduled and retry by due time; running
        by id or reserve time; dead newest first. Keyset paging: a call looks at a bounded number of records, so with
        a name filter a page may hold fewer than `limit` (even none) and still have a cursor.
        """
        raise self._unsupported(Capability.INSPECT)

    def stats(self, level: StatsLevel = StatsLevel.CHEAP, *, now: Timestamp | None = None) -> Stats:
        """Return counts. Cheap is O(queues) and may cap a length at 10,000 (`capped`); exact may count."""
        raise self._unsupported(Capability.INSPECT)

    def workers(self, *, now: Timestamp | None = None) -> list[WorkerRecord]:
        """Return the known workers, oldest first, with what they said of themselves and how many jobs they hold."""
        raise self._unsupported(Capability.INSPECT)

    def health(self) -> Health:
        """Ask the store for a round trip and look at its settings; warnings say what to change and why."""
        raise self._unsupported(Capability.INSPECT)

    # ------------------------------------------------------------------ capability: alter

    def alter(
        self,
        ids: Sequence[str],
        action: Action,
        *,
        expected: frozenset[JobState] | None = None,
        now: Timestamp | None = None,
    ) -> AlterResult:
        """Change jobs by id in one atomic step, each fenced by its state; at most `max_batch` ids.

        Only jobs in a state of `expected` (None: any) and in one the action applies to are changed; the others come
        back in `refused` with the reason (their state, or "no such job"). They are changed in the order of `ids`; an
        id that is there twice counts once:

        * Cancel: scheduled, ready, retry → cancelled; running → the cancel is pending and the worker hears of it.
        * Requeue: dead → ready at the tail, attempt, crashes, snoozes and bounces 0, and it expires no more; scheduled,
          retry → ready now.
        * Delete: everything but running → gone.
        * Reprioritise: scheduled, ready, retry: new priority, same sequence number.
        * Reschedule: scheduled, ready, retry → scheduled at the new time, or ready when that is not ahead.
        """
        raise self._unsupported(Capability.ALTER)

    def alter_found(
        self, where: JobFilter, action: Action, *, cursor: str | None = None, limit: int = 500
    ) -> tuple[AlterResult, str | None]:
        """Alter one page of what `find` returns; returns also the cursor to go on with (None at the end).

        Not one atomic step, but each change is fenced by the state that was asked for, so a job that moved on
        meanwhile is refused.
        """
        page = self.find(where, cursor=cursor, limit=min(limit, self.max_batch))
        ids = [record.id for record in page.jobs]
        if not ids:
            return AlterResult(), page.cursor
        return self.alter(ids, action, expected=frozenset({where.state})), page.cursor

    def prune(self, policy: Retention, limit: int, *, now: Timestamp | None = None) -> int:
        """Delete up to `limit` dead jobs that are too old or too many, and end waiting jobs that expired."""
        raise self._unsupported(Capability.ALTER)

    # ------------------------------------------------------------------ capability: pause

    def pause(self, queue: str) -> None:
        """Stop handing out jobs of the queue, for all workers, until `resume`; stored. Enqueueing goes on."""
        raise self._unsupported(Capability.PAUSE)

    def resume(self, queue: str) -> None:
        """Undo `pause` and wake waiters. Not paused: nothing happens."""
        raise self._unsupported(Capability.PAUSE)

    # ------------------------------------------------------------------ capability: records

    def get_record(self, kind: str, key: str) -> Document | None:
        """Return the small named document, or None."""
        raise self._unsupported(Capability.RECORDS)

    def list_records(self, kind: str) -> list[Document]:
        """Return all documents of a kind by key."""
        raise self._unsupported(Capability.RECORDS)

    def set_record(self, kind: str, key: str, value: bytes | None, *, expected_version: int) -> Document | None:
        """Compare and set: write (None deletes) if the version is the expected one (0: absent), else return None."""
        raise self._unsupported(Capability.RECORDS)

    # ------------------------------------------------------------------ shared machinery

    def __init__(self) -> None:
        _forked_backends.add(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _unsupported(self, capability: Capability) -> UnsupportedError:
        return UnsupportedError(
            f"{type(self).__name__} does not support {capability.value!r}; it declares: "
            f"{', '.join(sorted(self.capabilities)) or 'the core tier only'}",
            capability=capability.value,
        )


_forked_backends: weakref.WeakSet[Backend] = weakref.WeakSet()


def _forget_inherited_connections() -> None:
    for backend in list(_forked_backends):
        with contextlib.suppress(Exception):  # a child must come up whatever one plug-in does
            backend.forget_connections()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_inherited_connections)
