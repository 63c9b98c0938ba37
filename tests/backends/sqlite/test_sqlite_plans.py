"""Every statement reaches its rows through an index: no scan of a job table, no sorting, whatever waits."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from tests.backends.sqlite.support import OpenSQLite, new_job, register
from wg_core.backend import Backend
from wg_core.history import AttemptRecord
from wg_core.job import JobState
from wg_core.outcome import Ack, Bury, Cancel, Outcome, Progress, Release, Retry, Start
from wg_core.protocol import (
    CancelJobs,
    DeleteJobs,
    JobFilter,
    ReprioritiseJobs,
    RequeueJobs,
    RescheduleJobs,
    Retention,
    StatsLevel,
)

RECORD = AttemptRecord(attempt=1, outcome="retry", worker="w1")
LATER = 2**60

SMALL = ("wg_queues", "wg_workers", "wg_counters", "wg_meta")
"""Tables of a few rows, which may be read whole."""
BOUNDED = "LIMIT"


@pytest.fixture
def statements(backend: Backend) -> Iterator[dict[str, tuple[Any, ...]]]:
    """Record the text and the arguments of all statements that a backend runs."""
    backend.migrate()
    seen: dict[str, tuple[Any, ...]] = {}
    connections = backend._connections
    connections.writer().set_trace_callback(None)
    original_rows, original_run = type(backend._store).transaction, connections.write_alone

    def spying(self: Backend, cursor: Any, now: int | None) -> Any:
        return original_rows(self, SpyingCursor(cursor, seen), now)

    def spying_alone(text: str, arguments: tuple[Any, ...]) -> int:
        seen[text] = arguments
        return original_run(text, arguments)

    type(backend._store).transaction = spying
    connections.write_alone = spying_alone
    yield seen
    type(backend._store).transaction = original_rows


class SpyingCursor:
    def __init__(self, cursor: Any, seen: dict[str, tuple[Any, ...]]) -> None:
        self._cursor, self._seen = cursor, seen

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    def execute(self, text: str, arguments: Any) -> None:
        self._seen[text] = tuple(arguments)
        self._cursor.execute(text, arguments)

    def executemany(self, text: str, rows: Any) -> None:
        if rows:
            self._seen[text] = tuple(rows[0])
        self._cursor.executemany(text, rows)

    def fetchall(self) -> Any:
        return self._cursor.fetchall()


def live_a_full_life(backend: Backend) -> None:
    """Call everything that a worker, a producer or a person calls."""
    register(backend)
    backend.enqueue([new_job("single")])
    backend.enqueue([new_job("single two")])
    backend.enqueue([new_job("later", delay_seconds=60)])
    backend.enqueue([new_job(f"job-{number}", expires_in_seconds=1e9) for number in range(20)])
    jobs = backend.reserve(["default"], 10, "w1", request_no=1)
    backend.reserve(["default"], 10, "w1", request_no=1)
    fences = [{"id": job.id, "lease_no": job.lease_no} for job in jobs]
    kinds = (
        lambda fence: Ack(**fence),
        lambda fence: Retry(**fence, delay_seconds=1.0, record=RECORD),
        lambda fence: Bury(**fence, record=RECORD),
        lambda fence: Release(**fence),
        lambda fence: Release(**fence, delay_seconds=5.0),
        lambda fence: Cancel(**fence),
        lambda fence: Start(**fence),
        lambda fence: Progress(**fence, value=b"1"),
    )
    outcomes: list[Outcome] = [kind(fence) for kind, fence in zip(kinds, fences, strict=False)]
    backend.report("w1", outcomes, request_no=1)
    backend.reserve(None, 3, "w1", request_no=2)
    register(backend)
    backend.held("w1")
    backend.promote(100, now=LATER)
    for action in (CancelJobs(), ReprioritiseJobs(5), RescheduleJobs(delay_seconds=9), RequeueJobs(), DeleteJobs()):
        backend.alter(["job-1", "job-2"], action)
    for state in JobState:
        for where in (
            JobFilter(state=state),
            JobFilter(state=state, queue="default"),
            JobFilter(state=state, name="x"),
        ):
            page = backend.find(where, limit=1)
            if page.cursor:
                backend.find(where, cursor=page.cursor, limit=1)
    backend.has_ready(["default"])
    backend.stats(now=1)
    backend.workers()
    backend.pause("default")
    backend.resume("default")
    backend.prune(Retention(dead_seconds=1, dead_most=1), 10, now=LATER)
    backend.rescue(10, now=LATER)
    register(backend, "w2")
    backend.reserve(None, 3, "w2", request_no=1)
    backend.retire("w2", [], "gone")


def plan_of(backend: Backend, text: str, arguments: tuple[Any, ...]) -> list[str]:
    return [row[3] for row in backend._connections.writer().execute(f"EXPLAIN QUERY PLAN {text}", arguments)]


def faults(text: str, plan: list[str]) -> list[str]:
    """Return the steps of a plan that would grow with the number of jobs."""
    names = {alias: table for table, alias in re.findall(r"(wg_\w+) AS (\w+)", text)}
    found = []
    for step in plan:
        scanned = re.match(r"SCAN (\w+)", step)
        table = names.get(scanned[1], scanned[1]) if scanned else ""
        if ("TEMP B-TREE" in step and not any(f"FROM {small}" in text for small in SMALL)) or (
            table.startswith("wg_") and table not in SMALL and not is_bounded(text, step)
        ):
            found.append(step)
    return found


def is_bounded(text: str, step: str) -> bool:
    """Walking an index from its end is fine where a LIMIT ends the walk and nothing is filtered on the way."""
    return BOUNDED in text and ("USING INDEX" in step or "USING COVERING INDEX" in step) and "WHERE" not in text


@pytest.mark.parametrize("analysed", [False, True], ids=["no statistics", "stale statistics"])
def test_no_statement_scans_or_sorts(
    backend: Backend, statements: dict[str, tuple[Any, ...]], *, analysed: bool
) -> None:
    if analysed:  # statistics of an empty queue, taken before it filled
        backend._connections.writer().execute("ANALYZE")
    live_a_full_life(backend)
    texts = [
        text for text in statements if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE)", text) and "sqlite_" not in text
    ]
    assert len(texts) > 60
    found = {text: faults(text, plan_of(backend, text, statements[text])) for text in texts}
    assert {text: steps for text, steps in found.items() if steps} == {}


def test_the_claim_walks_the_order_index_and_the_report_the_key(
    backend: Backend, statements: dict[str, tuple[Any, ...]]
) -> None:
    live_a_full_life(backend)
    plans = {text: plan_of(backend, text, arguments) for text, arguments in statements.items() if "RETURNING" in text}
    claim = next(text for text in plans if text.startswith("INSERT INTO wg_running"))
    assert "SEARCH front USING COVERING INDEX wg_jobs_order (queue=?)" in plans[claim]
    assert "SEARCH wg_jobs USING INTEGER PRIMARY KEY (rowid=?)" in plans[claim]
    finish = next(text for text in plans if text.startswith("DELETE FROM wg_running") and "lease_no" in text)
    assert "SEARCH wg_running USING INDEX sqlite_autoindex_wg_running_1 (id=?)" in plans[finish]


def test_looking_for_pending_cancels_uses_the_index_of_those_alone(
    backend: Backend, statements: dict[str, tuple[Any, ...]]
) -> None:
    live_a_full_life(backend)
    text = next(text for text in statements if "cancel_requested = 1" in text and text.startswith("SELECT"))
    assert any("wg_running_cancels" in step for step in plan_of(backend, text, statements[text]))


def test_a_scan_would_be_noticed(backend: Backend) -> None:
    backend.migrate()
    for text in (
        "SELECT id FROM wg_jobs WHERE name = 'x'",
        "SELECT id FROM wg_jobs WHERE queue = 'x' ORDER BY enqueued_at",
        "SELECT count(*) FROM wg_dead",
        "DELETE FROM wg_running WHERE request_no = 1",
    ):
        assert faults(text, plan_of(backend, text, ())), text


def test_the_arguments_of_new_jobs_are_in_the_order_of_the_statement(open_sqlite: OpenSQLite) -> None:
    statements = open_sqlite()._statements
    for table in (statements.tables.jobs, statements.tables.scheduled):
        columns, looks = statements.new_columns(table), ["id"] * len(statements.tables.by_state)
        assert statements.insert_new(table).names == columns
        assert statements.enqueue_one(table).names == (*columns, *looks)
        assert statements.insert_new(table).constants == statements.enqueue_one(table).constants == {}


def test_exact_counts_may_count(backend: Backend) -> None:
    backend.enqueue([new_job("a"), new_job("b", queue="other"), new_job("c", delay_seconds=5)])
    stats = backend.stats(StatsLevel.EXACT)
    by_queue: dict[str, int] = defaultdict(int, {name: queue.ready for name, queue in stats.queues.items()})
    assert by_queue == {"default": 1, "other": 1}
    assert stats.scheduled == 1
