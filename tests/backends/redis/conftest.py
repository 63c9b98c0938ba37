"""Fixtures of the Redis backend's own tests: servers that a test may kill, and backends that are closed after it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from tests.backends.redis.support import PATIENCE_SECONDS, OpenRedis, blocked, eventually
from wg_core.testing.servers import RedisServer
from wg_redis import RedisBackend


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server of the test's own, which keeps what it answered when it is killed."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def open_redis(fresh_namespace: str) -> Iterator[OpenRedis]:
    """Open backends by URL, with options; they are closed at the end. Slow answers are no concern of most tests."""
    patient = {"socket_timeout": PATIENCE_SECONDS, "connect_timeout": PATIENCE_SECONDS}
    opened: list[RedisBackend] = []

    def open_one(url: str, namespace: str = fresh_namespace, **options: Any) -> RedisBackend:
        opened.append(RedisBackend.open(url, namespace, **patient | options))
        return opened[-1]

    yield open_one
    for backend in opened:
        backend.close()


@pytest.fixture
def shop(open_redis: OpenRedis, redis_url: str) -> RedisBackend:
    """A backend with the namespace `shop` on the shared server, emptied."""
    return open_redis(redis_url, "shop")


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    """A plain client of the shared server, emptied, where nobody waits any more."""
    with Redis.from_url(redis_url, decode_responses=True) as client:
        eventually(lambda: not blocked(client))  # a wait that was given up takes tokens until the server has noticed
        yield client
