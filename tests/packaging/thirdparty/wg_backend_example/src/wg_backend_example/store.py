"""The file behind the example backend: its tables, one connection, and the driver's errors sorted."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from wg_core.errors import BackendRejectedError, BackendUnavailableError, SchemaError

SCHEMA_VERSION = 1
SCHEMA = (
    """CREATE TABLE jobs (
         id TEXT PRIMARY KEY, name TEXT NOT NULL, queue TEXT NOT NULL, body BLOB NOT NULL,
         state TEXT NOT NULL, priority INTEGER NOT NULL, sequence INTEGER NOT NULL,
         attempt INTEGER NOT NULL DEFAULT 0, lease_no INTEGER NOT NULL DEFAULT 0, max_retries INTEGER NOT NULL,
         at_most_once INTEGER NOT NULL, started INTEGER NOT NULL DEFAULT 0,
         crashes INTEGER NOT NULL DEFAULT 0, snoozes INTEGER NOT NULL DEFAULT 0, bounces INTEGER NOT NULL DEFAULT 0,
         enqueued_at INTEGER NOT NULL, run_at INTEGER, expires_at INTEGER,
         worker TEXT, reserve_no INTEGER, reserved_at INTEGER, history BLOB NOT NULL DEFAULT x''
       ) WITHOUT ROWID""",
    "CREATE INDEX ready ON jobs (queue, priority DESC, sequence) WHERE state = 'ready'",
    "CREATE INDEX expiring ON jobs (queue, expires_at) WHERE state = 'ready' AND expires_at IS NOT NULL",
    "CREATE INDEX due ON jobs (run_at, sequence) WHERE run_at IS NOT NULL",
    "CREATE INDEX held ON jobs (worker) WHERE worker IS NOT NULL",
    "CREATE TABLE queues (name TEXT PRIMARY KEY, paused INTEGER NOT NULL DEFAULT 0)",
    """CREATE TABLE workers (
         id TEXT PRIMARY KEY, lease_until INTEGER NOT NULL, gone INTEGER NOT NULL DEFAULT 0,
         reserve_no INTEGER NOT NULL DEFAULT -1, report_no INTEGER NOT NULL DEFAULT -1, report_answer TEXT
       )""",
    "CREATE TABLE counter (sequence INTEGER NOT NULL)",
    "INSERT INTO counter VALUES (0)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class Step:
    """One atomic step: a transaction that holds the file's write lock, and the moment at which it happens."""

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self.now = now
        self._connection = connection

    def run(self, statement: str, *values: Any) -> int:
        """Run a statement that writes; return how many rows it changed."""
        return self._connection.execute(statement, values).rowcount

    def rows(self, statement: str, *values: Any) -> list[sqlite3.Row]:
        """Return the rows of a query, which may be read by column name."""
        return self._connection.execute(statement, values).fetchall()

    def row(self, statement: str, *values: Any) -> sqlite3.Row | None:
        """Return the first row of a query, or None."""
        return next(iter(self.rows(statement, *values)), None)

    def next_sequence(self) -> int:
        """Return a number greater than every one before: first in, first out."""
        row = self.row("UPDATE counter SET sequence = sequence + 1 RETURNING sequence")
        assert row is not None
        return int(row[0])


class Store:
    """One SQLite file, opened at its first use. Thread-safe: one connection behind a lock."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._inherited: list[sqlite3.Connection | None] = []
        self._closed = False

    @contextmanager
    def step(self, now: int | None = None) -> Iterator[Step]:
        """Commit what the block does as one step, or nothing of it when it raises."""
        with self._lock, _sorted_errors():
            connection = self._connect()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield Step(connection, time.time_ns() // 1_000_000 if now is None else now)
                connection.commit()
            finally:
                connection.rollback()  # after a commit there is nothing left to roll back

    def close(self) -> None:
        """Close the connection; later steps raise BackendUnavailableError."""
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def forget(self) -> None:
        """Keep the parent's connection untouched (closing it here would take its locks away) and open another."""
        self._lock = threading.Lock()
        self._inherited.append(self._connection)
        self._connection = None

    def check_open(self) -> None:
        """Raise BackendUnavailableError when the store was closed."""
        if self._closed:
            raise BackendUnavailableError("this backend was closed; open another one")

    def schema_version(self) -> int | None:
        """Return the version of the file's tables, None when there are none yet."""
        with self._lock, _sorted_errors():
            return self._version(self._open())

    def _connect(self) -> sqlite3.Connection:
        """Return the connection, with the tables made when they are missing."""
        connection = self._open()
        if self._version(connection) is None:
            connection.execute("BEGIN IMMEDIATE")
            try:
                if self._version(connection) is None:  # another process may have been faster
                    for statement in SCHEMA:
                        connection.execute(statement)
                connection.commit()
            finally:
                connection.rollback()
        return connection

    def _open(self) -> sqlite3.Connection:
        self.check_open()
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, timeout=10, isolation_level=None, check_same_thread=False)
            self._connection.row_factory = sqlite3.Row
            self._connection.execute("PRAGMA synchronous = NORMAL")
        return self._connection

    def _version(self, connection: sqlite3.Connection) -> int | None:
        # One statement, so that nobody makes the tables between two looks.
        query = "SELECT user_version, EXISTS (SELECT 1 FROM sqlite_master) FROM pragma_user_version"
        version, has_tables = connection.execute(query).fetchone()
        if version == SCHEMA_VERSION:
            return SCHEMA_VERSION
        if version or has_tables:
            raise SchemaError(f"{self._path} has schema version {version}, this backend knows {SCHEMA_VERSION}")
        return None


@contextmanager
def _sorted_errors() -> Iterator[None]:
    """Turn the driver's errors into the contract's: every step either committed or changed nothing."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise BackendUnavailableError(f"the store did not answer and nothing was changed: {error}") from error
    except (sqlite3.Error, UnicodeEncodeError, OverflowError) as error:
        raise BackendRejectedError(f"the store refused this for good: {error}") from error
