"""Callers with transactions of their own, in every form that `enqueue(connection=…)` takes, and what they may expect.

A store's test module imports everything from here and supplies two fixtures: `ways`, by name a callable that opens a
caller, and `store_url`. The tests then run for every way.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from wg_core import Client, ConfigError, Job, JobOptions
from wg_core.job import JobState

PATIENCE_SECONDS = 30.0
"""How long a test waits for others before it gives up; never a measure of speed."""
TABLE = "{namespace}_orders"


@dataclass
class Caller:
    """Somebody's transaction: what is passed to wg, and what else is done with it."""

    connection: Any
    execute: Callable[[str], Any]
    close: Callable[[], None]

    def commit(self) -> None:
        self.connection.commit()

    def rollback(self) -> None:
        self.connection.rollback()


def of_driver(connection: Any) -> Caller:
    """A plain connection of a driver."""

    def execute(statement: str) -> Any:
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor

    return Caller(connection, execute, connection.close)


def of_engine(engine: Engine) -> Mapping[str, Callable[[], Caller]]:
    """SQLAlchemy's ways."""

    def of_connection() -> Caller:
        connection = engine.connect()
        return Caller(connection, connection.exec_driver_sql, connection.close)

    def of_session() -> Caller:
        session = Session(engine)
        return Caller(session, lambda statement: session.execute(text(statement)), session.close)

    def of_scoped_session() -> Caller:
        session = scoped_session(sessionmaker(engine))
        return Caller(session, lambda statement: session.execute(text(statement)), session.remove)

    return {
        "SQLAlchemy Connection": of_connection,
        "SQLAlchemy Session": of_session,
        "SQLAlchemy scoped_session": of_scoped_session,
        "SQLAlchemy raw_connection": lambda: of_driver(engine.raw_connection()),
    }


def job(**options: Any) -> Job[Any]:
    """An unsent job."""
    return Job("work", b"{}", JobOptions(**options))


def crosswise(*calls: Callable[[], object]) -> dict[int, BaseException]:
    """Make calls that wait for each other, until those that lose have failed and their transactions are over."""
    errors: dict[int, BaseException] = {}
    lost = threading.Event()

    def run(number: int, call: Callable[[], object]) -> None:
        try:
            call()
        except BaseException as error:
            errors[number] = error
            lost.set()

    threads = [threading.Thread(target=run, args=(number, call)) for number, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    return errors


@pytest.fixture
def jobs_namespace(fresh_namespace: str) -> str:
    """The namespace of the store; override where making its tables takes long."""
    return fresh_namespace


@pytest.fixture
def client(store_url: str, jobs_namespace: str) -> Iterator[Client]:
    """A client of a store whose tables are there."""
    with Client.connect(store_url, namespace=jobs_namespace) as opened:
        opened.backend.migrate()
        yield opened


@pytest.fixture
def orders(client: Client, ways: Mapping[str, Callable[[], Caller]], fresh_namespace: str) -> Iterator[str]:
    """A table of the caller's beside those of the jobs."""
    name = TABLE.format(namespace=fresh_namespace)
    owner = next(iter(ways.values()))()
    owner.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY)")
    owner.commit()
    yield name
    owner.rollback()
    owner.execute(f"DROP TABLE {name}")
    owner.commit()
    owner.close()


@pytest.fixture
def open_caller(ways: Mapping[str, Callable[[], Caller]], orders: str) -> Iterator[Callable[[str], Caller]]:
    """Open callers, which are closed at the end."""
    opened: list[Caller] = []

    def open_one(way: str) -> Caller:
        opened.append(ways[way]())
        return opened[-1]

    yield open_one
    for caller in opened:
        caller.close()


@pytest.fixture
def caller(open_caller: Callable[[str], Caller], way: str) -> Caller:
    """One caller of each way."""
    return open_caller(way)


@pytest.fixture
def rows(open_caller: Callable[[str], Caller], ways: Mapping[str, Any], orders: str) -> Callable[[], list[int]]:
    """Return what others see of the caller's table."""
    reader = open_caller(next(iter(ways)))

    def read() -> list[int]:
        reader.rollback()
        return sorted(number for (number,) in reader.execute(f"SELECT id FROM {orders}").fetchall())

    return read


def test_row_and_jobs_commit_together(
    caller: Caller, client: Client, orders: str, rows: Callable[[], list[int]]
) -> None:
    caller.execute(f"INSERT INTO {orders} VALUES (1)")
    handles = [
        client.enqueue(job(), connection=caller.connection),
        client.enqueue(job(id="order-1"), connection=caller.connection),
        client.transaction(caller.connection).enqueue(job(id="later", delay=60)),
    ]
    assert [handle.stored for handle in handles] == [True, True, True]
    assert [handle.state for handle in handles] == [None, None, None]
    assert rows() == []
    caller.commit()
    assert [handle.state for handle in handles] == [JobState.READY, JobState.READY, JobState.SCHEDULED]
    assert rows() == [1]


def test_row_and_jobs_roll_back_together(
    caller: Caller, client: Client, orders: str, rows: Callable[[], list[int]]
) -> None:
    handles = [
        client.enqueue(job(), connection=caller.connection),
        client.enqueue(job(id="order-1"), connection=caller.connection),
    ]
    caller.execute(f"INSERT INTO {orders} VALUES (1)")
    caller.rollback()
    assert [handle.state for handle in handles] == [None, None]
    assert rows() == []
    assert client.enqueue(job(id="order-1")).stored


def test_a_transaction_that_holds_nothing_but_a_job_commits(caller: Caller, client: Client) -> None:
    handle = client.enqueue(job(), connection=caller.connection)
    caller.commit()
    assert handle.state is JobState.READY


def test_a_savepoint_takes_its_jobs_along(
    caller: Caller, client: Client, orders: str, rows: Callable[[], list[int]]
) -> None:
    caller.execute(f"INSERT INTO {orders} VALUES (1)")
    kept = client.enqueue(job(id="kept"), connection=caller.connection)
    caller.execute("SAVEPOINT mine")
    caller.execute(f"INSERT INTO {orders} VALUES (2)")
    lost = client.enqueue(job(id="lost"), connection=caller.connection)
    again = client.enqueue(job(id="kept"), connection=caller.connection)
    caller.execute("ROLLBACK TO SAVEPOINT mine")
    caller.commit()
    assert (kept.state, lost.state, again.stored) == (JobState.READY, None, False)
    assert rows() == [1]


def test_the_end_of_a_with_block_ends_no_transaction(caller: Caller, client: Client) -> None:
    with client.transaction(caller.connection) as tx:
        handles = [tx.enqueue(job()), tx.enqueue_named("work"), *tx.enqueue_many([job(), job()])]
    assert [handle.state for handle in handles] == [None] * 4
    with pytest.raises(ConfigError, match="ended with its block"):
        tx.enqueue(job())
    caller.commit()
    assert [handle.state for handle in handles] == [JobState.READY] * 4


def test_a_job_of_another_table_of_the_store_is_the_same_job_in_a_transaction(caller: Caller, client: Client) -> None:
    scheduled = client.enqueue(job(id="a", delay=60))
    assert not client.enqueue(job(id="a"), connection=caller.connection).stored
    assert client.enqueue(job(id="b"), connection=caller.connection).stored
    assert not client.enqueue(job(id="b", delay=60), connection=caller.connection).stored
    caller.commit()
    assert scheduled.state is JobState.SCHEDULED
    assert client.get("b").state is JobState.READY
