"""The PostgreSQL backend: `wg_core.sql` on psycopg 3."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self, TypeVar

import msgspec
from psycopg.errors import UniqueViolation

from wg_core.errors import BackendRejectedError
from wg_core.job import NewJob, ReservedJob, Timestamp
from wg_core.outcome import Ack, Applied, Outcome
from wg_core.protocol import Capability
from wg_core.sql import Bell, ConflictError, PollingWaiter, Queues, ServerClock, SqlBackend, Waiter, enqueueing
from wg_postgres.connections import PostgresConnections, connect_to_listen
from wg_postgres.flavor import PostgresFlavor
from wg_postgres.listening import ListeningWaiter
from wg_postgres.options import PostgresOptions, parse_url
from wg_postgres.shortcuts import Shortcuts
from wg_postgres.waking import Signal

_Answer = TypeVar("_Answer")


class PostgresBackend(SqlBackend):
    """Jobs in a PostgreSQL database."""

    capabilities: ClassVar[frozenset[Capability]] = SqlBackend.capabilities | {Capability.TRANSACTIONAL}

    @classmethod
    def open(cls, url: str, namespace: str, **options: Any) -> Self:
        """Return a backend for a URL such as `postgres://user@host/database`."""
        return cls(namespace, parse_url(url, options))

    def __init__(self, namespace: str, options: PostgresOptions) -> None:
        clock = ServerClock()
        flavor = PostgresFlavor(options, clock)
        connections = PostgresConnections(options, flavor, clock)
        super().__init__(
            namespace, flavor, connections, self._make_waiter(namespace, options), auto_migrate=options.auto_migrate
        )
        self._postgres = connections
        self._shortcuts = Shortcuts(self._statements, flavor.texts(self._statements), connections)

    def _make_waiter(self, namespace: str, options: PostgresOptions) -> Waiter:
        if options.listen:
            signal = Signal(namespace, options.schema)
            return ListeningWaiter(signal, lambda: connect_to_listen(options), self.has_ready, options.poll_interval)
        bell = Bell()
        return PollingWaiter(lambda: bell, self.has_ready, longest_pause=options.poll_interval)

    # ------------------------------------------------------------------ one round trip where it will do

    def _enqueue_one(self, job: NewJob, now: Timestamp | None) -> set[str]:
        """Store a job in one statement; where others came in between, in a transaction that takes nothing for new."""
        tables = self._statements.tables
        table, row = enqueueing.new_row(tables, job, self._store.time(now))
        stored = self._in_one_trip(lambda: self._shortcuts.enqueue(table, row))
        if stored is None:
            return self._enqueue_batch([msgspec.structs.replace(job, id_is_new=False)], now)
        if stored and table is tables.jobs:
            self._waiter.notify({job.queue})
        return {job.id} if stored else set()

    def reserve(
        self,
        queues: Sequence[str] | None,
        limit: int,
        worker: str,
        *,
        request_no: int,
        now: Timestamp | None = None,
    ) -> list[ReservedJob]:
        """Move jobs to running in one statement, or the ordinary way where something unusual is in the way."""
        if limit > 0 and (queues is None or queues):
            found = self._in_one_trip(
                lambda: self._shortcuts.reserve(queues, limit, worker, request_no, self._store.time(now))
            )
            if found is not None:
                return found
        return super().reserve(queues, limit, worker, request_no=request_no, now=now)

    def report(
        self, worker: str, outcomes: Sequence[Outcome], *, request_no: int, now: Timestamp | None = None
    ) -> list[Applied]:
        """End a batch of jobs that are all done in one statement; apply anything else the ordinary way."""
        if acks := _plain_acks(outcomes):
            applied = self._in_one_trip(lambda: self._shortcuts.report(worker, acks, request_no))
            if applied is not None:
                return applied
        return super().report(worker, outcomes, request_no=request_no, now=now)

    def has_ready(self, queues: Queues) -> bool:
        """Return whether a queue (of the list) that is not paused holds a ready job."""
        if queues is not None and not queues:
            return False
        busy = self._statements.busy_queues(listed=queues is not None)
        parameters = {} if queues is None else {"queues": list(queues)}
        return bool(self._in_one_trip(lambda: self._postgres.ask_alone(busy, parameters)))

    def _in_one_trip(self, shortcut: Callable[[], _Answer | None]) -> _Answer | None:
        """Return the answer of a shortcut; None where others came in between, so that the ordinary way repeats it."""
        with self._store.ready():
            try:
                return shortcut()
            except ConflictError:
                return None
            except BackendRejectedError as error:
                if isinstance(error.__cause__, UniqueViolation):  # an id that another call is just storing, too
                    return None
                raise


def _plain_acks(outcomes: Sequence[Outcome]) -> list[Ack]:
    """Return the outcomes if all are acks of different jobs under one lease number, else nothing."""
    acks = [outcome for outcome in outcomes if isinstance(outcome, Ack)]
    is_plain = len(acks) == len(outcomes) == len({ack.id for ack in acks}) and len({ack.lease_no for ack in acks}) == 1
    return acks if is_plain else []
