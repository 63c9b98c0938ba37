"""What an exception from outside leaves behind: the time limit of a handler raises one in the middle of a call."""

from __future__ import annotations

import pytest

from tests.backends.interrupting import in_a_thread, interruptions
from tests.backends.sqlite.support import OpenSQLite, new_job
from wg_sqlite.backend import SQLiteBackend
from wg_sqlite.connections import FileConnections

FOLDERS = ("/wg_sqlite/", "/wg_core/sql/")


@pytest.fixture(params=["file", "memory"])
def backend(request: pytest.FixtureRequest, open_sqlite: OpenSQLite, fresh_namespace: str) -> SQLiteBackend:
    """One reading connection only, so that losing it is losing all; no patience for one that does not come back."""
    if request.param == "memory":
        backend = open_sqlite("sqlite::memory:", namespace=fresh_namespace)
    else:
        backend = open_sqlite(pool_size=1, max_overflow=0, pool_timeout=0.5)
    backend.enqueue([new_job("first")])
    return backend


def assert_it_works(backend: SQLiteBackend, number: int) -> None:
    def use() -> None:
        assert [job.id for job in backend.get(["first"])] == ["first"]
        assert backend.enqueue([new_job(f"after-{number}")])[0].stored

    in_a_thread(use)
    if isinstance(connections := backend._connections, FileConnections):
        assert connections._gate.close(0.0), "a fork would wait in vain for a call that is over"
        connections._gate.open()


def test_an_exception_in_any_line_of_a_read_leaves_a_backend_that_works(backend: SQLiteBackend) -> None:
    for number in interruptions(lambda _: backend.get(["first"]), *FOLDERS):
        assert_it_works(backend, number)


def test_an_exception_in_any_line_of_an_enqueue_stores_its_jobs_or_none(backend: SQLiteBackend) -> None:
    def enqueue(number: int) -> None:
        backend.enqueue([new_job(f"{number}-a"), new_job(f"{number}-b", queue=f"{number}")])

    for number in interruptions(enqueue, *FOLDERS):
        assert_it_works(backend, number)
        assert len(backend.get([f"{number}-a", f"{number}-b"])) in {0, 2}, f"after line {number}"


def test_an_exception_in_any_line_of_the_enqueue_of_one_job_leaves_a_backend_that_works(backend: SQLiteBackend) -> None:
    for number in interruptions(lambda number: backend.enqueue([new_job(f"{number}")]), *FOLDERS):
        assert_it_works(backend, number)


@pytest.mark.timeout(600)  # opens the file four hundred times
def test_an_exception_while_the_file_is_opened_leaves_a_backend_that_works(open_sqlite: OpenSQLite) -> None:
    backend = open_sqlite()
    backend.enqueue([new_job("first")])

    def open_and_enqueue(number: int) -> None:
        with open_sqlite() as another:
            another.enqueue([new_job(f"{number}")])

    for number in interruptions(open_and_enqueue, *FOLDERS):
        assert_it_works(backend, number)
