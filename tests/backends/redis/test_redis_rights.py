"""Passwords, users, and what they may do."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.backends.redis.support import OpenRedis, new_job, register
from wg_core.errors import BackendRejectedError
from wg_core.outcome import Ack
from wg_core.testing.servers import HOST, RedisServer

PASSWORD = "p@ss:w/o?r#d% é🔑\\\"'"


@pytest.fixture
def guarded_server() -> Iterator[RedisServer]:
    with RedisServer(append_only=False, password=PASSWORD) as server:
        yield server


def test_a_password_of_any_characters_opens_the_door(open_redis: OpenRedis, guarded_server: RedisServer) -> None:
    assert open_redis(guarded_server.url).enqueue([new_job()])[0].stored
    by_keyword = open_redis(f"redis://{HOST}:{guarded_server.port}", password=PASSWORD)
    assert not by_keyword.enqueue([new_job()])[0].stored


@pytest.mark.parametrize("login", ["", ":hunter2@", "nobody:hunter2@"])
def test_a_wrong_login_is_refused_for_good_and_not_shown(
    open_redis: OpenRedis, guarded_server: RedisServer, login: str
) -> None:
    backend = open_redis(f"redis://{login}{HOST}:{guarded_server.port}")
    with pytest.raises(BackendRejectedError) as refusal:
        backend.enqueue([new_job()])
    assert "hunter2" not in f"{refusal.value!r} {refusal.value.__cause__!r}"
    with pytest.raises(BackendRejectedError):
        backend.wait(None, 60.0)


def as_user(server: RedisServer, name: str, *rights: str) -> str:
    server.command("ACL", "SETUSER", name, "on", ">pw", *rights)
    return f"redis://{name}:{quote('pw')}@{HOST}:{server.port}/0"


RIGHTS = ("~{shop}:*", "+@read", "+@write", "+@scripting", "+@connection", "+time", "+info", "+ping")
"""What the page tells people to grant."""


def test_the_documented_rights_are_enough(open_redis: OpenRedis, own_server: RedisServer) -> None:
    backend = open_redis(as_user(own_server, "app", *RIGHTS), "shop")
    backend.enqueue([new_job("a"), new_job("b", delay_seconds=60.0, expires_in_seconds=90.0)])
    register(backend)
    (job,) = backend.reserve(None, 10, "w", request_no=1)
    backend.report("w", [Ack(id=job.id, lease_no=job.lease_no)], request_no=1)
    backend.promote(10)
    backend.rescue(10)
    backend.wait(["other"], 0.01)
    assert backend.stats().queues["default"].done == 1
    assert backend.health().details["jobs"] == 1


def test_health_does_without_info_and_config(open_redis: OpenRedis, own_server: RedisServer) -> None:
    backend = open_redis(as_user(own_server, "app", *RIGHTS, "-info", "-config"), "shop")
    assert backend.health().server == "Redis (INFO is not permitted)"


def test_a_missing_right_is_refused_for_good(open_redis: OpenRedis, own_server: RedisServer) -> None:
    backend = open_redis(as_user(own_server, "app", "~{other}:*", *RIGHTS[1:]), "shop")
    with pytest.raises(BackendRejectedError, match=r"refuses: .*; docs/stores/redis.md lists the rights"):
        backend.enqueue([new_job()])


def test_a_database_that_does_not_exist_is_refused_for_good(open_redis: OpenRedis, redis_server: RedisServer) -> None:
    with pytest.raises(BackendRejectedError, match="DB index is out of range"):
        open_redis(f"redis://{HOST}:{redis_server.port}/9999").enqueue([new_job()])
