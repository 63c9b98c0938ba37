"""The stores that are measured, each on a private server with settings that a user would run it with."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from wg_core.testing.servers import MariaDBServer, PostgresServer, RedisServer

SETTINGS = {
    "memory": "in this process",
    "sqlite": "WAL, synchronous NORMAL",
    "redis": "no persistence",
    "postgres": "fsync on, synchronous_commit on, full_page_writes on, shared_buffers 512 MB",
    "mariadb": "innodb_flush_log_at_trx_commit=1, sync_binlog=1 (no binary log), innodb_buffer_pool_size 1 GB",
}
"""What every table of figures says of a store: figures without these settings mean nothing."""

STORES = tuple(SETTINGS)

_POSTGRES = (
    "shared_buffers = 512MB",
    "max_wal_size = 4GB",
    "synchronous_commit = on",
    "full_page_writes = on",
)
_MARIADB = (
    "innodb-flush-log-at-trx-commit = 1",
    "sync-binlog = 1",
    "innodb-doublewrite = 1",
    "innodb-buffer-pool-size = 1G",
    "innodb-log-file-size = 1G",
)


@contextlib.contextmanager
def private_store(store: str, folder: Path) -> Iterator[str]:
    """Yield the URL of an empty store of this kind, and end it."""
    with contextlib.ExitStack() as stack:
        match store:
            case "redis":
                yield stack.enter_context(RedisServer(append_only=False)).url
            case "postgres":
                yield stack.enter_context(PostgresServer(fsync=True, conf=_POSTGRES)).url
            case "mariadb":
                yield stack.enter_context(MariaDBServer(conf=_MARIADB)).url
            case "sqlite":
                yield f"sqlite:{folder / 'jobs.db'}"
            case _:
                yield f"memory:bench-{os.getpid()}"
