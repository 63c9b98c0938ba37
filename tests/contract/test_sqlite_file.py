"""The conformance suite on an SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from wg_core.backend import Backend
from wg_core.protocol import Capability
from wg_core.testing.contract import *  # noqa: F403


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def backend_url(database: Path) -> str:
    return f"sqlite:{database}"


@pytest.fixture
def backend_options() -> dict[str, Any]:
    """Long enough for a process that never gets its turn among others that keep writing: SQLite queues nobody."""
    return {"busy_timeout": 60.0}


@pytest.fixture
def residue(database: Path) -> Callable[[], Mapping[str, int]]:
    """Count the rows of every table."""

    def count() -> Mapping[str, int]:
        with closing(sqlite3.connect(database)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
            return {table: connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()[0] for table in tables}

    return count


@pytest.fixture
def connect_as_caller(database: Path) -> Callable[[], sqlite3.Connection]:
    return lambda: sqlite3.connect(database)


def test_what_the_sqlite_backend_declares_for_a_file(backend: Backend) -> None:
    assert backend.capabilities == {
        Capability.INSPECT,
        Capability.ALTER,
        Capability.DELAY,
        Capability.PAUSE,
        Capability.TRANSACTIONAL,
        Capability.MULTI_PROCESS,
        Capability.DURABLE,
    }
