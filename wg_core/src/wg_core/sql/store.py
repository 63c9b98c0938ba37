"""One namespace in one SQL store: transactions in it, once its tables are there."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TypeVar

from wg_core.errors import BackendRejectedError, BackendUnavailableError, SchemaError
from wg_core.job import Timestamp
from wg_core.protocol import Migration
from wg_core.sql import joining, migrating
from wg_core.sql.connections import Connections
from wg_core.sql.flavor import Flavor
from wg_core.sql.statements import Statements
from wg_core.sql.transaction import ConflictError, Cursor, Transaction
from wg_core.sql.waiting import Waiter

_Answer = TypeVar("_Answer")

logger = logging.getLogger("wg.sql")

_ATTEMPTS = 20
_LONGEST_PAUSE = 0.02
"""Seconds between two attempts at a transaction that others came in between, times the number of the attempt."""


class SqlStore:
    """Runs transactions for `SqlBackend`: makes sure of the schema, repeats after conflicts, wakes. Thread-safe."""

    def __init__(
        self, statements: Statements, flavor: Flavor, connections: Connections, waiter: Waiter, *, auto_migrate: bool
    ) -> None:
        self.statements = statements
        self.flavor = flavor
        self.connections = connections
        self.conflicts = 0
        """How many transactions were run again."""
        self._waiter = waiter
        self._auto_migrate = auto_migrate
        self._schema_lock = threading.Lock()
        self._is_checked = False
        self._id: str | None = None
        self._known_queues: set[str] = set()
        self._watch = _SchemaWatch(self)

    def forget(self) -> None:
        """Start afresh in the child of a fork."""
        self._schema_lock = threading.Lock()
        self.forget_schema()

    # ------------------------------------------------------------------ transactions

    def ready(self) -> AbstractContextManager[None]:
        """Make sure of the tables, for a block that is `watched`."""
        if not self._is_checked:
            self._check_schema()
        return self.watched()

    def watched(self) -> AbstractContextManager[None]:
        """Look at the schema again after somebody dropped it, so that the next call works."""
        return self._watch

    def transaction(self, cursor: Cursor, now: Timestamp | None) -> Transaction:
        """Return our statements on a cursor."""
        return Transaction(cursor, self.statements, self.flavor, now)

    def time(self, now: Timestamp | None) -> Timestamp:
        """Return `now` if it was given, else the store's time."""
        if now is not None:
            return now
        self.connections.keep_time()
        return self.flavor.now()

    @contextmanager
    def reading(self, now: Timestamp | None = None) -> Iterator[Transaction]:
        """Read in a transaction that sees one state of the store."""
        with self.ready(), self.connections.reading() as cursor:
            yield self.transaction(cursor, now)

    def write(self, work: Callable[[Transaction], _Answer], now: Timestamp | None = None) -> _Answer:
        """Return the answer of `work` in a write transaction; it runs again when another one came in between."""

        def attempt() -> tuple[_Answer, set[str]]:
            with self.connections.writing() as cursor:
                tx = self.transaction(cursor, now)
                answer = work(tx)
                if tx.woken:
                    self.flavor.wake_in_transaction(tx, tx.woken)
                return answer, tx.woken

        with self.ready():
            answer, woken = self.repeated(attempt)
        if woken:
            self._waiter.notify(woken)
        return answer

    def repeated(self, attempt: Callable[[], _Answer]) -> _Answer:
        """Return the answer of a transaction, run again after a short pause as long as others come in between."""
        for number in range(1, _ATTEMPTS):
            try:
                return attempt()
            except ConflictError as error:
                self.conflicts += 1
                level = logging.WARNING if number == _ATTEMPTS // 2 else logging.DEBUG
                logger.log(level, "run again, attempt %d of %d: %s", number + 1, _ATTEMPTS, error)
                threading.Event().wait(random.uniform(0, _LONGEST_PAUSE * number))  # noqa: S311 - spreads, keeps no secret
        return attempt()

    # ------------------------------------------------------------------ queues that are registered

    def unknown(self, queues: set[str]) -> set[str]:
        """Return those of the queues that this process has not seen registered."""
        return queues - self._known_queues

    def note_known(self, queues: set[str]) -> None:
        """Remember queues whose registration is committed."""
        self._known_queues |= queues

    # ------------------------------------------------------------------ schema

    def migrate(self, *, dry_run: bool = False) -> Migration:
        """Bring the schema up to date, or say how; SchemaError with the statements for somebody who may not."""
        if dry_run:
            return self.repeated(self._plan)
        try:
            with self.connections.writing() as cursor:
                migration = migrating.migrate(self.transaction(cursor, None))
        except ConflictError as error:
            raise BackendUnavailableError(
                f"others have been changing the schema of namespace {self.statements.tables.namespace!r} for too "
                f"long ({error}); nothing was changed, try again"
            ) from error
        except (BackendRejectedError, SchemaError) as error:
            refused_by_the_store = error.__cause__ is not None or isinstance(error, BackendRejectedError)
            if refused_by_the_store and (due := self.repeated(self._plan)).statements:
                raise migrating.due_error(self.statements.tables, due, f"making them was refused ({error})") from error
            raise
        self._is_checked = True
        return migration

    def _plan(self) -> Migration:
        with self.connections.looking() as cursor:
            if cursor is None:
                return migrating.plan_for_nothing(self.statements.tables, self.flavor)
            return migrating.plan(self.transaction(cursor, None))

    def _check_schema(self) -> None:
        """Make sure, once per instance, that the tables are there; what is up to date is only read."""
        with self._schema_lock:
            if not self._is_checked and (due := self.migrate(dry_run=True)).statements:
                if not self._auto_migrate:
                    raise migrating.due_error(self.statements.tables, due, "auto_migrate is off")
                self.migrate()
            self._is_checked = True

    def find_id(self) -> str:
        """Return what the store calls itself; SchemaError where there is none, because none is made now."""
        if self._id is None:
            if (due := self.migrate(dry_run=True)).statements:
                raise joining.schema_due(self.statements.tables, due)
            self._is_checked = True
            with self.reading() as tx:
                self._id = str(tx.column(tx.statements.store_id)[0])
        return self._id

    def forget_schema(self) -> None:
        """Make sure of the tables again before the next transaction."""
        self._is_checked = False
        self._id = None
        self._known_queues.clear()


class _SchemaWatch:
    """See `SqlStore.watched`. A class, because a generator would cost more than all else that an enqueue does here."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, SchemaError):
            self._store.forget_schema()
