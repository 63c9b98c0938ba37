"""What an exception from outside leaves behind: the time limit of a handler raises one in the middle of a call."""

from __future__ import annotations

import pytest

from tests.backends.interrupting import interruptions
from tests.backends.redis.support import OpenRedis, new_job
from wg_redis import RedisBackend


@pytest.fixture
def backend(open_redis: OpenRedis, redis_url: str) -> RedisBackend:
    """One connection only, so that losing it is losing all; little patience for one that does not come back."""
    backend = open_redis(redis_url, max_connections=1, socket_timeout=15.0)
    backend.enqueue([new_job("first")])
    return backend


def test_an_exception_in_any_line_of_a_read_leaves_a_backend_that_works(backend: RedisBackend) -> None:
    for number in interruptions(lambda _: backend.get(["first"]), "/wg_redis/"):
        assert [job.id for job in backend.get(["first"])] == ["first"], f"after line {number}"


def test_an_exception_in_any_line_of_an_enqueue_stores_its_jobs_or_none(backend: RedisBackend) -> None:
    def enqueue(number: int) -> None:
        backend.enqueue([new_job(f"{number}-a"), new_job(f"{number}-b", queue=f"{number}")])

    for number in interruptions(enqueue, "/wg_redis/"):
        assert len(backend.get([f"{number}-a", f"{number}-b"])) in {0, 2}, f"after line {number}"


def test_an_exception_while_a_connection_is_opened_leaves_a_backend_that_works(backend: RedisBackend) -> None:
    def connect_and_get(_: int) -> None:
        backend._server._links.drop_idle()
        backend.get(["first"])

    for number in interruptions(connect_and_get, "/wg_redis/"):
        assert [job.id for job in backend.get(["first"])] == ["first"], f"after line {number}"
