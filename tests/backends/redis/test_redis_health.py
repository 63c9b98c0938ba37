"""What `health` says of a server and of settings that do not suit a queue."""

from __future__ import annotations

from tests.backends.redis.support import OpenRedis, new_job
from wg_core.testing.servers import RedisServer


def test_a_well_kept_server_gives_no_warning(open_redis: OpenRedis, own_server: RedisServer) -> None:
    backend = open_redis(own_server.url)
    backend.enqueue([new_job()])
    health = backend.health()
    assert health.warnings == ()
    assert health.server.startswith(("Redis ", "Valkey "))
    assert health.latency_seconds > 0
    assert health.details["jobs"] == 1
    assert health.details["used_memory"] > 0
    assert health.details["connected_clients"] >= 1


def test_a_server_that_may_throw_jobs_away_is_warned_about(open_redis: OpenRedis, own_server: RedisServer) -> None:
    own_server.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    (warning,) = open_redis(own_server.url).health().warnings
    assert "maxmemory-policy is allkeys-lru" in warning
    assert "noeviction" in warning


def test_a_server_that_writes_nothing_down_is_warned_about(open_redis: OpenRedis, own_server: RedisServer) -> None:
    own_server.command("CONFIG", "SET", "appendonly", "no")
    (warning,) = open_redis(own_server.url).health().warnings
    assert "persistence is off" in warning
    own_server.command("CONFIG", "SET", "save", "3600 1")
    assert open_redis(own_server.url).health().warnings == ()
