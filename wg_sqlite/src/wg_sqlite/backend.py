"""The SQLite backend: `wg_core.sql` on a file or in memory."""

from __future__ import annotations

import logging
from typing import Any, ClassVar, Self, cast

from wg_core.protocol import Capability
from wg_core.sql import PollingWaiter, Queues, SqlBackend
from wg_sqlite.connections import FileConnections
from wg_sqlite.flavor import SQLiteFlavor, version_warning
from wg_sqlite.memory import MemoryConnections
from wg_sqlite.options import SQLiteOptions, parse_url

logger = logging.getLogger("wg.sqlite")


class SQLiteBackend(SqlBackend):
    """Jobs in a file that many threads and processes of one machine share."""

    capabilities: ClassVar[frozenset[Capability]] = SqlBackend.capabilities | {Capability.TRANSACTIONAL}

    @classmethod
    def open(cls, url: str, namespace: str, **options: Any) -> Self:
        """Return a backend for a URL such as `sqlite:jobs.db`; `sqlite::memory:` gives an `InMemorySQLiteBackend`."""
        settings = parse_url(url, options)
        if settings.in_memory:
            return cast("Self", InMemorySQLiteBackend(url, namespace, settings))
        return cls(url, namespace, settings)

    def __init__(self, url: str, namespace: str, options: SQLiteOptions) -> None:
        flavor = SQLiteFlavor(options)
        connections = FileConnections(options, flavor)
        waiter = PollingWaiter(
            bell=lambda: connections.share.bell(namespace), has_ready=self.has_ready, version=connections.version
        )
        super().__init__(namespace, flavor, connections, waiter, auto_migrate=options.auto_migrate)
        self._warns = options.journal_mode == "WAL" and not options.read_only

    def wait(self, queues: Queues, timeout_seconds: float) -> None:
        """Poll `PRAGMA data_version`, which costs some microseconds, for commits of other processes."""
        if self._warns:
            self._warns = False
            _warn_once()
        super().wait(queues, timeout_seconds)


class InMemorySQLiteBackend(SQLiteBackend):
    """Jobs in the memory of this process, for tests."""

    capabilities: ClassVar[frozenset[Capability]] = SqlBackend.capabilities - {
        Capability.MULTI_PROCESS,
        Capability.DURABLE,
    }

    def __init__(self, url: str, namespace: str, options: SQLiteOptions) -> None:
        flavor = SQLiteFlavor(options)
        connections = MemoryConnections(url, namespace, options, flavor)
        waiter = PollingWaiter(
            bell=lambda: connections.store.share.bell(namespace), has_ready=self.has_ready, polls=False
        )
        SqlBackend.__init__(self, namespace, flavor, connections, waiter)
        self._warns = False


_warned: list[str] = []


def _warn_once() -> None:
    """Say once in a process that works on jobs (and so writes beside others) that its SQLite has a bug."""
    warning = version_warning()
    if warning and not _warned:
        _warned.append(warning)
        logger.warning("%s", warning)
