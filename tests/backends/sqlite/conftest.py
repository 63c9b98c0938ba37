from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends.sqlite.support import OpenSQLite
from wg_core.backend import Backend
from wg_sqlite import SQLiteBackend


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "jobs.db"


@pytest.fixture
def open_sqlite(database: Path) -> Iterator[OpenSQLite]:
    opened: list[Backend] = []

    def open_another(url: str = f"sqlite:{database}", namespace: str = "wg", **options: Any) -> Backend:
        opened.append(SQLiteBackend.open(url, namespace, **options))
        return opened[-1]

    yield open_another
    for backend in opened:
        backend.close()


@pytest.fixture
def backend(open_sqlite: OpenSQLite) -> Backend:
    return open_sqlite()
