"""Jobs, workers and looks at the server for the PostgreSQL tests."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

from wg_core.job import NewJob, ReservedJob
from wg_core.outcome import Ack
from wg_core.protocol import WorkerBeat
from wg_postgres import PostgresBackend
from wg_postgres.connections import PostgresConnections
from wg_postgres.waking import Signal

PATIENCE_SECONDS = 60.0
"""How long a test waits for something that must happen; never a measure of speed."""

OpenPostgres = Callable[..., PostgresBackend]


def new_job(job_id: str, **fields: object) -> NewJob:
    values: dict[str, object] = {"id": job_id, "name": "job", "body": b'{"v":1}', **fields}
    return NewJob(**values)  # type: ignore[arg-type]


def new_jobs(*ids: str, **fields: object) -> list[NewJob]:
    return [new_job(job_id, id_is_new=True, **fields) for job_id in ids]


def register(backend: PostgresBackend, worker: str = "w1") -> None:
    backend.beat([WorkerBeat(worker=worker, lease_seconds=600.0, first=True)])


def ack(job: ReservedJob) -> Ack:
    return Ack(id=job.id, lease_no=job.lease_no)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline, never = time.monotonic() + PATIENCE_SECONDS, threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        never.wait(0.01)


def locks(connection: psycopg.Connection[Any], backend: PostgresBackend) -> int:
    """Count the locks that waiters of the namespace hold."""
    space = Signal(backend._statements.tables.namespace).space % 2**32
    query = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND mode = 'ShareLock' AND granted"
    )
    return int(connection.execute(query, (space,)).fetchall()[0][0])


class Statements:
    """Records the text and the last arguments of every statement; a query log as the toolkit's.

    But for reading the clock: when that is due is a matter of time.
    """

    def __init__(self) -> None:
        self.seen: dict[str, Sequence[Any]] = {}
        self.texts: list[str] = []

    def watched(self, cursor: Any) -> Any:
        return _SpyingCursor(cursor, self)

    def note(self, text: str, arguments: Sequence[Any]) -> None:
        if text != PostgresConnections.ask_clock:
            self.seen[text] = arguments
            self.texts.append(text)


class _SpyingCursor:
    def __init__(self, cursor: Any, statements: Statements) -> None:
        self._cursor, self._statements = cursor, statements

    def execute(self, text: str, arguments: Sequence[Any]) -> None:
        self._statements.note(text, arguments)
        self._cursor.execute(text, arguments)

    def executemany(self, text: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self._statements.note(text, rows[0])
        self._cursor.executemany(text, rows)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def explain(connection: psycopg.Connection[Any], text: str, arguments: Sequence[Any]) -> dict[str, Any]:
    """Return the plan of a statement as it is when it was prepared, under the session's plan_cache_mode."""
    numbers = iter(range(1, 1_000))
    numbered = re.sub(r"%s", lambda _: f"${next(numbers)}", text).replace("%%", "%")
    cursor = psycopg.ClientCursor(connection)
    cursor.execute("DEALLOCATE ALL")
    types = ", ".join(_type_of(argument) for argument in arguments)
    cursor.execute(f"PREPARE plan{f' ({types})' if types else ''} AS {numbered}")
    given = ", ".join(["%s"] * len(arguments))
    cursor.execute(f"EXPLAIN (FORMAT JSON) EXECUTE plan{f' ({given})' if given else ''}", arguments)
    plan: dict[str, Any] = cursor.fetchall()[0][0][0]["Plan"]
    return plan


def _type_of(argument: Any) -> str:
    """Return the type that psycopg declares for an argument of ours."""
    if isinstance(argument, list):
        return "bigint[]" if argument and isinstance(argument[0], int) else "text[]"
    return {int: "bigint", bytes: "bytea"}.get(type(argument), "unknown")
