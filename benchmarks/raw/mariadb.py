"""MariaDB used by hand: PyMySQL, READ COMMITTED, rows in multi-row statements."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import pymysql

_TABLES = (
    """CREATE TABLE IF NOT EXISTS raw_ready (
         seq BIGINT AUTO_INCREMENT PRIMARY KEY, id VARCHAR(64) NOT NULL UNIQUE, queue VARCHAR(200) NOT NULL,
         `rank` SMALLINT NOT NULL, body LONGBLOB NOT NULL, INDEX raw_ready_order (queue, `rank`, seq)
       ) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin""",
    """CREATE TABLE IF NOT EXISTS raw_running (
         id VARCHAR(64) PRIMARY KEY, seq BIGINT NOT NULL, queue VARCHAR(200) NOT NULL, `rank` SMALLINT NOT NULL,
         body LONGBLOB NOT NULL, lease_no BIGINT NOT NULL
       ) ENGINE=InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin""",
    "CREATE TABLE IF NOT EXISTS raw_number (number BIGINT AUTO_INCREMENT PRIMARY KEY) ENGINE=InnoDB",
)
_PUSH = "INSERT INTO raw_ready (id, queue, `rank`, body) VALUES (%s, %s, %s, %s)"
_WINDOW = """SELECT seq, id, queue, `rank`, body FROM raw_ready WHERE queue = 'default'
             ORDER BY queue, `rank`, seq LIMIT %s FOR UPDATE SKIP LOCKED"""
_COPY = "INSERT INTO raw_running SELECT id, seq, queue, `rank`, body, 1 FROM raw_ready WHERE seq IN %s"
_DROP = "DELETE FROM raw_ready WHERE seq IN %s"
_FINISH = "DELETE FROM raw_running WHERE id IN %s AND lease_no = 1"


class RawMariaDB:
    """Two tables; the claim is select for update skip locked, insert-select and delete by key in one transaction."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._connection = pymysql.connect(
            host=parts.hostname or "127.0.0.1",
            port=parts.port or 3306,
            user=unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=parts.path.lstrip("/"),
            charset="utf8mb4",
            autocommit=True,
        )
        self._cursor: Any = self._connection.cursor()
        self._cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        for table in _TABLES:
            self._cursor.execute(table)
        self._cursor.execute("INSERT INTO raw_number VALUES ()")
        self._prefix = self._cursor.lastrowid
        self._next = 0

    def _rows(self, bodies: list[bytes]) -> list[tuple[str, str, int, bytes]]:
        first = self._next
        self._next += len(bodies)
        return [(f"raw-{self._prefix}-{first + offset:012d}", "default", 0, body) for offset, body in enumerate(bodies)]

    def push_one(self, body: bytes) -> None:
        self._cursor.execute(_PUSH, self._rows([body])[0])

    def push_many(self, bodies: list[bytes]) -> None:
        self._cursor.executemany(_PUSH, self._rows(bodies))  # one INSERT with many rows, as all are %s

    def cycle(self, limit: int) -> int:
        self._connection.begin()
        self._cursor.execute(_WINDOW, (limit,))
        claimed = self._cursor.fetchall()
        if claimed:
            keys = [row[0] for row in claimed]
            self._cursor.execute(_COPY, (keys,))
            self._cursor.execute(_DROP, (keys,))
        self._connection.commit()
        if claimed:
            self._cursor.execute(_FINISH, ([row[1] for row in claimed],))
        return len(claimed)

    def round_trip(self) -> None:
        self._cursor.execute("SELECT 1")
        self._cursor.fetchone()

    def tidy(self) -> None:
        pass

    def close(self) -> None:
        self._connection.close()
