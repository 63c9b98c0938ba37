"""`SqlBackend`: the contract of `wg_core.backend` for every SQL store."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from wg_core.backend import Backend
from wg_core.errors import BackendRejectedError, SchemaError
from wg_core.job import EnqueueResult, JobRecord, JobState, NewJob, ReservedJob, Timestamp
from wg_core.outcome import Applied, Outcome
from wg_core.protocol import (
    Action,
    AlterResult,
    BeatAnswer,
    Capability,
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
from wg_core.sql import altering, claiming, counting, enqueueing, finding, lifecycle, migrating, promoting, reporting
from wg_core.sql.connections import Connections
from wg_core.sql.flavor import Flavor
from wg_core.sql.statements import Statements
from wg_core.sql.tables import Tables
from wg_core.sql.transaction import ConflictError, Cursor, Transaction
from wg_core.sql.waiting import Queues, Waiter

_Answer = TypeVar("_Answer")

_ATTEMPTS = 20
_LONGEST_PAUSE = 0.02
"""Seconds between two attempts at a transaction that others came in between, times the number of the attempt."""


class SqlBackend(Backend):
    """One namespace in one SQL store. A subclass supplies `open`, which makes the three parts.

    Every method is one transaction: a `Transaction` on a borrowed cursor, handed to a function that runs a handful
    of prepared statements.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {
            Capability.INSPECT,
            Capability.ALTER,
            Capability.DELAY,
            Capability.PAUSE,
            Capability.MULTI_PROCESS,
            Capability.DURABLE,
        }
    )

    def __init__(self, namespace: str, flavor: Flavor, connections: Connections, waiter: Waiter) -> None:
        super().__init__()
        self._flavor = flavor
        self._connections = connections
        self._waiter = waiter
        self._statements = Statements(Tables(namespace, **flavor.table_options), flavor)
        self._schema_lock = threading.Lock()
        self._schema_checked = False
        self._known_queues: set[str] = set()

    # ------------------------------------------------------------------ life

    def close(self) -> None:
        """Close every connection and wake every waiter."""
        self._waiter.close()
        self._connections.close()

    def forget_connections(self) -> None:
        """Start afresh in the child of a fork."""
        self._schema_lock = threading.Lock()
        self._forget_schema()
        self._connections.forget()
        self._waiter.forget()

    def migrate(self, *, dry_run: bool = False) -> Migration:
        """Bring the schema up to date, or say how."""
        if dry_run:
            with self._connections.looking() as cursor:
                if cursor is None:
                    return migrating.plan_for_nothing(self._statements.tables, self._flavor)
                return migrating.plan(self._transaction(cursor, None))
        with self._connections.writing() as cursor:
            migration = migrating.migrate(self._transaction(cursor, None))
        self._schema_checked = True
        return migration

    def _check_schema(self) -> None:
        """Make sure, once per instance, that the tables are there; what is up to date is only read."""
        with self._schema_lock:
            if not self._schema_checked and self.migrate(dry_run=True).statements:
                self.migrate()
            self._schema_checked = True

    def _transaction(self, cursor: Cursor, now: Timestamp | None) -> Transaction:
        return Transaction(cursor, self._statements, self._flavor, now)

    @contextmanager
    def _reading(self, now: Timestamp | None = None) -> Iterator[Transaction]:
        if not self._schema_checked:
            self._check_schema()
        with self._schema_watched(), self._connections.reading() as cursor:
            yield self._transaction(cursor, now)

    def _write(self, work: Callable[[Transaction], _Answer], now: Timestamp | None = None) -> _Answer:
        """Return the answer of `work` in a write transaction; it runs again when another one came in between."""
        if not self._schema_checked:
            self._check_schema()

        def attempt() -> _Answer:
            with self._schema_watched(), self._connections.writing() as cursor:
                return work(self._transaction(cursor, now))

        return _repeated(attempt)

    @contextmanager
    def _schema_watched(self) -> Iterator[None]:
        """Look at the schema again after somebody dropped it, so that the next call works."""
        try:
            yield
        except SchemaError:
            self._forget_schema()
            raise

    def _forget_schema(self) -> None:
        self._schema_checked = False
        self._known_queues.clear()

    # ------------------------------------------------------------------ producing

    def enqueue(
        self, jobs: Sequence[NewJob], *, connection: Any = None, now: Timestamp | None = None
    ) -> list[EnqueueResult]:
        """Store a batch in one transaction; a single job on a known queue in one statement."""
        if connection is not None:
            raise self._unsupported(Capability.TRANSACTIONAL)
        for job in jobs:
            self._check_new(job)
        self._check_batch(jobs)
        if len(jobs) == 1 and jobs[0].queue in self._known_queues:
            stored = self._enqueue_one(jobs[0], now)
        else:
            stored = self._enqueue_batch(jobs, now) if jobs else set()
        if stored:
            self._waiter.notify()
        return _answers(jobs, stored)

    def _check_new(self, job: NewJob) -> None:
        if job.unique is not None:
            raise self._unsupported(Capability.UNIQUE)
        if job.result_ttl_seconds:
            raise self._unsupported(Capability.RESULTS)

    def _check_batch(self, batch: Collection[object]) -> None:
        if len(batch) > self.max_batch:
            raise BackendRejectedError(f"a batch holds at most {self.max_batch}, got {len(batch)}")

    def _enqueue_one(self, job: NewJob, now: Timestamp | None) -> set[str]:
        table, row = enqueueing.new_row(self._statements.tables, job, self._flavor.now() if now is None else now)
        text = self._statements.enqueue_one(table).text
        with self._schema_watched():
            return {job.id} if _repeated(lambda: self._connections.write_alone(text, row)) else set()

    def _enqueue_batch(self, jobs: Sequence[NewJob], now: Timestamp | None) -> set[str]:
        new_queues = {job.queue for job in jobs} - self._known_queues

        def store(tx: Transaction) -> set[str]:
            enqueueing.register_queues(tx, new_queues)
            return enqueueing.store_jobs(tx, jobs)

        stored = self._write(store, now)
        self._known_queues |= new_queues  # only now: a transaction that failed has registered nothing
        return stored

    # ------------------------------------------------------------------ working

    def reserve(
        self,
        queues: Sequence[str] | None,
        limit: int,
        worker: str,
        *,
        request_no: int,
        now: Timestamp | None = None,
    ) -> list[ReservedJob]:
        """Move jobs to running, queue by queue, in one transaction; where nothing is ready nothing is written."""
        if self._flavor.looks_before_writing:
            with self._reading(now) as tx:
                found = claiming.look(tx, queues, worker, request_no)
            if found is not None:
                return found
        return self._write(lambda tx: claiming.reserve_jobs(tx, queues, limit, worker, request_no), now)

    def report(
        self, worker: str, outcomes: Sequence[Outcome], *, request_no: int, now: Timestamp | None = None
    ) -> list[Applied]:
        """Apply a batch, a few statements for each kind of outcome, and remember the answer."""
        answer, wakes = self._write(lambda tx: reporting.report_outcomes(tx, worker, outcomes, request_no), now)
        return self._woken(answer, wakes)

    def beat(self, workers: Sequence[WorkerBeat], *, now: Timestamp | None = None) -> BeatAnswer:
        """Renew the leases in one transaction."""
        return self._write(lambda tx: lifecycle.renew_leases(tx, workers), now)

    def held(self, worker: str) -> list[tuple[str, int]]:
        """Read what the worker holds."""
        with self._reading() as tx:
            return [(job_id, lease_no) for job_id, lease_no in tx.rows(tx.statements.held, worker=worker)]

    def retire(
        self, worker: str, started: Sequence[tuple[str, int]], reason: str, *, now: Timestamp | None = None
    ) -> list[Rescued]:
        """Settle all that the worker holds, and delete what is known of it."""
        rescued, wakes = self._write(lambda tx: lifecycle.retire_worker(tx, worker, started, reason), now)
        return self._woken(rescued, wakes)

    def rescue(self, limit: int, *, rescuer: str | None = None, now: Timestamp | None = None) -> list[Rescued]:
        """Give up workers whose lease is over, and settle some of their jobs."""
        rescued, wakes = self._write(lambda tx: lifecycle.rescue_jobs(tx, max(0, limit), rescuer), now)
        return self._woken(rescued, wakes)

    def promote(self, limit: int, *, now: Timestamp | None = None) -> Promoted:
        """Move due jobs of both tables to ready."""
        promoted = self._write(lambda tx: promoting.promote_due(tx, max(0, limit)), now)
        return self._woken(promoted, promoted.moved > 0)

    def _woken(self, answer: _Answer, wakes: bool) -> _Answer:  # noqa: FBT001 - private, and it reads in order
        if wakes:
            self._waiter.notify()
        return answer

    # ------------------------------------------------------------------ waiting

    def wait(self, queues: Queues, timeout_seconds: float) -> None:
        """Block until there may be a ready job."""
        self._waiter.wait(queues, timeout_seconds)

    def interrupt(self) -> None:
        """End the wait that is going on, or the next one."""
        self._waiter.interrupt()

    def has_ready(self, queues: Queues) -> bool:
        """Return whether a queue (of the list) that is not paused holds a ready job; for waiters that poll."""
        with self._reading() as tx:
            return bool(claiming.busy_queues(tx, queues, 0))

    # ------------------------------------------------------------------ inspect

    def get(self, ids: Sequence[str]) -> list[JobRecord]:
        """Look the ids up in all job tables, in one statement."""
        with self._reading() as tx:
            return finding.get_records(tx, ids) if ids else []

    def find(self, where: JobFilter, *, cursor: str | None = None, limit: int = 100) -> JobPage:
        """Page along the index of the state."""
        with self._reading() as tx:
            return finding.find_records(tx, where, cursor, limit) if limit > 0 else JobPage()

    def stats(self, level: StatsLevel = StatsLevel.CHEAP, *, now: Timestamp | None = None) -> Stats:
        """Count, to the cap or exactly."""
        with self._reading(now) as tx:
            return counting.count_all(tx, level)

    def workers(self, *, now: Timestamp | None = None) -> list[WorkerRecord]:
        """Read the worker table."""
        with self._reading(now) as tx:
            return counting.list_workers(tx)

    def health(self) -> Health:
        """Time a read transaction and ask the store for its settings."""
        with self._reading() as tx:
            start = time.perf_counter()
            tx.rows(tx.statements.paused)
            latency = time.perf_counter() - start
            report = self._flavor.inspect_server(tx)
        return Health(
            latency_seconds=latency,
            server=report.server,
            warnings=report.warnings,
            details={"namespace": self._statements.tables.namespace, **(report.details or {})},
        )

    # ------------------------------------------------------------------ alter and pause

    def alter(
        self,
        ids: Sequence[str],
        action: Action,
        *,
        expected: frozenset[JobState] | None = None,
        now: Timestamp | None = None,
    ) -> AlterResult:
        """Change jobs state by state in one transaction."""
        self._check_batch(ids)
        result, wakes = self._write(lambda tx: altering.alter_jobs(tx, ids, action, expected), now)
        return self._woken(result, wakes)

    def prune(self, policy: Retention, limit: int, *, now: Timestamp | None = None) -> int:
        """Delete old dead jobs and end expired ones, the oldest first."""
        return self._write(lambda tx: altering.prune_jobs(tx, policy, max(0, limit)), now)

    def pause(self, queue: str) -> None:
        """Mark the queue, and register it if nobody did."""

        def mark(tx: Transaction) -> None:
            enqueueing.register_queues(tx, [queue])
            tx.run(tx.statements.set_paused(paused=True), queue=queue)

        self._write(mark)

    def resume(self, queue: str) -> None:
        """Take the mark off and wake waiters."""
        self._write(lambda tx: tx.run(tx.statements.set_paused(paused=False), queue=queue))
        self._waiter.notify()


def _answers(jobs: Sequence[NewJob], stored: set[str]) -> list[EnqueueResult]:
    answers = []
    for job in jobs:
        answers.append(EnqueueResult(job.id, job.id in stored))
        stored.discard(job.id)  # of equal ids in a batch the first was stored
    return answers


def _repeated(attempt: Callable[[], _Answer]) -> _Answer:
    """Return the answer of a transaction, run again after a short pause as long as others come in between."""
    for number in range(1, _ATTEMPTS):
        try:
            return attempt()
        except ConflictError:
            threading.Event().wait(random.uniform(0, _LONGEST_PAUSE * number))  # noqa: S311 - spreads, keeps no secret
    return attempt()
