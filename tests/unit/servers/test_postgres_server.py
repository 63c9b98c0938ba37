"""A private PostgreSQL loses nothing, a private standby takes over, and a private PgBouncer stands in front."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from wg_core.testing.servers import PgBouncerServer, PostgresServer, ServerError

PATIENCE_SECONDS = 60.0
"""How long a test waits for something that must happen; never a measure of speed."""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "the condition was not met in time"
        pause.wait(0.01)


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # it may go while it is read
        return "gone"


@pytest.fixture(scope="module")
def started() -> Iterator[PostgresServer]:
    with PostgresServer() as running:
        yield running


@pytest.fixture
def server(started: PostgresServer) -> PostgresServer:
    """A running server with an empty table, whatever the test before did to it."""
    started.start()
    started.execute("DROP TABLE IF EXISTS jobs; CREATE TABLE jobs (id text)")
    return started


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server to be closed, or to be left with other settings."""
    with PostgresServer() as running:
        running.execute("CREATE TABLE jobs (id text)")
        yield running


def test_what_was_answered_survives_a_kill_of_all_processes_and_a_restart(server: PostgresServer) -> None:
    port = server.port
    with psycopg.connect(server.url, autocommit=True) as connection:
        ((backend_pid,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
        server.execute("INSERT INTO jobs VALUES ('charge')")
        server.kill()
        assert state_of(backend_pid) in {"gone", "Z"}, "a process that holds the shared memory lives on"
    server.start()
    assert server.port == port
    assert server.execute("SELECT id FROM jobs") == [("charge",)]


def test_it_syncs_unless_told_otherwise(server: PostgresServer) -> None:
    assert server.execute("SHOW fsync") == [("on",)]
    with PostgresServer(fsync=False, conf=["work_mem = 5MB"]) as quick:
        assert quick.execute("SHOW fsync") == [("off",)]
        assert quick.execute("SHOW work_mem") == [("5MB",)]


@pytest.mark.parametrize("end", [PostgresServer.stop, PostgresServer.stop_immediately, PostgresServer.kill])
def test_it_ends_with_clients_connected_and_starts_again(
    server: PostgresServer, end: Callable[[PostgresServer], None]
) -> None:
    with psycopg.connect(server.url) as connection:
        server.execute("INSERT INTO jobs VALUES ('charge')")
        end(server)
        assert not server.running
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    server.start()
    assert server.execute("SELECT id FROM jobs") == [("charge",)]


def test_only_an_immediate_stop_leaves_something_to_recover(server: PostgresServer) -> None:
    recoveries = server.log_path.read_text().count("automatic recovery")
    server.stop()
    server.start()
    assert server.log_path.read_text().count("automatic recovery") == recoveries
    server.stop_immediately()
    server.start()
    assert server.log_path.read_text().count("automatic recovery") == recoveries + 1


def test_a_pause_freezes_open_connections_and_resume_answers(server: PostgresServer) -> None:
    with psycopg.connect(server.url, autocommit=True) as connection:
        ((backend_pid,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
        server.pause()
        assert state_of(server.pid) == "T"
        wait_until(lambda: state_of(backend_pid) == "T")
        server.resume()
        assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_a_paused_server_can_be_stopped_and_killed(server: PostgresServer) -> None:
    with psycopg.connect(server.url):
        server.pause()
        server.stop()
        assert not server.running
    server.start()
    with psycopg.connect(server.url):
        server.pause()
        server.kill()
    server.start()
    assert server.execute("SELECT 1") == [(1,)]


def test_two_servers_have_nothing_in_common(server: PostgresServer) -> None:
    with PostgresServer() as other:
        assert other.execute("SELECT count(*) FROM pg_class WHERE relname = 'jobs'") == [(0,)]


def test_a_further_database_has_a_url_of_its_own(server: PostgresServer) -> None:
    url = server.create_database("shop")
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT current_database()").fetchall() == [("shop",)]


def test_texts_sort_by_language_and_not_by_code_point(server: PostgresServer) -> None:
    server.execute("INSERT INTO jobs VALUES ('B'), ('a')")
    assert server.execute("SELECT id FROM jobs ORDER BY id") == [("a",), ("B",)]


def test_the_unix_socket_answers(server: PostgresServer) -> None:
    with psycopg.connect(f"postgres://postgres@/wg?host={server.folder}&port={server.port}") as connection:
        assert connection.execute("SELECT inet_server_port()").fetchall() == [(None,)]


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ServerError, match="no_such_setting"), PostgresServer(conf=["no_such_setting = on"]):
        pass


def test_leaving_removes_the_processes_and_the_data(own_server: PostgresServer) -> None:
    with psycopg.connect(own_server.url, autocommit=True) as connection:
        ((backend_pid,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
        pid, folder = own_server.pid, own_server.folder
        own_server.close()
    assert {state_of(pid), state_of(backend_pid)} <= {"gone", "Z"}
    assert not folder.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hide from PostgreSQL that it is root")
def test_root_runs_it_as_somebody_else(server: PostgresServer) -> None:
    assert server.account in {"postgres", "nobody"}
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0


def test_a_standby_has_what_was_answered_and_takes_over(own_server: PostgresServer) -> None:
    with own_server.standby() as standby:
        standby.make_synchronous()
        own_server.execute("INSERT INTO jobs VALUES ('charge')")
        wait_until(standby.caught_up)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            standby.execute("INSERT INTO jobs VALUES ('again')")
        with psycopg.connect(standby.failover_url) as connection:
            assert connection.info.port == own_server.port
        own_server.kill()
        standby.promote()
        with psycopg.connect(standby.failover_url) as connection:
            assert connection.info.port == standby.port
            assert connection.execute("INSERT INTO jobs VALUES ('again')").rowcount == 1
        assert standby.execute("SELECT id FROM jobs ORDER BY id") == [("again",), ("charge",)]


def test_a_synchronous_standby_that_is_away_holds_back_every_answer(own_server: PostgresServer) -> None:
    with own_server.standby() as standby:
        standby.make_synchronous()
        standby.pause()
        with psycopg.connect(own_server.url) as connection:
            connection.execute("INSERT INTO jobs VALUES ('charge')")
            committed = threading.Event()
            thread = threading.Thread(target=lambda: (connection.commit(), committed.set()))
            thread.start()
            wait_until(lambda: waiting_commits(own_server) == 1)
            assert not committed.is_set()
            standby.resume()
            assert committed.wait(PATIENCE_SECONDS)
            thread.join()


def waiting_commits(server: PostgresServer) -> int:
    ((count,),) = server.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    return int(count)


def test_pgbouncer_gives_each_transaction_any_of_its_connections(server: PostgresServer) -> None:
    with (
        PgBouncerServer(server, conf=["default_pool_size = 1"]) as bouncer,
        psycopg.connect(bouncer.url, autocommit=True) as one,
        psycopg.connect(bouncer.url, autocommit=True) as other,
    ):
        backend_pids = {connection.execute("SELECT pg_backend_pid()").fetchall()[0] for connection in (one, other)}
        assert len(backend_pids) == 1
        (pool,) = (pool for pool in bouncer.show("POOLS") if pool["database"] == "wg")
        assert (pool["pool_mode"], pool["cl_active"], pool["sv_idle"]) == ("transaction", 2, 1)


def test_pgbouncer_can_be_killed_and_paused_too(server: PostgresServer) -> None:
    with PgBouncerServer(server) as bouncer:
        bouncer.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(bouncer.url)
        bouncer.start()
        bouncer.pause()
        bouncer.resume()
        with psycopg.connect(bouncer.url) as connection:
            assert connection.execute("SELECT 1").fetchall() == [(1,)]


def test_pgbouncer_that_does_not_start_says_why(server: PostgresServer) -> None:
    with pytest.raises(ServerError, match="no_such_setting"), PgBouncerServer(server, conf=["no_such_setting = 1"]):
        pass


def test_the_guard_also_ends_the_processes_of_a_frozen_server(own_server: PostgresServer) -> None:
    with psycopg.connect(own_server.url, autocommit=True) as connection:
        ((backend_pid,),) = connection.execute("SELECT pg_backend_pid()").fetchall()
        own_server.pause()
        assert own_server._guard is not None
        assert own_server._guard.stdin is not None
        own_server._guard.stdin.close()  # as the kernel does when the test process is gone
        wait_until(lambda: not own_server.running and state_of(backend_pid) in {"gone", "Z"})


def test_the_shared_server_is_durable(postgres_server: PostgresServer, postgres_url: str) -> None:
    assert postgres_url == postgres_server.url
    assert postgres_server.execute("SHOW fsync") == [("on",)]
