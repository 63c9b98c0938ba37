"""What goes wrong with files, and what users are told. No driver error gets out."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.backends.sqlite.support import OpenSQLite, new_job, register
from wg_core.backend import Backend
from wg_core.errors import (
    AmbiguousResultError,
    BackendRejectedError,
    BackendUnavailableError,
    SchemaError,
    WgError,
)
from wg_core.outcome import Ack
from wg_sqlite.errors import sort_error


@contextmanager
def writing_elsewhere(database: Path) -> Iterator[None]:
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


# ---------------------------------------------------------------------- wrong files


def test_a_missing_directory_is_named(open_sqlite: OpenSQLite, tmp_path: Path) -> None:
    with pytest.raises(BackendRejectedError, match=f"there is no directory {tmp_path}/nowhere"):
        open_sqlite(f"sqlite:{tmp_path}/nowhere/jobs.db").stats()


def test_a_directory_is_no_database(open_sqlite: OpenSQLite, tmp_path: Path) -> None:
    with pytest.raises(BackendRejectedError, match="it is a directory"):
        open_sqlite(f"sqlite:{tmp_path}").enqueue([new_job("a")])


@pytest.mark.parametrize("call", ["stats", "migrate"])
def test_a_file_of_another_kind_is_left_alone(open_sqlite: OpenSQLite, database: Path, call: str) -> None:
    database.write_text("these are my notes, not a database\n" * 100)
    before = database.read_bytes()
    with pytest.raises(BackendRejectedError, match="it is no SQLite database"):
        getattr(open_sqlite(), call)()
    assert database.read_bytes() == before


def test_a_damaged_file_is_an_error_of_ours(open_sqlite: OpenSQLite, database: Path) -> None:
    backend = open_sqlite()
    backend.enqueue([new_job(f"job-{number}", body=b"x" * 500) for number in range(500)])
    backend.close()
    with database.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (database.stat().st_size - 4096))
    with pytest.raises(BackendRejectedError, match="it is damaged"):
        open_sqlite().stats()


# ---------------------------------------------------------------------- busy and full


def test_a_writer_that_stays_is_unavailable_and_changes_nothing(open_sqlite: OpenSQLite, database: Path) -> None:
    backend = open_sqlite(busy_timeout=0.05)
    backend.enqueue([new_job("a")])
    register(backend)
    (job,) = backend.reserve(None, 1, "w1", request_no=1)
    calls = (
        lambda: backend.enqueue([new_job("b")]),
        lambda: backend.enqueue([new_job("b"), new_job("c")]),
        lambda: backend.report("w1", [Ack(id=job.id, lease_no=job.lease_no)], request_no=1),
        lambda: backend.retire("w1", [], "gone"),
    )
    with writing_elsewhere(database):
        for call in calls:
            with pytest.raises(BackendUnavailableError, match="is locked: another process kept writing"):
                call()
    assert backend.held("w1") == [(job.id, job.lease_no)]
    assert backend.get(["b", "c"]) == []
    assert all(result.stored for result in backend.enqueue([new_job("b"), new_job("c")]))


def test_a_full_disk_is_unavailable_until_there_is_room(backend: Backend) -> None:
    backend.enqueue([new_job("a")])
    with backend._connections.writing() as cursor:
        cursor.execute("PRAGMA max_page_count=1", ())  # rounded up to the pages in use
    big = [new_job(f"big-{number}", body=b"x" * 100_000) for number in range(10)]
    for jobs in (big, big[:1]):
        with pytest.raises(BackendUnavailableError, match="full; nothing was stored"):
            backend.enqueue(jobs)
    assert backend.stats().ready == 1
    with backend._connections.writing() as cursor:
        cursor.execute("PRAGMA max_page_count=1000000", ())
    assert all(result.stored for result in backend.enqueue(big))


# ---------------------------------------------------------------------- values


@pytest.mark.parametrize("batch", [["a"], ["a", "b"]], ids=["one", "several"])
@pytest.mark.parametrize(
    "wrong",
    [{"name": "lone surrogate \ud800"}, {"max_retries": 2**70}, {"body": {"not": "bytes"}}, {"body": None}],
    ids=["text", "number", "type", "null"],
)
def test_what_sqlite_cannot_store_is_rejected_and_nothing_of_the_batch_is_stored(
    backend: Backend, batch: list[str], wrong: dict[str, object]
) -> None:
    backend.enqueue([new_job("known queue")])
    *right, last = batch
    with pytest.raises(BackendRejectedError):
        backend.enqueue([*map(new_job, right), new_job(last, **wrong)])
    assert backend.get(batch) == []
    assert backend.enqueue([new_job(last)])[0].stored


# ---------------------------------------------------------------------- tables that change under us


def test_dropped_tables_are_a_schema_error_once_and_made_again(backend: Backend, database: Path) -> None:
    backend.enqueue([new_job("a")])
    with closing(sqlite3.connect(database)) as other:
        for (table,) in other.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            other.execute(f"DROP TABLE {table}")
    with pytest.raises(SchemaError, match="run: wg migrate"):
        backend.enqueue([new_job("b")])
    assert backend.enqueue([new_job("b")])[0].stored


def test_after_an_error_inside_a_transaction_the_next_call_works(backend: Backend) -> None:
    backend.enqueue([new_job("a")])

    def delete_all_and_fail() -> None:
        with backend._connections.writing() as cursor:
            cursor.execute("DELETE FROM wg_jobs", ())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        delete_all_and_fail()
    assert backend.stats().ready == 1
    assert backend.enqueue([new_job("b")])[0].stored


def test_a_transaction_that_an_exception_from_outside_left_open_is_rolled_back(backend: Backend) -> None:
    backend.enqueue([new_job("a")])
    writer = backend._connections.writer()
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM wg_jobs")
    assert backend.enqueue([new_job("b")])[0].stored
    assert backend.stats().ready == 2


# ---------------------------------------------------------------------- the table of errors


def sqlite_error(name: str, message: str = "message") -> sqlite3.Error:
    error = sqlite3.OperationalError(message)
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("SQLITE_BUSY", BackendUnavailableError),
        ("SQLITE_BUSY_SNAPSHOT", BackendUnavailableError),
        ("SQLITE_LOCKED", BackendUnavailableError),
        ("SQLITE_FULL", BackendUnavailableError),
        ("SQLITE_IOERR_WRITE", BackendUnavailableError),
        ("SQLITE_PROTOCOL", BackendUnavailableError),
        ("SQLITE_READONLY", BackendRejectedError),
        ("SQLITE_CORRUPT", BackendRejectedError),
        ("SQLITE_NOTADB", BackendRejectedError),
        ("SQLITE_CONSTRAINT", BackendRejectedError),
        ("SQLITE_TOOBIG", BackendRejectedError),
    ],
)
def test_each_error_code_has_a_class(database: Path, name: str, kind: type[WgError]) -> None:
    assert type(sort_error(sqlite_error(name), str(database), committing=False)) is kind


def test_a_failed_write_during_commit_is_ambiguous(database: Path) -> None:
    for name in ("SQLITE_IOERR_FSYNC", "SQLITE_IOERR_WRITE"):
        assert type(sort_error(sqlite_error(name), str(database), committing=True)) is AmbiguousResultError
    assert type(sort_error(sqlite_error("SQLITE_BUSY"), str(database), committing=True)) is BackendUnavailableError


def test_a_missing_table_is_a_schema_error_and_other_sql_errors_are_not(database: Path) -> None:
    missing = sqlite_error("SQLITE_ERROR", "no such table: wg_jobs")
    assert type(sort_error(missing, str(database), committing=False)) is SchemaError
    other = sqlite_error("SQLITE_ERROR", "near 'SELEC': syntax error")
    assert type(sort_error(other, str(database), committing=False)) is BackendRejectedError


def test_errors_that_are_not_the_drivers_go_on_as_they_are(database: Path) -> None:
    assert sort_error(KeyError("x"), str(database), committing=False) is None


def test_a_file_that_is_away_comes_back(open_sqlite: OpenSQLite, database: Path, tmp_path: Path) -> None:
    backend = open_sqlite()
    backend.enqueue([new_job("a")])
    backend.close()
    shutil.move(database, tmp_path / "elsewhere.db")
    away = open_sqlite(f"sqlite:{tmp_path}/later/jobs.db")
    with pytest.raises(BackendRejectedError, match="there is no directory"):
        away.stats()
    (tmp_path / "later").mkdir()
    shutil.move(tmp_path / "elsewhere.db", tmp_path / "later" / "jobs.db")
    assert away.stats().ready == 1
