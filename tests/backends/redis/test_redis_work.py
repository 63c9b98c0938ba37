"""What a call costs does not grow with the jobs that are there: counted in commands that the server runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from redis import Redis

from tests.backends.redis.support import OpenRedis
from tests.backends.work import costs, fill
from wg_core.testing.servers import RedisServer

FEW, MANY = 1_000, 15_000
"""Jobs in each state."""

WHOLE_KEYS = {
    "KEYS",
    "SCAN",
    "SORT",
    "LRANGE",
    "LREM",
    "LINDEX",
    "HVALS",
    "HSCAN",
    "ZSCAN",
    "SSCAN",
    "SUNION",
    "SINTER",
}
"""Commands that look at all of a key, or of the server. Others are given a bound, or a key that never holds many."""


class Commands:
    """Counts the commands that a server runs, those inside scripts too."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def used(self) -> dict[str, int]:
        found = self._client.info("commandstats")
        return {name.removeprefix("cmdstat_").upper(): int(entry["calls"]) for name, entry in found.items()}

    def of(self, call: Callable[[], object]) -> int:
        before = sum(self.used().values())
        call()
        return sum(self.used().values()) - before - 1  # INFO counts itself


@pytest.fixture
def quiet_server() -> Iterator[RedisServer]:
    """A server to which nobody else sends commands."""
    with RedisServer(append_only=False) as server:
        yield server


def test_no_call_costs_more_when_fifteen_times_as_many_jobs_are_there(
    open_redis: OpenRedis, quiet_server: RedisServer
) -> None:
    found = []
    with Redis.from_url(quiet_server.url, decode_responses=True) as client:
        for number in (FEW, MANY):
            backend = open_redis(quiet_server.url, f"work{number}")
            fill(backend, number)
            client.config_resetstat()
            found.append(costs(backend, Commands(client).of))
            assert not WHOLE_KEYS & Commands(client).used().keys()
    few, many = found
    assert min(few.values()) > 0, "every call was counted"
    halving = 5  # looking for a place among fifteen times as many takes four steps more, of one command or two
    assert {name: (few[name], many[name]) for name in few if many[name] > few[name] + 2 * halving} == {}
