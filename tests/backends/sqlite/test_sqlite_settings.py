"""Each option is shown to work by reading the setting back from the connections themselves."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.backends.sqlite.support import OpenSQLite, new_job
from wg_core.backend import Backend
from wg_core.errors import BackendRejectedError, BackendUnavailableError
from wg_sqlite.connections import FileConnections
from wg_sqlite.flavor import SAFE_VERSION, version_warning


def connections_of(backend: Backend) -> FileConnections:
    connections = backend._connections
    assert isinstance(connections, FileConnections)
    return connections


def pragma(backend: Backend, name: str, *, writes: bool) -> Any:
    connections = connections_of(backend)
    with connections.writing() if writes else connections.reading() as cursor:
        cursor.execute(f"PRAGMA {name}", ())
        return cursor.fetchall()[0][0]


def test_the_defaults(backend: Backend) -> None:
    assert pragma(backend, "journal_mode", writes=True) == "wal"
    assert pragma(backend, "synchronous", writes=True) == 1  # NORMAL
    assert pragma(backend, "wal_autocheckpoint", writes=True) == 1_000
    assert pragma(backend, "busy_timeout", writes=True) == 5_000
    assert pragma(backend, "busy_timeout", writes=False) == 5_000
    assert pragma(backend, "query_only", writes=False) == 1


@pytest.mark.parametrize("mode", ["WAL", "DELETE", "TRUNCATE", "PERSIST"])
def test_journal_mode(open_sqlite: OpenSQLite, mode: str) -> None:
    assert pragma(open_sqlite(journal_mode=mode), "journal_mode", writes=True) == mode.lower()


def test_a_file_changes_its_journal_mode_when_the_option_changes(open_sqlite: OpenSQLite) -> None:
    first = open_sqlite(journal_mode="WAL")
    first.enqueue([new_job("a")])
    first.close()
    second = open_sqlite(journal_mode="DELETE")
    assert pragma(second, "journal_mode", writes=True) == "delete"
    assert second.get(["a"])


def test_a_journal_mode_that_others_stand_in_the_way_of_is_an_error(open_sqlite: OpenSQLite) -> None:
    open_sqlite(journal_mode="WAL").enqueue([new_job("a")])
    with pytest.raises(BackendUnavailableError, match="stays in journal mode WAL, not DELETE: other processes have it"):
        open_sqlite(journal_mode="DELETE", busy_timeout=0.05).enqueue([new_job("b")])


@pytest.mark.parametrize(("name", "number"), [("OFF", 0), ("NORMAL", 1), ("FULL", 2), ("EXTRA", 3)])
def test_synchronous(open_sqlite: OpenSQLite, name: str, number: int) -> None:
    assert pragma(open_sqlite(synchronous=name), "synchronous", writes=True) == number


@pytest.mark.parametrize("writes", [True, False], ids=["writer", "readers"])
def test_cache_size_temp_store_and_busy_timeout_hold_for_every_connection(
    open_sqlite: OpenSQLite, *, writes: bool
) -> None:
    backend = open_sqlite(cache_size=-4321, temp_store="MEMORY", busy_timeout=1.25)
    backend.migrate()
    assert pragma(backend, "cache_size", writes=writes) == -4321
    assert pragma(backend, "temp_store", writes=writes) == 2
    assert pragma(backend, "busy_timeout", writes=writes) == 1_250


def test_wal_autocheckpoint(open_sqlite: OpenSQLite) -> None:
    assert pragma(open_sqlite(wal_autocheckpoint=123), "wal_autocheckpoint", writes=True) == 123


def test_options_of_the_url_reach_the_connections(open_sqlite: OpenSQLite, database: Path) -> None:
    backend = open_sqlite(f"sqlite:{database}?synchronous=EXTRA&cache_size=77")
    assert pragma(backend, "synchronous", writes=True) == 3
    assert pragma(backend, "cache_size", writes=True) == 77


def test_memory_takes_cache_size_and_temp_store(open_sqlite: OpenSQLite) -> None:
    backend = open_sqlite("sqlite::memory:", "settings", cache_size=55, temp_store="FILE")
    with backend._connections.writing() as cursor:
        for name, expected in (("cache_size", 55), ("temp_store", 1), ("journal_mode", "memory")):
            cursor.execute(f"PRAGMA {name}", ())
            assert cursor.fetchall()[0][0] == expected


# ---------------------------------------------------------------------- the pool of readers


def test_pool_size_and_overflow_bound_the_readers(open_sqlite: OpenSQLite) -> None:
    backend = open_sqlite(pool_size=1, max_overflow=1, pool_timeout=0.05)
    backend.migrate()
    reading = connections_of(backend).reading
    refused = pytest.raises(BackendUnavailableError, match=r"no free connection to .*: every one of the pool is in use")
    with reading(), reading(), refused:
        backend.get(["a"])
    assert backend.get(["a"]) == []


def test_readers_are_kept_and_recycled_when_they_are_old(open_sqlite: OpenSQLite) -> None:
    for recycle, is_kept in ((-1.0, True), (0.0, False)):
        backend = open_sqlite(pool_recycle=recycle)
        backend.migrate()
        pool = connections_of(backend)._readers
        lent = pool.connect()
        first = lent.dbapi_connection
        lent.close()
        lent = pool.connect()
        assert (lent.dbapi_connection is first) == is_kept
        lent.close()


def test_readers_do_not_wait_for_a_writer(open_sqlite: OpenSQLite) -> None:
    backend = open_sqlite(busy_timeout=0)
    backend.enqueue([new_job("a")])
    with connections_of(backend).writing():
        assert backend.stats().ready == 1


# ---------------------------------------------------------------------- read_only


def test_read_only_shows_jobs_and_changes_nothing(open_sqlite: OpenSQLite, database: Path) -> None:
    open_sqlite().enqueue([new_job("a")])
    viewer = open_sqlite(read_only=True)
    assert viewer.stats().ready == 1
    assert viewer.get(["a"])[0].id == "a"
    assert viewer.migrate(dry_run=True).statements == ()
    for change in (lambda: viewer.enqueue([new_job("b")]), lambda: viewer.pause("default"), viewer.migrate):
        with pytest.raises(BackendRejectedError, match=f"{database} was opened with read_only"):
            change()


def test_read_only_creates_no_file(open_sqlite: OpenSQLite, database: Path) -> None:
    with pytest.raises(BackendUnavailableError, match="it does not exist"):
        open_sqlite(read_only=True).stats()
    assert not database.exists()


# ---------------------------------------------------------------------- versions


@pytest.mark.parametrize("version", [(3, 35, 0), (3, 40, 1), (3, 51, 2)])
def test_versions_with_the_wal_reset_bug_are_warned_of(version: tuple[int, ...]) -> None:
    assert "can damage a file in WAL mode" in str(version_warning(version))


def test_versions_without_it_are_not() -> None:
    assert version_warning(SAFE_VERSION) is None
    assert version_warning((4, 0, 0)) is None


def test_health_names_the_file_its_settings_and_the_bug_where_it_matters(
    open_sqlite: OpenSQLite, database: Path
) -> None:
    health = open_sqlite().health()
    assert health.server == f"SQLite {sqlite3.sqlite_version}"
    assert health.details["path"] == str(database)
    assert (health.details["journal_mode"], health.details["synchronous"]) == ("WAL", "NORMAL")
    assert health.details["bytes"] > 0
    expected = version_warning()
    assert health.warnings == ((expected,) if expected else ())


def test_health_does_not_speak_of_the_bug_without_wal_or_other_connections(open_sqlite: OpenSQLite) -> None:
    assert open_sqlite("sqlite::memory:", "healthy").health().warnings == ()
    assert open_sqlite(journal_mode="DELETE").health().warnings == ()


def test_health_warns_of_synchronous_off(open_sqlite: OpenSQLite) -> None:
    assert any("power failure" in warning for warning in open_sqlite(synchronous="OFF").health().warnings)
