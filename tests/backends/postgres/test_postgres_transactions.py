"""Enqueueing in transactions of psycopg, psycopg2 and SQLAlchemy connections to the database of the jobs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psycopg
import psycopg2
import psycopg2.errors
import psycopg2.extras
import pytest
from psycopg.rows import dict_row
from sqlalchemy import create_engine

from tests.backends.callers import *  # noqa: F403
from tests.backends.callers import PATIENCE_SECONDS, Caller, crosswise, job, of_driver, of_engine
from wg_core import Client, ConfigError
from wg_core.errors import BackendRejectedError, SchemaError
from wg_core.job import JobState
from wg_core.protocol import WorkerBeat
from wg_core.testing.servers import PostgresServer
from wg_postgres.waking import Signal

WAYS = [
    "psycopg",
    "psycopg2",
    "SQLAlchemy Connection",
    "SQLAlchemy Session",
    "SQLAlchemy scoped_session",
    "SQLAlchemy raw_connection",
    "SQLAlchemy Connection on psycopg2",
]
DRIVERS = {"psycopg": psycopg.connect, "psycopg2": psycopg2.connect}


@pytest.fixture
def store_url(postgres_url: str) -> str:
    return postgres_url


@pytest.fixture
def ways(store_url: str) -> Iterator[Mapping[str, Callable[[], Caller]]]:
    rest = store_url.partition(":")[2]
    engine, with_psycopg2 = create_engine(f"postgresql+psycopg:{rest}"), create_engine(f"postgresql+psycopg2:{rest}")
    yield {
        "psycopg": lambda: of_driver(psycopg.connect(store_url)),
        "psycopg2": lambda: of_driver(psycopg2.connect(store_url)),
        **of_engine(engine),
        "SQLAlchemy Connection on psycopg2": of_engine(with_psycopg2)["SQLAlchemy Connection"],
    }
    engine.dispose()
    with_psycopg2.dispose()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=list(DRIVERS))
def connect(request: pytest.FixtureRequest, store_url: str, orders: str) -> Iterator[Callable[..., Any]]:
    """Open connections of each driver, which are closed at the end, before the table of the caller is dropped."""
    opened: list[Any] = []

    def open_one(url: str = store_url, **options: Any) -> Any:
        opened.append(DRIVERS[request.param](url, **options))
        return opened[-1]

    yield open_one
    for connection in opened:
        connection.close()


# ---------------------------------------------------------------------- how connections may be set up


@pytest.mark.parametrize(
    "connect_so",
    [
        lambda url: psycopg.connect(url, row_factory=dict_row, cursor_factory=psycopg.ClientCursor),
        lambda url: psycopg2.connect(url, cursor_factory=psycopg2.extras.RealDictCursor),
        lambda url: psycopg2.connect(url, connection_factory=psycopg2.extras.DictConnection),
        lambda url: psycopg.connect(url, prepare_threshold=0),
        lambda url: psycopg.connect(url, options="-c enable_indexscan=off", client_encoding="LATIN1"),
    ],
)
def test_factories_and_settings_of_the_connection_do_not_matter(
    client: Client, store_url: str, connect_so: Callable[[str], Any]
) -> None:
    with closing(connect_so(store_url)) as connection:
        client.enqueue(job(id="a"))
        assert not client.enqueue(job(id="a"), connection=connection).stored
        assert client.enqueue(job(id="b", headers={"x": "ü € 🐘"}), connection=connection).stored
        connection.commit()
    assert client.get("b").state is JobState.READY


def test_a_connection_that_commits_each_statement_is_refused(client: Client, connect: Callable[..., Any]) -> None:
    connection = connect()
    connection.autocommit = True
    with pytest.raises(ConfigError, match=r"autocommit mode .* set connection\.autocommit = False"):
        client.enqueue(job(), connection=connection)
    assert client.backend.stats().ready == 0


def test_a_transaction_that_was_begun_in_autocommit_mode_is_joined(client: Client, connect: Callable[..., Any]) -> None:
    connection = connect()
    connection.autocommit = True
    connection.cursor().execute("BEGIN")
    handle = client.enqueue(job(), connection=connection)
    assert handle.state is None
    connection.cursor().execute("COMMIT")
    assert handle.state is JobState.READY


def test_the_transaction_block_of_psycopg_is_joined(client: Client, store_url: str) -> None:
    with psycopg.connect(store_url, autocommit=True) as connection:
        with connection.transaction():
            kept = client.enqueue(job(), connection=connection)
            with connection.transaction(force_rollback=True):
                lost = client.enqueue(job(), connection=connection)
        assert (kept.state, lost.state) == (JobState.READY, None)


def test_the_tables_may_be_in_a_schema_that_is_not_on_the_callers_search_path(
    connect: Callable[..., Any], store_url: str, fresh_namespace: str
) -> None:
    connection = connect()
    with Client.connect(store_url, namespace=fresh_namespace, schema=f"s_{fresh_namespace}") as client:
        client.backend.migrate()
        handles = [
            client.enqueue(job(), connection=connection),
            client.enqueue(job(id="later", delay=60), connection=connection),
        ]
        connection.commit()
        assert [handle.state for handle in handles] == [JobState.READY, JobState.SCHEDULED]


# ---------------------------------------------------------------------- what is refused


def test_a_connection_to_another_database_is_refused_naming_both(
    client: Client, postgres_server: PostgresServer, connect: Callable[..., Any], fresh_namespace: str
) -> None:
    url = postgres_server.create_database(f"other_{fresh_namespace}")
    connection = connect(url)
    with pytest.raises(ConfigError, match=f"expected the database .*/wg, got .*'other_{fresh_namespace}'.* no table"):
        client.enqueue(job(), connection=connection)
    connection.rollback()
    with Client.connect(url, namespace=fresh_namespace) as neighbour:
        neighbour.backend.migrate()
        with pytest.raises(ConfigError, match=f"'other_{fresh_namespace}'.*, which holds other jobs"):
            client.enqueue(job(), connection=connection)
        assert neighbour.backend.stats().ready == 0


def test_an_asynchronous_connection_is_refused(client: Client) -> None:
    connection = psycopg.AsyncConnection.__new__(psycopg.AsyncConnection)
    with pytest.raises(ConfigError, match=r"psycopg\.AsyncConnection, which is asynchronous"):
        client.enqueue(job(), connection=connection)


def test_a_user_without_rights_on_the_tables_is_told_so(
    client: Client, postgres_server: PostgresServer, connect: Callable[..., Any], fresh_namespace: str
) -> None:
    role = f"r_{fresh_namespace}"
    postgres_server.execute(f"CREATE ROLE {role} LOGIN; GRANT SELECT ON {fresh_namespace}_meta TO {role}")
    connection = connect(postgres_server.url.replace("postgres@", f"{role}@"))
    with pytest.raises(BackendRejectedError, match="no right"):
        client.enqueue(job(), connection=connection)


def test_no_ddl_runs_in_the_transaction(
    postgres_server: PostgresServer, connect: Callable[..., Any], fresh_namespace: str
) -> None:
    database = f"no_ddl_{fresh_namespace}"
    url = postgres_server.create_database(database)
    refuse = """
        CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'DDL: %', tg_tag; END $$;
        CREATE EVENT TRIGGER refuse ON ddl_command_start EXECUTE FUNCTION refuse();
    """
    connection = connect(url)
    with Client.connect(url, namespace=fresh_namespace) as client:
        with pytest.raises(SchemaError, match=r"wg migrate --url .* client\.backend\.migrate\(\)"):
            client.enqueue(job(), connection=connection)
        client.backend.migrate()
        postgres_server.execute(refuse, database=database)
        for queue in ("one", "two"):
            client.enqueue(job(queue=queue), connection=connection)
        connection.commit()
        assert client.backend.stats().ready == 2


# ---------------------------------------------------------------------- the driver's own errors


def test_a_transaction_that_failed_before_gets_the_drivers_error(client: Client, connect: Callable[..., Any]) -> None:
    connection = connect()
    with pytest.raises((psycopg.Error, psycopg2.Error)):
        connection.cursor().execute("SELECT 1 / 0")
    with pytest.raises((psycopg.errors.InFailedSqlTransaction, psycopg2.errors.InFailedSqlTransaction)) as caught:
        client.enqueue(job(), connection=connection)
    assert caught.value.__cause__ is None


def test_a_lost_connection_gets_the_drivers_error(
    client: Client, connect: Callable[..., Any], postgres_server: PostgresServer
) -> None:
    connection = connect()
    handle = client.enqueue(job(), connection=connection)
    postgres_server.execute(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 60000)")
    with pytest.raises((psycopg.OperationalError, psycopg2.OperationalError)) as caught:
        client.enqueue(job(), connection=connection)
    assert caught.value.__cause__ is None
    assert handle.state is None
    assert client.enqueue(job()).state is JobState.READY


def test_a_deadlock_in_the_callers_transaction_reaches_the_caller_unchanged(
    client: Client, connect: Callable[..., Any], orders: str, rows: Callable[[], list[int]]
) -> None:
    first, second = connect(), connect()
    for number, (connection, job_id) in enumerate([(first, "a"), (second, "b")]):
        connection.cursor().execute(f"INSERT INTO {orders} VALUES ({number})")
        client.enqueue(job(id=job_id), connection=connection)
    errors = crosswise(
        lambda: client.enqueue(job(id="b"), connection=first), lambda: client.enqueue(job(id="a"), connection=second)
    )
    assert len(errors) == 1
    ((loser, error),) = errors.items()
    assert isinstance(error, psycopg.errors.DeadlockDetected | psycopg2.errors.DeadlockDetected)
    assert error.__cause__ is None
    (first, second)[loser].rollback()
    (first, second)[1 - loser].commit()
    assert rows() == [1 - loser]
    assert client.backend.stats().ready == 2


# ---------------------------------------------------------------------- beside an open transaction


def test_producers_and_workers_go_on_while_a_transaction_is_open(client: Client, connect: Callable[..., Any]) -> None:
    connection, backend = connect(), client.backend
    mine = client.enqueue(job(queue="new"), connection=connection)
    theirs = [client.enqueue(job(queue="new")), client.enqueue(job(queue="new", id="theirs"))]
    backend.beat([WorkerBeat(worker="w", lease_seconds=60.0, first=True)])
    assert [taken.id for taken in backend.reserve(None, 10, "w", request_no=1)] == [handle.id for handle in theirs]
    connection.commit()
    assert [taken.id for taken in backend.reserve(None, 10, "w", request_no=2)] == [mine.id]


def test_a_commit_notifies_even_though_nobody_waited_when_the_job_was_enqueued(
    client: Client, connect: Callable[..., Any], store_url: str, jobs_namespace: str
) -> None:
    connection = connect()
    with psycopg.connect(store_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {Signal(jobs_namespace).channel}")
        client.enqueue(job(queue="rolled back"), connection=connection)
        connection.rollback()
        client.enqueue_many([job(queue="mail"), job(queue="mail")], connection=connection)
        assert [notice.payload for notice in listener.notifies(timeout=0)] == []
        connection.commit()
        assert [notice.payload for notice in listener.notifies(timeout=PATIENCE_SECONDS, stop_after=1)] == ["mail"]
        assert [notice.payload for notice in listener.notifies(timeout=0)] == []


def test_an_id_that_came_after_the_snapshot_of_the_transaction_is_known(
    client: Client, connect: Callable[..., Any]
) -> None:
    connection = connect()
    connection.cursor().execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
    connection.cursor().execute("SELECT 1")
    client.enqueue(job(id="a", delay=60))
    assert not client.enqueue(job(id="a"), connection=connection).stored
    connection.commit()
    assert client.get("a").state is JobState.SCHEDULED


def test_an_id_waits_for_the_transaction_that_enqueued_it_first(client: Client, connect: Callable[..., Any]) -> None:
    connection = connect()
    client.enqueue(job(id="a"), connection=connection)
    with ThreadPoolExecutor(1) as threads:
        elsewhere = threads.submit(client.enqueue, job(id="a", delay=60))
        connection.commit()
        assert not elsewhere.result(PATIENCE_SECONDS).stored
    assert client.get("a").state is JobState.READY
