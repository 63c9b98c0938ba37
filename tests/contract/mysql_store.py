"""Fixtures for the conformance suite on MariaDB, shared by its two modes."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import pymysql
import pytest

from wg_core.registry import open_backend
from wg_core.testing.contract import life, process_races
from wg_core.testing.servers import MariaDBServer

_STARTS_WITHOUT_TABLES = {life.__name__, process_races.__name__}


@pytest.fixture
def backend_options() -> dict[str, Any]:
    """Long enough for a racer that stands still with its locks: a beat does not wait for them a second time."""
    return {"lock_timeout": 60, "read_timeout": 90.0}


@pytest.fixture(scope="session")
def made_namespace(mariadb_server: MariaDBServer) -> str:
    """A namespace whose tables are there."""
    namespace = f"t{uuid.uuid4().hex[:12]}"
    with open_backend(mariadb_server.url, namespace=namespace) as backend:
        backend.migrate()
    return namespace


@pytest.fixture
def namespace(request: pytest.FixtureRequest, mariadb_server: MariaDBServer, made_namespace: str) -> str:
    """Nearly always the same, emptied, because making the tables takes longer than most tests."""
    if request.function.__module__ in _STARTS_WITHOUT_TABLES:
        return f"t{uuid.uuid4().hex[:12]}"
    tables = [name for name in _tables(mariadb_server, made_namespace) if not name.endswith("_meta")]
    mariadb_server.execute("BEGIN;" + "".join(f"DELETE FROM {name};" for name in tables) + "COMMIT")
    return made_namespace


@pytest.fixture
def connect_as_caller(mariadb_server: MariaDBServer) -> Callable[[], pymysql.Connection]:
    """Open connections as an application does, with the server's own isolation level."""
    url = urlsplit(mariadb_server.url)
    where = {"host": url.hostname, "port": url.port, "user": url.username, "database": url.path[1:]}
    return lambda: pymysql.connect(**where, ssl_disabled=True)


@pytest.fixture
def residue(mariadb_server: MariaDBServer, namespace: str) -> Callable[[], Mapping[str, int]]:
    """Count the rows of every table of the namespace."""

    def count() -> Mapping[str, int]:
        names = _tables(mariadb_server, namespace)
        return {name: mariadb_server.execute(f"SELECT count(*) FROM {name}")[0][0] for name in names}

    return count


def _tables(server: MariaDBServer, namespace: str) -> list[str]:
    found = server.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() "
        f"AND table_name LIKE '{namespace}\\_%' ORDER BY table_name"
    )
    return [name for (name,) in found]
