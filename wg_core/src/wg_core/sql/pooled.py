"""Connections to a server: a pool, transactions on what it lends, and a fresh start after the server was away."""

from __future__ import annotations

import select
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.exc import InvalidatePoolError, InvalidRequestError
from sqlalchemy.pool import ConnectionPoolEntry, Pool, PoolProxiedConnection

from wg_core.errors import BackendError, BackendUnavailableError
from wg_core.sql.clock import ServerClock
from wg_core.sql.connections import Connections, PoolOptions, make_pool
from wg_core.sql.flavor import Flavor
from wg_core.sql.querylog import QueryLog
from wg_core.sql.transaction import Cursor

_POLL = "wg.poll"
"""Where a pool's entry keeps what polls the socket of its connection; emptied when it gets another connection."""


class PooledConnections(Connections):
    """The connections of one backend instance to a database server. Thread-safe.

    A subclass opens connections (in autocommit mode: the texts below begin and end the transactions) and tells which
    errors are the end of one. After such an error the whole pool is replaced: what killed one connection has usually
    killed all, and each would cost one call a failure.
    """

    begin_reading: ClassVar[str]
    """Begins a transaction that only reads, and in which all statements see one state."""
    begin_writing: ClassVar[str] = "BEGIN"
    ask_clock: ClassVar[str]
    """A query for the server's time in whole milliseconds since 1970, in UTC."""

    def __init__(
        self, flavor: Flavor, clock: ServerClock, options: PoolOptions, query_log: QueryLog | None = None
    ) -> None:
        self._flavor = flavor
        self._clock = clock
        self._options = options
        self.query_log = query_log
        self._closed = False
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._opened: WeakSet[Any] = WeakSet()
        self._pool = self._new_pool()  # replaced under the lock

    def _new_pool(self) -> Pool:
        pool = make_pool(self._connect, self._options)
        event.listen(pool, "checkout", self._refuse_stale)
        return pool

    def _refuse_stale(self, connection: Any, record: ConnectionPoolEntry, _: object) -> None:
        """Notice, without a round trip, that the server closed connections while they lay idle.

        An idle connection has nothing to say: if there is something to read, it is a farewell.
        """
        if is_readable(record, lambda: self.file_number(connection)):
            self._clock.forget()
            raise InvalidatePoolError("the server closed the connection")

    # ------------------------------------------------------------------ for subclasses

    @abstractmethod
    def open_connection(self) -> Any:
        """Return a new DBAPI connection in autocommit mode, set up for our statements; raises the driver's errors."""

    @abstractmethod
    def is_broken(self, connection: Any, error: BaseException) -> bool:
        """Whether this driver's error is the end of the (DBAPI) connection; asks nobody."""

    @abstractmethod
    def file_number(self, connection: Any) -> int:
        """Return the descriptor of the connection's socket."""

    def make_cursor(self, connection: Any) -> Cursor:
        """Return a cursor that answers tuples."""
        cursor: Cursor = connection.cursor()
        return cursor

    def begin(self, cursor: Cursor, *, writes: bool) -> None:
        """Begin a transaction; to be overridden where that takes more than one text."""
        cursor.execute(self.begin_writing if writes else self.begin_reading, ())

    # ------------------------------------------------------------------ lending

    def cursor(self, connection: Any) -> Cursor:
        """Return a cursor on a connection that is lent."""
        return self.watched(self.make_cursor(connection))

    @contextmanager
    def reading(self) -> Iterator[Cursor]:
        """Lend a cursor in a transaction that sees one state of the store."""
        with self._transaction(writes=False) as cursor:
            yield cursor

    @contextmanager
    def writing(self) -> Iterator[Cursor]:
        """Lend a cursor in a write transaction."""
        with self._transaction(writes=True) as cursor:
            yield cursor

    @contextmanager
    def looking(self) -> Iterator[Cursor | None]:
        """Lend a cursor to look at the schema; a server that answers is a store."""
        with self.reading() as cursor:
            yield cursor

    def write_alone(self, text: str, arguments: Sequence[Any]) -> int:
        """Run one statement in autocommit mode: one round trip, and an error in it may have come after its commit."""
        with self.lent() as connection, self._sorting(committing=True):
            cursor = self.cursor(connection)
            cursor.execute(text, arguments)
            return cursor.rowcount

    @contextmanager
    def lent(self) -> Iterator[Any]:
        """Lend a DBAPI connection in autocommit mode for statements of a backend's own. The block sorts its errors."""
        with self._sorting(committing=False):
            self._check_open()
            pool = self._pool
            lent = _checked_out(pool)
        try:
            yield lent.dbapi_connection
        except BaseException as error:
            self._give_up(pool, lent, error)
            raise
        finally:
            lent.close()
            if self._closed or pool is not self._pool:  # that pool is gone, and nobody else would empty it
                pool.dispose()

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Cursor]:
        with self.lent() as connection:
            with self._sorting(committing=False):
                cursor = self.cursor(connection)
                self._read_clock_when_due(cursor)
                self.begin(cursor, writes=writes)
                yield cursor
            with self._sorting(committing=writes):
                cursor.execute("COMMIT", ())

    def _give_up(self, pool: Pool, lent: PoolProxiedConnection, error: BaseException) -> None:
        """Make a connection fit to be lent again, or let it go; what broke one has broken its neighbours."""
        if not isinstance(error, BackendError):  # from outside, maybe in the middle of an answer
            lent.invalidate()
        elif self.is_broken(lent.dbapi_connection, error.__cause__ or error):
            lent.invalidate()
            self._replace(pool)
        else:
            try:
                self.cursor(lent.dbapi_connection).execute("ROLLBACK", ())
            except Exception:  # noqa: BLE001 - it is the first error that goes on
                lent.invalidate()

    def _replace(self, pool: Pool) -> None:
        """Open new connections from now on; those that are lent are closed when they come back."""
        with self._lock:
            if self._pool is not pool:
                return
            self._pool = self._new_pool()
        self._clock.forget()
        pool.dispose()

    # ------------------------------------------------------------------ opening and closing

    def _connect(self) -> Any:
        connection = self.open_connection()
        try:
            self._read_clock_when_due(self.cursor(connection))
        except BaseException:
            connection.close()
            raise
        self._opened.add(connection)
        return connection

    def keep_time(self) -> None:
        """Make a round trip of its own, about every half minute."""
        if self._clock.is_due:
            with self.lent() as connection, self._sorting(committing=False):
                self._read_clock_when_due(self.cursor(connection))

    def _read_clock_when_due(self, cursor: Cursor) -> None:
        if self._clock.is_due:
            self._clock.read(lambda: self._ask_clock(cursor))

    def _ask_clock(self, cursor: Cursor) -> int:
        cursor.execute(self.ask_clock, ())
        return int(cursor.fetchall()[0][0])

    def close(self) -> None:
        """Close what is idle now, and what is lent when it comes back."""
        self._closed = True
        self._pool.dispose()

    def forget(self) -> None:
        """Leave the parent's connections to the parent: to say goodbye on their sockets would end them there."""
        _inherited.append((self._pool, list(self._opened)))
        self._clock.forget()
        self._start()

    def _check_open(self) -> None:
        if self._closed:
            raise BackendUnavailableError("this backend was closed; open another one")

    @contextmanager
    def _sorting(self, *, committing: bool) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if sorted_error := self._flavor.sort_error(error, committing=committing):
                raise sorted_error from error
            raise


def _checked_out(pool: Pool) -> PoolProxiedConnection:
    try:
        return pool.connect()
    except InvalidRequestError as error:  # how the pool says that a new connection was refused as stale, too
        raise BackendUnavailableError(
            "the server closes connections as soon as they are opened; nothing was stored"
        ) from error


def is_readable(record: ConnectionPoolEntry, file_number: Callable[[], int]) -> bool:
    """Whether the socket of a connection has something to read, or was closed by its other end; does not wait."""
    poll = record.info.get(_POLL)
    if poll is None:
        poll = record.info[_POLL] = select.poll()
        poll.register(file_number(), select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0))


_inherited: list[object] = []
"""Connections of a parent process: kept, because the garbage collector would close them."""
