"""PostgreSQL used by hand: psycopg, prepared statements, each step one statement that commits by itself."""

from __future__ import annotations

import psycopg

_TABLES = """
CREATE TABLE IF NOT EXISTS raw_ready (
  seq BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id TEXT NOT NULL UNIQUE,
  queue TEXT NOT NULL, rank SMALLINT NOT NULL, body BYTEA NOT NULL
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE INDEX IF NOT EXISTS raw_ready_order ON raw_ready (queue, rank, seq);
CREATE TABLE IF NOT EXISTS raw_running (
  id TEXT PRIMARY KEY, seq BIGINT NOT NULL, queue TEXT NOT NULL, rank SMALLINT NOT NULL, body BYTEA NOT NULL,
  lease_no BIGINT NOT NULL
) WITH (fillfactor = 85, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
CREATE SEQUENCE IF NOT EXISTS raw_number;
"""
_PUSH_ONE = "INSERT INTO raw_ready (id, queue, rank, body) VALUES (%s, 'default', 0, %b)"
_PUSH_MANY = (
    "INSERT INTO raw_ready (id, queue, rank, body) SELECT id, 'default', 0, body FROM unnest(%b, %b) n (id, body)"
)
_CLAIM = """
WITH claimed AS (
  DELETE FROM raw_ready WHERE seq = ANY(ARRAY(
    SELECT seq FROM raw_ready WHERE queue = 'default' ORDER BY queue, rank, seq LIMIT %s FOR UPDATE SKIP LOCKED))
  RETURNING id, seq, queue, rank, body)
INSERT INTO raw_running SELECT id, seq, queue, rank, body, 1 FROM claimed RETURNING id, seq, queue, rank, body
"""
_FINISH = "DELETE FROM raw_running WHERE id = ANY(%b) AND lease_no = 1"


class RawPostgres:
    """Two tables; `id = ANY(ARRAY(SELECT … FOR UPDATE SKIP LOCKED))`, delete and insert in one statement; unnest."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._cursor = self._connection.cursor(binary=True)
        self._connection.execute(_TABLES)
        self._next = 0
        ((self._prefix,),) = self._connection.execute("SELECT nextval('raw_number')").fetchall()

    def _ids(self, count: int) -> list[str]:
        first = self._next
        self._next += count
        return [f"raw-{self._prefix}-{number:012d}" for number in range(first, first + count)]

    def push_one(self, body: bytes) -> None:
        self._cursor.execute(_PUSH_ONE, (*self._ids(1), body), prepare=True)

    def push_many(self, bodies: list[bytes]) -> None:
        self._cursor.execute(_PUSH_MANY, (self._ids(len(bodies)), bodies), prepare=True)

    def cycle(self, limit: int) -> int:
        claimed = self._cursor.execute(_CLAIM, (limit,), prepare=True).fetchall()
        self._cursor.execute(_FINISH, ([row[0] for row in claimed],), prepare=True)
        return len(claimed)

    def round_trip(self) -> None:
        self._cursor.execute("SELECT 1", prepare=True).fetchone()

    def tidy(self) -> None:
        self._connection.execute("VACUUM (ANALYZE)")  # autovacuum comes by once a minute, in the middle of some round

    def close(self) -> None:
        self._connection.close()
