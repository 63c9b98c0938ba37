"""`SqlBackend`: the contract of `wg_core.backend` for every SQL store."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any, ClassVar

from wg_core.backend import Backend
from wg_core.errors import BackendRejectedError
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
from wg_core.sql import (
    altering,
    claiming,
    counting,
    enqueueing,
    finding,
    joining,
    lifecycle,
    promoting,
    reporting,
)
from wg_core.sql.connections import Connections
from wg_core.sql.flavor import Flavor
from wg_core.sql.statements import Statements
from wg_core.sql.store import SqlStore
from wg_core.sql.tables import Tables
from wg_core.sql.transaction import Transaction
from wg_core.sql.waiting import Queues, Waiter


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

    def __init__(
        self,
        namespace: str,
        flavor: Flavor,
        connections: Connections,
        waiter: Waiter,
        *,
        auto_migrate: bool = True,
    ) -> None:
        """With `auto_migrate` the first use makes or upgrades the tables; without, it says that `wg migrate` is due."""
        super().__init__()
        self._flavor = flavor
        self._connections = connections
        self._waiter = waiter
        tables = Tables(
            namespace,
            schema=flavor.schema,
            text=flavor.text,
            partial_indexes=flavor.partial_indexes,
            **flavor.table_options,
        )
        self._statements = Statements(tables, flavor)
        self._store = SqlStore(self._statements, flavor, connections, waiter, auto_migrate=auto_migrate)

    # ------------------------------------------------------------------ life

    def close(self) -> None:
        """Close every connection and wake every waiter."""
        self._waiter.close()
        self._connections.close()

    def forget_connections(self) -> None:
        """Start afresh in the child of a fork."""
        self._store.forget()
        self._connections.forget()
        self._waiter.forget()

    def migrate(self, *, dry_run: bool = False) -> Migration:
        """Bring the schema up to date, or say how; SchemaError with the statements for somebody who may not."""
        return self._store.migrate(dry_run=dry_run)

    # ------------------------------------------------------------------ producing

    def enqueue(
        self, jobs: Sequence[NewJob], *, connection: Any = None, now: Timestamp | None = None
    ) -> list[EnqueueResult]:
        """Store a batch in one transaction; a simple job in one statement."""
        if connection is not None and Capability.TRANSACTIONAL not in self.capabilities:
            raise self._unsupported(Capability.TRANSACTIONAL)
        for job in jobs:
            self._check_new(job)
        self._check_batch(jobs)
        if connection is not None:
            stored = self._enqueue_joined(jobs, connection, now) if jobs else set()
        elif self._is_simple(jobs):
            stored = self._enqueue_one(jobs[0], now)
        else:
            stored = self._enqueue_batch(jobs, now) if jobs else set()
        return _answers(jobs, stored)

    def _is_simple(self, jobs: Sequence[NewJob]) -> bool:
        """Whether one statement is enough: for one job, on a known queue, under an id that no other call may carry."""
        if len(jobs) != 1 or self._store.unknown({jobs[0].queue}):
            return False
        return jobs[0].id_is_new or self._flavor.one_writer

    def _check_new(self, job: NewJob) -> None:
        if job.unique is not None:
            raise self._unsupported(Capability.UNIQUE)
        if job.result_ttl_seconds:
            raise self._unsupported(Capability.RESULTS)

    def _check_batch(self, batch: Collection[object]) -> None:
        if len(batch) > self.max_batch:
            raise BackendRejectedError(f"a batch holds at most {self.max_batch}, got {len(batch)}")

    def _enqueue_one(self, job: NewJob, now: Timestamp | None) -> set[str]:
        table, row = enqueueing.new_row(self._statements.tables, job, self._store.time(now))
        statement = self._statements.enqueue_one(table)
        arguments = statement.arguments(dict(zip(self._statements.new_columns(table), row, strict=True)))
        with self._store.watched():
            stored = self._store.repeated(lambda: self._connections.write_alone(statement.text, arguments))
        if not stored:
            return set()
        if table is self._statements.tables.jobs:
            self._waiter.notify({job.queue})
        return {job.id}

    def _enqueue_batch(self, jobs: Sequence[NewJob], now: Timestamp | None) -> set[str]:
        new_queues = self._store.unknown({job.queue for job in jobs})

        def store(tx: Transaction) -> set[str]:
            enqueueing.register_queues(tx, new_queues)
            return enqueueing.store_jobs(tx, jobs)

        stored = self._store.write(store, now)
        self._store.note_known(new_queues)  # only now: a transaction that failed has registered nothing
        return stored

    def _enqueue_joined(self, jobs: Sequence[NewJob], connection: Any, now: Timestamp | None) -> set[str]:
        """Store a batch in the caller's transaction; what need not be part of it happens on a connection of ours."""
        driver = joining.driver_connection(self._flavor, connection)
        with self._store.watched(), joining.joined(self._flavor, driver) as cursor:
            store_id = self._store.find_id()
            queues = {job.queue for job in jobs}
            if not self._flavor.one_writer:  # a row of ours in a long transaction would keep other producers waiting
                self._register_queues(queues)
            tx = self._store.transaction(self._connections.watched(cursor), now)
            joining.check_same_store(tx, store_id, driver)
            if self._flavor.one_writer:  # always, and first: it makes other writers wait before ids are looked up
                enqueueing.register_queues(tx, queues)
            stored = enqueueing.store_jobs(tx, jobs, lambda ids: self._known_by_now(tx, ids))
            if tx.woken:
                self._flavor.wake_at_commit(tx, tx.woken)
            return stored

    def _known_by_now(self, tx: Transaction, ids: Collection[str]) -> set[str]:
        """Return which ids stand in another table than ready, seen from the caller's transaction and from outside.

        The caller sees its own jobs, but under REPEATABLE READ no others that came since it began. A locking read
        would see them, and keep every worker from claiming until the caller commits: what it locks where it finds
        nothing is a gap in the index, in which the ids of other jobs belong. So we look from outside, where nothing
        is locked; the caller's rows in ready keep others from enqueueing these ids meanwhile.
        """
        with self._store.reading() as own:
            return enqueueing.known_elsewhere(own, ids) | enqueueing.known_elsewhere(tx, ids)

    def _register_queues(self, queues: set[str]) -> None:
        if new_queues := self._store.unknown(queues):
            self._store.write(lambda tx: enqueueing.register_queues(tx, new_queues))
            self._store.note_known(new_queues)

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
            with self._store.reading(now) as tx:
                found = claiming.look(tx, queues, worker, request_no)
            if found is not None:
                return found
        return self._store.write(lambda tx: claiming.reserve_jobs(tx, queues, limit, worker, request_no), now)

    def report(
        self, worker: str, outcomes: Sequence[Outcome], *, request_no: int, now: Timestamp | None = None
    ) -> list[Applied]:
        """Apply a batch, a few statements for each kind of outcome, and remember the answer."""
        return self._store.write(lambda tx: reporting.report_outcomes(tx, worker, outcomes, request_no), now)

    def beat(self, workers: Sequence[WorkerBeat], *, now: Timestamp | None = None) -> BeatAnswer:
        """Renew the leases in one transaction.

        A process may stop in the middle of a transaction that keeps its own row locked (a handler that holds the GIL).
        Whoever beats for it must not wait for that again and again: the leases of its siblings would run out.
        """
        waits = iter([True])
        return self._store.write(lambda tx: lifecycle.renew_leases(tx, workers, waits=next(waits, False)), now)

    def held(self, worker: str) -> list[tuple[str, int]]:
        """Read what the worker holds."""
        with self._store.reading() as tx:
            return [(job_id, lease_no) for job_id, lease_no in tx.rows(tx.statements.held, worker=worker)]

    def retire(
        self, worker: str, started: Sequence[tuple[str, int]], reason: str, *, now: Timestamp | None = None
    ) -> list[Rescued]:
        """Settle all that the worker holds, and delete what is known of it."""
        return self._store.write(lambda tx: lifecycle.retire_worker(tx, worker, started, reason), now)

    def rescue(self, limit: int, *, rescuer: str | None = None, now: Timestamp | None = None) -> list[Rescued]:
        """Give up workers whose lease is over, and settle some of their jobs."""
        return self._store.write(lambda tx: lifecycle.rescue_jobs(tx, max(0, limit), rescuer), now)

    def promote(self, limit: int, *, now: Timestamp | None = None) -> Promoted:
        """Move due jobs of both tables to ready."""
        return self._store.write(lambda tx: promoting.promote_due(tx, max(0, limit)), now)

    # ------------------------------------------------------------------ waiting

    def wait(self, queues: Queues, timeout_seconds: float) -> None:
        """Block until there may be a ready job."""
        self._waiter.wait(queues, timeout_seconds)

    def interrupt(self) -> None:
        """End the wait that is going on, or the next one."""
        self._waiter.interrupt()

    def has_ready(self, queues: Queues) -> bool:
        """Return whether a queue (of the list) that is not paused holds a ready job; for waiters that poll."""
        with self._store.reading() as tx:
            return bool(claiming.busy_queues(tx, queues, 0))

    # ------------------------------------------------------------------ inspect

    def get(self, ids: Sequence[str]) -> list[JobRecord]:
        """Look the ids up in all job tables, in one statement."""
        with self._store.reading() as tx:
            return finding.get_records(tx, ids) if ids else []

    def find(self, where: JobFilter, *, cursor: str | None = None, limit: int = 100) -> JobPage:
        """Page along the index of the state."""
        with self._store.reading() as tx:
            return finding.find_records(tx, where, cursor, limit) if limit > 0 else JobPage()

    def stats(self, level: StatsLevel = StatsLevel.CHEAP, *, now: Timestamp | None = None) -> Stats:
        """Count, to the cap or exactly."""
        with self._store.reading(now) as tx:
            return counting.count_all(tx, level)

    def workers(self, *, now: Timestamp | None = None) -> list[WorkerRecord]:
        """Read the worker table."""
        with self._store.reading(now) as tx:
            return counting.list_workers(tx)

    def health(self) -> Health:
        """Time a read transaction and ask the store for its settings."""
        with self._store.reading() as tx:
            start = time.perf_counter()
            tx.rows(tx.statements.paused)
            latency = time.perf_counter() - start
            report = self._flavor.inspect_server(tx)
        return Health(
            latency_seconds=latency,
            server=report.server,
            warnings=report.warnings,
            details={
                "namespace": self._statements.tables.namespace,
                "conflicts": self._store.conflicts,  # transactions of this instance that were run again
                **(report.details or {}),
            },
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
        return self._store.write(lambda tx: altering.alter_jobs(tx, ids, action, expected), now)

    def prune(self, policy: Retention, limit: int, *, now: Timestamp | None = None) -> int:
        """Delete old dead jobs and end expired ones, the oldest first."""
        return self._store.write(lambda tx: altering.prune_jobs(tx, policy, max(0, limit)), now)

    def pause(self, queue: str) -> None:
        """Mark the queue, and register it if nobody did."""

        def mark(tx: Transaction) -> None:
            enqueueing.register_queues(tx, [queue])
            tx.run(tx.statements.set_paused(paused=True), queue=queue)

        self._store.write(mark)

    def resume(self, queue: str) -> None:
        """Take the mark off and wake waiters."""

        def unmark(tx: Transaction) -> None:
            tx.run(tx.statements.set_paused(paused=False), queue=queue)
            tx.woken.add(queue)

        self._store.write(unmark)


def _answers(jobs: Sequence[NewJob], stored: set[str]) -> list[EnqueueResult]:
    answers = []
    for job in jobs:
        answers.append(EnqueueResult(job.id, job.id in stored))
        stored.discard(job.id)  # of equal ids in a batch the first was stored
    return answers
