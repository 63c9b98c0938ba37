"""The conformance suite on a private PostgreSQL, durable as in production."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping

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


@pytest.fixture(scope="session")
def made_namespace(postgres_server: PostgresServer) -> str:
    """A namespace whose tables are there."""
    namespace = f"t{uuid.uuid4().hex[:12]}"
    with open_backend_by_url(postgres_server.url, namespace=namespace) as backend:
        backend.migrate()
    return namespace


@pytest.fixture
def namespace(request: pytest.FixtureRequest, postgres_server: PostgresServer, made_namespace: str) -> str:
    """Nearly always the same, emptied, because making the tables takes longer than most tests."""
    if request.function.__module__ in _STARTS_WITHOUT_TABLES:
        return f"t{uuid.uuid4().hex[:12]}"
    tables = [name for name in _tables(postgres_server, made_namespace) if not name.endswith("_meta")]
    postgres_server.execute("".join(f"DELETE FROM {name};" for name in tables))
    return made_namespace


@pytest.fixture
def residue(postgres_server: PostgresServer, namespace: str) -> Callable[[], Mapping[str, int]]:
    """Count the rows of every table of the namespace."""

    def count() -> Mapping[str, int]:
        names = _tables(postgres_server, namespace)
        return {name: postgres_server.execute(f"SELECT count(*) FROM {name}")[0][0] for name in names}

    return count


@pytest.fixture
def connect_as_caller(postgres_server: PostgresServer) -> Callable[[], psycopg.Connection]:
    return lambda: psycopg.connect(postgres_server.url)


def _tables(server: PostgresServer, namespace: str) -> list[str]:
    found = server.execute(f"SELECT tablename FROM pg_tables WHERE tablename LIKE '{namespace}\\_%' ORDER BY tablename")
    return [name for (name,) in found]


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
