"""What a caller sees when the server is away, slow, locked or not for us; afterwards the next call works."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pymysql
import pytest

from tests.backends.mysql.conftest import OpenMySQL
from wg_core.errors import AmbiguousResultError, BackendRejectedError, BackendUnavailableError
from wg_core.job import JobState, NewJob
from wg_core.protocol import DeleteJobs, WorkerBeat
from wg_core.sql import Statements, Tables, Transaction
from wg_core.testing.servers import HOST, MariaDBServer
from wg_mysql import MySQLBackend

PATIENCE_SECONDS = 30.0

Answer = TypeVar("Answer")


def job(job_id: str) -> NewJob:
    return NewJob(id=job_id, name="work", body=b"{}", id_is_new=True)


def await_that(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        threading.Event().wait(0.01)


def insistently(call: Callable[[], Answer]) -> Answer:
    """Make a call again while it fails, which with a short read_timeout is also how a busy machine looks."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call()
        except (AmbiguousResultError, BackendUnavailableError):
            assert time.monotonic() < deadline, "in vain"


def await_farewell(backend: MySQLBackend) -> None:
    """Wait until our end of each connection knows that the server closed it: the news travels in its own time."""
    for connection in backend._mysql._opened:
        assert select.select([connection._sock], [], [], PATIENCE_SECONDS)[0], "in vain"


def id_of_connection(backend: MySQLBackend) -> int:
    """Return the server's number of the connection that the backend used last, and uses next."""
    with backend._mysql.glancing() as cursor:
        cursor.execute("SELECT CONNECTION_ID()", ())
        return int(cursor.fetchall()[0][0])


def waits_for_a_lock(server: MariaDBServer, connection_id: int) -> bool:
    """Not by a counter, where others count, too, nor from information_schema.innodb_trx, which shows what it read
    before unless it was left alone for 100 ms.
    """
    [(_, _, status)] = server.execute("SHOW ENGINE INNODB STATUS")
    return bool(re.search(rf"^LOCK WAIT .*\n\w+ thread id {connection_id},", status, re.MULTILINE))


@pytest.fixture
def own_server() -> Iterator[MariaDBServer]:
    """A server that the test may kill or freeze."""
    with MariaDBServer() as server:
        yield server


@contextlib.contextmanager
def frozen(server: MariaDBServer) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


@pytest.fixture
def intruder(mariadb_server: MariaDBServer) -> Iterator[pymysql.Connection]:
    """A connection that takes locks on our rows."""
    with pymysql.connect(host="127.0.0.1", port=mariadb_server.port, user="root", database="wg") as connection:
        yield connection


def run(connection: pymysql.Connection, statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_after_a_restart_of_the_server_the_next_call_works(open_mysql: OpenMySQL, own_server: MariaDBServer) -> None:
    backend = open_mysql(own_server.url)
    backend.enqueue([job("a")])
    own_server.kill()
    await_farewell(backend)
    with pytest.raises(BackendUnavailableError):
        backend.enqueue([job("b")])
    own_server.restart()
    assert backend.enqueue([job("c")])[0].stored
    assert [record.id for record in backend.get(["a", "b", "c"])] == ["a", "c"]


def test_a_restart_that_nobody_noticed_costs_no_call(open_mysql: OpenMySQL, own_server: MariaDBServer) -> None:
    backend = open_mysql(own_server.url)
    backend.enqueue([job("a")])
    own_server.kill()
    await_farewell(backend)
    own_server.restart()
    assert backend.enqueue([job("b")])[0].stored


def test_connections_that_the_server_killed_while_they_were_idle_are_replaced(
    backend: MySQLBackend, mariadb_server: MariaDBServer
) -> None:
    backend.enqueue([job("a")])
    mariadb_server.execute(f"KILL {id_of_connection(backend)}")
    await_farewell(backend)
    assert backend.enqueue([job("b")])[0].stored


def test_a_server_that_does_not_answer_is_given_up_after_read_timeout(
    open_mysql: OpenMySQL, own_server: MariaDBServer
) -> None:
    open_mysql(own_server.url).enqueue([job("a")])  # makes the tables, which may take longer than that
    backend = open_mysql(own_server.url, read_timeout=1.5, lock_timeout=1)
    insistently(lambda: backend.enqueue([job(uuid.uuid4().hex)]))  # it has a connection now, and knows the queue
    with frozen(own_server):
        with pytest.raises(AmbiguousResultError):  # one statement that commits itself: it may have arrived
            backend.enqueue([job("b")])
        with pytest.raises(BackendUnavailableError):
            backend.held("w")
    assert insistently(lambda: backend.get(["a"]))[0].state is JobState.READY


def test_no_server_at_all_is_unavailable(open_mysql: OpenMySQL) -> None:
    with socket.socket() as deaf:  # holds a port, so that nobody listens there
        deaf.bind((HOST, 0))
        with pytest.raises(BackendUnavailableError, match="no connection to"):
            open_mysql(f"mysql://root@{HOST}:{deaf.getsockname()[1]}/wg").enqueue([job("a")])


def test_a_missing_database_says_how_to_create_it(open_mysql: OpenMySQL, mariadb_server: MariaDBServer) -> None:
    with pytest.raises(BackendRejectedError, match="CREATE DATABASE `no``where` CHARACTER SET utf8mb4"):
        open_mysql(mariadb_server.url_of("no%60where")).held("w")


def test_a_wrong_password_is_refused_and_not_shown(open_mysql: OpenMySQL, mariadb_server: MariaDBServer) -> None:
    mariadb_server.execute("CREATE OR REPLACE USER 'ann'@'127.0.0.1' IDENTIFIED BY 'right-é'")
    place = f"127.0.0.1:{mariadb_server.port}/wg"
    with pytest.raises(BackendRejectedError, match="Access denied") as caught:
        open_mysql(f"mysql://ann:wr0ng@{place}").held("w")
    assert "wr0ng" not in str(caught.value)
    with pytest.raises(BackendRejectedError, match=r"Access denied for user 'ann'@.* to database"):
        open_mysql(f"mysql://ann:right-%C3%A9@{place}").held("w")


def test_a_lock_that_is_waited_for_in_vain_is_waited_for_again(
    open_mysql: OpenMySQL, intruder: pymysql.Connection, fresh_namespace: str
) -> None:
    backend = open_mysql(lock_timeout=1)
    backend.beat([WorkerBeat(worker="w", lease_seconds=60.0, first=True)])
    backend.enqueue([job("a")])
    intruder.begin()
    run(intruder, f"SELECT * FROM {fresh_namespace}_workers FOR UPDATE")
    with ThreadPoolExecutor(1) as other:
        answer = other.submit(backend.reserve, None, 10, "w", request_no=1)
        await_that(lambda: backend.health().details["conflicts"])
        intruder.rollback()
        assert [taken.id for taken in answer.result(PATIENCE_SECONDS)] == ["a"]


def test_a_deadlock_is_run_again(
    backend: MySQLBackend, mariadb_server: MariaDBServer, intruder: pymysql.Connection, fresh_namespace: str
) -> None:
    jobs = f"{fresh_namespace}_jobs"
    backend.enqueue([job("a"), job("b")])
    intruder.begin()
    # InnoDB ends the transaction that has changed less.
    run(intruder, f"INSERT INTO {fresh_namespace}_queues (name) SELECT seq FROM seq_1_to_100")
    run(intruder, f"SELECT * FROM {jobs} FORCE INDEX (id) WHERE id = 'b' FOR UPDATE")
    connection_id = id_of_connection(backend)
    with ThreadPoolExecutor(1) as other:
        answer = other.submit(backend.alter, ["a", "b"], DeleteJobs())
        await_that(lambda: waits_for_a_lock(mariadb_server, connection_id))
        run(intruder, f"SELECT * FROM {jobs} FORCE INDEX (id) WHERE id = 'a' FOR UPDATE")
        intruder.rollback()
        assert answer.result(PATIENCE_SECONDS).changed == ("a", "b")
    assert backend.health().details["conflicts"] >= 1


def test_a_claim_locks_the_jobs_it_takes_and_no_others(
    backend: MySQLBackend, open_mysql: OpenMySQL, fresh_namespace: str
) -> None:
    backend.enqueue([job(f"{number}") for number in range(6)])
    backend.beat([WorkerBeat(worker=worker, lease_seconds=60.0, first=True) for worker in ("w", "v")])
    with backend._mysql.writing() as cursor:
        flavor = backend._mysql._mysql_flavor
        tx = Transaction(cursor, Statements(Tables(fresh_namespace), flavor), flavor, None)
        parameters = {"queue": "default", "limit": 2, "worker": "w", "request_no": 1, "now": tx.now}
        mine = flavor.claim(tx, parameters)
        other = open_mysql(lock_timeout=1)
        others = other.reserve(None, 10, "v", request_no=1)
        assert (len(mine.rows), [found.id for found in others]) == (2, ["2", "3", "4", "5"])
        assert other.health().details["conflicts"] == 0, "nobody waited"


def test_a_job_that_runs_already_is_dropped_and_holds_nobody_up(
    backend: MySQLBackend, mariadb_server: MariaDBServer, fresh_namespace: str
) -> None:
    """Two enqueues of one id may have met somehow: they are one job."""
    backend.enqueue([job("a")])
    backend.beat([WorkerBeat(worker="w", lease_seconds=60.0, first=True)])
    backend.reserve(None, 1, "w", request_no=1)
    columns = "id, name, queue, `rank`, body, max_retries, at_most_once, enqueued_at"
    jobs, running = f"{fresh_namespace}_jobs", f"{fresh_namespace}_running"
    mariadb_server.execute(f"INSERT INTO {jobs} ({columns}, ready_at) SELECT {columns}, enqueued_at FROM {running}")
    backend.enqueue([job("b")])
    assert [taken.id for taken in backend.reserve(None, 10, "w", request_no=2)] == ["b"]
    assert {job_id for job_id, _ in backend.held("w")} == {"a", "b"}
    assert (backend.stats().ready, backend.health().details["conflicts"]) == (0, 0)


def test_files_for_tls_that_are_missing_or_wrong_are_named(open_mysql: OpenMySQL, tmp_path: Path) -> None:
    absent, wrong = tmp_path / "absent.pem", tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for options in ({"ssl_ca": str(absent)}, {"ssl_ca": str(wrong)}, {"ssl_cert": str(wrong), "ssl_key": str(absent)}):
        with pytest.raises(BackendRejectedError, match=r"the files for TLS cannot be used .*(absent|wrong)\.pem"):
            open_mysql(**options).held("w")
