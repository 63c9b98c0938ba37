"""`sqlite::memory:`: one store per URL and namespace within a process, on one connection behind a lock."""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from wg_core.sql import Cursor, Flavor
from wg_sqlite.connections import SQLiteConnections
from wg_sqlite.forks import Share, keep_inherited
from wg_sqlite.opening import connect, set_up
from wg_sqlite.options import MEMORY, SQLiteOptions


class MemoryStore:
    """A database in memory, for as long as the process lives."""

    def __init__(self) -> None:
        self.share = Share()
        self.connection: sqlite3.Connection | None = None


_stores: dict[tuple[int, str, str], MemoryStore] = {}


def store_of(url: str, namespace: str) -> MemoryStore:
    """Return the store of a URL and namespace, an empty one in the child of a fork."""
    return _stores.setdefault((os.getpid(), url, namespace), MemoryStore())


@atexit.register
def _close_stores() -> None:
    for (pid, _, _), store in _stores.items():
        if pid == os.getpid() and store.connection is not None:
            store.connection.close()


class MemoryConnections(SQLiteConnections):
    """All backends on one store take turns on its only connection."""

    def __init__(self, url: str, namespace: str, options: SQLiteOptions, flavor: Flavor) -> None:
        super().__init__(options, flavor)
        self._key = (url, namespace)
        self.store = store_of(*self._key)

    @property
    def write_lock(self) -> threading.Lock:
        """One for each store."""
        return self.store.share.write_lock

    def writer(self) -> sqlite3.Connection:
        """Make the database at the first use."""
        if self.store.connection is None:
            self.store.connection = connect(self.options, MEMORY)
            set_up(self.store.connection, self.options)
        return self.store.connection

    def drop_writer(self) -> None:
        """Keep it: the jobs are nowhere else."""

    @contextmanager
    def reading(self) -> Iterator[Cursor]:
        """Take a turn, as for writing."""
        with self.writing() as cursor:
            yield cursor

    @contextmanager
    def looking(self) -> Iterator[Cursor | None]:
        """Take a turn."""
        with self.writing() as cursor:
            yield cursor

    def close(self) -> None:
        """Refuse later calls; the jobs stay, as those of `memory:` do."""
        self._closed = True

    def forget(self) -> None:
        """Begin with an empty store: the jobs belong to the parent."""
        keep_inherited(self.store)
        self.store = store_of(*self._key)
