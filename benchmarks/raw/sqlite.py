"""SQLite used by hand."""

from __future__ import annotations

import sqlite3


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

    def tidy(self) -> None:
        pass

    def close(self) -> None:
        self._connection.close()
