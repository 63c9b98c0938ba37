"""The conformance suite on a private PostgreSQL, durable as in production."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psycopg
import pytest

from wg_core.backend import Backend
from wg_core.protocol import Capability
from wg_core.registry import open_backend as open_backend_by_url
from wg_core.testing.contract import *  # noqa: F403
from wg_core.testing.contract import life, process_races
from wg_core.testing.servers import PostgresServer

_STARTS_WITHOUT_TABLES = {life.__name__, process_races.__name__}


@pytest.fixture
def backend_url(postgres_server: PostgresServer) -> str:
    return postgres_server.url


@pytest.fixture
def backend_options() -> dict[str, Any]:
    """Long enough for a racer that stands still with its locks: a beat does not wait for them a second time."""
    return {"lock_timeout": 60.0, "statement_timeout": 90.0}


@pytest.fixture(scope="session")
def made_namespace(postgres_server: PostgresServer) -> str:
    """A namespace whose tables are there."""
    namespace = f"t{uuid.uuid4().hex[:12]}"
    with open_backend_by_url(postgres_server.url, namespace=namespace) as backend:
        backend.migrate()
    return namespace


@pytest.fixture(scope="session")
def server_connection(postgres_server: PostgresServer) -> Iterator[psycopg.Connection]:
    """A connection to look at the tables, one for all tests: to connect takes longer than to look."""
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def emptying(server_connection: psycopg.Connection, made_namespace: str) -> str:
    """The statements that empty the tables of the namespace that is there."""
    tables = [name for name in _tables(server_connection, made_namespace) if not name.endswith("_meta")]
    return "".join(f"DELETE FROM {name};" for name in tables)


@pytest.fixture
def namespace(
    request: pytest.FixtureRequest, server_connection: psycopg.Connection, made_namespace: str, emptying: str
) -> str:
    """Nearly always the same, emptied, because making the tables takes longer than most tests."""
    if request.function.__module__ in _STARTS_WITHOUT_TABLES:
        return f"t{uuid.uuid4().hex[:12]}"
    server_connection.execute(emptying.encode())
    return made_namespace


@pytest.fixture
def residue(server_connection: psycopg.Connection, namespace: str) -> Callable[[], Mapping[str, int]]:
    """Count the rows of every table of the namespace."""

    def count() -> Mapping[str, int]:
        names = _tables(server_connection, namespace)
        return {name: _rows(server_connection, f"SELECT count(*) FROM {name}")[0][0] for name in names}

    return count


@pytest.fixture
def connect_as_caller(postgres_server: PostgresServer) -> Callable[[], psycopg.Connection]:
    return lambda: psycopg.connect(postgres_server.url)


def _tables(connection: psycopg.Connection, namespace: str) -> list[str]:
    found = f"SELECT tablename FROM pg_tables WHERE tablename LIKE '{namespace}\\_%' ORDER BY tablename"
    return [name for (name,) in _rows(connection, found)]


def _rows(connection: psycopg.Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query.encode()).fetchall()


def test_what_the_postgres_backend_declares(backend: Backend) -> None:
    assert backend.capabilities == {
        Capability.INSPECT,
        Capability.ALTER,
        Capability.DELAY,
        Capability.PAUSE,
        Capability.TRANSACTIONAL,
        Capability.MULTI_PROCESS,
        Capability.DURABLE,
    }
