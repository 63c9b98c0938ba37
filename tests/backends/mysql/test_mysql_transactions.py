"""Enqueueing in transactions of PyMySQL, mysqlclient and SQLAlchemy connections to the database of the jobs."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import MySQLdb
import MySQLdb.cursors
import pymysql
import pymysql.cursors
import pytest
from sqlalchemy import create_engine

from tests.backends.callers import *  # noqa: F403
from tests.backends.callers import PATIENCE_SECONDS, Caller, crosswise, job, of_driver, of_engine
from wg_core import Client, ConfigError, Job
from wg_core.errors import BackendRejectedError, SchemaError
from wg_core.job import JobState
from wg_core.protocol import CancelJobs, ReprioritiseJobs, WorkerBeat
from wg_core.testing.servers import MariaDBServer

WAYS = [
    "PyMySQL",
    "mysqlclient",
    "SQLAlchemy Connection",
    "SQLAlchemy Session",
    "SQLAlchemy scoped_session",
    "SQLAlchemy raw_connection",
    "SQLAlchemy Connection on mysqlclient",
]
DRIVERS: Mapping[str, Callable[..., Any]] = {"PyMySQL": pymysql.connect, "mysqlclient": MySQLdb.connect}
CURSORS = {
    "PyMySQL": [pymysql.cursors.DictCursor, pymysql.cursors.SSCursor],
    "mysqlclient": [MySQLdb.cursors.DictCursor, MySQLdb.cursors.SSCursor],
}
ERRORS = (pymysql.MySQLError, MySQLdb.Error)


def arguments_of(url: str) -> dict[str, Any]:
    """What a driver's `connect` takes in place of a URL."""
    parts = urlsplit(url)
    return {"host": parts.hostname, "port": parts.port, "user": parts.username, "database": parts.path[1:]}


@pytest.fixture
def store_url(mysql_url: str) -> str:
    return mysql_url


@pytest.fixture
def ways(store_url: str) -> Iterator[Mapping[str, Callable[[], Caller]]]:
    rest = store_url.partition(":")[2]
    engine, with_mysqlclient = create_engine(f"mysql+pymysql:{rest}"), create_engine(f"mysql+mysqldb:{rest}")
    yield {
        "PyMySQL": lambda: of_driver(pymysql.connect(**arguments_of(store_url))),
        "mysqlclient": lambda: of_driver(MySQLdb.connect(**arguments_of(store_url))),
        **of_engine(engine),
        "SQLAlchemy Connection on mysqlclient": of_engine(with_mysqlclient)["SQLAlchemy Connection"],
    }
    engine.dispose()
    with_mysqlclient.dispose()


@pytest.fixture(scope="module")
def made_namespace(mariadb_server: MariaDBServer) -> str:
    """A namespace whose tables are there."""
    with Client.connect(mariadb_server.url, namespace=f"t{uuid.uuid4().hex[:12]}") as client:
        client.backend.migrate()
        return client.backend.health().details["namespace"]


@pytest.fixture
def jobs_namespace(mariadb_server: MariaDBServer, made_namespace: str) -> str:
    """Always the same, emptied: making the tables takes longer than a test."""
    tables = ("jobs", "scheduled", "running", "workers", "requests", "queues")
    mariadb_server.execute("BEGIN;" + "".join(f"DELETE FROM {made_namespace}_{name};" for name in tables) + "COMMIT")
    return made_namespace


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(DRIVERS))
def driver(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connect(driver: str, store_url: str, orders: str) -> Iterator[Callable[..., Any]]:
    """Open connections of each driver, which are closed at the end, before the table of the caller is dropped."""
    opened: list[Any] = []

    def open_one(url: str = store_url, **options: Any) -> Any:
        opened.append(DRIVERS[driver](**arguments_of(url), **options))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


# ---------------------------------------------------------------------- how connections may be set up


@pytest.mark.parametrize("number", [0, 1])
def test_the_cursor_class_of_the_connection_does_not_matter(
    client: Client, connect: Callable[..., Any], driver: str, number: int
) -> None:
    connection = connect(cursorclass=CURSORS[driver][number])
    client.enqueue(job(id="a"))
    assert not client.enqueue(job(id="a"), connection=connection).stored
    assert client.enqueue(job(id="b"), connection=connection).stored
    connection.commit()
    assert client.get("b").state is JobState.READY


def test_names_come_through_whatever_the_character_set_of_the_connection(
    client: Client, connect: Callable[..., Any]
) -> None:
    connection = connect(charset="latin1")
    handle = client.enqueue(job(queue="süß", headers={"x": "🐘"}), connection=connection)
    with pytest.raises(BackendRejectedError, match="cannot store this value"):
        client.enqueue(job(queue="🐘"), connection=connection)
    connection.commit()
    assert client.get(handle.id).queue == "süß"


def test_a_session_without_strict_mode_cuts_nothing(client: Client, connect: Callable[..., Any]) -> None:
    connection = connect(init_command="SET sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'")
    body = Job[Any]("work", b'{"x":"it\'s \\\\ \\"q\\" \xc3\xbc"}')
    handle = client.enqueue(body, connection=connection)
    connection.commit()
    assert b'"it\'s \\\\ \\"q\\" \xc3\xbc"' in client.get(handle.id).body


def test_a_large_batch_in_a_session_without_strict_mode_is_not_cut_anywhere(
    client: Client, connect: Callable[..., Any]
) -> None:
    """Drivers send it in several statements, and tell only of the last what was cut."""
    connection = connect(init_command="SET sql_mode = ''")
    too_long = Job[Any]("n" * 300, b"{}")
    with pytest.raises(BackendRejectedError, match=r"too long|truncated"):
        client.enqueue_many([too_long, *(Job[Any]("work", b"x" * 3_000) for _ in range(900))], connection=connection)
    connection.rollback()


@pytest.mark.parametrize("driver", ["PyMySQL"], indirect=True)
def test_rows_that_the_caller_has_not_fetched_yet_are_not_thrown_away(
    client: Client, connect: Callable[..., Any], driver: str
) -> None:
    connection = connect()
    cursor = connection.cursor(CURSORS[driver][1])
    cursor.execute("SELECT seq FROM seq_1_to_5000")
    assert cursor.fetchone() == (1,)
    with pytest.raises(ConfigError, match="fetch or close it first"):
        client.enqueue(job(), connection=connection)
    assert len(cursor.fetchall()) == 4_999
    cursor.close()
    assert client.enqueue(job(), connection=connection).stored


@pytest.mark.parametrize("level", ["READ UNCOMMITTED", "READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_every_isolation_level_will_do(client: Client, connect: Callable[..., Any], level: str) -> None:
    connection = connect()
    connection.cursor().execute(f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
    handles = [client.enqueue(job(id=job_id), connection=connection) for job_id in ("a", "b", "a")]
    handles += client.enqueue_many([job(), job()], connection=connection)
    connection.commit()
    assert [handle.stored for handle in handles] == [True, True, False, True, True]
    assert client.backend.stats().ready == 4


def test_a_connection_that_commits_each_statement_is_refused(client: Client, connect: Callable[..., Any]) -> None:
    connection = connect()
    connection.autocommit(True)
    with pytest.raises(ConfigError, match=r"autocommit mode .* connection\.autocommit\(False\) or connection\.begin"):
        client.enqueue(job(), connection=connection)
    assert client.backend.stats().ready == 0


def test_a_transaction_that_was_begun_in_autocommit_mode_is_joined(client: Client, connect: Callable[..., Any]) -> None:
    connection = connect()
    connection.autocommit(True)
    connection.begin()
    handle = client.enqueue(job(), connection=connection)
    assert handle.state is None
    connection.commit()
    assert handle.state is JobState.READY


# ---------------------------------------------------------------------- what is refused


def test_a_connection_to_another_database_is_refused_naming_both(
    client: Client,
    mariadb_server: MariaDBServer,
    connect: Callable[..., Any],
    jobs_namespace: str,
    fresh_namespace: str,
) -> None:
    other = f"other_{fresh_namespace}"
    url = mariadb_server.create_database(other)
    connection = connect(url)
    with pytest.raises(ConfigError, match=f"expected .*/wg, got .*/{other}, where there is no table"):
        client.enqueue(job(), connection=connection)
    with Client.connect(url, namespace=jobs_namespace) as neighbour:
        neighbour.backend.migrate()
        with pytest.raises(ConfigError, match=f"/{other}, which holds other jobs"):
            client.enqueue(job(), connection=connection)
        assert neighbour.backend.stats().ready == 0


def test_a_connection_without_a_database_is_refused(
    client: Client, connect: Callable[..., Any], driver: str, store_url: str
) -> None:
    connection = DRIVERS[driver](
        **{name: value for name, value in arguments_of(store_url).items() if name != "database"}
    )
    try:
        with pytest.raises(ConfigError, match=r"must lead to the database that holds the jobs: expected .*/wg, got"):
            client.enqueue(job(), connection=connection)
    finally:
        connection.close()


def test_a_user_without_rights_on_the_tables_is_told_so(
    client: Client,
    mariadb_server: MariaDBServer,
    connect: Callable[..., Any],
    jobs_namespace: str,
    fresh_namespace: str,
) -> None:
    user = f"u_{fresh_namespace}"
    mariadb_server.execute(f"CREATE USER {user}; GRANT SELECT ON {jobs_namespace}_meta TO {user}")
    connection = connect(mariadb_server.url.replace("root@", f"{user}@"))
    with pytest.raises(BackendRejectedError, match="no right"):
        client.enqueue(job(), connection=connection)


def test_a_job_that_is_longer_than_a_packet_is_refused_and_the_connection_lives_on(
    client: Client, connect: Callable[..., Any]
) -> None:
    connection = connect()
    ((limit,),) = rows_of(connection, "SELECT @@max_allowed_packet")
    kept = client.enqueue(job(), connection=connection)
    large = Client(client.backend, max_payload_bytes=limit + 1_000)
    with pytest.raises(BackendRejectedError, match="max_allowed_packet of"):
        large.enqueue(Job[Any]("work", b'{"x":"' + b"x" * limit + b'"}'), connection=connection)
    connection.commit()
    assert kept.state is JobState.READY


def rows_of(connection: Any, statement: str) -> Any:
    cursor = connection.cursor()
    cursor.execute(statement)
    return cursor.fetchall()


def test_no_ddl_runs_in_the_transaction(
    client: Client, connect: Callable[..., Any], orders: str, store_url: str, fresh_namespace: str
) -> None:
    """DDL would commit the caller's row, which a rollback could not take back then."""
    connection = connect()
    with Client.connect(store_url, namespace=f"{fresh_namespace}_x"[:30]) as without_tables:
        rows_of(connection, f"INSERT INTO {orders} VALUES (1)")
        with pytest.raises(SchemaError, match=r"wg migrate --url .* client\.backend\.migrate\(\)"):
            without_tables.enqueue(job(), connection=connection)
        client.enqueue(job(queue="a new one"), connection=connection)
        connection.rollback()
        assert rows_of(connection, f"SELECT * FROM {orders}") == ()
        assert client.backend.stats().ready == 0


# ---------------------------------------------------------------------- the driver's own errors


def test_a_lost_connection_gets_the_drivers_error(
    client: Client, connect: Callable[..., Any], mariadb_server: MariaDBServer
) -> None:
    connection = connect()
    handle = client.enqueue(job(), connection=connection)
    mariadb_server.execute(f"KILL {connection.thread_id()}")
    with pytest.raises(ERRORS) as caught:
        client.enqueue(job(), connection=connection)
    assert caught.value.__cause__ is None
    assert handle.state is None
    assert client.enqueue(job()).state is JobState.READY


def test_a_lock_that_is_waited_for_in_vain_reaches_the_caller_unchanged(
    client: Client, connect: Callable[..., Any], orders: str, rows: Callable[[], list[int]]
) -> None:
    first, second = connect(), connect()
    client.enqueue(job(id="a"), connection=first)
    rows_of(second, "SET SESSION innodb_lock_wait_timeout = 0")
    rows_of(second, f"INSERT INTO {orders} VALUES (1)")
    with pytest.raises(ERRORS) as caught:
        client.enqueue(job(id="a"), connection=second)
    assert (caught.value.args[0], caught.value.__cause__) == (1205, None)
    second.commit()
    assert rows() == [1], "only the statement failed, and what is to be done is the caller's to decide"
    first.rollback()
    assert client.backend.stats().ready == 0


def test_a_deadlock_in_the_callers_transaction_reaches_the_caller_unchanged(
    client: Client, connect: Callable[..., Any], orders: str, rows: Callable[[], list[int]]
) -> None:
    first, second = connect(), connect()
    one, other = (
        f"{letter}-{uuid.uuid4().hex}" for letter in "ab"
    )  # under a used id InnoDB locks the gap beside it, too
    for number, (connection, job_id) in enumerate([(first, one), (second, other)]):
        rows_of(connection, f"INSERT INTO {orders} VALUES ({number})")
        client.enqueue(job(id=job_id), connection=connection)
    errors = crosswise(
        lambda: client.enqueue(job(id=other), connection=first), lambda: client.enqueue(job(id=one), connection=second)
    )
    assert len(errors) == 1
    ((loser, error),) = errors.items()
    assert isinstance(error, ERRORS)
    assert (error.args[0], error.__cause__) == (1213, None)
    (first, second)[loser].commit()  # the server has rolled all of it back, so there is nothing to commit
    (first, second)[1 - loser].commit()
    assert rows() == [1 - loser]
    assert client.backend.stats().ready == 2


# ---------------------------------------------------------------------- beside an open transaction


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
def test_producers_and_workers_go_on_while_a_transaction_is_open(
    client: Client, connect: Callable[..., Any], level: str
) -> None:
    """The ids were never used: under one that has just ended InnoDB would lock the gap beside it, too."""
    connection, backend, unused = connect(), client.backend, uuid.uuid4().hex
    rows_of(connection, f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
    backend.beat([WorkerBeat(worker="w", lease_seconds=60.0, first=True)])
    mine = [
        client.enqueue(job(queue="new"), connection=connection),
        client.enqueue(job(queue="new", id=f"order-1-{unused}"), connection=connection),
        client.enqueue(job(queue="new", id=f"order-2-{unused}", delay=60), connection=connection),
    ]
    theirs = [client.enqueue(job(queue="new")), client.enqueue(job(queue="new", id=f"theirs-{unused}"))]
    client.enqueue(job(queue="new", id=f"zero-{unused}", delay=60))
    taken = backend.reserve(None, 10, "w", request_no=1)
    assert [reserved.id for reserved in taken] == [handle.id for handle in theirs]
    connection.commit()
    assert [handle.state for handle in mine] == [JobState.READY, JobState.READY, JobState.SCHEDULED]
    taken = backend.reserve(None, 10, "w", request_no=2)
    assert [reserved.id for reserved in taken] == [handle.id for handle in mine[:2]]


def test_an_id_that_came_after_the_snapshot_of_the_transaction_is_known(
    client: Client, connect: Callable[..., Any]
) -> None:
    connection = connect()
    connection.begin()
    assert rows_of(connection, f"SELECT * FROM {client.backend._statements.tables.scheduled.name}") == ()
    client.enqueue(job(id="a", delay=60))
    client.enqueue(job(id="b"))
    assert not client.enqueue(job(id="a"), connection=connection).stored
    assert not client.enqueue(job(id="b"), connection=connection).stored
    assert not client.enqueue(job(id="b", delay=60), connection=connection).stored
    connection.commit()
    assert client.get("a").state is JobState.SCHEDULED
    assert client.get("b").state is JobState.READY


def test_an_id_waits_for_the_transaction_that_enqueued_it_first(client: Client, connect: Callable[..., Any]) -> None:
    connection = connect()
    client.enqueue(job(id="a"), connection=connection)
    with ThreadPoolExecutor(1) as threads:
        elsewhere = threads.submit(client.enqueue, job(id="a", delay=60))
        connection.commit()
        assert not elsewhere.result(PATIENCE_SECONDS).stored
    assert client.get("a").state is JobState.READY


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ"])
def test_nothing_but_the_jobs_themselves_is_locked_for_the_transaction(
    store_url: str, fresh_namespace: str, connect: Callable[..., Any], mariadb_server: MariaDBServer, level: str
) -> None:
    """What a transaction has inserted is its own without a lock; each lock that InnoDB counts would stop others.

    In tables of one page: a row that is deleted from the beginning of a later one is found from the end of the page
    before, which is locked then, too, but where nobody inserts.
    """
    connection = connect()
    rows_of(connection, f"SET SESSION TRANSACTION ISOLATION LEVEL {level}")
    with Client.connect(store_url, namespace=fresh_namespace) as client:
        client.enqueue_many([job(id="known"), job(id="known-later", delay=60)])
        client.enqueue(job(), connection=connection)
        client.enqueue(job(delay=60), connection=connection)
        client.enqueue(job(id="5"), connection=connection)
        client.enqueue(job(id="4", delay=60), connection=connection)
        client.enqueue_many([job(), job(delay=60)] * 5, connection=connection)
        mixed = [job(id=f"{number}", delay=60 * (number % 2)) for number in range(10, 40)]
        client.enqueue_many([*mixed, job(id="known")], connection=connection)
        client.enqueue(job(id="known", delay=60), connection=connection)
        client.enqueue(job(id="known-later"), connection=connection)
    assert locked_rows(mariadb_server, connection) == 0


def test_ids_that_wg_makes_lock_no_jobs_even_in_a_serializable_transaction(
    client: Client, connect: Callable[..., Any], mariadb_server: MariaDBServer
) -> None:
    connection = connect()
    rows_of(connection, "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE")
    client.enqueue(job(), connection=connection)
    client.enqueue(job(delay=60), connection=connection)
    client.enqueue_many([job(), job(delay=60)] * 5, connection=connection)
    assert locked_rows(mariadb_server, connection) == 1, "the one that says which store it is"


def locked_rows(server: MariaDBServer, connection: Any) -> int:
    """Not from information_schema.innodb_trx, which shows what it read before unless it was left alone for 100 ms."""
    [[number]] = rows_of(connection, "SELECT CONNECTION_ID()")
    [(_, _, status)] = server.execute("SHOW ENGINE INNODB STATUS")
    of_transaction = rf"(\d+) row lock\(s\), undo log entries \d+\n\w+ thread id {number},"
    found = re.search(of_transaction, status)
    assert found, status
    return int(found[1])


@pytest.mark.parametrize("returning", [True, False], ids=["returning", "without returning"])
def test_nobody_who_names_many_other_ids_waits_for_an_open_transaction(
    client: Client, connect: Callable[..., Any], store_url: str, jobs_namespace: str, returning: bool
) -> None:
    """Neither where a list is long, of which planners make a scan of all rows, nor in the gap before its ids."""
    connection, unused = connect(), uuid.uuid4().hex
    others = [f"{unused}-1-{number}" for number in range(60)]
    client.enqueue(job(id=f"{unused}-3"), connection=connection)
    client.enqueue(job(id=f"{unused}-2", delay=60), connection=connection)
    with Client.connect(store_url, namespace=jobs_namespace, lock_timeout=1, returning=returning) as other:
        other.enqueue_many([job(id=job_id, delay=60) for job_id in others[:-20]])
        other.enqueue_many([job(id=job_id) for job_id in others[-20:-10]])
        assert len(other.backend.alter(others, ReprioritiseJobs(priority=5)).changed) == 50
        assert len(other.backend.alter(others, CancelJobs()).changed) == 50
        assert other.backend.health().details["conflicts"] == 0, "nobody waited"
    connection.commit()
    assert client.backend.stats().ready == 1
