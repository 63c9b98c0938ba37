"""Opening one connection and setting it up."""

from __future__ import annotations

import random
import sqlite3
import threading
import time

from wg_core.errors import BackendRejectedError, BackendUnavailableError
from wg_sqlite.errors import primary_code
from wg_sqlite.options import SQLiteOptions

OLDEST_VERSION = (3, 35, 0)
"""The first with RETURNING."""


def connect(options: SQLiteOptions, name: str) -> sqlite3.Connection:
    """Return a connection that leaves transactions to us; the busy timeout comes first, before any statement."""
    if sqlite3.sqlite_version_info < OLDEST_VERSION:
        oldest = ".".join(map(str, OLDEST_VERSION))
        raise BackendRejectedError(
            f"wg needs SQLite {oldest} or newer, this Python is linked to {sqlite3.sqlite_version}"
        )
    return sqlite3.connect(
        name,
        uri=True,
        timeout=options.busy_timeout,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )


def set_up(connection: sqlite3.Connection, options: SQLiteOptions) -> None:
    """Read the file, which says now if it is no database, and set what every connection may have set."""
    connection.execute("SELECT count(*) FROM sqlite_master").fetchall()
    if options.cache_size is not None:
        connection.execute(f"PRAGMA cache_size={options.cache_size}")
    if options.temp_store is not None:
        connection.execute(f"PRAGMA temp_store={options.temp_store}")


def set_journal_mode(connection: sqlite3.Connection, options: SQLiteOptions) -> None:
    """Change the mode if need be. SQLite's busy handler does not wait for this: many first starts need a loop."""
    wanted, deadline = options.journal_mode, time.monotonic() + options.busy_timeout
    while (mode := _change_journal_mode(connection, wanted)) != wanted:
        if time.monotonic() > deadline:
            raise BackendUnavailableError(
                f"{options.path} stays in journal mode {mode}, not {wanted}: other processes have it open, or "
                f"its file system cannot do it"
            )
        threading.Event().wait(random.uniform(0.001, 0.02))  # noqa: S311 - spreads retries, keeps no secret


def _change_journal_mode(connection: sqlite3.Connection, wanted: str) -> str:
    """Return the mode after one attempt to change it."""
    mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0]).upper()
    if mode == wanted:
        return mode
    try:
        return str(connection.execute(f"PRAGMA journal_mode={wanted}").fetchone()[0]).upper()
    except sqlite3.OperationalError as error:
        if primary_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return mode
        raise
