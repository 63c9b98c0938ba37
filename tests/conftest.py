"""Fixtures that every test may use: a private Redis per test process, and names of one's own."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from wg_core.testing.servers import RedisServer


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


@pytest.fixture
def fresh_namespace() -> str:
    """A namespace that no other test has."""
    return f"t_{uuid.uuid4().hex[:16]}"
