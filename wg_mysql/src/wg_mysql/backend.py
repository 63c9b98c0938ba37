"""The MySQL backend: `wg_core.sql` on a MySQL or MariaDB server."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

from wg_core.protocol import Capability
from wg_core.sql import Bell, PollingWaiter, Queues, ServerClock, SqlBackend
from wg_core.sql.claiming import busy_queues
from wg_mysql.connections import MySQLConnections
from wg_mysql.flavor import MySQLFlavor
from wg_mysql.options import MySQLOptions, parse_url

_SHORTEST_PAUSE = 0.002


class MySQLBackend(SqlBackend):
    """Jobs in a database of MySQL or MariaDB."""

    capabilities: ClassVar[frozenset[Capability]] = SqlBackend.capabilities | {Capability.TRANSACTIONAL}

    @classmethod
    def open(cls, url: str, namespace: str, **options: Any) -> Self:
        """Return a backend for a URL such as `mysql://user:password@host/database`."""
        return cls(namespace, parse_url(url, options))

    def __init__(self, namespace: str, options: MySQLOptions) -> None:
        clock = ServerClock()
        flavor = MySQLFlavor(options, clock)
        self._mysql = MySQLConnections(options, flavor, clock)
        waiter = PollingWaiter(
            bell=lambda: _bell(f"{options.place}/{namespace}"),
            has_ready=self.has_ready,
            shortest_pause=min(_SHORTEST_PAUSE, options.poll_interval),
            longest_pause=options.poll_interval,
        )
        super().__init__(namespace, flavor, self._mysql, waiter, auto_migrate=options.auto_migrate)

    def has_ready(self, queues: Queues) -> bool:
        """Look in one round trip, without a transaction: waiting workers do so all the time."""
        with self._store.ready(), self._mysql.glancing() as cursor:
            return bool(busy_queues(self._store.transaction(cursor, 0), queues, 0))


_bells: dict[tuple[int, str], Bell] = {}


def _bell(store: str) -> Bell:
    """Return the bell of a store in this process; the child of a fork gets its own."""
    return _bells.setdefault((os.getpid(), store), Bell())
