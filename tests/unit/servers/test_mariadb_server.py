"""A private MariaDB loses nothing that it answered, whatever happens to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pymysql
import pytest

from wg_core.testing.servers import MariaDBServer, ServerError

PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def started() -> Iterator[MariaDBServer]:
    with MariaDBServer() as running:
        yield running


@pytest.fixture
def server(started: MariaDBServer) -> MariaDBServer:
    """A running server with an empty table, whatever the test before did to it."""
    started.start()
    started.execute("CREATE OR REPLACE TABLE jobs (id VARCHAR(20)) ENGINE=InnoDB")
    return started


def connect(server: MariaDBServer) -> pymysql.Connection:
    return pymysql.connect(host="127.0.0.1", port=server.port, user="root", database="wg")


@pytest.mark.parametrize("end", [MariaDBServer.stop, MariaDBServer.kill])
def test_what_was_answered_survives_an_end_with_clients_connected(
    server: MariaDBServer, end: Callable[[MariaDBServer], None]
) -> None:
    port = server.port
    connection = connect(server)
    server.execute("INSERT INTO jobs VALUES ('charge')")
    end(server)
    assert not server.running
    with pytest.raises(pymysql.err.OperationalError):
        connection.ping(reconnect=False)
    server.start()
    assert server.port == port
    assert server.execute("SELECT id FROM jobs") == [("charge",)]


def test_it_syncs_every_commit(server: MariaDBServer) -> None:
    assert server.execute("SELECT @@innodb_flush_log_at_trx_commit") == [(1,)]


def test_a_paused_server_answers_only_after_resume(server: MariaDBServer) -> None:
    with connect(server) as connection, connection.cursor() as cursor, ThreadPoolExecutor(1) as other:
        server.pause()
        try:
            answer = other.submit(cursor.execute, "SELECT 1")
            with pytest.raises(TimeoutError):
                answer.result(0.2)
        finally:
            server.resume()
        assert answer.result(PATIENCE_SECONDS) == 1


def test_a_paused_server_can_be_stopped_and_killed(server: MariaDBServer) -> None:
    server.pause()
    server.stop()
    assert not server.running
    server.start()
    server.pause()
    server.kill()
    server.start()
    assert server.execute("SELECT 1") == [(1,)]


def test_further_conf_lines_reach_the_server() -> None:
    with MariaDBServer(conf=["innodb-lock-wait-timeout = 3"]) as server:
        assert server.execute("SELECT @@innodb_lock_wait_timeout") == [(3,)]


def test_a_further_database_is_utf8mb4_like_the_first(server: MariaDBServer) -> None:
    url = server.create_database("shop")
    assert url.endswith("/shop")
    for database in ("wg", "shop"):
        assert server.execute("SELECT @@character_set_database", database=database) == [("utf8mb4",)]


def test_the_unix_socket_answers(server: MariaDBServer) -> None:
    with (
        pymysql.connect(unix_socket=str(server.unix_socket), user="root", database="wg") as connection,
        connection.cursor() as cursor,
    ):
        assert cursor.execute("SELECT 1") == 1


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ServerError, match="no-such-setting"), MariaDBServer(conf=["no-such-setting = 1"]):
        pass


def test_leaving_removes_the_process_and_the_data() -> None:
    with MariaDBServer() as server:
        pid, folder = server.pid, server.folder
    assert not Path(f"/proc/{pid}").exists()
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hide from MariaDB that it is root")
def test_root_runs_it_as_somebody_else(server: MariaDBServer) -> None:
    assert server.account in {"mysql", "nobody"}
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0


def test_the_shared_server_has_a_database_of_its_own(mariadb_server: MariaDBServer, mysql_url: str) -> None:
    assert mysql_url == mariadb_server.url
    assert mariadb_server.execute("SELECT database()") == [("wg",)]
