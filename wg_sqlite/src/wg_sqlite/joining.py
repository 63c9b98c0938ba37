"""Enqueueing in a transaction of somebody else's `sqlite3.Connection`."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from wg_core.errors import ConfigError
from wg_core.sql import Cursor


@contextmanager
def join(connection: sqlite3.Connection) -> Iterator[Cursor]:
    """Lend a cursor that answers tuples of str, int and bytes, whatever the connection's factories make of them."""
    _check_transaction(connection)
    cursor = sqlite3.Cursor(connection)  # not connection.cursor(), which would pass on its row factory
    factory, connection.text_factory = connection.text_factory, str
    try:
        yield cursor
    finally:
        connection.text_factory = factory
        cursor.close()


def _check_transaction(connection: sqlite3.Connection) -> None:
    """Raise ConfigError where each statement would commit by itself."""
    autocommits: Any = getattr(connection, "autocommit", None)  # Python 3.12 and newer
    if connection.in_transaction or autocommits is False:
        return
    if connection.isolation_level is None or autocommits is True:
        setting = "autocommit=True" if autocommits is True else "isolation_level=None"
        raise ConfigError(
            f"the sqlite3 connection has {setting} and no transaction is open, so the job would be stored at once: "
            f'run connection.execute("BEGIN IMMEDIATE") first, or enqueue without a connection'
        )


def place_of(connection: sqlite3.Connection) -> str:
    """Return which file the connection has open."""
    path = sqlite3.Cursor(connection).execute("PRAGMA database_list").fetchone()[2]
    path = path.decode(errors="replace") if isinstance(path, bytes) else str(path)
    return f"the SQLite file {path}" if path else "an SQLite database in memory"
