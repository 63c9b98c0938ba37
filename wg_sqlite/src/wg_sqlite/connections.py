"""Connections to one file: one that writes, behind a lock of the process; some that read; one that watches.

SQLite lets one connection write at a time, and its own waiting is unfair: within a process our lock queues the
writers, and only between processes SQLite's busy handler does. POSIX file locks belong to the process and end when
*any* descriptor of the file is closed, so nothing here ever opens the files but SQLite itself. What happens at a
fork is in `wg_sqlite.forks`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from wg_core.errors import BackendRejectedError, BackendUnavailableError
from wg_core.sql import Connections, Cursor, Flavor, make_pool
from wg_sqlite.errors import breaks_connection, primary_code
from wg_sqlite.forks import PATIENCE_SECONDS, Gate, keep_inherited, share_of
from wg_sqlite.opening import connect, set_journal_mode, set_up
from wg_sqlite.options import SQLiteOptions


class SQLiteConnections(Connections):
    """Writing, for files and for memory."""

    def __init__(self, options: SQLiteOptions, flavor: Flavor) -> None:
        self.options = options
        self.flavor = flavor
        self.query_log = options.query_log
        self._closed = False

    @property
    @abstractmethod
    def write_lock(self) -> threading.Lock:
        """The lock that is held while the writing connection is used."""

    @abstractmethod
    def writer(self) -> sqlite3.Connection:
        """Return the writing connection; the caller holds the lock."""

    @abstractmethod
    def drop_writer(self) -> None:
        """Let the next call open another one; the caller holds the lock."""

    @contextmanager
    def writing(self) -> Iterator[Cursor]:
        """Lend a cursor in a BEGIN IMMEDIATE transaction.

        A deferred one that reads first cannot be kept waiting once somebody else has written: it fails.
        """
        with self.write_lock, self._sorting():
            connection = self._usable_writer()
            cursor = self.watched(connection.cursor())
            cursor.execute("BEGIN IMMEDIATE", ())
            try:
                yield cursor
            except BaseException as error:
                self._give_up(connection, error)
                raise
            self._commit(connection, cursor)

    def _commit(self, connection: sqlite3.Connection, cursor: Cursor) -> None:
        try:
            cursor.execute("COMMIT", ())
        except BaseException as error:
            self._give_up(connection, error)
            if isinstance(error, Exception) and (sorted_error := self.flavor.sort_error(error, committing=True)):
                raise sorted_error from error
            raise

    def write_alone(self, text: str, arguments: Sequence[Any]) -> int:
        """Run one statement, which is a transaction by itself and takes the write lock at its beginning."""
        with self.write_lock:
            try:
                cursor = self.watched(self._usable_writer().cursor())
                cursor.execute(text, arguments)
            except Exception as error:
                if breaks_connection(error):
                    self.drop_writer()
                if sorted_error := self.flavor.sort_error(error, committing=True):
                    raise sorted_error from error
                raise
            return cursor.rowcount

    def _usable_writer(self) -> sqlite3.Connection:
        self._check_open()
        connection = self.writer()
        if connection.in_transaction:  # a thread was stopped by an exception from outside at the worst moment
            connection.rollback()
        return connection

    def _give_up(self, connection: sqlite3.Connection, error: BaseException) -> None:
        with suppress(sqlite3.Error):
            connection.rollback()
        if breaks_connection(error):
            self.drop_writer()

    @contextmanager
    def _sorting(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if sorted_error := self.flavor.sort_error(error, committing=False):
                raise sorted_error from error
            raise

    def _check_open(self) -> None:
        if self._closed:
            raise BackendUnavailableError("this backend was closed; open another one")


class FileConnections(SQLiteConnections):
    """The connections to a file."""

    def __init__(self, options: SQLiteOptions, flavor: Flavor) -> None:
        super().__init__(options, flavor)
        self._start()

    def _start(self) -> None:
        self.share = share_of(self.options.path)
        self.share.users.add(self)
        self._writer: sqlite3.Connection | None = None  # under the write lock
        self._gate = Gate()
        self._readers = make_pool(self._open_reader, self.options.pool)  # inside the gate
        self._watch_lock = threading.Lock()
        self._watch_paused = False
        self._watcher: sqlite3.Connection | None = None  # under the watch lock

    @property
    def write_lock(self) -> threading.Lock:
        """One for each file in a process."""
        return self.share.write_lock

    def writer(self) -> sqlite3.Connection:
        """Open it at the first use."""
        if self.options.read_only:
            raise BackendRejectedError(f"{self.options.path} was opened with read_only")
        if self._writer is None:
            self._writer = self._open("rwc", self._prepare_writer)
        return self._writer

    def drop_writer(self) -> None:
        """Close it, whatever state it is in."""
        connection, self._writer = self._writer, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    @contextmanager
    def reading(self) -> Iterator[Cursor]:
        """Lend a cursor of the pool in a deferred transaction: one state of the store, and nobody waits for it."""
        with self._gate.inside(), self._sorting():
            self._check_open()
            lent = self._readers.connect()
            try:
                cursor = self.watched(lent.cursor())
                cursor.execute("BEGIN", ())
                yield cursor
                cursor.execute("COMMIT", ())
            except BaseException as error:
                with suppress(sqlite3.Error):
                    lent.rollback()
                if breaks_connection(error):
                    lent.invalidate(error)
                raise
            finally:
                if self._closed:  # the pool is gone, so nobody would close it
                    lent.invalidate()
                lent.close()

    @contextmanager
    def looking(self) -> Iterator[Cursor | None]:
        """Open the file if it is there, for a moment."""
        with self._gate.inside(), self._sorting():
            self._check_open()
            connection = self._open_existing()
            if connection is None:
                yield None
                return
            try:
                yield self.watched(connection.cursor())
            finally:
                connection.close()

    def _open_existing(self) -> sqlite3.Connection | None:
        try:
            return self._open_reader()
        except sqlite3.OperationalError as error:
            if primary_code(error) != sqlite3.SQLITE_CANTOPEN:
                raise
            if self._can_be_created():
                return None
        return self._open_reader()  # it failed for another reason, or somebody created the file in between

    def _can_be_created(self) -> bool:
        directory = Path(self.options.path).parent
        return (
            not self.options.read_only
            and not os.path.lexists(self.options.path)
            and os.access(directory, os.W_OK | os.X_OK)
        )

    def version(self) -> int:
        """Return a number that differs after every commit of another connection, of any process."""
        try:
            with self._watch_lock:
                return self._look_at_version()
        except Exception as error:
            if sorted_error := self.flavor.sort_error(error, committing=False):
                raise sorted_error from error
            raise

    def _look_at_version(self) -> int:
        self._check_open()
        try:
            if self._watcher is None:
                self._watcher = self._open_reader()
            return int(self._watcher.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error:
            self._close_watcher()
            raise

    def close(self) -> None:
        """Close all connections; the last one of all processes empties the write-ahead log."""
        self._closed = True
        with self.write_lock:
            self.drop_writer()
        with self._watch_lock:
            self._close_watcher()
        self._readers.dispose()

    def _close_watcher(self) -> None:
        connection, self._watcher = self._watcher, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def close_for_fork(self, *, with_writer: bool) -> bool:
        """Close all connections for the moment, the writing one only if the caller holds the lock."""
        if with_writer:
            self.drop_writer()
        self._watch_paused = self._watch_lock.acquire(timeout=PATIENCE_SECONDS)
        if self._watch_paused:
            self._close_watcher()
        if nobody_reads := self._gate.close(PATIENCE_SECONDS):
            self._readers.dispose()
        return nobody_reads and self._watch_paused

    def resume(self) -> None:
        """Open again what is needed, when it is."""
        self._gate.open()
        if self._watch_paused:
            self._watch_lock.release()

    def forget(self) -> None:
        """Begin anew in the child of a fork, with locks of its own."""
        parents = self.share
        keep_inherited(parents, self._writer, self._readers, self._watcher)
        self._start()
        self.share.inherit(parents)

    def _check_open(self) -> None:
        super()._check_open()
        if self.share.is_unusable:
            raise BackendUnavailableError(
                f"{self.options.path} cannot be used in this process: it was forked while a call on the file took "
                f"longer than {PATIENCE_SECONDS:g} s; start processes by spawn instead"
            )

    # ------------------------------------------------------------------ opening

    def _open_reader(self) -> sqlite3.Connection:
        return self._open("ro" if self.options.read_only else "rw", self._prepare_reader)

    def _open(self, mode: str, prepare: Callable[[sqlite3.Connection], None]) -> sqlite3.Connection:
        connection = connect(self.options, self.options.uri(mode))
        try:
            prepare(connection)
            set_up(connection, self.options)
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare_writer(self, connection: sqlite3.Connection) -> None:
        set_journal_mode(connection, self.options)
        connection.execute(f"PRAGMA synchronous={self.options.synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint={self.options.wal_autocheckpoint}")

    def _prepare_reader(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA query_only=ON")
