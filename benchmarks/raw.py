"""The raw stores: the statements of each store's layout, with no library around them.

Each has the same five calls, so that one set of cases measures all of them.
"""

from __future__ import annotations

import collections
import json
import sqlite3
import threading
from pathlib import Path
from typing import Any, Protocol

from wg_core.errors import ConfigError


class RawStore(Protocol):
    """A store used by hand. Ids are counted up, bodies are given."""

    def push_one(self, body: bytes) -> None:
        """Store one job and wait for the answer."""

    def push_many(self, bodies: list[bytes]) -> None:
        """Store a batch in one transaction or script."""

    def cycle(self, limit: int) -> int:
        """Claim up to `limit` jobs, then finish them: two steps, as any worker needs. Return how many."""

    def round_trip(self) -> None:
        """The cheapest question the store can answer."""

    def close(self) -> None:
        """Let go."""


class RawMemory:
    """A deque and a dict behind a lock."""

    def __init__(self, url: str) -> None:
        self._lock = threading.Lock()
        self._ready: collections.deque[tuple[int, bytes]] = collections.deque()
        self._running: dict[int, bytes] = {}
        self._next = 0

    def push_one(self, body: bytes) -> None:
        with self._lock:
            self._next += 1
            self._ready.append((self._next, body))

    def push_many(self, bodies: list[bytes]) -> None:
        with self._lock:
            for body in bodies:
                self._next += 1
                self._ready.append((self._next, body))

    def cycle(self, limit: int) -> int:
        with self._lock:
            claimed = [self._ready.popleft() for _ in range(min(limit, len(self._ready)))]
            self._running.update(claimed)
        with self._lock:
            for number, _ in claimed:
                del self._running[number]
        return len(claimed)

    def round_trip(self) -> None:
        with self._lock:
            pass

    def close(self) -> None:
        self._ready.clear()


class RawSQLite:
    """Two tables, WAL, synchronous NORMAL, BEGIN IMMEDIATE: DELETE … RETURNING, INSERT, DELETE."""

    def __init__(self, url: str) -> None:
        path = url.removeprefix("sqlite://").removeprefix("sqlite:")
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._run = self._connection.execute
        for statement in (
            "PRAGMA busy_timeout = 5000",
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = NORMAL",
            """CREATE TABLE raw_ready (seq INTEGER PRIMARY KEY, id TEXT NOT NULL, queue TEXT NOT NULL,
               rank INTEGER NOT NULL, body BLOB NOT NULL)""",
            "CREATE UNIQUE INDEX raw_ready_id ON raw_ready (id)",
            "CREATE INDEX raw_ready_order ON raw_ready (queue, rank, seq)",
            """CREATE TABLE raw_running (id TEXT PRIMARY KEY, seq INTEGER NOT NULL, queue TEXT NOT NULL,
               rank INTEGER NOT NULL, body BLOB NOT NULL, lease_no INTEGER NOT NULL) WITHOUT ROWID""",
        ):
            self._run(statement)
        self._next = 0

    def _rows(self, bodies: list[bytes]) -> list[tuple[str, bytes]]:
        first = self._next
        self._next += len(bodies)
        return [(f"raw-{first + offset:012d}", body) for offset, body in enumerate(bodies)]

    def push_one(self, body: bytes) -> None:
        self._run("BEGIN IMMEDIATE")
        self._run("INSERT INTO raw_ready (id, queue, rank, body) VALUES (?, 'default', 0, ?)", self._rows([body])[0])
        self._run("COMMIT")

    def push_many(self, bodies: list[bytes]) -> None:
        self._run("BEGIN IMMEDIATE")
        self._connection.executemany(
            "INSERT INTO raw_ready (id, queue, rank, body) VALUES (?, 'default', 0, ?)", self._rows(bodies)
        )
        self._run("COMMIT")

    def cycle(self, limit: int) -> int:
        self._run("BEGIN IMMEDIATE")
        claimed = self._run(
            "DELETE FROM raw_ready WHERE seq IN (SELECT seq FROM raw_ready WHERE queue = 'default'"
            " ORDER BY queue, rank, seq LIMIT ?) RETURNING id, seq, queue, rank, body",
            (limit,),
        ).fetchall()
        self._connection.executemany("INSERT INTO raw_running VALUES (?, ?, ?, ?, ?, 1)", claimed)
        self._run("COMMIT")
        self._run("BEGIN IMMEDIATE")
        self._connection.executemany(
            "DELETE FROM raw_running WHERE id = ? AND lease_no = 1", [(row[0],) for row in claimed]
        )
        self._run("COMMIT")
        return len(claimed)

    def round_trip(self) -> None:
        self._run("SELECT 1").fetchone()

    def close(self) -> None:
        self._connection.close()


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
        import redis  # noqa: PLC0415 - only where this store is measured

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

    def close(self) -> None:
        self._client.delete(*self._keys.values())
        self._client.close()


_STORES = {"memory": RawMemory, "sqlite": RawSQLite, "redis": RawRedis}


def open_raw(store: str, folder: Path, url: str) -> RawStore:
    """Return the raw side of a store; SQLite gets a file of its own beside wg's, Redis the same server."""
    if store not in _STORES:
        raise ConfigError(f"no raw store {store!r}; known: {', '.join(_STORES)}")
    if store == "sqlite":
        url = f"sqlite:{folder / 'raw.db'}"
    return _STORES[store](url)


def sample_body(size: int = 200) -> bytes:
    """Return a JSON body of about `size` bytes."""
    return json.dumps({"v": 1, "args": {"text": "x" * max(0, size - 30)}}).encode()
