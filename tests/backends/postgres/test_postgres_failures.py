"""What the server's errors become, and that the next call works once it is back."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

from tests.backends.postgres.support import (
    PATIENCE_SECONDS,
    OpenPostgres,
    ack,
    locks,
    new_job,
    new_jobs,
    register,
    wait_until,
)
from wg_core.errors import (
    AmbiguousResultError,
    BackendError,
    BackendRejectedError,
    BackendUnavailableError,
    SchemaError,
)
from wg_core.outcome import Applied
from wg_core.sql import ConflictError, store
from wg_core.testing.servers import PostgresServer
from wg_postgres import PostgresBackend
from wg_postgres.errors import is_end_of_connection, sort_error

ADDRESS = "db/app"


class FromServer(psycopg.errors.Error):
    """An error that the server sent, with its SQLSTATE."""

    def __init__(self, state: str | None, text: str = "it says so") -> None:
        super().__init__(text)
        self.sqlstate = state


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("40001", ConflictError),
        ("40P01", ConflictError),
        ("55P03", ConflictError),
        ("57014", BackendUnavailableError),
        ("25006", BackendUnavailableError),
        ("53300", BackendUnavailableError),
        ("53100", BackendUnavailableError),
        ("58030", BackendUnavailableError),
        ("42P01", SchemaError),
        ("42703", SchemaError),
        ("3F000", SchemaError),
        ("42501", BackendRejectedError),
        ("22001", BackendRejectedError),
        ("23505", BackendRejectedError),
        ("26000", BackendRejectedError),
    ],
)
@pytest.mark.parametrize("committing", [False, True], ids=["before", "in COMMIT"])
def test_an_error_that_the_server_answered_happened_to_nothing(
    state: str, expected: type[BackendError], *, committing: bool
) -> None:
    assert type(sort_error(FromServer(state), ADDRESS, committing=committing)) is expected


@pytest.mark.parametrize("state", ["57P01", "57P02", "57P03", "08006", "25P03"])
def test_a_lost_connection_is_ambiguous_only_when_the_end_was_under_way(state: str) -> None:
    error = FromServer(state)
    assert type(sort_error(error, ADDRESS, committing=False)) is BackendUnavailableError
    assert type(sort_error(error, ADDRESS, committing=True)) is AmbiguousResultError
    assert is_end_of_connection(error)
    assert is_end_of_connection(psycopg.OperationalError("server closed the connection unexpectedly"))


def test_connections_that_are_of_no_use_any_more_are_given_up() -> None:
    assert is_end_of_connection(FromServer("25006"))  # a standby since the failover
    assert not is_end_of_connection(FromServer("40P01"))
    assert not is_end_of_connection(FromServer("23505"))


def test_errors_of_others_go_on_as_they_are() -> None:
    assert sort_error(RuntimeError("mine"), ADDRESS, committing=True) is None


@pytest.mark.parametrize("field", ["name", "queue"])
def test_a_text_with_nul_is_refused_and_nothing_of_the_batch_is_stored(backend: PostgresBackend, field: str) -> None:
    for jobs in ([new_job("a"), new_job("b", **{field: "x\0y"})], new_jobs("c", "d", **{field: "\0"})):
        with pytest.raises(BackendRejectedError, match="NUL"):
            backend.enqueue(jobs)
    assert backend.get(["a", "b", "c", "d"]) == []


def test_a_text_that_is_no_unicode_is_refused(backend: PostgresBackend) -> None:
    with pytest.raises(BackendRejectedError, match="cannot store this value"):
        backend.enqueue([new_job("a", name="\ud800")])


def test_a_wrong_password_and_a_missing_database_say_so(own_server: PostgresServer) -> None:
    for url, message in (
        (own_server.url_of("nowhere"), 'database "nowhere" does not exist'),
        (own_server.url.replace("postgres@", "stranger:s3cr3t@"), 'role "stranger" does not exist'),
    ):
        with PostgresBackend.open(url, "wg") as backend, pytest.raises(BackendRejectedError, match=message) as caught:
            backend.migrate()
        assert "s3cr3t" not in str(caught.value)


def test_a_server_that_is_away_is_unavailable_and_names_itself(open_postgres: OpenPostgres) -> None:
    backend = open_postgres("postgres://nobody:s3cr3t@127.0.0.1:1/app")
    with pytest.raises(BackendUnavailableError, match=r"127\.0\.0\.1/app cannot be reached") as caught:
        backend.enqueue([new_job("a")])
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("how", ["stop", "kill", "stop_immediately"])
def test_the_next_call_works_after_the_server_is_back(own_server: PostgresServer, how: str) -> None:
    with PostgresBackend.open(own_server.url, "wg") as backend:
        backend.enqueue([new_job("a")])
        register(backend)
        with ThreadPoolExecutor(4) as threads:  # so that the pool holds several connections
            list(threads.map(lambda _: backend.held("w1"), range(32)))
        getattr(own_server, how)()
        with pytest.raises(BackendUnavailableError):
            backend.enqueue(new_jobs("b"))
        own_server.start()
        backend.enqueue(new_jobs("b"))
        jobs = backend.reserve(["default"], 2, "w1", request_no=1)
        assert backend.report("w1", [ack(job) for job in jobs], request_no=1) == [Applied.APPLIED] * 2


def test_connections_that_were_ended_while_idle_cost_no_error(
    open_postgres: OpenPostgres, connection: psycopg.Connection[Any], fresh_namespace: str
) -> None:
    backend = open_postgres(application_name=fresh_namespace)
    backend.enqueue([new_job("a")])
    register(backend)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: backend.held("w1"), range(32)))
    end_all(connection, fresh_namespace)
    for number in range(8):
        assert backend.enqueue(new_jobs(f"b{number}"))[0].stored
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda _: backend.held("w1"), range(32))) == [[]] * 32


def end_all(connection: psycopg.Connection[Any], application: str) -> None:
    """End all connections under this name, of which there is one at least, and wait until they are gone."""
    found = "FROM pg_stat_activity WHERE application_name = %s"
    assert connection.execute(f"SELECT pg_terminate_backend(pid) {found}", (application,)).fetchall()
    wait_until(lambda: connection.execute(f"SELECT count(*) {found}", (application,)).fetchall()[0][0] == 0)


def test_a_lock_that_is_held_too_long_is_waited_for_again(
    backend: PostgresBackend,
    open_postgres: OpenPostgres,
    connection: psycopg.Connection[Any],
    fresh_namespace: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(store, "_ATTEMPTS", 1_000)  # however long it takes this test to leave the lock
    backend.enqueue([new_job("a")])
    register(backend)
    impatient = open_postgres(lock_timeout=0.05)
    with ThreadPoolExecutor(1) as threads:
        with connection.transaction():
            connection.execute(f"LOCK TABLE {fresh_namespace}_requests IN ACCESS EXCLUSIVE MODE")
            reserved = threads.submit(impatient.reserve, ["default"], 1, "w1", request_no=1)
            wait_until(lambda: impatient._store.conflicts > 0 or reserved.done())
        assert [job.id for job in reserved.result(PATIENCE_SECONDS)] == ["a"]


def test_a_statement_that_takes_too_long_is_given_up(
    backend: PostgresBackend, open_postgres: OpenPostgres, connection: psycopg.Connection[Any], fresh_namespace: str
) -> None:
    backend.enqueue([new_job("a")])
    impatient = open_postgres(lock_timeout=0, statement_timeout=0.5)
    with connection.transaction():
        connection.execute(f"LOCK TABLE {fresh_namespace}_jobs IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(BackendUnavailableError, match="statement timeout"):
            impatient.enqueue(new_jobs("b"))
    assert backend.get(["b"]) == []

    def is_stored() -> bool:
        try:
            return impatient.enqueue(new_jobs("b"))[0].stored
        except BackendUnavailableError:  # half a second may be too short for a slow machine, lock or not
            return False

    wait_until(is_stored)


def test_nothing_is_reused_after_a_fork(
    open_postgres: OpenPostgres, connection: psycopg.Connection[Any], fresh_namespace: str
) -> None:
    backend = open_postgres(application_name=fresh_namespace)
    backend.enqueue([new_job("a")])
    register(backend)
    with ThreadPoolExecutor(1) as threads:  # so that there is a listening thread, too
        waiting = threads.submit(backend.wait, ["other"], PATIENCE_SECONDS)
        wait_until(lambda: locks(connection, backend) == 1)
        query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
        of_the_parent = [pid for (pid,) in connection.execute(query, (fresh_namespace,))]
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            answer = b"failed"
            try:
                with backend._postgres.lent() as lent:
                    assert lent.info.backend_pid not in of_the_parent
                backend.enqueue(new_jobs("b"))
                backend.wait(["default"], PATIENCE_SECONDS)
                answer = b"stored"
            finally:
                os.write(writer, answer)
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reader, 100) == b"stored"
        assert [job.id for job in backend.reserve(["default"], 2, "w1", request_no=1)] == ["a", "b"]
        backend.interrupt()
        waiting.result(PATIENCE_SECONDS)
    os.close(reader)
    os.close(writer)


def test_many_threads_share_one_backend(backend: PostgresBackend) -> None:
    backend.migrate()
    register(backend)
    barrier = threading.Barrier(8)

    def produce(thread: int) -> int:
        barrier.wait()
        return sum(backend.enqueue(new_jobs(f"{thread}-{number}"))[0].stored for number in range(20))

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(produce, range(8))) == 160
    assert len(backend.reserve(["default"], 500, "w1", request_no=1)) == 160


def test_health_warns_of_what_loses_jobs_or_slows_claims() -> None:
    conf = ("synchronous_commit = off", "full_page_writes = off", "autovacuum = off")
    with PostgresServer(fsync=False, conf=conf) as server, PostgresBackend.open(server.url, "wg") as backend:
        health = backend.health()
        assert health.server.startswith("PostgreSQL ")
        named = " ".join(health.warnings)
        assert all(name in named for name in ("fsync=off", "full_page_writes", "synchronous_commit=off", "autovacuum"))
        assert health.details["encoding"] == "UTF8"


def test_health_of_a_server_as_it_should_be_warns_of_nothing(backend: PostgresBackend) -> None:
    backend.migrate()
    assert backend.health().warnings == ()


def test_health_tells_how_long_a_transaction_has_held_vacuum_back(
    backend: PostgresBackend, connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wg_postgres.health._OLD_TRANSACTION_SECONDS", 0.0)
    backend.migrate()
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.execute("SELECT 1")
        (warning,) = backend.health().warnings
        assert "a transaction has been open for" in warning
