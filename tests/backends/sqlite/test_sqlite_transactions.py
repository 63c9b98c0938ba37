"""Enqueueing in transactions of `sqlite3` and SQLAlchemy connections to the file of the jobs."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from tests.backends.callers import *  # noqa: F403
from tests.backends.callers import Caller, job, of_driver, of_engine
from wg_core import Client, ConfigError
from wg_core.errors import BackendRejectedError, SchemaError, UnsupportedError
from wg_core.job import JobState

WAYS = [
    "sqlite3",
    "SQLAlchemy Connection",
    "SQLAlchemy Session",
    "SQLAlchemy scoped_session",
    "SQLAlchemy raw_connection",
]


@pytest.fixture
def store_url(database: Path) -> str:
    return f"sqlite:{database}"


@pytest.fixture
def ways(database: Path) -> Iterator[Mapping[str, Callable[[], Caller]]]:
    engine = create_engine(f"sqlite:///{database}")
    yield {"sqlite3": lambda: of_driver(sqlite3.connect(database)), **of_engine(engine)}
    engine.dispose()


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def connection(client: Client, database: Path) -> Iterator[sqlite3.Connection]:
    """A connection of somebody's, who does not wait for locks."""
    with closing(sqlite3.connect(database, timeout=0)) as opened:
        yield opened


# ---------------------------------------------------------------------- how connections may be set up


def test_factories_of_the_connection_are_neither_used_nor_changed(
    client: Client, connection: sqlite3.Connection
) -> None:
    connection.row_factory = sqlite3.Row
    connection.text_factory = bytes
    client.enqueue(job(id="a"))
    assert not client.enqueue(job(id="a"), connection=connection).stored
    assert client.enqueue(job(id="b"), connection=connection).stored
    assert (connection.row_factory, connection.text_factory) == (sqlite3.Row, bytes)
    connection.commit()
    assert client.get("b").state is JobState.READY


def test_a_connection_that_commits_each_statement_is_refused(client: Client, connection: sqlite3.Connection) -> None:
    connection.isolation_level = None
    with pytest.raises(ConfigError, match=r'isolation_level=None .*"BEGIN IMMEDIATE"'):
        client.enqueue(job(), connection=connection)
    assert client.backend.stats().ready == 0


@pytest.mark.parametrize("begin", ["BEGIN", "BEGIN IMMEDIATE"])
def test_a_transaction_that_was_begun_by_hand_is_joined(
    client: Client, connection: sqlite3.Connection, begin: str
) -> None:
    connection.isolation_level = None
    connection.execute(begin)
    handle = client.enqueue(job(), connection=connection)
    assert handle.state is None
    connection.execute("COMMIT")
    assert handle.state is JobState.READY


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the attribute is new in Python 3.12")
def test_the_autocommit_attribute_of_newer_pythons_is_understood(client: Client, database: Path) -> None:
    with (
        closing(sqlite3.connect(database, autocommit=True)) as never_begins,  # type: ignore[call-overload]
        pytest.raises(ConfigError, match="autocommit=True"),
    ):
        client.enqueue(job(), connection=never_begins)
    with closing(sqlite3.connect(database, autocommit=False)) as always_begun:  # type: ignore[call-overload]
        handle = client.enqueue(job(), connection=always_begun)
        assert handle.state is None
        always_begun.commit()
    assert handle.state is JobState.READY


def test_the_jobs_may_be_in_an_attached_database(client: Client, database: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as shop:
        shop.execute("ATTACH ? AS jobs", (str(database),))
        shop.execute("CREATE TABLE orders (id INTEGER)")
        shop.execute("INSERT INTO orders VALUES (1)")
        handle = client.enqueue(job(), connection=shop)
        shop.commit()
    assert handle.state is JobState.READY


# ---------------------------------------------------------------------- what is refused


def test_a_connection_to_another_file_is_refused_naming_both(
    client: Client, connection: sqlite3.Connection, database: Path, tmp_path: Path, fresh_namespace: str
) -> None:
    other = tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as elsewhere:
        with pytest.raises(
            ConfigError, match=rf"expected the SQLite file {database}, got .*{other}, where there is no"
        ):
            client.enqueue(job(), connection=elsewhere)
        with Client.connect(f"sqlite:{other}", namespace=fresh_namespace) as neighbour:
            neighbour.backend.migrate()
            with pytest.raises(ConfigError, match=rf"{database}, got .*{other}, which holds other jobs"):
                client.enqueue(job(), connection=elsewhere)
            assert neighbour.backend.stats().ready == 0


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        (lambda connection: connection.cursor(), "pass the connection of this cursor"),
        (lambda connection: create_engine("sqlite://"), r"pass a connection of it, as in `with engine\.begin\(\)"),
        (lambda connection: sessionmaker(), "pass an open session"),
        (lambda connection: Session, "pass an open session"),
        (lambda connection: "sqlite:jobs.db", "got a str"),
        (lambda connection: sqlite3, "got a module"),
    ],
)
def test_what_is_often_taken_for_a_connection_is_refused_with_what_to_pass(
    client: Client, connection: sqlite3.Connection, wrong: Callable[[sqlite3.Connection], Any], hint: str
) -> None:
    with pytest.raises(ConfigError, match=f"Session, or a connection of sqlite3, .*{hint}"):
        client.enqueue(job(), connection=wrong(connection))


def test_an_asynchronous_connection_is_refused(client: Client) -> None:
    class AsyncConnection:
        async def commit(self) -> None: ...

    with pytest.raises(ConfigError, match="asynchronous: pass a synchronous connection"):
        client.enqueue(job(), connection=AsyncConnection())


def test_no_connection_at_all_is_refused_instead_of_leaving_the_transaction_out(client: Client) -> None:
    with pytest.raises(ConfigError, match="got None"):
        client.transaction(None)


def test_a_store_in_memory_refuses_by_name(fresh_namespace: str) -> None:
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        Client.connect("sqlite::memory:", namespace=fresh_namespace) as client,
    ):
        with pytest.raises(UnsupportedError, match="transactional"):
            client.transaction(connection)
        with pytest.raises(UnsupportedError, match="transactional"):
            client.enqueue(job(), connection=connection)


def test_missing_tables_are_not_made_in_the_transaction_but_said(
    database: Path, fresh_namespace: str, store_url: str
) -> None:
    with (
        closing(sqlite3.connect(database)) as connection,
        Client.connect(store_url, namespace=fresh_namespace) as client,
    ):
        connection.execute("CREATE TABLE orders (id INTEGER)")
        connection.execute("INSERT INTO orders VALUES (1)")
        with pytest.raises(SchemaError, match=r"wg migrate --url .* client\.backend\.migrate\(\)"):
            client.enqueue(job(), connection=connection)
        assert connection.in_transaction
        connection.commit()
        names = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        assert names == {"orders"}
        client.backend.migrate()
        client.enqueue(job(), connection=connection)


def test_tables_that_were_dropped_are_said_and_may_come_back(client: Client, connection: sqlite3.Connection) -> None:
    client.enqueue(job(), connection=connection)
    connection.rollback()
    tables = client.backend._statements.tables.names
    for table in tables:
        connection.execute(f"DROP TABLE {table}")
    connection.commit()
    with pytest.raises(ConfigError, match="where there is no table"):
        client.enqueue(job(), connection=connection)
    connection.rollback()


def test_a_connection_that_may_only_read_is_refused(client: Client, connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA query_only = ON")
    with pytest.raises(BackendRejectedError, match="cannot be written"):
        client.enqueue(job(), connection=connection)


# ---------------------------------------------------------------------- the driver's own errors


def test_a_lock_that_another_holds_is_the_drivers_error_unchanged(
    client: Client, connection: sqlite3.Connection, database: Path
) -> None:
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked") as caught:
            client.enqueue(job(), connection=connection)
        assert type(caught.value) is sqlite3.OperationalError
        assert caught.value.__cause__ is None


def test_a_transaction_that_read_before_another_wrote_gets_the_drivers_error(
    client: Client, connection: sqlite3.Connection
) -> None:
    connection.execute("BEGIN")
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    client.enqueue(job())
    with pytest.raises(sqlite3.OperationalError, match="locked") as caught:
        client.enqueue(job(), connection=connection)
    assert caught.value.sqlite_errorcode == sqlite3.SQLITE_BUSY_SNAPSHOT


def test_a_connection_of_another_thread_gets_the_drivers_error(client: Client, connection: sqlite3.Connection) -> None:
    errors: list[BaseException] = []

    def elsewhere() -> None:
        try:
            client.enqueue(job(), connection=connection)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert [type(error) for error in errors] == [sqlite3.ProgrammingError]


def test_a_closed_connection_gets_the_drivers_error(client: Client, database: Path) -> None:
    connection = sqlite3.connect(database)
    connection.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        client.enqueue(job(), connection=connection)


def test_workers_can_claim_again_once_the_transaction_is_over(client: Client, connection: sqlite3.Connection) -> None:
    handle = client.enqueue(job())
    client.enqueue(job(), connection=connection)
    assert handle.state is JobState.READY, "reading goes on meanwhile"
    connection.rollback()
    assert handle.cancel()
