"""The options of the pool, each by what the server (or, on SQLite, the operating system) sees of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.backends.sql.stores import MariaDBStore, PostgresStore, SQLiteStore, Store, wait_until
from wg_core.backend import Backend
from wg_core.errors import BackendUnavailableError
from wg_core.sql import SqlBackend, pooled


def open_with(store: Store, *, by_url: bool = False, **options: Any) -> SqlBackend:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    backend = store.open(url=f"{store.url}?{query}") if by_url else store.open(**options)
    assert isinstance(backend, SqlBackend)
    return backend


def count_connections(store: Store) -> int:
    """Ask the server how many there are to the store's database; for SQLite, how often its file is open here."""
    if isinstance(store, SQLiteStore):
        return sum(_leads_to(store.path, descriptor) for descriptor in Path("/proc/self/fd").iterdir())
    # Asked from another database, because the connection that asked before may not be quite gone.
    assert isinstance(store, PostgresStore | MariaDBStore)
    if isinstance(store, PostgresStore):  # where autovacuum comes and goes, too
        ours = f"pg_stat_activity WHERE backend_type = 'client backend' AND datname = '{store.database}'"
    else:
        ours = f"information_schema.processlist WHERE db = '{store.database}'"
    return int(store.server.execute(f"SELECT count(*) FROM {ours}")[0][0])


def await_connections(store: Store, number: int) -> None:
    """Wait until the server sees so many: it lets go in its own time, and MariaDB may hide a database for a moment."""
    wait_until(lambda: count_connections(store) == number)


def _leads_to(path: Path, descriptor: Path) -> bool:
    try:
        return descriptor.readlink() == path
    except OSError:  # it was the one of the folder itself
        return False


@contextmanager
def reading(backend: SqlBackend, times: int = 1) -> Iterator[list[Any]]:
    """Hold so many connections of the pool, each in a transaction."""
    with ExitStack() as stack:
        yield [stack.enter_context(backend._connections.reading()) for _ in range(times)]


def name_of_connection(store: Store, backend: SqlBackend) -> Any:
    """Return what tells the connection of the next transaction from others."""
    with reading(backend) as (cursor,):
        if isinstance(store, SQLiteStore):
            return cursor.connection  # an object that is kept here, so that its id is not used again
        cursor.execute("SELECT CONNECTION_ID()" if isinstance(store, MariaDBStore) else "SELECT pg_backend_pid()", ())
        return cursor.fetchall()[0][0]


def assert_exhausted(backend: Backend) -> None:
    with pytest.raises(
        BackendUnavailableError, match=r"no free connection to .*: every one of the pool is in use"
    ) as e:
        backend.get(["a"])
    assert "raise pool_size, max_overflow or pool_timeout" in str(e.value)


@pytest.mark.parametrize("by_url", [True, False], ids=["url", "keywords"])
def test_pool_size_connections_are_kept_and_max_overflow_more_are_opened_for_a_while(
    store: Store,
    by_url: bool,
) -> None:
    store.open().migrate()
    store.close_backends()
    await_connections(store, 0)
    backend = open_with(store, by_url=by_url, pool_size=2, max_overflow=1, pool_timeout=0.1)
    assert count_connections(store) == 0  # none before it is needed
    assert backend.get(["a"]) == []  # looks at the schema, for once not through the pool
    with reading(backend, 3):
        await_connections(store, 3)
        assert_exhausted(backend)
        await_connections(store, 3)
    if not isinstance(store, SQLiteStore):  # which closes no descriptor of a file while another of it holds a lock
        await_connections(store, 2)
    assert backend.get(["a"]) == []
    backend.close()
    await_connections(store, 0)


def test_without_limits_there_is_a_connection_for_everybody(store: Store) -> None:
    store.open().migrate()
    store.close_backends()
    await_connections(store, 0)
    for options in ({"pool_size": 0, "max_overflow": 0}, {"pool_size": 1, "max_overflow": -1}):
        backend = open_with(store, pool_timeout=0.1, **options)
        with reading(backend, 20):
            await_connections(store, 20)
        backend.close()
        await_connections(store, 0)


def test_pool_timeout_is_how_long_a_caller_waits(store: Store) -> None:
    for timeout, told in ((0.05, "timeout 0.05"), (timedelta(milliseconds=20), "timeout 0.02")):
        backend = open_with(store, pool_size=1, max_overflow=0, pool_timeout=timeout)
        backend.migrate()
        with reading(backend), pytest.raises(BackendUnavailableError, match=rf"size 1 overflow 0 reached.*{told}"):
            backend.get(["a"])
        assert backend.get(["a"]) == []


@pytest.mark.parametrize("by_url", [True, False], ids=["url", "keywords"])
def test_pool_recycle_replaces_connections_that_are_too_old(
    store: Store,
    by_url: bool,
) -> None:
    for seconds, is_kept in ((-1, True), (3600, True), (0, False)):
        backend = open_with(store, by_url=by_url, pool_recycle=seconds)
        backend.migrate()
        names = [name_of_connection(store, backend) for _ in range(2)]
        assert (names[0] == names[1]) == is_kept, f"pool_recycle={seconds}"
        backend.close()


@pytest.mark.parametrize("product", ["postgres", "mysql"], indirect=True)
def test_a_server_that_closes_every_connection_at_once_is_away_for_the_moment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = open_with(store)
    backend.migrate()
    with monkeypatch.context() as patch:
        patch.setattr(pooled, "is_readable", lambda *_: True)
        with pytest.raises(BackendUnavailableError, match="as soon as they are opened"):
            backend.held("w")
    assert backend.held("w") == []
