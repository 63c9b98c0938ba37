"""What happens to a MariaDB in production: somebody else holds the locks, or takes them in the other order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import pymysql
import pytest

from trees import NAMESPACE, Log, Tree, sized, wait_for
from under_load import load
from wg_core.testing.servers import MariaDBServer


@pytest.fixture
def server() -> Iterator[MariaDBServer]:
    with MariaDBServer() as running:
        yield running


@pytest.fixture
def intruder(server: MariaDBServer) -> Iterator[pymysql.Connection]:
    """A connection that locks as a careless report or backup does: every row it reads, and the gaps between them."""
    with pymysql.connect(host="127.0.0.1", port=server.port, user="root", database="wg") as connection:
        yield connection


def lock(connection: pymysql.Connection, *tables: str) -> None:
    with connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f"SELECT * FROM {NAMESPACE}_{table} FOR UPDATE")


def counted(server: MariaDBServer, metric: str) -> int:
    """Return how often InnoDB has met this so far."""
    ((count,),) = server.execute(f"SELECT count FROM information_schema.innodb_metrics WHERE name = '{metric}'")
    return int(count)


@pytest.mark.timeout(400)
def test_locks_that_are_held_longer_than_the_timeout_are_waited_for_again(
    server: MariaDBServer, intruder: pymysql.Connection, log: Log, start_tree: Callable[..., Tree]
) -> None:
    with load(f"{server.url}?lock_timeout=1", log, start_tree) as running:
        for _ in range(sized(3, full=10)):
            before = counted(server, "lock_timeouts")
            intruder.begin()
            lock(intruder, "workers", "jobs")
            wait_for(lambda before=before: counted(server, "lock_timeouts") >= before + 2, "somebody waiting in vain")
            intruder.rollback()
            running.await_progress()
    assert not running.said(" WARNING ", " ERROR "), "a worker did not simply try again"
    assert not log.of("enqueue failed"), "an error reached the producer"


@pytest.mark.timeout(400)
def test_deadlocks_are_run_again(
    server: MariaDBServer, intruder: pymysql.Connection, log: Log, start_tree: Callable[..., Tree]
) -> None:
    server.execute("CREATE TABLE weights (number INT PRIMARY KEY AUTO_INCREMENT, weight INT)")
    ours, wanted = 0, sized(10, full=50)
    with load(server.url, log, start_tree, pause=0.01) as running:
        while counted(server, "lock_deadlocks") - ours < wanted:
            intruder.begin()
            ours += 1
            with contextlib.suppress(pymysql.err.OperationalError), intruder.cursor() as cursor:
                # InnoDB rolls back the transaction that changed fewer rows: that must be the one of wg.
                cursor.execute("INSERT INTO weights (weight) SELECT seq FROM seq_1_to_5000")
                lock(intruder, "counters")
                lock(intruder, "workers")
                ours -= 1
            intruder.rollback()
            running.await_progress()
    assert not running.said(" WARNING ", " ERROR "), "a worker did not simply try again"
    assert not log.of("enqueue failed"), "an error reached the producer"
