"""Redis used by hand."""

from __future__ import annotations

from typing import Any

import redis

_PUSH = """
local first = redis.call('INCRBY', KEYS[1], #ARGV) - #ARGV
for i = 1, #ARGV do
  redis.call('HSET', KEYS[3], 'raw-' .. (first + i), ARGV[i])
  redis.call('ZADD', KEYS[2], first + i, 'raw-' .. (first + i))
end
"""
_CLAIM = """
local popped = redis.call('ZPOPMIN', KEYS[1], ARGV[1])
local ids, held = {}, {}
for i = 1, #popped, 2 do
  ids[#ids + 1] = popped[i]
  held[#held + 1] = popped[i]
  held[#held + 1] = popped[i + 1]
end
if #ids == 0 then return {{}, {}} end
redis.call('HSET', KEYS[3], unpack(held))
return {ids, redis.call('HMGET', KEYS[2], unpack(ids))}
"""
_FINISH = """
redis.call('HDEL', KEYS[2], unpack(ARGV))
redis.call('HDEL', KEYS[1], unpack(ARGV))
"""


class RawRedis:
    """A ZSET of ids, a hash of bodies, a hash of running ids; three scripts."""

    def __init__(self, url: str) -> None:
        self._client: Any = redis.Redis.from_url(url)
        self._push = self._client.register_script(_PUSH)
        self._claim = self._client.register_script(_CLAIM)
        self._finish = self._client.register_script(_FINISH)
        self._keys = {name: f"{{raw}}:{name}" for name in ("seq", "ready", "bodies", "running")}

    def push_one(self, body: bytes) -> None:
        self.push_many([body])

    def push_many(self, bodies: list[bytes]) -> None:
        self._push(keys=[self._keys["seq"], self._keys["ready"], self._keys["bodies"]], args=bodies)

    def cycle(self, limit: int) -> int:
        ids, _bodies = self._claim(
            keys=[self._keys["ready"], self._keys["bodies"], self._keys["running"]], args=[limit]
        )
        if ids:
            self._finish(keys=[self._keys["bodies"], self._keys["running"]], args=ids)
        return len(ids)

    def round_trip(self) -> None:
        self._client.ping()

    def tidy(self) -> None:
        pass

    def close(self) -> None:
        self._client.delete(*self._keys.values())
        self._client.close()
