"""Every call reaches its rows, and locks them, through an index: in empty tables, in full ones, and with statistics
from before they were filled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.backends.mysql.conftest import OpenMySQL
from tests.backends.work import costs, fill
from wg_core.sql import Tables
from wg_mysql import MySQLBackend
from wg_mysql.driver import spread_lists

MANY = 1_500
"""Jobs in each state: a call that reads so many rows has scanned a table."""
ENOUGH = 300
CAPPED = {"stats", "workers"}
SMALL = ("_queues", "_workers", "_counters", "_meta", "_requests")


class Recorder:
    """In place of a query log: keeps each text with the arguments of its first run."""

    def __init__(self) -> None:
        self.seen: dict[str, Sequence[Any]] = {}

    def watched(self, cursor: Any) -> Any:
        return _RecordingCursor(cursor, self.seen)


class _RecordingCursor:
    def __init__(self, cursor: Any, seen: dict[str, Sequence[Any]]) -> None:
        self._cursor, self._seen = cursor, seen

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)

    def execute(self, text: str, arguments: Sequence[Any]) -> object:
        self._seen.setdefault(text, arguments)
        return self._cursor.execute(text, arguments)


def each_table(backend: MySQLBackend, namespace: str, statement: str) -> None:
    for name in Tables(namespace).names:
        with backend._mysql.glancing() as cursor:
            cursor.execute(statement.format(name), ())
            cursor.fetchall()


def rows_read(backend: MySQLBackend, call: Callable[[], object]) -> int:
    """Make a call on the only connection of a backend, and tell how many rows and index entries the server read."""
    recorder, backend._mysql.query_log = backend._mysql.query_log, None
    with backend._mysql.glancing() as cursor:
        cursor.execute("FLUSH STATUS", ())
    backend._mysql.query_log = recorder
    call()
    backend._mysql.query_log = None
    with backend._mysql.glancing() as cursor:
        cursor.execute("SHOW SESSION STATUS LIKE 'Handler_read%%'", ())
        read = sum(int(count) for _, count in cursor.fetchall())
    backend._mysql.query_log = recorder
    return read


def scans(backend: MySQLBackend, recorder: Recorder) -> list[str]:
    """Return the statements that take locks and whose plan has a scan or a sort of a table of jobs."""
    found = []
    for text, arguments in recorder.seen.items():
        if not (text.startswith("DELETE") or "FOR UPDATE" in text):
            continue
        spread, values = spread_lists(text, arguments)
        with backend._mysql.glancing() as cursor:
            cursor.execute(f"EXPLAIN {spread}", values)
            for _, _, table, kind, _, _, _, _, _, extra in cursor.fetchall():
                of_jobs = table is not None and table.startswith("t_") and not table.endswith(SMALL)
                if of_jobs and (kind in {"ALL", "index"} or "filesort" in (extra or "")):
                    found.append(f"{kind} {extra}: {text}")
    return found


@pytest.mark.parametrize("returning", [True, False], ids=["returning", "without returning"])
@pytest.mark.parametrize("statistics", ["of nearly empty tables", "fresh", "stale"])
def test_every_call_reaches_its_rows_through_an_index(
    open_mysql: OpenMySQL, fresh_namespace: str, statistics: str, returning: bool
) -> None:
    with open_mysql(lock_timeout=20) as filler:  # ALTER waits for whoever computes statistics in the background
        filler.migrate()
        each_table(filler, fresh_namespace, "ALTER TABLE {} STATS_PERSISTENT=1 STATS_AUTO_RECALC=0")
        each_table(filler, fresh_namespace, "ANALYZE TABLE {}")
        fill(filler, 12 if statistics == "of nearly empty tables" else MANY)
        if statistics == "fresh":
            each_table(filler, fresh_namespace, "ANALYZE TABLE {}")
    backend = open_mysql(pool_size=1, max_overflow=0, returning=returning)
    backend.held("w")
    recorder = Recorder()
    backend._mysql.query_log = recorder  # type: ignore[assignment]
    found = costs(backend, lambda call: rows_read(backend, call))
    backend._mysql.query_log = None
    assert {name: count for name, count in found.items() if count > ENOUGH and name not in CAPPED} == {}
    if statistics != "of nearly empty tables" or not returning:  # there a scan of three rows is no harm
        assert scans(backend, recorder) == []
