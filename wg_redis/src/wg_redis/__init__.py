"""Redis and Valkey as a store for wg: `redis://`, `rediss://`, `valkey://`, `valkeys://`, `redis+unix://`."""

from wg_redis.backend import RedisBackend

__all__ = ["RedisBackend"]
