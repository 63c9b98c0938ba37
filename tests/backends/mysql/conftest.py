"""Backends on the shared MariaDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from wg_core.registry import open_backend
from wg_mysql import MySQLBackend

OpenMySQL = Callable[..., MySQLBackend]


@pytest.fixture
def open_mysql(mysql_url: str, fresh_namespace: str) -> Iterator[OpenMySQL]:
    """Open backends in the test's namespace, on the shared server or on another URL; all are closed at the end."""
    opened: list[MySQLBackend] = []

    def open_another(url: str = mysql_url, **options: object) -> MySQLBackend:
        backend = open_backend(url, namespace=fresh_namespace, **options)
        assert isinstance(backend, MySQLBackend)
        opened.append(backend)
        return backend

    yield open_another
    for backend in opened:
        backend.close()


@pytest.fixture
def backend(open_mysql: OpenMySQL) -> MySQLBackend:
    return open_mysql()
