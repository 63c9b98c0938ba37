from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.backends.postgres.support import OpenPostgres
from wg_core.testing.servers import PostgresServer
from wg_postgres import PostgresBackend


@pytest.fixture
def open_postgres(postgres_url: str, fresh_namespace: str) -> Iterator[OpenPostgres]:
    opened: list[PostgresBackend] = []

    def open_another(url: str = postgres_url, namespace: str = fresh_namespace, **options: Any) -> PostgresBackend:
        opened.append(PostgresBackend.open(url, namespace, **options))
        return opened[-1]

    yield open_another
    for backend in opened:
        backend.close()


@pytest.fixture
def backend(open_postgres: OpenPostgres) -> PostgresBackend:
    return open_postgres()


@pytest.fixture
def connection(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection of a person who looks at the server."""
    with psycopg.connect(postgres_url, autocommit=True) as opened:
        yield opened


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """A server that the test may kill, pause and reconfigure."""
    with PostgresServer() as server:
        yield server
