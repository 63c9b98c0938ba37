"""The conformance suite on a private Redis."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from redis import Redis

from wg_core.backend import Backend
from wg_core.protocol import Capability
from wg_core.testing.contract import *  # noqa: F403
from wg_core.testing.servers import RedisServer


@pytest.fixture
def backend_url(redis_server: RedisServer) -> str:
    return redis_server.url


@pytest.fixture
def backend_options() -> dict[str, Any]:
    """Long enough for a server that stands still for a while: what it did not answer in time is no defect."""
    return {"socket_timeout": 60.0, "connect_timeout": 60.0}


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    with Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def residue(redis: Redis, namespace: str) -> Callable[[], Mapping[str, int]]:
    """Count the elements of every key of the namespace."""
    sizes = {b"list": redis.llen, b"hash": redis.hlen, b"set": redis.scard, b"zset": redis.zcard}

    def count() -> Mapping[str, int]:
        keys = sorted(redis.scan_iter(match=f"{{{namespace}}}*", count=1_000))
        return {key.decode(): sizes.get(redis.type(key), lambda _: 1)(key) for key in keys}

    return count


def test_what_the_redis_backend_declares(backend: Backend) -> None:
    assert backend.capabilities == {
        Capability.INSPECT,
        Capability.ALTER,
        Capability.DELAY,
        Capability.PAUSE,
        Capability.BLOCKING,
        Capability.MULTI_PROCESS,
        Capability.DURABLE,
    }
