"""Fixtures for every test: one private server of each product per test process, and names of one's own."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator

import pytest

from wg_core.testing.servers import MariaDBServer, PostgresServer, RedisServer


def pytest_configure() -> None:
    """Hear Ctrl-C, also where a shell started us in the background and had it ignored: our children inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis that no test may kill, pause or reconfigure: those start their own."""
    with RedisServer(append_only=False) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of the shared Redis, emptied."""
    redis_server.flush()
    return redis_server.url


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A durable PostgreSQL that no test may kill, pause or reconfigure: those start their own."""
    with PostgresServer() as server:
        yield server
        server.stop_immediately()  # an orderly stop would write out the tables of hundreds of tests for half a minute


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of the shared PostgreSQL; not emptied, so use `fresh_namespace`."""
    return postgres_server.url


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[MariaDBServer]:
    """A durable MariaDB that no test may kill, pause or reconfigure: those start their own."""
    with MariaDBServer() as server:
        yield server


@pytest.fixture
def mysql_url(mariadb_server: MariaDBServer) -> str:
    """The URL of the shared MariaDB; not emptied, so use `fresh_namespace`."""
    return mariadb_server.url


@pytest.fixture
def fresh_namespace() -> str:
    """A namespace that no other test has."""
    return f"t_{uuid.uuid4().hex[:16]}"
